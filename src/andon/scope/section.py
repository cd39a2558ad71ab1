"""The sections of a charter, one class each; what a key means is said under it and is what an editor shows.

Every section refuses unknown keys and wrong types. Durations are written like ``1h`` and held as microseconds.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from andon.core.reach import Reach
from andon.core.record import Level, Stays
from andon.scope.scalar import Alarm, BoundText, Duration, Many, Name, Redact, Text

__all__ = [
    "Alarms",
    "Automation",
    "Baseline",
    "Checklist",
    "Compute",
    "Gateway",
    "Logging",
    "MetricSpec",
    "Monitor",
    "Partial",
    "Privacy",
    "Retrain",
    "Review",
    "Risk",
    "Rollout",
    "Section",
    "Security",
    "Stage",
    "Target",
    "Unit",
]

Share = Annotated[float, Field(ge=0, le=1)]
Whole = Annotated[int, Field(ge=1, le=1_000_000_000)]


class Section(BaseModel):
    """A part of a charter: frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Target(Section):
    """What is decided."""

    name: Name
    """The column of training data that holds the label."""
    classes: Annotated[tuple[Text, ...], Field(strict=False, min_length=2, max_length=1000)]
    """Every answer there is, in the order scores are given."""
    truth: Literal["external", "human"] = "external"
    """Where labels come from: `external` (an outcome is observed later) or `human` (a person's judgement is all there is)."""
    delay_us: Duration = Field(0, alias="delay")
    """How late labels come; a window counts as mature only after it."""


class Unit(Section):
    """What is assigned to the canary or not, and never split."""

    source: Name = Field("request", alias="from")
    """`request` (each request, or the `unit` it carries) or the input column that names the unit."""


class Compute(Section):
    """The machine."""

    cores: Annotated[int, Field(ge=1, le=1024)] = 2
    """Processor cores."""
    gpu: Text = "none"
    """`none`, or which one."""
    memory_gb: Annotated[float, Field(gt=0, le=100_000)] = 4
    """Memory in gigabytes."""


class Logging(Section):
    """What is kept."""

    durability: Literal["flush", "commit"] = "flush"
    """`flush` (power loss costs at most the last 0.1 s) or `commit` (nothing; every answer waits for the disk). A killed process loses nothing in either."""
    pressure: Literal["block", "shed"] = "block"
    """When the log cannot be written, or the disk is behind by more than `backlog_mb`: `block` (no answer that is not in the log: 503 or 429, with Retry-After) or `shed` (answers go on; those that are in no log are counted exactly)."""
    backlog_mb: Annotated[int, Field(ge=1, le=65_536)] = 64
    """Megabytes (2**20 bytes) of each worker's log that may wait for the disk."""
    retain_days: Annotated[int, Field(ge=1, le=36_500)] = 365
    """Days that decisions are kept."""
    events: Text | None = None
    """An address (`http://host:port/path`) that gets every decision as two CloudEvents, request and response. `privacy` says which addresses it may be."""


class Security(Section):
    """Who may call."""

    tokens: Literal["required", "none"] = "none"
    """`required`: every call to the gateway carries a token; `none`: anyone who can reach the port."""


class Privacy(Section):
    """Where data may go."""

    stays: Stays = "organisation"
    """The widest circle that data may reach. `device`: notices go to this machine only, events nowhere; `organisation`: events go to private addresses and `hosts` only."""
    hosts: Many = ()
    """Names of hosts that count as inside the organisation."""
    redact: Redact = {}
    """Inputs whose values are never stored and never sent as they came: a list (nothing of them is kept), or what is kept of each: `drop`, `hash` (keyed), `mask(4)` (the last 4 characters), `truncate(5)` (a step of numbers, or so many characters), `truncate(day)`, `truncate(month)`."""

    @property
    def reach(self) -> Reach:
        """How far data may go, to be asked of any way out."""
        return Reach(self.stays, self.hosts)


class Checklist(Section):
    """The questions about the service; each answer configures something or is tested."""

    mode: Literal["realtime", "batch", "both"] = "realtime"
    """Decisions one at a time, in batches, or both."""
    place: Literal["server", "edge", "browser"] = "server"
    """Where the model runs."""
    compute: Compute = Compute()
    """The machine it gets."""
    latency_p95_ms: Annotated[float, Field(gt=0, le=3_600_000)] | None = None
    """95 of 100 answers leave within this many milliseconds."""
    throughput_qps: Annotated[float, Field(gt=0, le=10_000_000)] | None = None
    """Requests per second it has to carry."""
    logging: Logging = Logging()
    """What is kept, and how safely."""
    security: Security = Security()
    """Who may call."""
    privacy: Privacy = Privacy()
    """Where data may go."""


