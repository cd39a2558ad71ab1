"""What an edit of the charter changes, key by key, and what of it is felt when.

Two valid charters are compared with all defaults filled in, so that writing a default down changes nothing.

>>> from andon.scope.charter import parse
>>> head = "project: line\\ninputs: {a: float, b: int}\\ntarget: {name: y, classes: [good, bad]}\\nsafe_default: refer\\n"
>>> before = parse(head + "review: {deadline: 1h}")
>>> after = parse(head + "review: {deadline: 2h}\\nrisks: [{what: fraud}]")
>>> for change in changes(before, after): print(change.key, change.before, change.after, change.place)
risks["fraud"].what None fraud risks[0].what
review.deadline 1h 2h review.deadline
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from andon.scope.charter import Charter
from andon.scope.scalar import duration_text

__all__ = ["Change", "Effect", "changes", "effect_of", "leaves", "spelled"]

#: Keys whose values are microseconds.
_DURATIONS = frozenset(
    ("target.delay", "automation.partial.evidence", "review.deadline", "review.undo", "monitor.window", "rollout.bake")
)
#: Mappings whose order means something: columns travel in it, and the first slice that matches counts.
_ORDERED = ("inputs", "automation.slices")


class Change(msgspec.Struct, frozen=True):
    """One key, as the charter writes its values; None: it is not there.

    An entry of a list is named by what it is (``risks["fraud"]``), so that one put before it does not change it;
    ``place`` is where the new charter has it (``risks[0].what``), or "" where it has not.
    """

    key: str
    before: str | None
    after: str | None
    place: str = ""


class Effect(msgspec.Struct, frozen=True):
    """When a change of the keys below ``key`` is felt: by the commands that read the file each time, and by the line."""

    key: str
    commands: str
    line: str


_UP = "from the next `andon up` on"
_NOBODY = "nothing acts on it in this release"

#: The longest key that fits counts.
_EFFECTS: tuple[Effect, ...] = (
    Effect("project", "new datasets are called by it", f"its address changes {_UP}"),
    Effect(
        "inputs",
        "`andon data add` checks rows by it, and new models take it",
        f"requests are checked by it {_UP}; a release keeps the inputs it was sealed with",
    ),
    Effect("target", "`andon data add` and `andon train` take it", f"answers and labels are checked by it {_UP}"),
    Effect("phase", "`andon data add` takes rows changed by hand or not", ""),
    Effect("case", "", "what it gives `automation.level` and `rollout.path` when they are left out"),
    Effect("unit", "", f"the gateway takes it {_UP}"),
    Effect("safe_default", "", f"a route with it is published {_UP}"),
    Effect("checklist", "", _NOBODY),
    Effect("checklist.compute.cores", "", f"as many workers, unless `gateway.workers` says otherwise, {_UP}"),
    Effect("checklist.compute.memory_gb", "`andon scope size` plans with it", ""),
    Effect("checklist.throughput_qps", "`andon load` and `andon scope size` take it", ""),
    Effect("checklist.latency_p95_ms", "`andon check` asks for a metric that watches it", ""),
    Effect("checklist.logging.durability", "", f"the gateway takes it {_UP}"),
    Effect("checklist.logging.events", "", f"the controller sends to it {_UP}"),
    Effect("checklist.logging.retain_days", "", f"the controller deletes by it {_UP}"),
    Effect("checklist.security", "", f"the gateway asks for tokens or not {_UP}"),
    Effect("checklist.privacy", "", f"what is stored and who is told follow it {_UP}"),
    Effect(
        "metrics",
        "`andon train` measures by it and `andon release` judges by its goals",
        f"windows and alarms follow it {_UP}; the windows of a metric that means something else begin anew",
    ),
    Effect(
        "slices",
        "`andon train`, `andon errors` and `andon automate` take it",
        f"windows and the levels of automation by slice follow it {_UP}",
    ),
    Effect("baselines", "`andon evaluate` sets a run beside them", ""),
    Effect("risks", "`andon scope risks` and `andon check` show it", ""),
    Effect(
        "automation.level", "", "only a line that has no route yet begins with it; `andon automate` changes the level"
    ),
    Effect(
        "automation.slices", "", "only a line that has no route yet begins with it; `andon automate` changes the level"
    ),
    Effect("automation.partial", "`andon automate partial` learns by it", ""),
    Effect("automation.partial.only", "`andon automate partial` learns by it", f"a route with it is published {_UP}"),
    Effect("automation.partial.blind", "", f"a route with it is published {_UP}"),
    Effect("automation.partial.audit_share", "", f"a route with it is published {_UP}"),
    Effect("review.deadline", "", f"a route with it is published {_UP}; cases that wait keep theirs"),
    Effect("review.on_timeout", "`andon review` follows it", f"the controller answers by it {_UP}"),
    Effect("review.undo", "", f"the board holds answers so long {_UP}"),
    Effect("review.reviewers_per_hour", "`andon scope size` plans with it", ""),
    Effect(
        "review.double_share",
        "`andon review` and `andon scope size` follow it",
        f"the board and the controller draw by it {_UP}",
    ),
    Effect("rollout", "the next automatic rollout begins with it; one on its way keeps what it began with", ""),
    Effect("rollout.path", "`andon status` proposes the next step by it; the next automatic rollout follows it", ""),
    Effect(
        "rollout.guardrails",
        "the next automatic rollout judges by them",
        f"both arms of a canary are measured by them {_UP}",
    ),
    Effect("rollout.start_share", "`andon deploy canary` begins with it", ""),
    Effect("alarms", "", f"the controller takes it {_UP}"),
    Effect("monitor", "", f"windows are cut by it {_UP}"),
    Effect("gateway", "", f"the gateway takes it {_UP}"),
    Effect("board.port", "", f"the board's address changes {_UP}"),
    Effect("", "", _NOBODY),
)


def effect_of(key: str) -> Effect:
    """What a change of this key is felt by, and when.

    >>> effect_of("rollout.start_share").commands, effect_of("stages[0].name").line
    ('`andon deploy canary` begins with it', 'nothing acts on it in this release')
    """
    key = key.partition(" ")[0]
    fits = [one for one in _EFFECTS if not one.key or key == one.key or key.startswith((f"{one.key}.", f"{one.key}["))]
    return max(fits, key=lambda one: len(one.key))


def leaves(charter: Charter) -> dict[str, str]:
    """Every value of a charter by its key, as the file would write it, defaults filled in; what is empty is left out."""
    return {leaf.key: leaf.text for leaf in _leaves("", "", charter.to_dict())}


def changes(before: Charter, after: Charter) -> list[Change]:
    """Every key whose value differs, in the order of the charter; a changed order is told where it means something."""
    old = {leaf.key: leaf for leaf in _leaves("", "", before.to_dict())}
    new = {leaf.key: leaf for leaf in _leaves("", "", after.to_dict())}
    found = [_change(key, old.get(key), new.get(key)) for key in _merged(list(old), list(new))]
    found = [one for one in found if one.before != one.after]
    for key in _ORDERED:
        was, now = _order(before, key), _order(after, key)
        if was != now and set(was) == set(now):
            found.append(Change(f"{key} (order)", ", ".join(was), ", ".join(now), key))
    return found


def spelled(key: str, value: Any) -> str:
    """A value as the file would write it.

    >>> spelled("review.deadline", 3_600_000_000), spelled("x", True), spelled("x", 0.05), spelled("x", ["a", "b"])
    ('1h', 'true', '0.05', '[a, b]')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if key in _DURATIONS:
        return duration_text(int(value))
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(spelled('', one) for one in value)}]"
    return "nothing" if value is None else str(value)


