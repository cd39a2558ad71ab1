"""A charter as sentences: what each key says, in the order in which one would tell it, with its line in the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from andon.scope.checklist import QUESTIONS, value_at
from andon.scope.scalar import duration_text

if TYPE_CHECKING:
    from andon.scope.charter import Charter

__all__ = ["CharterText", "Clause", "Input", "Part", "SliceText", "charter_text"]

Said = Iterator[tuple[str, str]]


class Clause(msgspec.Struct, frozen=True):
    """What one key says. ``line`` is None where the file does not have the key and a default holds; ``acts`` is False
    where the answer is only recorded in this release.
    """

    key: str
    text: str
    line: int | None
    acts: bool = True


class Part(msgspec.Struct, frozen=True):
    """A few clauses under one heading."""

    title: str
    clauses: tuple[Clause, ...]


class Input(msgspec.Struct, frozen=True):
    """One input: its kind, whether it may be missing, and what is allowed (None: anything of the kind)."""

    name: str
    kind: str
    optional: bool
    categories: tuple[str, ...] | None
    low: float | None
    high: float | None
    line: int | None


class SliceText(msgspec.Struct, frozen=True):
    """One slice: its condition on the inputs, and the level of automation where the charter sets its own."""

    name: str
    condition: str
    level: str | None
    line: int | None


class CharterText(msgspec.Struct, frozen=True):
    """The whole charter for reading; metrics, risks and questions have their own tables."""

    parts: tuple[Part, ...]
    inputs: tuple[Input, ...]
    slices: tuple[SliceText, ...]


def charter_text(charter: Charter, lines: Mapping[str, int]) -> CharterText:
    """A charter in words; ``lines`` are the lines of the file's keys."""
    levels = charter.automation.slices
    fields = charter.fields()
    return CharterText(
        parts=tuple(_part(charter, lines, title, said(charter)) for title, said in _PARTS),
        inputs=tuple(
            Input(one.name, one.kind, one.optional, one.categories, one.low, one.high, lines.get(f"inputs.{one.name}"))
            for one in fields
        ),
        slices=tuple(
            SliceText(name, condition, levels.get(name), lines.get(f"slices.{name}"))
            for name, condition in charter.slices.items()
        ),
    )


def _part(charter: Charter, lines: Mapping[str, int], title: str, said: Said) -> Part:
    clauses = tuple(Clause(key, text, lines.get(key), _acts(charter, key)) for key, text in said)
    return Part(title, clauses)


_RECORDED = {question.key: question.idle for question in QUESTIONS if question.idle is not None}


def _acts(charter: Charter, key: str) -> bool:
    idle = _RECORDED.get(key)
    return idle is None or not idle(value_at(charter, key))


def _decided(charter: Charter) -> Said:
    target = charter.target
    yield "problem", charter.problem or "Nobody has written down yet what is decided, and for whom."
    yield (
        "target",
        f"The answer is one of {_either(target.classes)}; training data have it in the column {target.name}.",
    )
    late = f", up to {_time(target.delay_us)} later" if target.delay_us else ""
    truth = {
        "external": f"What is true is seen afterwards{late}",
        "human": f"What is true is a person's judgement{late}",
    }
    yield "target.truth", truth[target.truth] + "."
    yield "safe_default", f"Where nobody and nothing can decide, the answer is “{charter.safe_default}”."
    yield (
        "owner",
        f"Who answers for it: {charter.owner}." if charter.owner else "Nobody is named who answers for it.",
    )
    yield "phase", _PHASES[charter.phase]
    yield "case", _CASES[charter.case]
    yield "population", _POPULATIONS[charter.population]
    unit = charter.unit.source
    yield (
        "unit.from",
        (
            "Each request stands for itself; a canary may take any of them."
            if unit == "request"
            else f"Rows with the same {unit} belong together and are never split between two releases."
        ),
    )


_PHASES = {
    "poc": "It is a proof of concept: steps by hand are allowed, with a note.",
    "production": "It is in production: only recorded steps count.",
}
_CASES = {
    "new": "It is a new ability; nobody decided this before.",
    "automate": "It automates what people decide today.",
    "replace": "It replaces a system that decides today.",
}
_POPULATIONS = {
    "users": "It decides about many users, who change slowly.",
    "enterprise": "It decides for an enterprise, where everything can shift in a minute.",
}


