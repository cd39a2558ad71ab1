"""What `andon init` writes is sound as it is, for any inputs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.core.record import Field
from andon.scope.charter import RESERVED, parse
from andon.scope.checklist import doubts, idle
from andon.scope.risk import metrics_without_risk, risks_without_metric
from andon.scope.starter import EXAMPLE_FIELDS, starter

NAMES = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,20}\Z").filter(lambda name: name not in RESERVED)
KINDS = st.sampled_from(["bool", "int", "float", "category", "text", "image"])
FIELDS = st.lists(
    st.builds(Field, NAMES, KINDS, st.booleans()), min_size=1, max_size=6, unique_by=lambda field: field.name.lower()
)
WORDS = st.text(min_size=1, max_size=12)


def test_the_example_is_sound_and_leaves_nothing_to_say() -> None:
    text, model = starter("shop", EXAMPLE_FIELDS, "outcome", ("good", "bad"))
    charter = parse(text)
    assert charter.fields() == EXAMPLE_FIELDS
    assert not (idle(charter) or doubts(charter) or metrics_without_risk(charter) or risks_without_metric(charter))
    assert len(text.splitlines()) <= 45
    assert sum(line.startswith("    ") for line in model.splitlines()) <= 10


@settings(max_examples=60, deadline=None)
@given(FIELDS, st.lists(WORDS, min_size=2, max_size=4, unique=True))
def test_any_inputs_and_classes_give_a_sound_charter_and_a_module(fields: list[Field], classes: list[str]) -> None:
    text, model = starter("shop", fields, "andon_target", classes)
    charter = parse(text)
    assert charter.fields() == tuple(fields)
    assert charter.target.classes == tuple(classes)
    compile(model, "model.py", "exec")


@pytest.mark.parametrize(
    "word", ["yes", "no", "true", "null", "1", "a: b", "x, y", "#", "'", '"', "a\\b", "é", "-", " "]
)
def test_awkward_words_survive(word: str) -> None:
    charter = parse(starter("shop", EXAMPLE_FIELDS, "outcome", ("good", word))[0])
    assert charter.target.classes == ("good", word)
