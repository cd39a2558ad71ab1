"""The questions every deployment has to answer, what each answer configures, and which test shows it.

``QUESTIONS`` is the table of ``docs/scope.md`` (a test keeps the two equal). An answer on which nothing acts in this
release says so: it is recorded, and ``idle`` names it whenever a charter asks for it.

>>> from andon.scope.charter import parse
>>> charter = parse('''
... project: line
... inputs: {a: float}
... target: {name: y, classes: [good, bad]}
... safe_default: refer
... checklist: {mode: batch, place: server}
... ''')
>>> [question.key for question in unanswered(charter)][:4]
['problem', 'owner', 'phase', 'case']
>>> idle(charter)
["checklist.mode: 'batch' is recorded; nothing acts on it yet"]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from andon.scope.charter import Charter
from andon.scope.section import MetricSpec
from andon.scope.spans import too_short

__all__ = ["QUESTIONS", "Question", "doubts", "idle", "unanswered", "value_at"]

_ALWAYS: Callable[[Any], bool] = bool


@dataclass(frozen=True, slots=True)
class Question:
    """One question: the charter's key that answers it, what the answer configures, and the test that shows it.

    ``idle`` tells for which answers nothing happens in this release; None: something acts on every answer.
    """

    key: str
    asks: str
    configures: str
    test: str = ""
    idle: Callable[[Any], bool] | None = None


_SHOWN = "recorded: `scope show`"
_CHARTER = "tests/scope/test_charter.py::"

QUESTIONS: tuple[Question, ...] = (
    Question("problem", "What is decided, and for whom?", _SHOWN),
    Question("owner", "Who answers for it?", _SHOWN),
    Question(
        "phase",
        "Proof of concept or production?",
        "production: `data add` takes no rows that were changed by hand",
        "tests/surface/test_data_commands.py::test_wrong_use_is_a_sentence",
    ),
    Question(
        "case",
        "A new ability, an automated task, or a replaced system?",
        "the defaults of `automation.level` and `rollout.path`",
        _CHARTER + "test_the_case_gives_the_path_unless_the_charter_does",
    ),
    Question("population", "Many users, or an enterprise that can shift in a minute?", _SHOWN),
    Question(
        "safe_default",
        "What is answered when nobody and nothing can decide?",
        "the answer after the review deadline and of `stop --mode safe_default`",
        "tests/people/test_inbox.py::test_the_deadline_answers_the_safe_default_once",
    ),
    Question(
        "unit.from",
        "What may not be split between two releases?",
        "which unit is hashed to canary or live",
        "tests/deploy/test_route.py::test_assignment_is_stable",
    ),
    Question("checklist.mode", "Realtime or batch?", "`realtime`: the gateway", "", lambda mode: mode != "realtime"),
    Question(
        "checklist.place", "Server, edge or browser?", "`server`: `andon up`", "", lambda place: place != "server"
    ),
    Question(
        "checklist.compute.cores",
        "How many processor cores?",
        "the default of `gateway.workers`",
        _CHARTER + "test_the_cores_give_the_workers_unless_the_charter_does",
    ),
    Question("checklist.compute.gpu", "A GPU?", "`none`: nothing", "", lambda gpu: gpu != "none"),
    Question("checklist.compute.memory_gb", "How much memory?", _SHOWN, "", _ALWAYS),
    Question(
        "checklist.latency_p95_ms",
        "How quick must an answer be?",
        "`check` asks for a metric that watches it",
        "tests/scope/test_checklist.py::test_a_promised_latency_is_watched",
    ),
    Question("checklist.throughput_qps", "How many requests per second?", _SHOWN, "", _ALWAYS),
    Question(
        "checklist.logging.durability",
        "What may a power cut cost?",
        "when the log is synced to disk",
        "tests/store/test_writer.py::test_commit_answers_only_after_a_sync_that_covers_the_frame_and_groups_them",
    ),
    Question(
        "checklist.logging.pressure",
        "What when the log cannot keep up?",
        "`block`: no answer without a record; `shed`: answers go on, the missing records are counted",
        "tests/deploy/test_shed.py::test_the_log_and_its_gaps_add_up_to_the_answers",
    ),
    Question(
        "checklist.logging.retain_days",
        "How long are decisions kept?",
        "when the controller deletes days of the log",
        "tests/store/test_log.py::test_retention_deletes_whole_days_from_the_disk_and_keeps_what_was_reached",
    ),
    Question(
        "checklist.security.tokens",
        "Who may call?",
        "whether the gateway asks for a token",
        "tests/scope/test_answers.py::test_an_answer_reaches_the_gateway",
    ),
    Question(
        "checklist.privacy.stays",
        "Where may data go?",
        "`device`: notices go to this machine only, events nowhere; `organisation`: events stay inside",
        "tests/monitor/test_events.py::test_where_events_may_go",
    ),
    Question(
        "checklist.privacy.redact",
        "What is never stored?",
        "what of which inputs is written to the log: nothing, a keyed hash, a mask, or a coarser value",
        "tests/deploy/test_redaction.py::test_what_is_redacted_is_in_no_file_of_the_workspace",
    ),
    Question(
        "metrics",
        "What is measured, with which goals and alarms?",
        "release gates, live metrics, alarms",
        "tests/deploy/test_release.py::test_a_gate_that_fails_or_is_unsure_stops_it",
    ),
    Question(
        "risks",
        "What could go wrong?",
        "`scope risks` and `check`",
        "tests/scope/test_risk.py::test_every_risk_has_its_state",
    ),
    Question("baselines", "What is it compared with?", _SHOWN, "", _ALWAYS),
    Question(
        "automation.level",
        "How much does the model decide by itself?",
        "the level that the line begins with",
        "tests/deploy/test_line.py::test_the_line_begins_as_the_charter_says",
    ),
    Question(
        "automation.partial.max_error",
        "How many of its own answers may be wrong?",
        "the confidence from which an answer is automatic",
        "tests/deploy/test_line.py::test_partial_learns_a_threshold_for_each_slice_from_its_own_cases",
    ),
    Question(
        "automation.promote",
        "Who raises a level when the evidence is there?",
        "`suggest`: people; `automatic`: the controller, one level at a time up to `automation.highest`",
        "tests/monitor/test_climb.py::test_one_level_at_a_time_on_evidence_since_the_last_change",
    ),
    Question(
        "review.reviewers_per_hour",
        "How many cases can people decide in an hour?",
        "level partial is offered only where what it leaves to people is at most 0.8 times that",
        "tests/deploy/test_ladder.py::test_capacity_at_its_edge",
    ),
    Question(
        "review.deadline",
        "How long may a case wait for a person?",
        "the deadline in the inbox",
        "tests/deploy/test_line.py::test_the_inbox_has_the_charters_policy",
    ),
    Question(
        "review.double_share",
        "How many cases do two people decide?",
        "the share of answered cases that a second person sees, and a third where they differ",
        "tests/people/test_double.py::test_a_second_person_looks_blindly_and_the_client_waits_for_nobody",
    ),
    Question(
        "rollout.path",
        "Which steps lead to live?",
        "the way of an automatic rollout",
        "tests/monitor/test_steer.py::test_the_whole_way_through_the_shadow",
    ),
    Question(
        "rollout.start_share",
        "How many units does a canary begin with?",
        "the share of `deploy canary` when none is given",
        "tests/deploy/test_line.py::test_the_whole_way_of_a_release",
    ),
    Question(
        "rollout.guardrails",
        "What must not get worse on the way to live?",
        "what an automatic rollout judges",
        "tests/deploy/test_rollout.py::test_one_guardrail_without_evidence_keeps_it_from_everything",
    ),
    Question(
        "rollout.margin",
        "How much worse is not safe?",
        "when an automatic rollout calls a release safe",
        "tests/deploy/test_rollout.py::test_all_guardrails_safe_gives_it_everything_and_matured_labels_settle_it",
    ),
    Question(
        "rollout.alpha",
        "How often may harmless be called harmful?",
        "how much evidence of harm is enough",
        "tests/deploy/test_rollout.py::test_harm_acts_in_every_state",
    ),
    Question(
        "rollout.beta",
        "How often may harm be missed?",
        "how much evidence of safety is enough",
        "tests/deploy/test_rollout.py::test_a_candidate_whose_share_is_negligible_is_safe_without_any_event",
    ),
    Question(
        "rollout.budget",
        "How many bad outcomes more may a rollout cost?",
        "how fast its share grows",
        "tests/deploy/test_rollout.py::test_the_harm_budget_and_not_the_clock_makes_the_share_grow",
    ),
    Question(
        "rollout.holdback",
        "How many units stay on the old release until the new one is settled?",
        "the share that a blue/green and the bake leave on the old release, to compare with",
        "tests/deploy/test_rollout_green.py::test_at_once_everything_but_the_holdback_until_it_is_cleared",
    ),
    Question(
        "rollout.on_harm",
        "What does harm do?",
        "what an automatic rollout does when harm is shown",
        "tests/deploy/test_rollout.py::test_harm_acts_in_every_state",
    ),
    Question(
        "alarms.false_per_month",
        "How many false alarms are tolerable?",
        "how wide the bounds of alarms on the reference are",
        "tests/monitor/test_threshold.py::test_the_budget_of_false_alarms_is_shared",
    ),
    Question(
        "alarms.notify",
        "Who is told?",
        "where a firing alarm is sent",
        "tests/monitor/test_notify.py::test_a_webhook_gets_json",
    ),
    Question(
        "retrain.mode", "Who decides to train again?", "`manual`: nobody but you", "", lambda mode: mode != "manual"
    ),
    Question("stages", "Several models in a row?", _SHOWN, "", _ALWAYS),
)


def unanswered(charter: Charter) -> list[Question]:
    """The questions that the file leaves to a default, in the order of the table.

    Beyond the checklist itself, a question whose answer nothing acts on is not pressed.
    """
    pressed = [one for one in QUESTIONS if one.idle is not _ALWAYS or one.key.startswith("checklist.")]
    return [one for one in pressed if not charter.answered(one.key) or value_at(charter, one.key) == ""]


def idle(charter: Charter) -> list[str]:
    """What the file asks for and nothing in this release acts on; one sentence each."""
    sentences = []
    for question in QUESTIONS:
        value = value_at(charter, question.key)
        if question.idle is not None and charter.answered(question.key) and question.idle(value):
            shown = f": {value!r}" if isinstance(value, (str, float, int)) else ""
            sentences.append(f"{question.key}{shown} is recorded; nothing acts on it yet")
    return sentences


def doubts(charter: Charter) -> list[str]:
    """What is allowed but probably not meant: bounds that point the wrong way, a promise that no metric watches."""
    sentences = _unwatched_latency(charter) + _open_unit(charter) + _blinded(charter)
    sentences += _unjudged(charter) + _unaudited(charter) + too_short(charter)
    for name, spec in charter.metrics.items():
        sentences += [f"metrics.{name}.{key}: {text}" for key, text in _wrong_way(spec, charter.target.classes)]
        if spec.critical and spec.goal is None:
            sentences.append(f"metrics.{name}: it is critical but has no goal to meet")
        if spec.then != "notify" and spec.alarm is None:
            sentences.append(f"metrics.{name}: it says what a firing alarm does but has no alarm")
    return sentences


def _unaudited(charter: Charter) -> list[str]:
    """Answers that leave without a person, and of which nobody looks at any again."""
    automation = charter.automation
    found = sorted({automation.level, *automation.slices.values()} & {"partial", "full"})
    if automation.partial.audit_share or not found:
        return []
    return [
        f"automation.partial.audit_share: at 0 nobody measures how often the answers at level {' and '.join(found)} are "
        "wrong, and nothing lowers the level when they are"
    ]


def _unjudged(charter: Charter) -> list[str]:
    """Guardrails that are shown beside a rollout and decide nothing in it; margins that nothing reads."""
    from andon.errors import UsageError
    from andon.measure.figure import watched
    from andon.measure.gate import Bound

    found = []
    for name in charter.rollout.guardrails:
        spec = charter.metrics[name]
        bound = spec.goal if spec.goal is not None else spec.alarm if isinstance(spec.alarm, Bound) else None
        try:
            watched(spec.of, bound, charter.target.classes, charter.fields(), spec.margin)
        except UsageError as error:
            found.append(f"rollout.guardrails: {name} is not judged in an automatic rollout: {error.message}")
    for name, spec in charter.metrics.items():
        if spec.margin is not None and not spec.of.strip().startswith(("mean(", "value(")):
            found.append(f"metrics.{name}: its margin does nothing; {spec.of} is judged by rollout.margin, a ratio")
    return found


def _wrong_way(spec: MetricSpec, classes: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    from andon.measure.metric import parse_metric

    better = parse_metric(spec.of, classes).direction
    for key, bound in (("goal", spec.goal), ("alarm", spec.alarm)):
        if bound is None or bound == "reference":
            continue
        if better == "up" and bound.low is None:
            yield key, f"more is better here, but {bound} only bounds it from above"
        if better == "down" and bound.high is None:
            yield key, f"less is better here, but {bound} only bounds it from below"


def _unwatched_latency(charter: Charter) -> list[str]:
    promised = charter.checklist.latency_p95_ms
    if promised is None:
        return []
    alarms = [spec.alarm for spec in charter.metrics.values() if spec.of == "latency_p95_ms"]
    if any(alarm and alarm != "reference" and alarm.high is not None and alarm.high <= promised for alarm in alarms):
        return []
    return [
        f"checklist.latency_p95_ms: nothing rings when {promised:g} ms are not kept; "
        f'add a metric {{of: latency_p95_ms, alarm: "<= {promised:g}"}}'
    ]


def _open_unit(charter: Charter) -> list[str]:
    """The unit is stored as a keyed hash; the same input in the clear beside it undoes that."""
    unit = charter.unit.source
    if unit == "request" or unit in charter.checklist.privacy.redact:
        return []
    return [
        f"unit.from: the unit is stored as a keyed hash, but the input {unit!r} itself is stored in the clear; "
        f"if it names a person, add it to checklist.privacy.redact"
    ]


def _blinded(charter: Charter) -> list[str]:
    """Slices and metrics are computed from the log, so they see what is left of a redacted input."""
    from andon.measure.metric import parse_metric
    from andon.measure.slice import parse_slice

    rules = charter.checklist.privacy.redact
    names = tuple(charter.inputs)
    reads: list[tuple[str, frozenset[str]]] = []
    for name, condition in charter.slices.items():
        reads.append((f"slices.{name}", frozenset(parse_slice(condition).columns)))
    for name, spec in charter.metrics.items():
        where = frozenset[str]() if spec.where is None else frozenset(parse_slice(spec.where).columns)
        reads.append((f"metrics.{name}", frozenset(parse_metric(spec.of, charter.target.classes).needs) | where))
    sentences = []
    for path, columns in reads:
        for column in names:
            if column in rules and (column in columns or any(one.startswith(f"{column}_") for one in columns)):
                kept = "is never stored" if rules[column] == "drop" else f"is stored as {rules[column]}"
                sentences.append(
                    f"{path}: it reads the input {column!r}, which {kept} (checklist.privacy.redact): "
                    f"of live cases it sees only that"
                )
    return sentences


def value_at(charter: Charter, key: str) -> Any:
    """The value of a key such as ``checklist.compute.cores``, as it is held."""
    value: Any = charter
    for part in key.split("."):
        named = {field.alias or name: name for name, field in type(value).model_fields.items()}
        value = getattr(value, named[part])
    return value
