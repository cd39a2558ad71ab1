"""The charter: what the line is for, in one file that every room takes its goals and policies from.

``parse`` finds all faults at once, each with its line, its path, what was expected and found, and what was probably
meant. What a charter does not say has a stated default; which questions were answered is remembered, so that
``andon check`` can list the others.

>>> charter = parse('''
... project: screening
... inputs: {cough: bool?, test_indication: category}
... target: {name: result, classes: [negative, positive], delay: 2d}
... safe_default: refer
... metrics:
...   recall: {of: "recall[positive]", goal: ">= 0.85"}
... ''')
>>> charter.target.classes, charter.review.deadline_us // 60_000_000, str(charter.metrics["recall"].goal)
(('negative', 'positive'), 60, '>= 0.85')
>>> parse("project: screening\\ninput: {cough: bool}")
Traceback (most recent call last):
...
andon.errors.CharterError: the charter has 4 faults
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from andon.core.record import Field as Column
from andon.errors import CharterError, UsageError
from andon.scope import section
from andon.scope.consistency import RESERVED, Draft, disagreements
from andon.scope.fault import Fault, Lines, explain, line_of, read
from andon.scope.scalar import ColumnName, Description, Name, Text, describe_field

__all__ = ["RESERVED", "Charter", "examine", "load", "parse", "schema"]

#: What a case means for the keys that are left out: (automation.level, rollout.path).
_PATHS: dict[str, tuple[str, list[str]]] = {
    "new": ("full", ["canary", "live"]),
    "automate": ("shadow", ["shadow", "canary", "live"]),
    "replace": ("shadow", ["shadow", "canary", "blue-green", "live"]),
}
#: Keys that stand in while the others are looked at, when one of these is faulty.
_STAND_INS: dict[str, Any] = {
    "project": "project",
    "inputs": {"x": "float"},
    "target": {"name": "y", "classes": ["a", "b"]},
    "safe_default": "nobody",
}


class Charter(section.Section):
    """A whole charter, valid in itself; made by ``load`` or ``parse``."""

    project: Name
    """The project's name; part of every address."""
    problem: str = ""
    """What is decided, and for whom, in one sentence."""
    phase: Literal["poc", "production"] = "poc"
    """`poc` (manual steps are allowed, with notes) or `production` (only recorded steps)."""
    case: Literal["new", "automate", "replace"] = "new"
    """A new capability, an automated task, or a replaced system: gives the default path to live."""
    owner: str = ""
    """Who answers for it."""
    population: Literal["users", "enterprise"] = "users"
    """`users` change slowly; an `enterprise` can shift in a minute."""
    inputs: Annotated[dict[ColumnName, Description], Field(min_length=1, max_length=2000)]
    """Every input with its kind: bool, int, float, category, text or image; `?` if it may be missing; `category(a, b)` or `int(0..120)` to allow only these."""
    target: section.Target
    """What is decided."""
    unit: section.Unit = section.Unit()  # type: ignore[call-arg]
    """What is assigned to the canary or not, and never split."""
    safe_default: Text
    """The answer when nobody and nothing can decide."""
    checklist: section.Checklist = section.Checklist()
    """The questions about the service."""
    metrics: dict[Name, section.MetricSpec] = Field({})
    """What is measured, with goals and alarms."""
    slices: dict[Name, Text] = Field({})
    """Named parts of the records, as conditions on the inputs."""
    risks: tuple[section.Risk, ...] = Field((), strict=False)
    """What could go wrong, and which metrics would show it."""
    baselines: tuple[section.Baseline, ...] = Field((), strict=False)
    """What the model is compared with."""
    automation: section.Automation = section.Automation()
    """How much the model decides by itself."""
    review: section.Review = section.Review()  # type: ignore[call-arg]
    """The people who decide."""
    rollout: section.Rollout = section.Rollout()  # type: ignore[call-arg]
    """How a new release gets to be live."""
    alarms: section.Alarms = section.Alarms()
    """How loud the line may be."""
    retrain: section.Retrain = section.Retrain()
    """How a new model comes about."""
    stages: tuple[section.Stage, ...] = Field((), strict=False)
    """Several models in a row."""
    monitor: section.Monitor = section.Monitor()  # type: ignore[call-arg]
    """How live data are cut into windows."""
    gateway: section.Gateway = section.Gateway()
    """The door that requests come through."""
    board: section.Board = section.Board()
    """The pages for people."""

    _answered: frozenset[str] = PrivateAttr(default=frozenset())

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        return _with_defaults(values) if isinstance(values, dict) else values

    def fields(self) -> tuple[Column, ...]:
        """The inputs as contract fields, in the order of the file."""
        return tuple(describe_field(name, text) for name, text in self.inputs.items())

    def answered(self, path: str) -> bool:
        """Whether the file says it itself, as in ``answered("checklist.mode")``, or a default does."""
        return path in self._answered

    def to_dict(self) -> dict[str, Any]:
        """The charter with all defaults filled in, as plain values; durations are microseconds, bounds are text."""
        plain: dict[str, Any] = _plain(self.model_dump(by_alias=True))
        return plain


