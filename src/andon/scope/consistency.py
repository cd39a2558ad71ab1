"""What the parts of a charter promise one another: names that must exist, conditions that must parse.

Each rule is a generator over a ``Draft`` and yields (path, sentence). A rule that needs a part which is itself faulty
is skipped; the names in a faulty part still count as known, so that one mistake is told once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlsplit

from andon.core.columns import RESERVED
from andon.core.record import Level
from andon.core.redact import parse_rule, unfit
from andon.core.registry import did_you_mean
from andon.errors import AndonError
from andon.scope.fault import Path, dotted
from andon.scope.scalar import shown

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.scope.section import Automation

__all__ = ["RESERVED", "Draft", "disagreements"]

#: What is measured of an input of that kind (``monitor.inputs``): ``<input>_<measure>``, or the measure alone where it is the only one.
DERIVED: dict[str, tuple[str, ...]] = {"text": ("length",), "image": ("brightness", "contrast", "width", "height")}

#: Levels at which answers leave without a person, so that only an audit shows how often they are wrong.
_AUDITED = ("partial", "full")
_WEB = re.compile(r"https?:", re.IGNORECASE)

Findings = Iterator[tuple[Path, str]]


@dataclass(frozen=True, slots=True)
class Draft:
    """A charter whose faulty top-level parts (``broken``) are set aside, and the values as written."""

    charter: Charter
    values: dict[str, Any]
    broken: frozenset[str]

    def names(self, part: str) -> list[str]:
        """The names that a part defines, faulty or not."""
        found = self.values.get(part)
        return [str(name) for name in found] if isinstance(found, dict) else []

    def columns(self) -> frozenset[str]:
        """Every column that a metric or a slice may read."""
        fields = self.charter.fields() if "inputs" not in self.broken else ()
        kinds: list[str] = [field.kind for field in fields]
        derived = {f"{field.name}_{name}" for field in fields for name in DERIVED.get(field.kind, ())}
        derived |= {name for kind, names in DERIVED.items() if kinds.count(kind) == 1 for name in names}
        return RESERVED | frozenset(self.charter.inputs) | derived


def disagreements(draft: Draft) -> Iterator[tuple[Path, str, str]]:
    """Every (path, path as text, sentence) that the rules find."""
    for needs, rule in _RULES:
        if not draft.broken.intersection(needs):
            for path, sentence in rule(draft):
                yield path, dotted(path), sentence


def _inputs(draft: Draft) -> Findings:
    seen: dict[str, str] = {}
    for name in draft.charter.inputs:
        path: Path = ("inputs", name)
        if name in RESERVED:
            yield path, f"{name!r} is the name of a column of Andon's own; rename the input in clean()"
        other = seen.setdefault(name.lower(), name)
        if other != name:
            yield path, f"{name!r} and {other!r} differ only in upper and lower case; rename one"


def _target(draft: Draft) -> Findings:
    target = draft.charter.target
    for index, label in enumerate(target.classes):
        if label in target.classes[:index]:
            yield ("target", "classes", index), f"{label!r} is given twice; keep one"
    if target.name in draft.names("inputs"):
        yield ("target", "name"), f"{target.name!r} is an input too; what is decided cannot be what is known"


def _columns_named(draft: Draft) -> Findings:
    charter = draft.charter
    if charter.unit.source != "request" and charter.unit.source not in charter.inputs:
        yield ("unit", "from"), _unknown("input", charter.unit.source, ["request", *charter.inputs])
    fields = {field.name: field for field in charter.fields()}
    for index, (name, rule) in enumerate(charter.checklist.privacy.redact.items()):
        path: Path = ("checklist", "privacy", "redact", index if _listed(draft) else name)
        if name not in fields:
            yield path, _unknown("input", name, charter.inputs)
        elif (why := unfit(parse_rule(rule), fields[name])) is not None:
            yield path, why


def _listed(draft: Draft) -> bool:
    """Whether what is redacted is written as a list."""
    found: Any = draft.values
    for key in ("checklist", "privacy", "redact"):
        found = found.get(key) if isinstance(found, dict) else None
    return isinstance(found, list)


def _pressure(draft: Draft) -> Findings:
    logging = draft.charter.checklist.logging
    if logging.pressure == "shed" and logging.durability == "commit":
        yield (
            ("checklist", "logging", "pressure"),
            "with durability commit no answer leaves before the disk has it, with pressure shed answers leave without "
            "the log; choose one",
        )


def _metrics(draft: Draft) -> Findings:
    from andon.measure.metric import parse_metric

    columns = draft.columns()
    for name, spec in draft.charter.metrics.items():
        try:
            metric = parse_metric(spec.of, draft.charter.target.classes)
        except AndonError as error:
            yield ("metrics", name, "of"), error.message
            continue
        for column in sorted(metric.needs - columns):
            yield ("metrics", name, "of"), _unknown("input", column, columns - RESERVED)


def _slices(draft: Draft) -> Findings:
    live = set(draft.charter.automation.slices) if "automation" not in draft.broken else set()
    for name, condition in draft.charter.slices.items():
        yield from _condition(draft, ("slices", name), condition, inputs_only=name in live)
    for name, spec in draft.charter.metrics.items():
        if spec.where is not None:
            yield from _condition(draft, ("metrics", name, "where"), spec.where, inputs_only=False)


def _condition(draft: Draft, path: Path, condition: str, *, inputs_only: bool) -> Findings:
    from andon.measure.slice import parse_slice

    columns = frozenset(draft.charter.inputs) if inputs_only else draft.columns()
    try:
        parse_slice(condition, columns)
    except AndonError as error:
        yield path, error.message


def _metric_names(draft: Draft) -> Findings:
    known = draft.names("metrics")
    charter = draft.charter
    if "rollout" not in draft.broken:
        for index, name in enumerate(charter.rollout.guardrails):
            if name not in known:
                yield ("rollout", "guardrails", index), _unknown("metric", name, known)
    for index, risk in enumerate(charter.risks):
        for place, name in enumerate(risk.shows_in):
            if name not in known:
                yield ("risks", index, "shows_in", place), _unknown("metric", name, known)


def _guardrail_bounds(draft: Draft) -> Findings:
    for index, name in enumerate(draft.charter.rollout.guardrails):
        spec = draft.charter.metrics.get(name)
        if spec is not None and spec.goal is None and spec.alarm is None:
            yield (
                ("rollout", "guardrails", index),
                f"the metric {name!r} has neither goal nor alarm to guard; give it one",
            )


def _automation(draft: Draft) -> Findings:
    automation, classes = draft.charter.automation, draft.charter.target.classes
    for name in automation.slices:
        if name not in draft.names("slices"):
            yield ("automation", "slices", name), _unknown("slice", name, draft.names("slices"))
    if "target" not in draft.broken:
        for index, label in enumerate(automation.partial.only or ()):
            if label not in classes:
                yield ("automation", "partial", "only", index), _unknown("class", label, classes)
    yield from _ladder(automation)


def _ladder(automation: Automation) -> Findings:
    """The way up, and how far the machine may go on it."""
    path = automation.path
    if list(path) != [level for level in get_args(Level) if level in path]:
        yield (
            ("automation", "path"),
            f"expected levels in the order {', '.join(get_args(Level))}, each once, found {', '.join(path)}",
        )
    if automation.promote == "automatic" and automation.highest not in path:
        yield (
            ("automation", "highest"),
            f"expected a level of automation.path ({', '.join(path)}), found {automation.highest}",
        )
    if automation.promote == "automatic" and not automation.partial.audit_share and automation.highest in _AUDITED:
        yield (
            ("automation", "partial", "audit_share"),
            f"with promote automatic up to {automation.highest}, expected a share above 0, found 0: without an audit "
            "nobody would see that the promise is broken",
        )


def _rollout(draft: Draft) -> Findings:
    path = draft.charter.rollout.path
    order = [step for step in ("shadow", "canary", "blue-green", "live") if step in path]
    if list(path) != order or path[-1] != "live":
        yield (
            ("rollout", "path"),
            f"expected some of shadow, canary, blue-green, live in this order, ending in live, found {', '.join(path)}",
        )
    steps, holdback = draft.charter.rollout.steps, draft.charter.rollout.holdback
    if list(steps) != sorted(set(steps)) or any(share >= 1 - holdback for share in steps):
        yield (
            ("rollout", "steps"),
            f"expected shares that grow and stay below {1 - holdback:g} (all but the holdback), "
            f"found {', '.join(f'{share:g}' for share in steps)}",
        )


def _baselines(draft: Draft) -> Findings:
    for index, baseline in enumerate(draft.charter.baselines):
        if (baseline.kind == "previous") != (baseline.release is not None):
            yield ("baselines", index), "expected a release with kind previous, and only there"


def _notify(draft: Draft) -> Findings:
    for index, target in enumerate(draft.charter.alarms.notify):
        try:
            parts = urlsplit(target)
        except ValueError:
            parts = urlsplit("")
        if not parts.scheme or not (parts.netloc or parts.path.strip("/")) or (_WEB.match(target) and not parts.netloc):
            yield (
                ("alarms", "notify", index),
                f"expected an address such as https://example.org/hook, found {shown(target)}",
            )


def _stages(draft: Draft) -> Findings:
    known: list[str] = []
    for index, stage in enumerate(draft.charter.stages):
        if stage.name in known:
            yield ("stages", index, "name"), f"the stage {stage.name!r} is given twice; keep one"
        if stage.after is not None and stage.after not in known:
            yield ("stages", index, "after"), f"expected a stage named before this one, found {shown(stage.after)}"
        known.append(stage.name)


def _unknown(kind: str, name: str, known: Any) -> str:
    return f"no {kind} is called {name!r}; {did_you_mean(name, known)}"


#: (the parts a rule needs to be sound, the rule)
_RULES: tuple[tuple[tuple[str, ...], Callable[[Draft], Findings]], ...] = (
    (("inputs",), _inputs),
    (("target",), _target),
    (("inputs", "unit", "checklist"), _columns_named),
    (("checklist",), _pressure),
    (("inputs", "target", "metrics"), _metrics),
    (("inputs", "slices", "metrics"), _slices),
    (("risks",), _metric_names),
    (("rollout", "metrics"), _guardrail_bounds),
    (("automation",), _automation),
    (("rollout",), _rollout),
    (("baselines",), _baselines),
    (("alarms",), _notify),
    (("stages",), _stages),
)
