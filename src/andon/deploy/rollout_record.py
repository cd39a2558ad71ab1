"""The records of an automatic rollout: its plan, its state, what is known about it, and what it does next.

All are frozen, JSON-ready and free of anything that would have to be looked up, so that one event of the journal holds
all that a decision of ``andon.deploy.rollout.step`` was made from.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from andon.measure.alone import Alone
from andon.measure.bounded import Difference
from andon.measure.evidence import Assigned
from andon.measure.guardrail import Guardrail

__all__ = [
    "CONTROLLER",
    "ENDED",
    "HARM",
    "LEAST_SHADOWED",
    "Do",
    "Evidence",
    "OnHarm",
    "Plan",
    "Rail",
    "Rollout",
    "Shadowed",
    "Standing",
    "State",
    "Transition",
    "Word",
    "waits_for_a_word",
]

State = Literal[
    "draft",
    "preflight",
    "shadow",
    "canary",
    "blue_green",
    "hold",
    "bake",
    "settled",
    "rolling_back",
    "rolled_back",
    "rejected",
    "frozen",
    "superseded",
    "aborted",
]
#: What a transition does to the line; "" is nothing.
Do = Literal["", "shadow", "unshadow", "canary", "ramp", "switch", "rollback", "hold", "people"]
OnHarm = Literal["rollback", "freeze", "people"]

#: States after which nothing comes.
ENDED: frozenset[State] = frozenset({"settled", "rolled_back", "rejected", "superseded", "aborted"})
#: The actor of everything that an automatic rollout does.
CONTROLLER = "controller"
#: The reason of whatever happens because harm was shown.
HARM = "harm"
#: Cases in the shadow before a canary begins: none failed of these shows that fewer than 1 % do (299, at 95 %). So many
#: the candidate answers in each step of a gradual blue/green, too, before the next one.
LEAST_SHADOWED = 300


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a rollout was begun with: the charter's rules as they were then.

    ``guardrails`` are those that are judged. ``budget`` is how many units with an event more than the live version's
    are accepted, for each guardrail. Below a share of ``negligible`` units with an event a candidate is safe, whatever
    the ratio. ``horizon_us`` is how late labels come; ``bake_us`` how long a cleared version bakes at least, with
    ``bake_share`` of the units: 1 is everything, and the old version then only stays loaded.
    ``cap`` is the largest share of a canary. In a blue/green the candidate gets ``steps`` of the units, one after the other,
    then all but a ``holdback``, with which it is compared until it is cleared.

    ``live`` is "" where no version is live: the first release. Then, and where a blue/green leaves nobody to compare with,
    ``limits`` has what each guardrail may be by the charter's goal. ``margins`` are those of means.

    ``edition`` is that of the rules by which it goes on until it is over, so that what a journal of before has is decided again
    as it was. From 2 on, late guardrails are negligible by labels alone that had time to come, and it bakes for time and cases
    in which it was compared.
    """

    version: str
    live: str
    path: tuple[str, ...]
    guardrails: tuple[str, ...]
    start_share: float = 0.05
    margin: float = 1.5
    alpha: float = 0.05
    beta: float = 0.05
    on_harm: OnHarm = "rollback"
    budget: float = 20.0
    negligible: float = 0.001
    horizon_us: int = 0
    #: Not the charter's default: what a journal leaves out stays what it was when it was left out.
    bake_us: int = 3_600_000_000
    reviewers_per_hour: float | None = None
    cap: float = 0.5
    actor: str = ""
    reason: str = ""
    steps: tuple[float, ...] = ()
    holdback: float = 0.0
    limits: dict[str, float] = {}
    margins: dict[str, float] = {}
    bake_share: float = 1.0
    edition: int = 1

    @property
    def old(self) -> str:
        """Who answers without it, for people."""
        return self.live or "people"


class Rail(msgspec.Struct, frozen=True, omit_defaults=True):
    """The evidence of one guardrail; ``units`` are those of (candidate, live) of which it is known how they went.

    A ``late`` one needs labels, people or feedback; ``matured`` is then what the cases say whose labels had time to come.
    Where means are compared, or the release is held against a goal alone, ``other`` (and ``matured_other``) is what counts
    and ``guard`` is empty. Where people look at a ``sampled`` part of the answers, ``units`` are those drawn, ``weight`` is how
    many units with an event (or with a value) one of the candidate's stands for, and ``cases`` how many automatic answers each
    of its units has: nobody sees all that went wrong for one. ``requests`` are (with the event, of which it is known) of the candidate and of the live version:
    shown, not decided on.
    """

    name: str
    guard: Guardrail
    units: tuple[int, int] = (0, 0)
    late: bool = False
    matured: Guardrail | None = None
    matured_units: tuple[int, int] = (0, 0)
    other: Difference | Alone | None = None
    matured_other: Difference | Alone | None = None
    requests: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    sampled: bool = False
    weight: float = 1.0
    cases: float = 1.0


