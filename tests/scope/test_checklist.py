"""The questions: which are left open, and which answers nothing acts on."""

from __future__ import annotations

import pytest

from andon.core.record import Field
from andon.errors import CharterError
from andon.scope.charter import parse
from andon.scope.checklist import QUESTIONS, doubts, idle, unanswered, value_at

SMALL = "project: line\ninputs: {a: float}\ntarget: {name: y, classes: [good, bad]}\nsafe_default: refer\n"


def test_every_question_is_about_a_key_that_is_there() -> None:
    charter = parse(SMALL)
    for question in QUESTIONS:
        value_at(charter, question.key)
    assert len({question.key for question in QUESTIONS}) == len(QUESTIONS)


def test_an_empty_answer_is_none() -> None:
    open_ones = {question.key for question in unanswered(parse(SMALL + 'problem: ""\nowner: ann\n'))}
    assert "problem" in open_ones
    assert not open_ones & {"owner", "safe_default"}


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("checklist: {place: edge}", "checklist.place: 'edge' is recorded; nothing acts on it yet"),
        ("checklist: {compute: {gpu: a100}}", "checklist.compute.gpu: 'a100' is recorded; nothing acts on it yet"),
        ("retrain: {mode: automatic}", "retrain.mode: 'automatic' is recorded; nothing acts on it yet"),
        ("stages: [{name: a}]", "stages is recorded; nothing acts on it yet"),
    ],
)
def test_answers_on_which_nothing_acts_are_said(answer: str, sentence: str) -> None:
    assert idle(parse(SMALL + answer)) == [sentence]


@pytest.mark.parametrize(
    "answer",
    [
        "checklist: {mode: realtime, place: server}",
        "checklist: {privacy: {stays: device}}",
        "checklist: {privacy: {stays: organisation}}",
        "checklist: {privacy: {stays: anywhere}}",
        "stages: []",
        "retrain: {mode: manual}",
        "review: {double_share: 0.1}",
    ],
)
def test_answers_that_ask_for_nothing_are_not(answer: str) -> None:
    assert idle(parse(SMALL + answer)) == []


def test_a_unit_that_is_stored_in_the_clear_is_said() -> None:
    charter = SMALL.replace("{a: float}", "{a: float, patient: category}")
    (sentence,) = doubts(parse(charter + "unit: {from: patient}"))
    assert "'patient' itself is stored in the clear" in sentence and "checklist.privacy.redact" in sentence
    hidden = "unit: {from: patient}\nchecklist: {privacy: {redact: [patient]}}"
    assert doubts(parse(charter + hidden)) == doubts(parse(charter + "unit: {from: request}")) == []


def test_a_promised_latency_is_watched() -> None:
    promised = SMALL + "checklist: {latency_p95_ms: 500}\n"
    asks = 'add a metric {of: latency_p95_ms, alarm: "<= 500"}'
    assert asks in doubts(parse(promised))[0]
    for alarm in ("<= 500", "<= 100"):
        assert doubts(parse(promised + f'metrics: {{latency: {{of: latency_p95_ms, alarm: "{alarm}"}}}}')) == []
    for spec in ('alarm: "<= 501"', "alarm: reference", 'goal: "<= 500"'):
        assert asks in doubts(parse(promised + f"metrics: {{latency: {{of: latency_p95_ms, {spec}}}}}"))[0]


def test_columns_measured_from_inputs_are_those_that_are_measured() -> None:
    from andon.monitor.inputs import measured_names
    from andon.scope.consistency import RESERVED, Draft

    for inputs in ("{a: float, note: text}", "{p: image, q: image}", "{p: image, t: text, u: text}"):
        charter = parse(SMALL.replace("{a: float}", inputs))
        columns = Draft(charter, {}, frozenset()).columns() - RESERVED - set(charter.inputs)
        assert columns == set(measured_names(charter.fields()))
    assert Field("a", "float") in parse(SMALL).fields()


