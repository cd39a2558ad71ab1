"""One look at a rollout, and the transitions that may come of it; what every rule of the rollout is given.

>>> from andon.deploy.rollout_record import Plan
>>> rollout = Rollout("v2#1", Plan("v2", "v1", ("canary", "live"), ("error",)), "canary", "canary", share=0.05)
>>> look = Look(rollout, Evidence(Standing(7, "v1", "v2", 0.05)), 0)
>>> held = look.hold("no_data", "nobody came")
>>> held.after, held.place, held.share
('hold', 'canary', 0.05)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from andon.deploy.rollout_proof import eta_us
from andon.deploy.rollout_record import Do, Evidence, Plan, Rollout, Standing, State, Transition

__all__ = ["Look", "Rule"]


@dataclass(frozen=True, slots=True)
class Look:
    """One look: the rollout, what is known, the hour."""

    rollout: Rollout
    evidence: Evidence
    now_us: int

    @property
    def plan(self) -> Plan:
        """What the rollout was begun with."""
        return self.rollout.plan

    @property
    def route(self) -> Standing:
        """The line as it is."""
        return self.evidence.standing

    @property
    def on_old(self) -> bool:
        """Whether the version that was live (or people, where none was) still is."""
        return (self.route.live or "") == self.plan.live

    @property
    def compared(self) -> bool:
        """Whether the version answers beside another one (or people), with which it is compared."""
        return self.route.candidate == self.plan.version

    @property
    def frozen(self) -> bool:
        """Whether it is frozen, or a person has asked for that since."""
        word = self.evidence.word
        return self.rollout.state == "frozen" or (word is not None and word.what == "freeze")

    def to(self, after: State, reason: str, sentence: str, **more: Any) -> Transition:
        """A transition; the place on the way and the share stay as they are unless given."""
        now = self.rollout
        stays = after in ("hold", "frozen", "rolling_back")
        more.setdefault("place", now.place if stays else after)
        more.setdefault("share", now.share)
        more.setdefault("floor", now.floor)
        return Transition(now.number + 1, now.state, after, reason=reason, sentence=sentence, **more)

    def hold(self, reason: str, sentence: str, **more: Any) -> Transition | None:
        """Hold for a reason, or stay where it holds for it already."""
        if (self.rollout.state, self.rollout.reason) == ("hold", reason) and not more.get("do"):
            return None
        return self.to("hold", reason, sentence, **more)

    def go_on(self) -> Transition | None:
        """Leave a hold; elsewhere nothing."""
        if self.rollout.state != "hold":
            return None
        return self.to(self.rollout.place, "", f"goes on; it held: {self.rollout.sentence}", eta_us=self.eta())

    def eta(self) -> int | None:
        """When a good candidate would be cleared."""
        return eta_us(self.rollout, self.evidence)

    def back(self, reason: str, sentence: str) -> Transition:
        """Take the version off the line."""
        do: Do = "unshadow" if self.rollout.place == "shadow" else "rollback"
        return self.to("rolling_back", reason, sentence, do=do)

    def pin(self) -> Do:
        """What keeps the share as it is, where there is one to keep."""
        return "hold" if self.route.candidate == self.plan.version and not self.route.held else ""


Rule = Callable[[Look], "Transition | None"]
"""One rule: the transition it asks for, or None."""
