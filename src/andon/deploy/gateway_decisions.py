"""Decisions and feedback as JSON: what a client may send, what it is told, and one sentence for every fault.

>>> parse_decision(b'{"x": {"cough": true}, "id": "a1"}', ("negative", "positive"))
DecisionRequest(x={'cough': True}, unit=None, tags=None, id='a1', human=None)
>>> parse_decision(b'{"x": [1]}', ())
Traceback (most recent call last):
...
andon.errors.ContractError: x: expected an object, found a list
>>> from andon.deploy.case import Shown
>>> decision_answer(Shown("a1", "pending")).status
202
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import msgspec

from andon.core.clock import SECOND, iso, parse_time
from andon.core.record import Feedback, Scalar
from andon.core.registry import did_you_mean
from andon.data.validator import show
from andon.deploy.case import Outcome, Shown
from andon.deploy.protocol_message import Answer, error_answer, json_answer
from andon.errors import AndonError, ContractError, UsageError

__all__ = [
    "Decided",
    "DecisionRequest",
    "Pending",
    "check_id",
    "decision_answer",
    "decision_bodies",
    "decode_json",
    "feedback_answer",
    "found_answer",
    "parse_decision",
    "parse_feedback",
    "parse_feedback_row",
]

ID_MAX = 200
UNIT_MAX = 500
TAGS_MAX = 32
TEXT_MAX = 1_000
FEEDBACK_MAX = 10_000

T = TypeVar("T")


class DecisionRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request for a decision; the values of ``x`` are single ones, whatever the contract says of them."""

    x: dict[str, bool | int | float | str | None]
    unit: str | int | None = None
    tags: dict[str, str] | None = None
    id: str | None = None
    human: str | None = None


class FeedbackRow(msgspec.Struct, forbid_unknown_fields=True):
    """One element of the body of a feedback request; ``time`` is ISO 8601 or seconds since 1970."""

    id: str
    kind: str
    value: bool | int | float | str | None = None
    time: str | int | float | None = None
    event: str | None = None


class Decided(msgspec.Struct, frozen=True, gc=False):
    """The body that tells of a decision that is made."""

    id: str
    decision: str | None
    decided_by: str
    version: str | None
    confidence: float | None
    epoch: int
    status: str = "decided"


class Shed(Decided, frozen=True, gc=False):
    """The body that tells of a decision that is made and not in the log."""

    recorded: bool = False


class Pending(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The body that tells of a decision that a person makes."""

    id: str
    status: str
    suggestion: str | None = None


_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_request = msgspec.json.Decoder(DecisionRequest)
_rows = msgspec.json.Decoder(list[Any])
_PATH = re.compile(r" - at `\$\.?(.*)`$")
_KINDS = {"object": "an object", "array": "a list", "str": "text", "int": "a whole number", "bool": "true or false"}


def decode_json(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """The body as a value; raises ``UsageError`` (400: no JSON) or ``ContractError`` (422: JSON of another shape)."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _shape(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the body is not JSON: {error}", hint="send UTF-8 JSON; NaN and Infinity are none") from None
    except RecursionError:
        raise UsageError("the body is nested too deeply to be read") from None


def _shape(message: str) -> ContractError:
    """A sentence and a path from msgspec's words."""
    match = _PATH.search(message)
    field = (match[1] if match else "") or "body"
    words = message[: match.start()] if match else message
    found = re.fullmatch(r"Expected `(.*)`, got `(.*)`", words)
    if found:
        kinds = " or ".join(_KINDS.get(kind.strip(), kind.strip()) for kind in found[1].split("|"))
        words = f"expected {kinds}, found {_KINDS.get(found[2], found[2])}"
    else:
        words = words.removeprefix("Object ").replace("`", "'")
    return ContractError(f"{field}: {words}", field=field)


def parse_decision(body: bytes, classes: Collection[str]) -> DecisionRequest:
    """The request for a decision; raises ``UsageError`` or ``ContractError``. ``classes`` are what ``human`` may be."""
    try:
        request = decode_json(body, _request)
    except ContractError as error:
        raise _nested(body) if error.field == "x[...]" else error from None
    if request.id is not None:
        check_id(request.id)
    if isinstance(request.unit, int):
        request.unit = str(request.unit)
    if request.unit is not None and not 0 < len(request.unit) <= UNIT_MAX:
        raise ContractError(f"unit: expected 1 to {UNIT_MAX} characters, found {len(request.unit)}", field="unit")
    if request.tags:
        check_tags(request.tags)
    if request.human is not None and request.human not in classes:
        raise ContractError(
            f"human: expected a class of this project, found {show(request.human)}; {did_you_mean(request.human, classes)}",
            field="human",
        )
    return request


def _nested(body: bytes) -> ContractError:
    """The sentence for an input that is a list, an object or no number of ours: which one it is, where that can be said."""
    try:
        inputs = json.loads(body)["x"]  # unlike msgspec's, it reads a number out of range: as infinity
    except (ValueError, RecursionError):
        inputs = {}
    for name, value in inputs.items():
        if isinstance(value, dict | list):
            return ContractError(f"x.{name[:60]}: expected a single value, found {show(value)}", field=f"x.{name[:60]}")
        if isinstance(value, float) and math.isinf(value):
            return ContractError(f"x.{name[:60]}: expected a finite number, found a larger one", field=f"x.{name[:60]}")
    return ContractError("x: expected single values: finite numbers, true, false, null or texts", field="x")


