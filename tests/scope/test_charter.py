"""A charter is read in one go: what it means, what its defaults are, and every fault with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.core.record import Field
from andon.errors import CharterError, UsageError
from andon.scope.charter import RESERVED, Charter, load, parse

#: The example of the outside contract, word for word.
EXAMPLE = """
project: screening
problem: Decide who needs a second test from symptoms at the door.
phase: production             # poc (manual steps allowed, with notes) | production (only recorded steps)
case: automate                # new | automate | replace; gives the default path
owner: medical director
population: users             # users (slow change) | enterprise (can shift fast)
inputs:   {cough: bool?, fever: bool?, age_60_and_above: category?, test_indication: category}   # ? = may be missing
target:   {name: result, classes: [negative, positive], truth: external}   # truth: external | human
unit: {from: request}         # request | a column; what is assigned to canary or not, never split
safe_default: refer           # what is answered when nobody and nothing can decide
checklist:                    # the course's questions; each answer configures or is tested
  mode: realtime              # realtime | batch | both
  place: server               # server | edge | browser
  compute: {cores: 2, gpu: none, memory_gb: 4}
  latency_p95_ms: 500
  throughput_qps: 1000
  logging: {durability: flush, retain_days: 365}
  security: {tokens: required}
  privacy: {stays: organisation, redact: []}     # stays: device | organisation | anywhere
metrics:                      # goal: accepted before release and guarded in a rollout; alarm: watched live; either or both
  recall:    {of: "recall[positive]", goal: ">= 0.85", critical: true}
  error:     {of: error_rate, goal: "<= 0.05", alarm: "<= 0.06"}
  value:     {of: "value(positive: {right: 40, missed: -400}, negative: {wrong: -15})", goal: "> 0"}   # the business metric
  null_rate: {of: null_outputs, alarm: "<= 0.02"}
  cough:     {of: "mean(cough)", alarm: reference}
  latency:   {of: latency_p95_ms, goal: "<= 500", alarm: "<= 500"}
slices: {older: "age_60_and_above = 'Yes'", abroad: "test_indication = 'Abroad'"}
risks:  [{what: "symptoms are recorded differently", shows_in: [cough]}]
baselines: [{kind: human}, {kind: quick}, {kind: previous, release: v1}]    # human | literature | quick | previous
automation: {level: shadow, partial: {max_error: 0.02, confidence: 0.95, blind: true, audit_share: 0.02}}
review:  {reviewers_per_hour: 40, deadline: 1h, on_timeout: safe_default, double_share: 0.1}
rollout: {path: [shadow, canary, live], start_share: 0.05, guardrails: [error, latency, null_rate], margin: 1.5, alpha: 0.05, beta: 0.05, on_harm: rollback}
alarms:  {false_per_month: 1, notify: []}
retrain: {mode: suggest}      # manual | suggest | automatic
stages: []                    # several models: [{name: vad, ...}, {name: recognizer, after: vad, ...}]
"""

SMALL = """\
project: line
inputs: {a: float, b: category}
target: {name: y, classes: [good, bad]}
safe_default: refer
"""


def faults(text: str) -> list[str]:
    with pytest.raises(CharterError) as caught:
        parse(text)
    return list(caught.value.faults)


def test_the_example_of_the_contract_loads() -> None:
    charter = parse(EXAMPLE)
    assert charter.fields()[2] == Field("age_60_and_above", "category", optional=True)
    assert charter.target.classes == ("negative", "positive")
    assert charter.unit.source == "request"
    assert charter.checklist.latency_p95_ms == 500
    assert charter.checklist.security.tokens == "required"
    assert charter.metrics["recall"].critical
    assert charter.metrics["cough"].alarm == "reference"
    assert charter.metrics["error"].alarm is not None
    assert charter.metrics["error"].goal is not None
    assert charter.metrics["error"].goal.high == 0.05
    assert charter.slices["older"] == "age_60_and_above = 'Yes'"
    assert charter.risks[0].shows_in == ("cough",)
    assert charter.automation.partial.max_error == 0.02
    assert charter.review.deadline_us == 3_600_000_000
    assert charter.rollout.path == ("shadow", "canary", "live")
    assert charter.gateway.workers == 2


def test_four_keys_are_enough_and_the_rest_has_defaults() -> None:
    charter = parse(SMALL)
    assert charter.automation.level == "full"
    assert charter.rollout.path == ("canary", "live")
    assert charter.monitor.window_us == 300_000_000
    assert charter.target.delay_us == 0
    assert (charter.gateway.port, charter.gateway.workers) == (8700, 2)
    assert not charter.answered("checklist.mode")
    assert charter.answered("target.classes")


@pytest.mark.parametrize(
    ("case", "path"),
    [("automate", ("shadow", "canary", "live")), ("replace", ("shadow", "canary", "blue-green", "live"))],
)
def test_the_case_gives_the_path_unless_the_charter_does(case: str, path: tuple[str, ...]) -> None:
    charter = parse(SMALL + f"case: {case}\n")
    assert charter.automation.level == "shadow"
    assert charter.rollout.path == path
    charter = parse(SMALL + f"case: {case}\nautomation: {{level: partial}}\nrollout: {{path: [live]}}\n")
    assert (charter.automation.level, charter.rollout.path) == ("partial", ("live",))


def test_the_cores_give_the_workers_unless_the_charter_does() -> None:
    assert parse(SMALL + "checklist: {compute: {cores: 7}}\n").gateway.workers == 7
    assert parse(SMALL + "checklist: {compute: {cores: 7}}\ngateway: {workers: 3}\n").gateway.workers == 3


def test_all_faults_are_told_at_once_with_line_path_expected_found_and_meant() -> None:
    found = faults(
        """\
