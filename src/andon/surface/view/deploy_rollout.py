"""The automatic rollout on the Deploy page: where it is and why, each guardrail's evidence against both thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from andon.measure.estimate import Estimate
from andon.surface.station import Known, State
from andon.surface.view.deploy_rollout_words import Outlook, lamp_of, outlook, word_of

if TYPE_CHECKING:
    from andon.config import Project
    from andon.deploy.rollout_proof import Judged

__all__ = ["RailNow", "RolloutNow", "rollout_now"]


class RailNow(msgspec.Struct, frozen=True):
    """One guardrail: the ratio of shares with its interval, and how far each evidence is on its way, as parts of 1.

    ``harm`` and ``safe`` are the evidence over its threshold: at 1 it is reached. ``kind`` says where ``ratio`` is no ratio.
    """

    name: str
    state: State
    said: str
    ratio: Estimate
    events: int
    harm: float
    safe: float
    says: str
    kind: Literal["ratio", "difference", "alone"] = "ratio"


class RolloutNow(msgspec.Struct, frozen=True):
    """The newest automatic rollout. ``missing`` is what the next step waits for, ``outlook`` who can do what about it.

    ``eta_us`` is when it may come, where evidence is what it waits for (None: not known).
    """

    name: str
    version: str
    live: str
    state: str
    lamp: State
    word: str
    sentence: str
    since_us: int
    share: float
    missing: tuple[str, ...]
    rails: tuple[RailNow, ...]
    shown: dict[str, str]
    budget: float
    budget_left: float
    eta_us: int | None
    as_of_us: int
    may_freeze: bool
    may_resume: bool
    outlook: Outlook = Outlook()


def rollout_now(project: Project, known: Known) -> RolloutNow | None:
    """The rollout that is on its way; None where there is none, or it cannot be read now (``known`` keeps why)."""
    from andon.deploy.rollout_store import active
    from andon.monitor.explain import explain

    kept = known.ask(lambda: active(project.workspace))
    if kept is None:
        return None
    found = known.ask(lambda: explain(project.workspace, project.charter, kept))
    if found is None:
        return None
    comes = outlook(kept.rollout, found, project.workspace.routes.current(), project.clock.now())
    return RolloutNow(
        name=found.name,
        version=found.version,
        live=found.live,
        state=found.state,
        lamp=lamp_of(found.state),
        word=word_of(found.state, found.reason),
        sentence=found.sentence,
        since_us=found.since_us,
        share=found.share,
        missing=found.missing,
        rails=tuple(_rail(one) for one in found.guardrails),
        shown=found.shown,
        budget=found.budget,
        budget_left=found.budget_left,
        eta_us=comes.eta_us,
        as_of_us=found.as_of_us,
        may_freeze=found.state not in ("frozen", "rolling_back"),
        may_resume=comes.may_resume,
        outlook=comes,
    )


def _rail(one: Judged) -> RailNow:
    lamps: dict[str, State] = {"harm": "stop", "safe": "good"}
    return RailNow(
        one.name,
        lamps.get(one.said, "idle"),
        one.said.replace("_", " "),
        one.ratio,
        one.events,
        min(1.0, max(0.0, one.log_harm / one.harm_at)),
        min(1.0, max(0.0, one.log_safe / one.safe_at)),
        one.says,
        one.kind,
    )