def check_id(id: str, field: str = "id") -> None:
    """Raises ``ContractError`` when a client's id is empty, too long or not printable."""
    if not 0 < len(id) <= ID_MAX or not id.isprintable():
        raise ContractError(
            f"{field}: expected 1 to {ID_MAX} printable characters, found {show(id) if id else 'none'}", field=field
        )


def check_tags(tags: dict[str, str]) -> None:
    """Raises ``ContractError`` when there are too many tags or one is too long."""
    if len(tags) > TAGS_MAX:
        raise ContractError(f"tags: expected at most {TAGS_MAX}, found {len(tags)}", field="tags")
    for name, value in tags.items():
        if not 0 < len(name) <= ID_MAX or len(value) > TEXT_MAX:
            raise ContractError(
                f"tags: expected names of 1 to {ID_MAX} and texts of at most {TEXT_MAX} characters, found {show(name)}",
                field="tags",
            )


def decision_answer(outcome: Outcome) -> Answer:
    """200 with a decision, 202 while a person decides, or the error."""
    if isinstance(outcome, AndonError):
        return error_answer(outcome)
    if outcome.status == "pending":
        return Answer(202, _encode(Pending(outcome.id, "pending", outcome.suggestion)))
    return Answer(200, _encode(_decided(outcome)))


def decision_bodies(outcomes: Sequence[Decided | Pending]) -> list[bytes]:
    """The JSON of many decisions, made or left to people, encoded in one go.

    >>> decision_bodies([Pending("a1", "pending"), Pending("a2", "pending", "no")])
    [b'{"id":"a1","status":"pending"}', b'{"id":"a2","status":"pending","suggestion":"no"}']
    """
    return _encode_lines(outcomes).split(b"\n")[:-1]  # JSON has no line ends inside


def found_answer(outcome: Outcome) -> Answer:
    """200 with a decision, pending or made, or the error."""
    if isinstance(outcome, AndonError):
        return error_answer(outcome)
    body: dict[str, Any] = {"id": outcome.id, "status": outcome.status}
    if outcome.status == "decided":
        body |= msgspec.structs.asdict(_decided(outcome))
    else:
        body["epoch"] = outcome.epoch
        if outcome.suggestion is not None:
            body["suggestion"] = outcome.suggestion
    body |= {"level": outcome.level, "time": iso(outcome.time_us)}
    return json_answer(200, body)


def _decided(shown: Shown) -> Decided:
    made = Decided if shown.recorded else Shed
    return made(shown.id, shown.decision, shown.decided_by, shown.version, shown.confidence, shown.epoch)


def parse_feedback(body: bytes) -> list[Any]:
    """The rows of a feedback request, not yet checked; one object counts as a list of one."""
    if body.lstrip()[:1] == b"{":
        body = b"[" + body + b"]"
    rows = decode_json(body, _rows)
    if not 0 < len(rows) <= FEEDBACK_MAX:
        raise ContractError(f"body: expected 1 to {FEEDBACK_MAX} rows of feedback, found {len(rows)}", field="body")
    return rows


def parse_feedback_row(row: Any, classes: Collection[str]) -> Feedback:
    """One row of feedback; raises ``ContractError``. A ``label`` must be a class of the project.

    >>> parse_feedback_row({"id": "a1", "kind": "label", "value": "yes", "time": "2020-03-11"}, ["yes", "no"]).time_us
    1583884800000000
    """
    try:
        given = msgspec.convert(row, FeedbackRow)
    except msgspec.ValidationError as error:
        raise _shape(str(error)) from None
    check_id(given.id)
    check_id(given.kind, "kind")
    if given.event is not None:
        check_id(given.event, "event")
    if isinstance(given.value, str) and len(given.value) > TEXT_MAX:
        raise ContractError(f"value: expected at most {TEXT_MAX} characters, found {len(given.value)}", field="value")
    if given.kind == "label" and given.value not in classes:
        raise ContractError(
            f"value: expected a class of this project, found {show(given.value)}; "
            f"{did_you_mean(str(given.value), classes)}",
            field="value",
        )
    return Feedback(given.id, given.kind, _finite(given.value), _time_us(given.time), given.event)


def _finite(value: Scalar) -> Scalar:
    if isinstance(value, int | float) and not isinstance(value, bool) and not -1e308 <= value <= 1e308:
        raise ContractError(f"value: expected a finite number, found {show(value)}", field="value")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise ContractError(f"value: expected a whole number of at most 64 bits, found {show(value)}", field="value")
    return value


def _time_us(time: str | int | float | None) -> int | None:
    if time is None:
        return None
    try:
        found = parse_time(time) if isinstance(time, str) else round(time * SECOND)
    except (ValueError, OverflowError):
        found = -1
    if not 0 <= found < 1 << 62:
        raise ContractError(
            f"time: expected ISO 8601 or seconds since 1970, found {show(time)}",
            field="time",
            hint="2020-03-11T09:00:00Z",
        )
    return found


def feedback_answer(accepted: int, faults: list[dict[str, Any]]) -> Answer:
    """How many rows were recorded and what was wrong with the others; 422 only when none was good."""
    body: dict[str, Any] = {"accepted": accepted, "rejected": len(faults)}
    if not faults:
        return json_answer(200, body)
    if accepted:
        return json_answer(200, body | {"errors": faults})
    return json_answer(422, {"error": {"code": "contract", **faults[0]["error"]}, **body, "errors": faults})