class _Leaf(NamedTuple):
    key: str
    place: str
    text: str


def _change(key: str, old: _Leaf | None, new: _Leaf | None) -> Change:
    was, now = (None if leaf is None else leaf.text for leaf in (old, new))
    return Change(_SHORT.sub(_shortened, key), was, now, new.place if new is not None else "")


_SHORT = re.compile(r'\["(.*)"\]', re.DOTALL)


def _shortened(name: re.Match[str]) -> str:
    text = " ".join(name[1].split())
    return f'["{text if len(text) <= 40 else text[:39] + "…"}"]'


def _merged(old: list[str], new: list[str]) -> list[str]:
    """All keys in the order of the new charter, what is gone behind its neighbour of the old one."""
    places = {key: (float(place), 0) for place, key in enumerate(new)}
    last = -1.0
    for key in old:
        last = places.setdefault(key, (last + 0.5 if last == int(last) else last, 1))[0]
    return sorted(places, key=places.__getitem__)


def _order(charter: Charter, key: str) -> list[str]:
    return list(charter.inputs if key == "inputs" else charter.automation.slices)


def _leaves(key: str, place: str, value: Any) -> Iterator[_Leaf]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(f"{key}.{name}" if key else name, f"{place}.{name}" if place else name, item)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, name in enumerate(_names(value)):
            yield from _leaves(f'{key}["{name}"]', f"{place}[{number}]", value[number])
    elif value not in (None, []):
        yield _Leaf(key, place, spelled(place, value))


def _names(entries: Sequence[dict[str, Any]]) -> list[str]:
    """What each entry of a list is called: a risk's ``what``, a stage's ``name``, a baseline's ``kind``."""
    names: list[str] = []
    for entry in entries:
        name = str(next((entry[one] for one in ("what", "name", "kind") if one in entry), ""))
        twice = sum(one == name or one.startswith(f"{name} #") for one in names)
        names.append(f"{name} #{twice + 1}" if twice else name)
    return names
