"""The records everything else is a view over: fields, predictions, decisions, feedback, reviews, items, events.

All are frozen msgspec Structs: one definition is the type, the JSON, the msgpack and the schema. **Evolution rule**: a
field is added at the end with a default and never renamed, retyped or removed, so that what an older release stored
stays readable (``tests/core/test_record.py`` keeps samples of every release).

Times are microseconds since 1970 UTC. ``time_us`` is event time, ``wall_us`` the machine's.

>>> import msgspec
>>> feedback = msgspec.json.decode(b'{"id": "a1", "kind": "label", "value": "negative"}', type=Feedback)
>>> feedback.kind, feedback.time_us
('label', None)
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

__all__ = [
    "DecidedBy",
    "Decision",
    "Draft",
    "Event",
    "Feedback",
    "Field",
    "Item",
    "ItemKind",
    "ItemState",
    "Kind",
    "Level",
    "Prediction",
    "Review",
    "Route",
    "Scalar",
    "Status",
    "Stays",
]

Scalar = bool | int | float | str | None
Kind = Literal["bool", "int", "float", "category", "text", "image"]
Level = Literal["human", "shadow", "assist", "partial", "full"]
Status = Literal["pending", "decided"]
DecidedBy = Literal["model", "person", "safe_default", "client", "nobody"]
ItemState = Literal["open", "taken", "decided"]
ItemKind = Literal["decision", "audit", "second", "adjudication"]
#: The widest circle that data may reach.
Stays = Literal["device", "organisation", "anywhere"]


class Field(msgspec.Struct, frozen=True, omit_defaults=True):
    """One input column of a contract: its kind, whether it may be missing, its categories or its range (inclusive)."""

    name: str
    kind: Kind
    optional: bool = False
    categories: tuple[str, ...] | None = None
    low: float | None = None
    high: float | None = None


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one release said about one x. ``scores`` are class probabilities in the order of the contract's classes.

    ``label`` is None when the model gave no answer; ``error`` then says why. ``confidence`` is the probability of the
    label, in [0, 1].
    """

    id: str
    version: str
    label: str | None
    confidence: float | None = None
    scores: tuple[float, ...] | None = None
    error: str | None = None
    time_us: int = 0


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request and what was answered, by whom and why; one row of the decision log.

    ``unit`` is a keyed hash in hex, never the unit itself. ``arm`` and ``probability`` are how it was assigned (the
    probability is that of the arm it got). ``slice`` is the automation slice that matched ("*" for none). A pending
    decision has ``decision`` None and ``decided_by`` "nobody" until a review arrives. ``suggestion`` is what the model
    would have said where a person decides. ``human`` is a decision already made elsewhere. ``audit`` is the probability
    with which this automatic decision was drawn into the random audit; 0 when it was not drawn.
    """

    id: str
    time_us: int
    wall_us: int
    epoch: int
    x: dict[str, Scalar]
    status: Status
    decision: str | None
    decided_by: DecidedBy
    level: Level
    slice: str = "*"
    unit: str = ""
    sticky: bool = True
    version: str | None = None
    arm: Literal["live", "candidate", "none"] = "none"
    probability: float = 1.0
    confidence: float | None = None
    scores: tuple[float, ...] | None = None
    suggestion: str | None = None
    human: str | None = None
    audit: float = 0.0
    latency_us: int = 0
    tags: dict[str, str] = {}
    error: str | None = None
    stream: str = ""
    sequence: int = 0


class Feedback(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened later to a decision: kind ``label``, ``redo``, ``switched``, ``shown``, ``click``, ...

    Idempotent by ``event`` where given, else by (id, kind, value, time_us). ``time_us`` None means "when received".
    """

    id: str
    kind: str
    value: Scalar = None
    time_us: int | None = None
    event: str | None = None