class Shadowed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the shadow has shown: cases, those it could not answer, and pairs in which one alone failed or was wrong."""

    cases: int
    failed: int
    rails: tuple[Guardrail, ...]


class Standing(msgspec.Struct, frozen=True, omit_defaults=True):
    """The route as a rollout sees it. ``asked``: some slice asks a model; ``used``: in some one an answer of a model counts,
    or is seen by whoever decides. ``trouble`` says what a worker says is wrong.

    ``actor``, ``action`` and ``why`` are of the route with which who answers, and how far, last changed.
    """

    epoch: int
    live: str | None
    candidate: str | None = None
    share: float = 0.0
    held: bool = False
    shadows: tuple[str, ...] = ()
    stopped: bool = False
    asked: bool = True
    used: bool = True
    trouble: str = ""
    actor: str = ""
    action: str = ""
    why: str = ""


class Word(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person asked of a rollout where no route says it."""

    what: Literal["freeze", "resume"]
    actor: str
    reason: str = ""


class Evidence(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that a decision is made from, besides the rollout and the hour.

    ``position`` is the place in each stream of the log up to which it was read. ``candidate`` and ``live`` count units,
    ``fresh`` counts the candidate's cases under the share now. ``last_us`` is the last case of either arm, ``per_hour`` how
    many units there are lately, ``deferred_per_hour`` how many cases would come to people if the candidate had all.
    ``every_us`` is how soon it is looked at again. ``newer`` names a rollout begun later, ``older`` one that still runs;
    ``unfit`` says why the version cannot be used at all, ``failed`` what went wrong when this rollout last acted, ``loading``
    which workers have not loaded it yet.
    """

    standing: Standing
    as_of_us: int = 0
    position: dict[str, int] = {}
    rails: tuple[Rail, ...] = ()
    assigned: Assigned | None = None
    candidate: int = 0
    live: int = 0
    fresh: int = 0
    last_us: int | None = None
    per_hour: float = 0.0
    deferred_per_hour: float = 0.0
    every_us: int = 300_000_000
    shadow: Shadowed | None = None
    newer: str = ""
    older: str = ""
    unfit: str = ""
    failed: str = ""
    word: Word | None = None
    loading: str = ""


class Rollout(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a rollout is. ``reason`` is one word, ``sentence`` says it for people; ``number`` counts transitions.

    ``place`` is where it is on the way (shadow, canary, blue_green, bake) also while it holds or is frozen. ``first_epoch`` is the
    route in force when it began; ``share_us`` when the share was last changed; ``floor`` a share that a person set:
    it is not lowered by itself.
    """

    name: str
    plan: Plan
    state: State = "draft"
    place: State = "draft"
    reason: str = ""
    sentence: str = ""
    number: int = 0
    began_us: int = 0
    since_us: int = 0
    first_epoch: int = 0
    share: float = 0.0
    share_us: int = 0
    floor: float = 0.0
    eta_us: int | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing comes any more."""
        return self.state in ENDED


def waits_for_a_word(rollout: Rollout) -> bool:
    """Whether what is known does not clear it while it bakes, so that a person may keep it by a word.

    >>> waits_for_a_word(Rollout("v2#1", Plan("v2", "v1", ("canary", "live"), ()), "hold", "bake", "label_lag"))
    True
    """
    undecided = rollout.reason in ("label_lag", "inconclusive")
    return rollout.state == "hold" and rollout.place == "bake" and undecided


class Transition(msgspec.Struct, frozen=True, omit_defaults=True):
    """From one state to the next: why, what is done to the line for it, and the sentence that explains it."""

    number: int
    before: State
    after: State
    place: State
    reason: str
    sentence: str
    do: Do = ""
    share: float = 0.0
    floor: float = 0.0
    eta_us: int | None = None

    def applied(self, rollout: Rollout, now_us: int) -> Rollout:
        """The rollout after it. What it could not be compared in while it baked is no part of the time that it has its share."""
        moved = self.share != rollout.share or self.do in ("canary", "switch")
        cut_off = rollout.place == "bake" and (rollout.state, rollout.reason) == ("hold", "dependency")
        lost_us = now_us - rollout.since_us if cut_off and rollout.plan.edition > 1 else 0
        return msgspec.structs.replace(
            rollout,
            state=self.after,
            place=self.place,
            reason=self.reason,
            sentence=self.sentence,
            number=self.number,
            since_us=now_us,
            share=self.share,
            share_us=now_us if moved else rollout.share_us + lost_us,
            floor=self.floor,
            eta_us=self.eta_us,
        )