project: my line
inputs: {a: flaot, b: category}
target: {name: y, classes: [good]}
safe_defalt: refer
checklist:
  logging: {durability: comit}
metrics:
  error: {of: error_rate, goal: "under 0.05"}
  drift: {of: error_rate, alarm: adaptive}
review: {deadline: 1 hour}
rollout: {guardrails: [eror]}
gateway: {port: "8700", workers: 0}
"""
    )
    assert found == [
        "line 1, project: expected a name of at most 64 letters, digits, _ and - that starts with a letter, found 'my line'",
        "line 1, safe_default: this key is required",
        "line 2, inputs.a: expected a kind of input, found 'flaot'; did you mean 'float'?",
        "line 3, target.classes: expected at least 2 entries, found 1",
        "line 4, safe_defalt: no such key here; did you mean 'safe_default'?",
        "line 6, checklist.logging.durability: expected 'flush' or 'commit', found 'comit'; did you mean 'commit'?",
        "line 8, metrics.error.goal: bound 'under 0.05' is not understood; expected something like '<= 0.05', "
        "'>= 0.85', '> 0' or '0.09 .. 0.19'",
        "line 9, metrics.drift.alarm: expected a bound or reference, found 'adaptive': adaptive alarms are not in this "
        "release; use reference, which takes its bound from the data the model was trained on",
        "line 10, review.deadline: expected a duration such as 30s, 5m, 1h or 2d, found '1 hour'",
        "line 11, rollout.guardrails[0]: no metric is called 'eror'; did you mean 'error'?",
        "line 12, gateway.port: expected a whole number, found '8700'",
        "line 12, gateway.workers: expected at least 1, found 0",
    ]


def test_the_gateway_has_one_port_that_everybody_knows() -> None:
    found = faults(SMALL + "gateway: {port: 0}\n")
    assert found == ["line 5, gateway.port: expected at least 1, found 0"]


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ("unit: {from: c}", "line 5, unit.from: no input is called 'c'; known: a, b, request"),
        ("checklist: {privacy: {redact: [bb]}}", "line 5, checklist.privacy.redact[0]: no input is called 'bb'"),
        ("risks: [{what: w, shows_in: [m]}]", "line 5, risks[0].shows_in[0]: no metric is called 'm'; known: none yet"),
        ("automation: {slices: {older: human}}", "line 5, automation.slices.older: no slice is called 'older'"),
        ("automation: {partial: {only: [godo]}}", "no class is called 'godo'; did you mean 'good'?"),
        (
            "rollout: {path: [live, canary]}",
            "line 5, rollout.path: expected some of shadow, canary, blue-green, live in this order",
        ),
        ("rollout: {path: [shadow]}", "ending in live, found shadow"),
        ("rollout: {path: [blue-green, canary, live]}", "shadow, canary, blue-green, live in this order"),
        ("rollout: {steps: [0.5, 0.1]}", "line 5, rollout.steps: expected shares that grow and stay below 0.95"),
        ("rollout: {steps: [0.9], holdback: 0.2}", "stay below 0.8 (all but the holdback), found 0.9"),
        ("rollout: {holdback: 0.6}", "line 5, rollout.holdback: expected at most 0.5, found 0.6"),
        ("metrics: {m: {of: mean(a), margin: 0}}", "line 5, metrics.m.margin: expected a number above 0.0, found 0"),
        ("baselines: [{kind: previous}]", "line 5, baselines[0]: expected a release with kind previous"),
        ("baselines: [{kind: human, release: v1}]", "line 5, baselines[0]: expected a release with kind previous"),
        ("stages: [{name: b, after: a}, {name: b}]", "line 5, stages[1].name: the stage 'b' is given twice"),
        ("rollout: {guardrails: [m]}\nmetrics: {m: {of: accuracy}}", "neither goal nor alarm to guard"),
        ("problem: 3", "line 5, problem: expected text, found 3; put it in quotes"),
        ("checklist: 3", "line 5, checklist: expected a mapping (`key: value`), found 3"),
        ("alarms: {notify: mail}", "line 5, alarms.notify: expected a list, found 'mail'"),
        ("checklist: {latency_p95_ms: .nan}", "line 5, checklist.latency_p95_ms: expected a finite number"),
        ("checklist: {latency_p95_ms: true}", "line 5, checklist.latency_p95_ms: expected a number, found true"),
        ("review: {deadline: 0}", "line 5, review.deadline: expected a number above 0, found 0"),
        ("project: again", "line 5, project: this key is given twice; keep one"),
        ("3: x", "line 5: expected a name as key, found 3; put it in quotes"),
        ("owner: !!python/object:os.system {}", "line 5"),
        ("metrics: {m: {of: accuracy, wher: a}}", "line 5, metrics.m.wher: no such key here; did you mean 'where'?"),
        ("risks: [{waht: x}]", "line 5, risks[0].waht: no such key here; did you mean 'what'?"),
    ],
)
def test_a_contradiction_is_one_sentence_with_its_line(more: str, fault: str) -> None:
    assert any(fault in one for one in faults(SMALL + more + "\n")), faults(SMALL + more + "\n")


def test_an_input_is_not_also_the_target_nor_twice_in_other_letters() -> None:
    text = SMALL.replace("{a: float, b: category}", "{y: float, Cough: bool, cough: bool}")
    assert faults(text) == [
        "line 2, inputs.cough: 'cough' and 'Cough' differ only in upper and lower case; rename one",
        "line 3, target.name: 'y' is an input too; what is decided cannot be what is known",
    ]


def test_a_faulty_input_hides_only_what_depends_on_it() -> None:
    text = SMALL.replace("a: float", "a: flaot") + "metrics: {m: {of: mean(c)}}\nrisks: [{what: x, shows_in: [n]}]\n"
    assert [one.split(":")[0] for one in faults(text)] == ["line 2, inputs.a", "line 6, risks[0].shows_in[0]"]


def test_words_that_other_yaml_readers_turn_into_booleans_stay_words() -> None:
    charter = parse(SMALL.replace("[good, bad]", "[yes, no, on, 12:30]"))
    assert charter.target.classes == ("yes", "no", "on", "12:30")


@pytest.mark.parametrize("name", sorted(RESERVED)[:3])
def test_reserved_names_are_refused(name: str) -> None:
    assert f"inputs.{name}" in faults(SMALL.replace("a: float", f"{name}: float"))[0]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "line 1: expected keys such as `project: my_line`, found an empty file"),
        ("[a]", "line 1: expected keys"),
        ("a: [1", "line 1: this is not YAML"),
        ("\x00", "line 1: this is not YAML"),
        ("[" * 5000, "nested too deep"),
        ("a: &a [*a]", "levels deep"),
        ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"k{i}: &{c} [{','.join(['*' + p] * 9)}]\n" for i, (c, p) in
                                                enumerate(zip("bcdefgh", "abcdefg", strict=True))), "at most 20000 values"),
        ("x" * (1 << 20) + "y", "expected a charter of at most 1048576 bytes"),
    ],
)  # fmt: skip
def test_what_is_no_charter_at_all(text: str, fault: str) -> None:
    assert fault in faults(text)[0]


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the charter"):
        load(tmp_path / "andon.yaml")
    (tmp_path / "andon.yaml").write_bytes(b"project: \xff\xfe")
    with pytest.raises(CharterError, match="not UTF-8 text"):
        load(tmp_path / "andon.yaml")
    (tmp_path / "andon.yaml").write_text("project: 1")
    with pytest.raises(CharterError, match=r"andon\.yaml has 4 faults"):
        load(tmp_path / "andon.yaml")


def test_a_charter_as_plain_values_reads_as_it_was_written() -> None:
    plain = parse(EXAMPLE).to_dict()
    assert plain["metrics"]["error"]["goal"] == "<= 0.05"
    assert plain["review"]["deadline"] == 3_600_000_000
    assert plain["unit"] == {"from": "request"}


def test_a_charter_does_not_change() -> None:
    charter = parse(SMALL)
    with pytest.raises(ValueError, match="frozen"):
        charter.project = "other"


CHANGES = st.dictionaries(
    st.sampled_from(["inputs", "target", "metrics", "slices", "risks", "automation", "rollout", "unit", "checklist"]),
    st.sampled_from(
        [
            {"a": "flaot"}, {"a": "int(1..0)"}, {"a": "float", "x": "int"}, {}, {"level": "full", "slices": {"s": "full"}},
            {"name": "y", "classes": ["a", "a"]}, {"name": "a", "classes": ["u", "v"]}, {"m": {"of": "mean(q)"}},
            {"m": {"of": "accuracy", "goal": 3}}, {"m": {"of": "recall[u]", "where": "a > 1", "alarm": "< 1"}},
            {"s": "a > 1"}, {"s": "b = "}, [{"what": "x", "shows_in": ["m"]}], {"guardrails": ["m"]}, {"from": "a"},
            {"privacy": {"redact": ["a", "z"]}}, {"path": ["live", "live"]}, {"partial": {"only": ["u"]}},
        ]
    ),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(CHANGES)
def test_faulty_parts_in_any_mixture_are_told(values: dict[str, Any]) -> None:
    import yaml

    base = {
        "project": "line",
        "inputs": {"a": "float"},
        "target": {"name": "y", "classes": ["u", "v"]},
        "safe_default": "x",
    }
    try:
        parse(yaml.safe_dump(base | values))
    except CharterError as error:
        assert all(one.startswith("line ") for one in error.faults)


KEYS = st.sampled_from([*Charter.model_fields, "of", "goal", "classes", "name", "from", "x", "", "a"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["float", ">= 1", "1h"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=8), st.booleans())
def test_any_yaml_gives_a_charter_or_faults(values: dict[str, Any], small: bool) -> None:
    import yaml

    text = (SMALL if small else "") + yaml.safe_dump({k: v for k, v in values.items() if not small or k not in SMALL})
    try:
        parse(text)
    except CharterError as error:
        assert error.faults
        assert all(one.startswith("line ") and "\n" not in one for one in error.faults)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_any_text_gives_a_charter_or_faults(text: str) -> None:
    with pytest.raises(CharterError) as caught:
        parse(text)
    assert caught.value.faults


def test_a_metric_of_what_happens_later_needs_no_input() -> None:
    charter = parse(
        "project: p\ninputs: {n: int}\ntarget: {name: y, classes: [a, b]}\nsafe_default: a\n"
        'metrics: {redo: {of: "feedback(redo)"}}\n'
    )
    assert charter.metrics["redo"].of == "feedback(redo)"


MINIMAL = "{project: x, inputs: {a: float}, target: {name: y, classes: %s}, safe_default: z%s}"


@pytest.mark.parametrize("classes", ["[1, 2]", '["", b]'])
def test_a_list_of_faulty_entries_is_not_called_too_short_as_well(classes: str) -> None:
    told = faults(MINIMAL % (classes, ""))
    assert told and all("target.classes[" in fault for fault in told)
    assert len(faults(MINIMAL % ("[1]", ""))) == 2
    assert faults(MINIMAL % ("[a]", "")) == ["line 1, target.classes: expected at least 2 entries, found 1"]


def test_a_name_with_a_line_break_stays_on_the_line_of_its_fault() -> None:
    (told,) = faults('project: x\ninputs: {"a\\nb": float}\ntarget: {name: y, classes: [a, b]}\nsafe_default: z\n')
    assert told.startswith("line 2, inputs.'a\\nb': expected a column name") and "\n" not in told


@pytest.mark.parametrize("target", ["ops", "https://", "http:///hook", "mailto:", "//host/x", "http://[::1/x"])
def test_an_address_that_nobody_could_reach_is_a_fault(target: str) -> None:
    (told,) = faults(MINIMAL % ("[a, b]", f', alarms: {{notify: ["https://example.org/hook", "{target}"]}}'))
    assert told == f"line 1, alarms.notify[1]: expected an address such as https://example.org/hook, found {target!r}"


def test_addresses_of_any_service_are_taken() -> None:
    given = '"https://example.org/hook", "mailto://a:b@c", "slack://t/k", "tgram://1/2"'
    assert len(parse(MINIMAL % ("[a, b]", f", alarms: {{notify: [{given}]}}")).alarms.notify) == 4