def test_no_input_may_be_called_what_a_view_calls_its_own() -> None:
    """A view renames such an input, so that a metric or slice that names it would look at another column."""
    import polars as pl

    from andon.scope.consistency import RESERVED
    from andon.store import outcome, view
    from andon.store.shape import SCHEMAS, SYSTEM

    # Andon's own on both sides, but for where a decision keeps its inputs and feedback what it is.
    apart = view._TAKEN ^ RESERVED
    assert apart == {"x", "kind"}
    tables = [pl.LazyFrame(schema=SCHEMAS[name]) for name in ("reviews", "feedback")]
    joined = outcome.known(pl.LazyFrame(schema=SYSTEM), *tables, kinds=True)
    beside = {name for name in joined.collect_schema().names() if not name.startswith(":")}
    assert beside <= RESERVED, "what stands beside inputs in a join"


REDACTING = """
project: line
inputs: {age: int, site: "category(a, b)", mail: text}
target: {name: y, classes: [good, bad]}
safe_default: refer
"""


@pytest.mark.parametrize(
    ("redact", "said"),
    [
        ("[age, mail]", None),
        ("{age: truncate(5), mail: hash, site: drop}", None),
        ("{age: hash}", "line 6, checklist.privacy.redact.age: hash needs a text or a category without a list, and this is an int"),
        ("{age: truncate(1.5)}", "checklist.privacy.redact.age: the step of an int is a whole number, found 1.5"),
        ("{site: mask(2)}", "checklist.privacy.redact.site: mask needs a text or a category without a list"),
        ("{mail: hush}", "checklist.privacy.redact.mail: expected drop, hash, mask(4)"),
        ("{male: hash}", "checklist.privacy.redact.male: no input is called 'male'; did you mean 'mail'?"),
        ("[male]", "checklist.privacy.redact[0]: no input is called 'male'"),
        ("mail", "checklist.privacy.redact: expected a list of inputs, or inputs and what is kept of each, found 'mail'"),
        ("[1]", "checklist.privacy.redact: expected a list of inputs"),
    ],
)  # fmt: skip
def test_what_is_redacted_must_fit_the_input(redact: str, said: str | None) -> None:
    text = f"{REDACTING}checklist: {{privacy: {{redact: {redact}}}}}\n"
    if said is None:
        parse(text)
        return
    with pytest.raises(CharterError) as raised:
        parse(text)
    assert any(said in fault for fault in raised.value.faults), raised.value.faults


def test_whoever_reads_a_redacted_input_sees_what_is_left_and_check_says_so() -> None:
    charter = parse(
        REDACTING.lstrip()
        + "checklist: {privacy: {redact: {age: drop, mail: hash}}}\n"
        + 'metrics: {old: {of: mean(age)}, len: {of: mean(mail_length)}, err: {of: error_rate, where: "age > 3"}}\n'
        + "slices: {here: \"site = 'a'\", elders: age >= 60}\n"
    )
    found = doubts(charter)
    assert [one.partition(":")[0] for one in found] == ["slices.elders", "metrics.old", "metrics.len", "metrics.err"]
    assert "which is never stored" in found[0]
    assert "which is stored as hash" in found[2]


def test_a_guardrail_that_is_not_judged_and_a_margin_that_does_nothing_are_told() -> None:
    head = "project: p\ninputs: {age: int, old: 'int(0..120)'}\ntarget: {name: y, classes: [n, p]}\nsafe_default: n\n"
    metrics = """metrics:
  wrong: {of: error_rate, goal: "<= 0.2", margin: 3}
  mean: {of: mean(age), goal: "<= 70", margin: 2}
  range: {of: mean(old), goal: "<= 70", margin: 2}
  worth: {of: "value(p: {right: 3})", goal: "> 0"}
rollout: {guardrails: [wrong, mean, range, worth]}
"""
    found = [one for one in doubts(parse(head + metrics)) if "judged" in one]
    assert [one.partition(" is ")[0] for one in found[:2]] == ["rollout.guardrails: mean", "rollout.guardrails: worth"]
    assert "the bounds of mean(age) are not known" in found[0] and "give the metric a margin" in found[1]
    assert found[2] == "metrics.wrong: its margin does nothing; error_rate is judged by rollout.margin, a ratio"