class MetricSpec(Section):
    """A metric, where it should be (goal) and when to ring (alarm)."""

    of: Text
    """What is measured: `accuracy`, `error_rate`, `recall[positive]`, `mean(cough)`, `latency_p95_ms`, ..."""
    goal: BoundText | None = None
    """A bound that a release must meet on its test data: the gate of `release`."""
    alarm: Alarm | None = None
    """A bound watched live, or `reference`: the range seen in the training data."""
    critical: bool = False
    """The goal must hold on every slice too, and the alarm watches every slice: one alarm for each."""
    where: Text | None = None
    """Only records for which this condition holds, written like a slice."""
    then: Literal["notify", "people", "rollback"] = "notify"
    """What a firing alarm does: `notify` only, send every decision to `people`, or `rollback` to the release before."""
    margin: Annotated[float, Field(gt=0)] | None = None
    """For a mean or a value as a guardrail: so much worse than on the live release, in its own unit, is not accepted."""
    for_windows: Annotated[int, Field(ge=1, le=1000)] = 1
    """Windows in a row that must be outside the bound before it rings."""


class Risk(Section):
    """Something that could go wrong."""

    what: Text
    """The risk in one sentence."""
    shows_in: Many = ()
    """The metrics that would show it."""


class Baseline(Section):
    """What the model is compared with."""

    kind: Literal["human", "literature", "quick", "previous"]
    """People, a published figure, a quick model, or an earlier release."""
    release: Text | None = None
    """Which release, for kind `previous`."""
    values: dict[Name, Annotated[float, Field()]] = {}
    """Known figures by metric, for kinds `human` and `literature`."""
    source: Text | None = None
    """Where the figures come from."""


class Partial(Section):
    """Partial automation: the model decides what it is sure of, people decide the rest."""

    max_error: Annotated[float, Field(gt=0, lt=1)] = 0.02
    """The share of wrong answers among the automatic ones that is accepted."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """How sure the data must make us that `max_error` holds."""
    blind: bool = True
    """People do not see the model's suggestion."""
    audit_share: Share = 0.02
    """The share of automatic answers that a person looks at too."""
    only: Many | None = None
    """The labels that may be automatic; all of them if not given."""
    evidence_us: Duration = Field(28 * 86_400_000_000, alias="evidence", gt=0, json_schema_extra={"default": "4w"})
    """How far back cases count as evidence: what held long ago says little about now."""


class Automation(Section):
    """How much the model decides by itself."""

    level: Level = "shadow"
    """`human`, `shadow` (people decide, the model is watched), `assist` (people see its suggestion), `partial` or `full`. If not given it follows from the case: new: full, else shadow."""
    partial: Partial = Partial()  # type: ignore[call-arg]
    """The rules at level `partial`."""
    slices: dict[Name, Level] = {}
    """Another level for a slice; the first that matches counts. No evidence raises it above that by itself."""
    path: Annotated[tuple[Level, ...], Field(strict=False, min_length=1)] = (
        "human",
        "shadow",
        "assist",
        "partial",
        "full",
    )
    """The levels on the way up, one at a time; leave out those that nobody wants, such as `assist` where people decide blind."""
    promote: Literal["suggest", "automatic"] = "suggest"
    """What evidence for the next level does: `suggest` it to people, or `automatic`: raise the level. A breach of `max_error` lowers it in either."""
    highest: Level = "partial"
    """The highest level that `promote: automatic` may raise to; above it people decide."""


class Review(Section):
    """The people who decide."""

    reviewers_per_hour: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    """Cases that people can decide in an hour, all together."""
    deadline_us: Duration = Field(3_600_000_000, alias="deadline", json_schema_extra={"default": "1h"}, gt=0)
    """How long a case may wait for a person."""
    on_timeout: Literal["safe_default", "wait", "escalate"] = "safe_default"
    """After the deadline: answer the `safe_default`, `wait` on, or `escalate`: move it to the front of the queue."""
    undo_us: Duration = Field(10_000_000, alias="undo", json_schema_extra={"default": "10s"}, ge=0)
    """How long an answer given on the board can be taken back before the client gets it; 0 sends it at once."""
    double_share: Share = 0
    """The share of answered cases that a second person looks at, and a third where they differ; the first answer is sent."""