def _service(charter: Charter) -> Said:
    asked, gateway = charter.checklist, charter.gateway
    modes = {"realtime": "one at a time, as they come", "batch": "in batches", "both": "one at a time and in batches"}
    yield "checklist.mode", f"Cases are decided {modes[asked.mode]}."
    places = {"server": "on a server", "edge": "at the edge", "browser": "in the browser"}
    compute = asked.compute
    gpu = "no GPU" if compute.gpu == "none" else f"the GPU {compute.gpu}"
    yield "checklist.place", f"The model runs {places[asked.place]}."
    yield "checklist.compute", f"It has {_count(compute.cores, 'core')}, {compute.memory_gb:g} GB of memory and {gpu}."
    if asked.latency_p95_ms is not None:
        yield "checklist.latency_p95_ms", f"95 of 100 answers leave within {asked.latency_p95_ms:g} ms."
    if asked.throughput_qps is not None:
        yield "checklist.throughput_qps", f"It has to carry {asked.throughput_qps:,g} requests a second."
    costs = {"flush": "at most the last 0.1 s of decisions", "commit": "nothing; every answer waits for the disk"}
    yield "checklist.logging.durability", f"A power cut may cost {costs[asked.logging.durability]}."
    yield "checklist.logging.retain_days", f"Decisions are kept for {_count(asked.logging.retain_days, 'day')}."
    if asked.logging.events is not None:
        from andon.monitor.sink import shown_sink

        yield "checklist.logging.events", f"Every decision is told to {shown_sink(asked.logging.events)}."
    tokens = {"required": "Every call carries a token.", "none": "Anyone who reaches the port may call."}
    yield "checklist.security.tokens", tokens[asked.security.tokens]
    stays = {"device": "on this device", "organisation": "within the organisation", "anywhere": "anywhere"}
    yield "checklist.privacy.stays", f"Data stay {stays[asked.privacy.stays]}."
    redact = asked.privacy.redact
    yield (
        "checklist.privacy.redact",
        _redacted(redact) if redact else "Every input is stored with its decision.",
    )
    yield (
        "gateway",
        f"The gateway listens on port {gateway.port} with {_count(gateway.workers, 'worker')}; {gateway.queue:,} requests may wait in each.",
    )


def _redacted(rules: Mapping[str, str]) -> str:
    dropped = [name for name, rule in rules.items() if rule == "drop"]
    parts = [f"Never stored: {', '.join(dropped)}."] if dropped else []
    kept = [f"{name} ({rule})" for name, rule in rules.items() if rule != "drop"]
    parts += [f"Stored otherwise than it came: {', '.join(kept)}."] if kept else []
    return " ".join(parts)


_LEVELS = {
    "human": "People decide; no model is asked.",
    "shadow": "People decide; the model is asked and watched, unseen.",
    "assist": "People decide and see the model's suggestion.",
    "partial": "The model decides what it is sure of, people decide the rest.",
    "full": "The model decides.",
}


def _deciders(charter: Charter) -> Said:
    partial = charter.automation.partial
    yield (
        "automation.level",
        f"The line begins at level {charter.automation.level}. {_LEVELS[charter.automation.level]}",
    )
    only = f" Only {_either(partial.only)} may be automatic." if partial.only else ""
    yield (
        "automation.partial",
        (
            f"At level partial at most {_percent(partial.max_error)} of the automatic answers may be wrong, "
            f"shown with {_percent(partial.confidence)} confidence by cases of the last {_time(partial.evidence_us)}.{only}"
        ),
    )
    yield (
        "automation.partial.blind",
        (
            "People do not see what the model would have said."
            if partial.blind
            else "People see what the model would have said."
        ),
    )
    yield (
        "automation.partial.audit_share",
        f"A person looks at {_percent(partial.audit_share)} of the automatic answers, too.",
    )
    automation = charter.automation
    yield (
        "automation.promote",
        (
            "Evidence suggests the next level, and a person sets it."
            if automation.promote == "suggest"
            else f"Evidence raises a level by itself, one at a time, up to {automation.highest}."
        )
        + " A broken promise lowers it at once.",
    )
    yield "automation.path", f"The levels on the way up are {_either(automation.path, 'and')}."
    yield from _reviewers(charter)


def _reviewers(charter: Charter) -> Said:
    review = charter.review
    yield "review.deadline", f"A case may wait {_time(review.deadline_us)} for a person."
    after = {
        "safe_default": f"After that the answer is “{charter.safe_default}”.",
        "wait": "After that it waits on.",
        "escalate": "After that it goes to the front of the queue.",
    }
    yield "review.on_timeout", after[review.on_timeout]
    if review.reviewers_per_hour is not None:
        yield (
            "review.reviewers_per_hour",
            f"People can decide {review.reviewers_per_hour:g} cases an hour, all together.",
        )
    if review.double_share:
        yield (
            "review.double_share",
            f"A second person looks at {_percent(review.double_share)} of what people answered.",
        )