class Review(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person's (or the deadline's) answer to an item; a row of the people stream.

    ``decided_by`` is "person" or "safe_default" (the deadline passed). ``saw_suggestion`` is False for a blind review.
    ``kind`` "decision" answers a pending request; "audit" re-decides an automatic one and leaves its answer as it was, as
    do "second", another person's look at an answered case, and "adjudication", a third one's where those two differ.
    ``simulated`` marks reviewers that are programs.
    """

    id: str
    decision: str
    decided_by: DecidedBy
    reviewer: str
    time_us: int
    seconds: float = 0.0
    saw_suggestion: bool = False
    kind: ItemKind = "decision"
    simulated: bool = False


class Draft(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer that is made and not sent yet; until ``until_us`` (the machine's time) its reviewer may take it back.

    ``time_us`` is when they gave it (event time), ``seconds`` how long they looked.
    """

    decision: str
    time_us: int
    until_us: int
    seconds: float = 0.0


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """A question for a person: one case to decide. ``id`` is the decision's id; ``revision`` grows with every change.

    ``rank`` orders the queue (higher first), then ``due_us``. A lease is (``holder``, ``lease_until_us``). ``outboxed``
    says that the decision has been written to the people stream. ``draft`` is the holder's answer while it is held.
    ``skips`` says who gave the case back unanswered, and when (the machine's time).

    A second look and an adjudication have an id of their own; ``of`` is the decision's, ``share`` the probability with
    which the case was drawn for a second look, ``said`` what was answered before, by whom: they do not take it.
    ``between`` are the answers to adjudicate, sorted.
    """

    id: str
    kind: ItemKind
    created_us: int
    due_us: int
    x: dict[str, Scalar]
    state: ItemState = "open"
    level: Level = "human"
    slice: str = "*"
    blind: bool = True
    suggestion: str | None = None
    confidence: float | None = None
    risk: float = 0.0
    holder: str | None = None
    lease_until_us: int = 0
    taken_us: int = 0
    decision: str | None = None
    decided_by: DecidedBy = "nobody"
    reviewer: str | None = None
    decided_us: int = 0
    seconds: float = 0.0
    simulated: bool = False
    outboxed: bool = False
    revision: int = 0
    draft: Draft | None = None
    skips: dict[str, int] = {}
    of: str = ""
    share: float = 0.0
    said: dict[str, str] = {}
    between: tuple[str, ...] = ()

    @property
    def rank(self) -> float:
        """The ``risk`` to a tenth, downwards: of cases that are about as risky the one that is due first comes first.

        >>> [Item("a", "decision", 0, 0, {}, risk=risk).rank for risk in (0.0, 0.09, 0.1, 0.3, 0.37, 1.25, -1.0)]
        [0.0, 0.0, 0.1, 0.3, 0.3, 1.2, -1.0]
        """
        return math.floor(self.risk * 10 + 1e-9) / 10


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who did what when and why, with which evidence: one line of the journal, chained by hash to the one before."""

    action: str
    subject: str
    actor: str
    reason: str
    time_us: int
    wall_us: int
    evidence: dict[str, Any] = {}
    sequence: int = 0
    previous: str = ""
    hash: str = ""


class Route(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who answers what, from one epoch on; immutable: a rollback is a new route.

    ``bundles`` maps every version named here (live, candidate, shadows, warm) to the hash of its bundle, so that a
    worker needs no database. ``levels`` maps an automation slice to its level, "*" being everything else; ``slices``
    holds the predicate of each one named, in the order they are tried (first match wins). ``thresholds`` maps
    "version/slice" to the least confidence at which a partial answer is automatic (absent: none is). ``only`` lists the
    labels that may be automatic at level partial (None: all). ``share`` of the units goes to ``candidate``, drawn with
    ``salt``. ``stopped`` sends every decision to people, or with "safe_default" answers that at once.
    ``audit_share`` of the automatic answers is also looked at by a person. ``review_seconds`` is the deadline of a
    pending decision. ``held`` keeps the candidate's share as it is until somebody resumes.
    """

    epoch: int
    time_us: int
    wall_us: int
    actor: str
    action: str
    reason: str
    term: int = 0
    live: str | None = None
    candidate: str | None = None
    share: float = 0.0
    salt: str = ""
    shadows: tuple[str, ...] = ()
    warm: tuple[str, ...] = ()
    bundles: dict[str, str] = {}
    levels: dict[str, Level] = {}
    slices: dict[str, str] = {}
    thresholds: dict[str, float] = {}
    only: tuple[str, ...] | None = None
    blind: bool = True
    audit_share: float = 0.0
    stopped: Literal["", "people", "safe_default"] = ""
    safe_default: str | None = None
    review_seconds: float = 3600.0
    previous: int = -1
    held: bool = False