class Rollout(Section):
    """How a new release gets to be live."""

    path: Annotated[
        tuple[Literal["shadow", "canary", "blue-green", "live"], ...], Field(strict=False, min_length=1)
    ] = (
        "canary",
        "live",
    )
    """The steps. If not given they follow from the case: new: canary, live; automate: shadow, canary, live; replace: shadow, canary, blue-green, live."""
    start_share: Annotated[float, Field(gt=0, le=1)] = 0.05
    """The share of units that a canary starts with."""
    guardrails: Many = ()
    """The metrics that must not get worse on the way; those with a goal if not given."""
    margin: Annotated[float, Field(gt=1, le=100)] = 1.5
    """A release is safe when its share of units with an event is shown to be below so many times the live one's."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """The chance of calling a harmless release harmful."""
    beta: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """The chance of calling a release safe that is worse by the margin."""
    budget: Annotated[float, Field(gt=0, le=1_000_000_000)] = 20
    """How many units with an event more than on the live release are accepted, for each guardrail: a canary's share grows as this allows, and falls back to `start_share` when it may be spent; there it goes on until there is a verdict, which may cost more."""
    negligible: Annotated[float, Field(ge=0, lt=1)] = 0.001
    """Below this share of units with an event a release is safe, whatever the ratio; 0 asks for the ratio always."""
    bake_us: Duration = Field(86_400_000_000, alias="bake", json_schema_extra={"default": "1d"}, ge=0)
    """How long an automatic rollout watches a cleared release, at least, with everything but the holdback (and compares on), before it gets the rest; longer where `target.delay` says that labels come later."""
    steps: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(strict=False, max_length=100)] = ()
    """Shares of the units that a blue/green goes through, each for 300 cases without harm; at once if not given."""
    holdback: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """The share of units that the old release keeps, to compare with: in a blue/green until the new one is cleared, and while it bakes; 0 keeps none, and a cleared release gets everything at once."""
    on_harm: Literal["rollback", "freeze", "people"] = "rollback"
    """What harm does in an automatic rollout: back to the old release, stop the ramp, or everything to people."""


class Alarms(Section):
    """How loud the line may be."""

    false_per_month: Annotated[float, Field(gt=0, le=10_000)] = 1
    """False alarms a month that are tolerable, over all metrics."""
    notify: Many = ()
    """Addresses to tell: a webhook, or any address that apprise knows."""


class Retrain(Section):
    """How a new model comes about."""

    mode: Literal["manual", "suggest", "automatic"] = "manual"
    """`manual`, `suggest` (say when it is time), or `automatic`."""


class Stage(Section):
    """One model of several."""

    name: Name
    """Its name."""
    after: Name | None = None
    """The stage it takes its input from."""


class Monitor(Section):
    """How live data are cut into windows."""

    window_us: Duration = Field(300_000_000, alias="window", json_schema_extra={"default": "5m"}, gt=0)
    """The length of one window."""


class Board(Section):
    """The pages for people."""

    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """The port. If not given, the one after the gateway's, or a free one where that is taken."""


class Gateway(Section):
    """The door that requests come through."""

    port: Annotated[int, Field(ge=1, le=65_535)] = 8700
    """The port."""
    workers: Annotated[int, Field(ge=1, le=256)] = 2
    """Worker processes. If not given, one for each of the checklist's cores."""
    max_body_bytes: Whole = 8 << 20
    """The largest request body."""
    queue: Whole = 1024
    """Requests that may wait in one worker; beyond it the answer is 429."""
    idempotency_seconds: Annotated[float, Field(gt=0, le=10_000_000)] = 3600
    """How long the same id gets the same answer."""
    idempotency_ids: Whole = 1_000_000
    """How many ids are remembered at most."""
    isolation: Literal["auto", "process", "none"] = "auto"
    """Which models get a process of their own: those kept as Python objects, all, or none."""
    model_memory_mb: Annotated[int, Field(ge=0, le=1 << 24)] = 0
    """How much memory such a process may take for its model; 0 is no limit."""
    model_seconds: Annotated[float, Field(ge=0.05, le=9)] = 5.0
    """How long such a process, or another server, may take for one batch."""