def _releases(charter: Charter) -> Said:
    rollout = charter.rollout
    yield "rollout.path", f"A new release goes {' → '.join(rollout.path)}."
    yield "rollout.start_share", f"A canary begins with {_percent(rollout.start_share)} of the units."
    if rollout.guardrails:
        yield "rollout.guardrails", f"On the way {_either(rollout.guardrails, 'and')} must not get worse."
    yield "rollout.margin", f"Safe is below {rollout.margin:g} times the live release's share of units with an event."
    yield "rollout.alpha", f"The chance to call a harmless release harmful is {_percent(rollout.alpha)}."
    yield "rollout.beta", f"The chance to call one safe that is worse by that is {_percent(rollout.beta)}."
    yield (
        "rollout.budget",
        f"An automatic rollout may cost {rollout.budget:g} units with an event more, for each guardrail.",
    )
    yield (
        "rollout.negligible",
        f"Below {_percent(rollout.negligible)} of the units a release is safe, whatever the ratio.",
    )
    yield "rollout.bake", _bakes(rollout.bake_us, rollout.holdback)
    harm = {
        "rollback": "goes back to the release before",
        "freeze": "stops the ramp",
        "people": "sends everything to people",
    }
    yield "rollout.on_harm", f"When there is harm the line {harm[rollout.on_harm]}."
    kinds = {
        "human": "people",
        "literature": "published figures",
        "quick": "a quick model",
        "previous": "an earlier release",
    }
    compared = [one.release or kinds[one.kind] for one in charter.baselines]
    yield (
        "baselines",
        f"It is compared with {_either(compared, 'and')}." if compared else "It is compared with nothing yet.",
    )
    modes = {"manual": "You decide", "suggest": "The line says when it is time", "automatic": "The line decides"}
    yield "retrain.mode", f"{modes[charter.retrain.mode]} to train again."
    if charter.stages:
        chain = [f"{one.name} after {one.after}" if one.after else one.name for one in charter.stages]
        yield "stages", f"There are several models: {', '.join(chain)}."


def _bakes(bake_us: int, holdback: float) -> str:
    """What a cleared release has until the rollout is settled.

    >>> _bakes(86_400_000_000, 0.05), _bakes(3_600_000_000, 0.0)
    ('Cleared, it bakes for 1 day at least, with all but 5 % of the units.', 'Cleared, it bakes for 1 hour at least, with everything.')
    """
    gets = f"all but {_percent(holdback)} of the units" if holdback else "everything"
    return f"Cleared, it bakes for {_time(bake_us)} at least, with {gets}."


def _watching(charter: Charter) -> Said:
    from andon.monitor.notify import shown_target

    alarms = charter.alarms
    yield "monitor.window", f"Live data are cut into windows of {_time(charter.monitor.window_us)}."
    yield "alarms.false_per_month", f"Tolerable false alarms a month, over all metrics: {alarms.false_per_month:g}."
    told = [shown_target(target) for target in alarms.notify]
    yield (
        "alarms.notify",
        f"Alarms are told to {_either(told, 'and')}." if told else "Alarms are told to nobody; they are seen here.",
    )


_PARTS = (
    ("What is decided", _decided),
    ("Who decides", _deciders),
    ("The service", _service),
    ("How a release gets live", _releases),
    ("How it is watched", _watching),
)


def _time(us: int) -> str:
    """A duration in words.

    >>> _time(172_800_000_000), _time(3_600_000_000), _time(90_000_000)
    ('2 days', '1 hour', '90 seconds')
    """
    text = duration_text(us)
    number = text.rstrip("dhmsu")
    name = {"d": "day", "h": "hour", "m": "minute", "s": "second"}.get(text[len(number) :])
    return f"{number} {name}{'' if number == '1' else 's'}" if name else text


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"


def _count(n: int, thing: str) -> str:
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def _either(names: tuple[str, ...] | list[str], word: str = "or") -> str:
    """A short list in words; a long one is cut.

    >>> _either(("a", "b", "c")), _either(["a"], "and")
    ('a, b or c', 'a')
    """
    shown = list(names[:12])
    if len(names) > len(shown):
        return f"{', '.join(shown)} {word} {len(names) - len(shown)} more"
    return f"{', '.join(shown[:-1])} {word} {shown[-1]}" if len(shown) > 1 else shown[0]
