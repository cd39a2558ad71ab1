"""What a person does to the line on the board: the commands of ``andon deploy``, ``andon automate``, ``stop`` and ``start``.

Each calls the same action of ``andon.deploy.line.Line`` as the command line, in the viewer's name; each can say
beforehand what it would do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec

from andon.core.record import Route
from andon.deploy.prospect import Prospects
from andon.surface.page import Command, Done, Preview
from andon.surface.view.deploy_preview import preview

if TYPE_CHECKING:
    from andon.deploy.line import Act, Line
    from andon.people.access import Action
    from andon.surface.visit import Visit

__all__ = ["COMMANDS", "Acted"]

P = TypeVar("P", bound=msgspec.Struct)
_Version = Annotated[str, msgspec.Meta(title="Release", min_length=1, max_length=64, description="Such as v2.")]
_Share = Annotated[float, msgspec.Meta(title="Share of the units", gt=0, le=1, description="Above 0 and at most 1.")]
_Reason = Annotated[str, msgspec.Meta(title="Why", max_length=1000)]
_Slice = Annotated[
    str,
    msgspec.Meta(title="Slice", min_length=1, max_length=200, description="A slice of the charter; * is all others."),
]


class Why(msgspec.Struct, frozen=True):
    """Nothing but a reason, which is kept in the journal."""

    reason: _Reason = ""


class Stop(msgspec.Struct, frozen=True):
    """How to stop: every decision to people, or with ``safe_default`` that answer at once."""

    safe_default: Annotated[
        bool, msgspec.Meta(title="Answer the safe default at once", description="instead of asking people")
    ] = False
    reason: _Reason = ""


class OfVersion(msgspec.Struct, frozen=True):
    """A release by its version."""

    version: _Version
    reason: _Reason = ""


class Canary(msgspec.Struct, frozen=True):
    """A release and the share of the units that it gets; the charter's ``rollout.start_share`` when none is given."""

    version: _Version
    share: _Share | None = None
    reason: _Reason = ""


class Ramp(msgspec.Struct, frozen=True):
    """The candidate's next share."""

    share: _Share
    reason: _Reason = ""


class Switch(msgspec.Struct, frozen=True):
    """The release to make live; the candidate when none is named."""

    version: Annotated[str, msgspec.Meta(title="Release", max_length=64, description="The candidate if left out.")] = ""
    reason: _Reason = ""


class Automate(msgspec.Struct, frozen=True):
    """The level of automation of a slice, or of everything that no slice matches."""

    level: Annotated[Literal["human", "shadow", "assist", "partial", "full"], msgspec.Meta(title="Level")]
    slice: _Slice = "*"
    reason: _Reason = ""


class Acted(Done, frozen=True, kw_only=True):
    """What an action did: the route now in force (as ``andon deploy status --json`` shows it) and who follows it.

    ``journalled`` is False when the database was gone: then the journal follows. ``following`` of ``workers`` live
    workers answer by the route already.
    """

    epoch: int
    route: dict[str, Any]
    journalled: bool
    following: int
    workers: int


def _acted(act: Act) -> Acted:
    from andon.deploy.chronicle import route_view

    return Acted(
        sentence=f"{act.sentence} (route {act.epoch})",
        notes=act.notes,
        epoch=act.epoch,
        route=route_view(act.route),
        journalled=act.journalled,
        following=act.following,
        workers=act.workers,
    )


def _command(
    name: str,
    titles: tuple[str, str],
    params: type[P],
    wish: Callable[[Prospects, P], Route],
    act: Callable[[Line, P, dict[str, Any]], Act],
    may: Action = "deploy",
) -> Command:
    """One command. ``titles`` are its button's text and the question above the preview, which may name a parameter."""

    def run(visit: Visit, given: P) -> Done:
        from andon.deploy.line import Line

        line = Line(visit.project.workspace, visit.project.charter)
        return _acted(act(line, given, {"actor": visit.viewer.name, "reason": getattr(given, "reason", "")}))

    def ask(visit: Visit, given: P) -> Preview:
        title = titles[1].format_map(_words(given))
        return preview(visit, title, lambda prospects: wish(prospects, given))

    return Command(name, titles[0], params, run, may, ask, Acted, back="/deploy")


COMMANDS: tuple[Command, ...] = (
    _command(
        "stop",
        ("Stop the line", "Stop the line?"),
        Stop,
        lambda prospects, given: prospects.stop(_mode(given)),
        lambda line, given, who: line.stop(_mode(given), **who),
        may="stop",
    ),
    _command(
        "start",
        ("Start the line", "Start the line again?"),
        Why,
        lambda prospects, given: prospects.start(),
        lambda line, given, who: line.start(**who),
    ),
    _command(
        "deploy.shadow",
        ("Run it in the shadow", "Let {version} predict unseen?"),
        OfVersion,
        lambda prospects, given: prospects.shadow(given.version),
        lambda line, given, who: line.shadow(given.version, **who),
    ),
    _command(
        "deploy.unshadow",
        ("End the shadow", "End the shadow of {version}?"),
        OfVersion,
        lambda prospects, given: prospects.unshadow(given.version),
        lambda line, given, who: line.unshadow(given.version, **who),
    ),
    _command(
        "deploy.canary",
        ("Start the canary", "Send a share of the units to {version}?"),
        Canary,
        lambda prospects, given: prospects.canary(given.version, given.share),
        lambda line, given, who: line.canary(given.version, given.share, **who),
    ),
    _command(
        "deploy.ramp",
        ("Change the share", "Change the candidate's share?"),
        Ramp,
        lambda prospects, given: prospects.ramp(given.share),
        lambda line, given, who: line.ramp(given.share, **who),
    ),
    _command(
        "deploy.blue-green",
        ("Load it, let it stand by", "Load {version} beside the live version?"),
        OfVersion,
        lambda prospects, given: prospects.blue_green(given.version),
        lambda line, given, who: line.blue_green(given.version, **who),
    ),
    _command(
        "deploy.switch",
        ("Make it live", "Make {version} live at once?"),
        Switch,
        lambda prospects, given: prospects.switch(given.version or None),
        lambda line, given, who: line.switch(given.version or None, **who),
    ),
    _command(
        "deploy.hold",
        ("Hold the share", "Keep the candidate's share as it is?"),
        Why,
        lambda prospects, given: prospects.hold(),
        lambda line, given, who: line.hold(**who),
    ),
    _command(
        "deploy.resume",
        ("Let it go on", "Let the held rollout go on?"),
        Why,
        lambda prospects, given: prospects.resume(),
        lambda line, given, who: line.resume(**who),
    ),
    _command(
        "deploy.rollback",
        ("Roll back", "Go back to what answered before?"),
        Why,
        lambda prospects, given: prospects.rollback(),
        lambda line, given, who: line.rollback(**who),
    ),
    _command(
        "automate",
        ("Set the level", "Level {level} for {slice}?"),
        Automate,
        lambda prospects, given: prospects.automate(given.level, given.slice),
        lambda line, given, who: line.automate(given.level, given.slice, **who),
    ),
)


def _words(given: msgspec.Struct) -> dict[str, str]:
    """What a question may name."""
    cases = getattr(given, "slice", "*")
    return {
        "version": getattr(given, "version", "") or "the candidate",
        "level": getattr(given, "level", ""),
        "slice": "all other cases" if cases == "*" else cases,
    }


def _mode(given: Stop) -> Literal["people", "safe_default"]:
    return "safe_default" if given.safe_default else "people"
