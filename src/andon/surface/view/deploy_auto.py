"""What a person asks of the automatic rollout on the board: begin it, freeze it, let it go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from andon.surface.page import Command, Done, Preview
from andon.surface.view.deploy_act import OfVersion, Why

if TYPE_CHECKING:
    from andon.surface.visit import Visit

__all__ = ["COMMANDS", "Begun"]


class Begun(Done, frozen=True, kw_only=True):
    """The rollout that was asked for or about, by name."""

    rollout: str


def _begin(visit: Visit, given: OfVersion) -> Done:
    from andon.deploy.rollout_plan import pattern_of
    from andon.deploy.rollout_store import start

    project, who = visit.project, visit.viewer.name
    pattern = pattern_of(project.charter)
    made = start(project.workspace, project.charter, given.version, actor=who, reason=given.reason, pattern=pattern)
    return Begun(sentence=f"the rollout {made.name} begins: {' → '.join(made.plan.path)}", rollout=made.name)


def _ask_begin(visit: Visit, given: OfVersion) -> Preview:
    from andon.deploy.rollout_plan import pattern_of
    from andon.deploy.rollout_store import drafted
    from andon.monitor.explain import foresee
    from andon.surface.station import Known

    project, who = visit.project, visit.viewer.name
    plan = drafted(
        project.workspace, project.charter, given.version, actor=who, pattern=pattern_of(project.charter)
    ).plan
    said = Known().ask(lambda: foresee(project.workspace, project.charter, plan)) or ()
    return Preview(
        title=f"Roll {given.version} out by evidence?",
        now=f"{plan.live} answers" if plan.live else "people answer",
        then=f"{' → '.join(plan.path)}, as the evidence allows, or back to {plan.old}",
        facts=said,
    )


def _asked(what: Literal["freeze", "resume"]) -> Command:
    def run(visit: Visit, given: Why) -> Done:
        from andon.deploy.line import Line
        from andon.deploy.rollout_store import ask, freeze

        project = visit.project
        if what == "freeze":
            frozen, said = freeze(project.workspace, actor=visit.viewer.name, reason=given.reason)
            return Begun(sentence=said, rollout=frozen)
        made = ask(project.workspace, what, actor=visit.viewer.name, reason=given.reason)
        route = project.workspace.routes.current()
        if route is not None and route.held:
            Line(project.workspace, project.charter).resume(actor=visit.viewer.name, reason=given.reason)
        return Begun(sentence=f"the rollout {made.name} goes on with the controller's next look", rollout=made.name)

    name, title = ("deploy.freeze", "Freeze it") if what == "freeze" else ("deploy.go-on", "Let it go on")
    return Command(name, title, Why, run, "deploy", None, Begun, back="/deploy")


COMMANDS: tuple[Command, ...] = (
    Command("deploy.auto", "Roll it out by evidence", OfVersion, _begin, "deploy", _ask_begin, Begun, back="/deploy"),
    _asked("freeze"),
    _asked("resume"),
)
