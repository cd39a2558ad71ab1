"""The questions: which are left open, and which answers nothing acts on."""

from __future__ import annotations

import pytest

from andon.core.record import Field
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
        ("review: {double_share: 0.1}", "review.double_share: 0.1 is recorded; nothing acts on it yet"),
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
        "review: {double_share: 0}",
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
    from andon.scope.consistency import RESERVED
    from andon.store import view

    # Andon's own on both sides, but for where a decision keeps its inputs and feedback what it is.
    apart = view._TAKEN ^ RESERVED
    assert apart == {"x", "kind"}