def load(path: Path) -> Charter:
    """Read and check ``andon.yaml``; raises ``CharterError`` with all faults, ``UsageError`` where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CharterError(f"{path.name} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise UsageError(f"cannot read the charter {path}: {error.strerror}") from None
    return parse(text, name=path.name)


def parse(text: str, *, name: str = "the charter") -> Charter:
    """A charter from its YAML text; raises ``CharterError`` whose ``faults`` are all of them, in the order of lines."""
    charter, faults = examine(text)
    if charter is None or faults:
        raise _error(name, faults)
    return charter


def examine(text: str) -> tuple[Charter | None, list[Fault]]:
    """A charter from its YAML text and every fault in the order of lines; where there is a fault it is in no force.

    >>> charter, faults = examine("project: line")
    >>> charter is None, [(fault.line, fault.path) for fault in faults]
    (True, [(1, 'inputs'), (1, 'safe_default'), (1, 'target')])
    """
    values, lines, faults = read(text)
    if not isinstance(values, dict):
        return None, faults or [Fault(1, "", f"expected keys such as `project: my_line`, found {_found(values)}")]
    charter, more = _check(values, lines)
    if charter is not None:
        charter._answered = frozenset(".".join(map(str, path)) for path in lines)
    return charter, sorted({*faults, *more})


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a charter, for editors; kept as ``docs/charter.schema.json``."""
    body = Charter.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **body, "title": "Andon charter (andon.yaml)"}


def _check(values: dict[str, Any], lines: Lines) -> tuple[Charter | None, list[Fault]]:
    """The charter and every fault, in its parts and between them.

    Parts that are faulty are set aside, so that one mistyped word does not hide a contradiction elsewhere.
    """
    try:
        charter = Charter.model_validate(values)
    except ValidationError as error:
        details = error.errors()
        faults = explain(Charter, details, lines)
        broken = {detail["loc"][:2] if detail["loc"][0] == "metrics" else detail["loc"][:1] for detail in details}
        return None, faults + _between(_without(values, broken), values, broken, lines)
    return charter, _between(charter, values, set(), lines)


def _between(
    charter: Charter | None, values: dict[str, Any], broken: set[tuple[str | int, ...]], lines: Lines
) -> list[Fault]:
    if charter is None:
        return []
    draft = Draft(charter, values, frozenset(str(path[0]) for path in broken if len(path) == 1))
    return [Fault(line_of(lines, path), dotted, text) for path, dotted, text in disagreements(draft)]


def _without(values: dict[str, Any], broken: set[tuple[str | int, ...]]) -> Charter | None:
    kept = {key: value for key, value in values.items() if (key,) not in broken}
    if isinstance(kept.get("metrics"), dict):
        kept["metrics"] = {key: spec for key, spec in kept["metrics"].items() if ("metrics", key) not in broken}
    try:
        return Charter.model_validate(_STAND_INS | kept)
    except ValidationError:
        return None


def _error(name: str, faults: list[Fault]) -> CharterError:
    ordered = tuple(str(fault) for fault in sorted(set(faults)))
    return CharterError(f"{name} has {len(ordered)} fault{'s' if len(ordered) != 1 else ''}", ordered)


def _found(values: Any) -> str:
    return "an empty file" if values is None else "something else"


def _with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Defaults that follow from other answers: the case gives the path, the cores give the workers."""
    level, path = _PATHS.get(str(values.get("case", "new")), _PATHS["new"])
    filled = {**values}
    for part, key, value in (("automation", "level", level), ("rollout", "path", path)):
        if isinstance(filled.get(part, {}), dict):
            filled[part] = {key: value, **filled.get(part, {})}
    cores: Any = values
    for step in ("checklist", "compute", "cores"):
        cores = cores.get(step, {}) if isinstance(cores, dict) else {}
    if isinstance(cores, int) and isinstance(filled.get("gateway", {}), dict):
        filled["gateway"] = {"workers": cores, **filled.get("gateway", {})}
    return filled


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
