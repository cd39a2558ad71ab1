"""``andon.yaml`` as it is now, held against the copy of what the line took: valid or not, and what would change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from andon.errors import AndonError, CharterError, UsageError
from andon.scope.change import Change, changes, effect_of
from andon.scope.charter import Charter, examine
from andon.scope.checklist import doubts
from andon.scope.fault import Fault, read
from andon.scope.taken import Taken, read_text, taken, text_hash

if TYPE_CHECKING:
    from andon.config import Project

__all__ = ["CharterFile", "Edit", "FileFault", "Source", "TakenCopy", "lines_by_key", "read_source"]

_NOTIFY = "alarms.notify"
_EVENTS = "checklist.logging.events"


class FileFault(msgspec.Struct, frozen=True):
    """One fault of the file: its line, its key ("" for the file as a whole) and one sentence."""

    line: int
    key: str
    sentence: str


class Edit(msgspec.Struct, frozen=True):
    """One key that the file has otherwise than what the line took (None: not there).

    ``commands`` says which commands take it at once, because they read the file each time, ``effect`` when the line does.
    """

    key: str
    before: str | None
    after: str | None
    line: int | None
    commands: str
    effect: str


class TakenCopy(msgspec.Struct, frozen=True):
    """What the line took: 12 digits of the text's hash, and when by the machine's clock; ``fault``: why it is no use."""

    hash: str
    wall_us: int
    same: bool
    fault: str = ""


class CharterFile(msgspec.Struct, frozen=True):
    """The file. ``taken`` is None where the line never started; ``running`` whether it runs now.

    ``edits`` can only be told where the file is valid; ``doubts`` are allowed but probably not meant.
    """

    path: str
    valid: bool
    sentence: str
    hash: str = ""
    faults: tuple[FileFault, ...] = ()
    doubts: tuple[str, ...] = ()
    taken: TakenCopy | None = None
    running: bool = False
    changes: tuple[Edit, ...] = ()


@dataclass(frozen=True)
class Source:
    """The charter to show, the lines of its keys in the file as it is now, which charter that is, and the file."""

    shown: Charter
    lines: dict[str, int]
    says: str
    file: CharterFile


def read_source(project: Project) -> Source:
    """Read the file and the copy. Nothing that is wrong with either is raised; the page says it."""
    from andon.config import CHARTER
    from andon.deploy.crew import alive

    home = project.workspace.home
    running = bool(alive(project.workspace.routes.acks()))
    text, now, faults = _now(project)
    copy, copied, why = _copied(home)
    edits = _edits(copied, now, text) if copied is not None and now is not None else ()
    taken_copy = None
    if copy is not None or why:
        same = copy is not None and copy.hash == text_hash(text)
        taken_copy = TakenCopy(copy.hash[:12] if copy else "", copy.wall_us if copy else 0, same, why)
    file = CharterFile(
        path=CHARTER,
        valid=now is not None,
        sentence=_sentence(now is not None, len(faults), taken_copy, edits, running),
        hash=text_hash(text)[:12] if text else "",
        faults=faults,
        doubts=tuple(doubts(now)) if now is not None else (),
        taken=taken_copy,
        running=running,
        changes=edits,
    )
    shown, says = _in_force(project, now, copied, running)
    return Source(shown, lines_by_key(text), says, file)


def lines_by_key(text: str) -> dict[str, int]:
    """The line of every key that the text has; none where it is not YAML.

    >>> lines_by_key("project: line\\nreview:\\n  deadline: 1h")
    {'': 1, 'project': 1, 'review': 2, 'review.deadline': 3}
    """
    _, lines, _ = read(text)
    return {_dotted(path): line for path, line in lines.items()}


def _dotted(path: tuple[str | int, ...]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _now(project: Project) -> tuple[str, Charter | None, tuple[FileFault, ...]]:
    """The file's text, the charter in it where it is valid, and its faults."""
    from andon.config import CHARTER
    from andon.monitor.notify import check_targets
    from andon.monitor.sink import check_sink

    try:
        text = read_text(project.root / CHARTER)
    except UsageError as error:
        return "", None, (FileFault(1, "", error.message),)
    charter, found = examine(text)
    faults = [FileFault(one.line, one.path, one.sentence) for one in found]
    if charter is not None and not faults:
        try:
            privacy = charter.checklist.privacy
            check_targets(charter.alarms.notify, privacy.stays)
            check_sink(charter.checklist.logging.events, privacy.stays, privacy.hosts)
        except UsageError as error:
            faults.append(_address_fault(text, error))
    return text, charter if not faults else None, tuple(faults)


