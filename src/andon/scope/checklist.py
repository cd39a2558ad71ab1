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

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from andon.scope.charter import Charter

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


_RECORDED = "recorded; shown by `scope show`"

QUESTIONS: tuple[Question, ...] = (
    Question("problem", "What is decided, and for whom?", _RECORDED),
    Question("owner", "Who answers for it?", _RECORDED),
    Question("phase", "Proof of concept or production?", _RECORDED),
    Question(
        "case",
        "New, an automated task, or a replaced system?",
        "the defaults of `automation.level` and `rollout.path`",
        "tests/scope/test_charter.py::test_the_case_gives_the_path_unless_the_charter_does",
    ),
    Question("population", "Many users, or an enterprise that can shift in a minute?", _RECORDED),
    Question("safe_default", "What is answered when nobody and nothing can decide?", ""),
    Question("unit.from", "What may not be split between two releases?", ""),
    Question(
        "checklist.mode", "Realtime or batch?", "the gateway serves `realtime`", "", lambda mode: mode != "realtime"
    ),
    Question("checklist.place", "Cloud or server, edge, browser?", "", "", lambda place: place != "server"),
    Question(
        "checklist.compute.cores",
        "How many processor cores?",
        "the default of `gateway.workers`",
        "tests/scope/test_charter.py::test_the_cores_give_the_workers_unless_the_charter_does",
    ),
    Question("checklist.compute.gpu", "A GPU?", "", "", lambda gpu: gpu != "none"),
    Question("checklist.compute.memory_gb", "How much memory?", "", "", _ALWAYS),
    Question("checklist.latency_p95_ms", "How quick must an answer be?", ""),
    Question("checklist.throughput_qps", "How many requests per second?", "", "", _ALWAYS),
    Question("checklist.logging.durability", "What may a power cut cost?", ""),
    Question("checklist.logging.retain_days", "How long are decisions kept?", ""),
    Question("checklist.security.tokens", "Who may call?", ""),
    Question("checklist.privacy.stays", "Where may data go?", ""),
    Question("checklist.privacy.redact", "What is never stored?", ""),
    Question("metrics", "What is measured, with which goals and alarms?", ""),
    Question("risks", "What could go wrong?", "", "tests/scope/test_risk.py"),
    Question("baselines", "What is it compared with?", "", "", _ALWAYS),
    Question("automation.level", "How much does the model decide by itself?", ""),
    Question("automation.partial.max_error", "How many of its own answers may be wrong?", ""),
    Question("review.reviewers_per_hour", "How many cases can people decide in an hour?", "", "", _ALWAYS),
    Question("review.deadline", "How long may a case wait for a person?", ""),
    Question("review.double_share", "How many cases do two people decide?", "", "", _ALWAYS),
    Question("rollout.guardrails", "What must not get worse on the way to live?", ""),
    Question("alarms.false_per_month", "How many false alarms are tolerable?", "", "", _ALWAYS),
    Question("alarms.notify", "Who is told?", ""),
    Question("retrain.mode", "Who decides to train again?", "", "", lambda mode: mode != "manual"),
    Question("stages", "Several models in a row?", "", "", _ALWAYS),
)


def unanswered(charter: Charter) -> list[Question]:
    """The questions that the file leaves to a default, in the order of the table."""
    return [
        question
        for question in QUESTIONS
        if not charter.answered(question.key) or value_at(charter, question.key) == ""
    ]


def idle(charter: Charter) -> list[str]:
    """What the file asks for and nothing in this release acts on; one sentence each."""
    sentences = []
    for question in QUESTIONS:
        value = value_at(charter, question.key)
        if question.idle is not None and charter.answered(question.key) and question.idle(value):
            shown = f" {value!r}" if isinstance(value, (str, float, int)) else ""
            sentences.append(f"{question.key}:{shown} is recorded; nothing acts on it yet")
    return sentences


def doubts(charter: Charter) -> list[str]:
    """What is allowed but probably not meant: goals that point the wrong way, critical metrics without a goal."""
    from andon.measure.metric import parse_metric

    sentences = []
    for name, spec in charter.metrics.items():
        better = parse_metric(spec.of, charter.target.classes).direction
        for word, bound in (("goal", spec.goal), ("alarm", spec.alarm)):
            if bound is None or bound == "reference" or better is None:
                continue
            if bound.low is None and better == "up":
                sentences.append(f"metrics.{name}.{word}: more is better here, but {bound} only bounds it from above")
            if bound.high is None and better == "down":
                sentences.append(f"metrics.{name}.{word}: less is better here, but {bound} only bounds it from below")
        if spec.critical and spec.goal is None:
            sentences.append(f"metrics.{name}: it is critical but has no goal to meet")
        if spec.then != "notify" and spec.alarm is None:
            sentences.append(f"metrics.{name}: it says what a firing alarm does but has no alarm")
    return sentences


def value_at(charter: Charter, key: str) -> Any:
    """The value of a key such as ``checklist.compute.cores``, as it is held."""
    value: Any = charter
    for part in key.split("."):
        named = {field.alias or name: name for name, field in type(value).model_fields.items()}
        value = getattr(value, named[part])
    return value