def _address_fault(text: str, error: UsageError) -> FileFault:
    key, _, said = error.message.partition(": ")
    fault = Fault(lines_by_key(text).get(key, 1), key, said)
    return FileFault(fault.line, fault.path, fault.sentence)


def _copied(home: object) -> tuple[Taken | None, Charter | None, str]:
    """The copy, the charter in it, and why it is of no use."""
    from pathlib import Path

    assert isinstance(home, Path)
    try:
        copy = taken(home)
    except AndonError as error:
        return None, None, error.message
    if copy is None:
        return None, None, ""
    try:
        return copy, copy.charter(), ""
    except CharterError as error:
        first = error.faults[0] if error.faults else error.message
        return copy, None, f"this release does not understand it any more: {first}"


def _edits(before: Charter, after: Charter, text: str) -> tuple[Edit, ...]:
    lines = lines_by_key(text)
    return tuple(_edit(change, before, after, lines) for change in changes(before, after))


def _edit(change: Change, before: Charter, after: Charter, lines: dict[str, int]) -> Edit:
    key, effect = change.key.partition(" ")[0], effect_of(change.key)
    was, now = change.before, change.after
    if key.startswith(_NOTIFY):
        was, now = (_addresses(charter) for charter in (before, after))
    elif key == _EVENTS:
        was, now = (_receiver(charter) for charter in (before, after))
    return Edit(change.key, was, now, lines.get(change.place), effect.commands, effect.line)


def _addresses(charter: Charter) -> str | None:
    """Addresses hold secrets: only their kind and host are shown."""
    from andon.monitor.notify import shown_target

    shown = [shown_target(target) for target in charter.alarms.notify]
    return ", ".join(shown) or None


def _receiver(charter: Charter) -> str | None:
    from andon.monitor.sink import shown_sink

    url = charter.checklist.logging.events
    return None if url is None else shown_sink(url)


def _sentence(valid: bool, faults: int, copy: TakenCopy | None, edits: tuple[Edit, ...], running: bool) -> str:
    """How the file stands to the line."""
    from andon.surface.station import count

    took = "the running line took" if running else "the line took when it last started"
    if not valid:
        other = "" if copy is None else f"; what {took} is another one"
        return f"The file has {count(faults, 'fault')}: `andon up` would not start with it{other}."
    if copy is None:
        return "The file is valid. The line was never started by `andon up`, so there is nothing to hold it against."
    if copy.fault:
        return f"The file is valid. What {took} cannot be compared: {copy.fault}."
    if copy.same:
        return f"The file is valid, and it is what {took}, byte for byte."
    if not edits:
        return f"The file is valid. It is written otherwise than what {took}, but says the same."
    return f"The file is valid. It says {count(len(edits), 'thing')} otherwise than what {took}."


def _in_force(project: Project, now: Charter | None, copied: Charter | None, running: bool) -> tuple[Charter, str]:
    if running and copied is not None:
        return copied, "the charter that the running line took"
    if now is not None:
        return now, "the charter in the file as it is now"
    if copied is not None:
        return copied, "the charter that the line took when it last started, because the file has faults"
    return project.charter, "the charter as this board read it when it started, because the file has faults"
