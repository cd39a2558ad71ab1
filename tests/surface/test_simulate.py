"""``andon deploy simulate`` as it is called: on assumed traffic, and on that of a log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from msgspec.structs import replace
from tests.monitor.rollout_rig import HEAD, Rolling, charter
from tests.monitor.test_steer_people import Reviewed
from tests.monitor.test_steer_people import charter as people
from typer.testing import CliRunner

from andon.config import Project
from andon.errors import AndonError, NotEnoughEvidence, NotFound, UsageError
from andon.surface.cli import deploy
from andon.surface.simulation import Ask, simulate

ASSUMED = ("--rate", "0.05", "--per-hour", "3600")
QUICK = ("--runs", "10", "--ramp", "0.2", "--ratio", "10")
RULES = charter(rails="errors, wrong", delay="1h", more=", margin: 2, alpha: 0.1")
#: As far back as the clock of the rig is.
AGO = ("--past", "1000w")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A line with a day of traffic: one unit in twenty fails, one in ten errs, labels come half an hour later."""
    root = tmp_path_factory.mktemp("lived")
    (root / "andon.yaml").write_text(HEAD % ("1h", "canary, live", "errors, wrong", ", margin: 2, alpha: 0.1"))
    rolling = Rolling(root / ".andon", RULES)
    rolling.bad["v1"], rolling.wrong["v1"] = 0.05, 0.1
    for _ in range(12):
        rolling.come(150, seconds=3600, label=False)
        rolling.clock.advance(1800)
        rolling.label()
    # What a candidate did counts for nothing.
    rolling.line.canary("v2", 0.5, actor="ann")
    rolling.bad["v2"] = 1.0
    rolling.come(200, seconds=60)
    yield Project(root, RULES, rolling.workspace)
    rolling.close()


def call(*words: str) -> Any:
    app = typer.Typer()
    deploy.register(app)
    return CliRunner().invoke(app, ["deploy", "simulate", *words], catch_exceptions=False)


def told(*words: str) -> Any:
    result = call(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_no_project_is_needed_on_assumed_traffic(here: Path) -> None:
    found = told(*ASSUMED, *QUICK)
    assert (found["traffic"], found["ramp"], found["margin"], found["version"]) == ("assumed", [[0.0, 0.2]], 1.5, None)
    (rail,) = found["guardrails"]
    assert (rail["guardrail"], rail["rate"], rail["per_hour"], rail["alpha"]) == ("events", 0.05, 3600.0, 0.05)
    (row,) = rail["ratios"]
    assert row["rolled_back"]["value"] == 1.0 and row["safe"]["n"] == 10 and row["extra"]["median"] > 0
    assert row["requests"]["median"] == pytest.approx(row["hours"]["median"] * 3600)


def test_it_says_how_far_it_is_and_what_the_table_means(here: Path) -> None:
    result = call(*ASSUMED, "--runs", "10", "--ramp", "0.05:1h,0.2", "--seed", "4")
    assert result.exit_code == 0
    assert "5/5 10 runs with 10 times as many events" in result.stderr and "9 of 10 runs" in result.stderr
    assert "5 % from hour 0, 20 % from hour 1" in result.stdout and "seed 4" in result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    assert max(len(line) for line in result.stdout.splitlines()[2:]) <= 100
    assert [line[0] for line in lines[3:]] == ["1", "1.5", "2", "3", "10"]
    assert result.stdout == call(*ASSUMED, "--runs", "10", "--ramp", "0.05:1h,0.2", "--seed", "4").stdout


@pytest.mark.parametrize(
    ("option", "value", "key"),
    [("margin", 3.0, "margin"), ("alpha", 0.2, "alpha"), ("beta", 0.2, "beta"), ("budget", 5.0, "budget"), ("share", 0.2, "start_share"), ("holdback", 0.25, "bake_share"), ("bake", "2h", "bake_hours")],
)  # fmt: skip
def test_every_option_of_the_plan_acts(here: Path, option: str, value: float | str, key: str) -> None:
    words = ("--rate", "0.2", "--per-hour", "3600", "--runs", "10", "--ratio", "1.2")
    plain, changed = told(*words), told(*words, f"--{option}", str(value))
    assert changed[key] == {"holdback": 0.75, "bake": 2.0}.get(option, value) and plain[key] != changed[key]
    assert changed["guardrails"][0]["ratios"] != plain["guardrails"][0]["ratios"]


def test_a_blue_green_is_played_as_it_would_be_begun(here: Path) -> None:
    words = (*ASSUMED, "--runs", "10", "--ratio", "0.5")
    ways = {
        (): (["canary", "live"], []),
        ("--pattern", "canary"): (["canary", "live"], []),
        ("--pattern", "blue-green"): (["blue-green", "live"], []),
        ("--gradual",): (["blue-green", "live"], [0.1, 0.25, 0.5]),
        ("--steps", "0.2,0.5"): (["blue-green", "live"], [0.2, 0.5]),
    }
    hours = []
    for more, (path, steps) in ways.items():
        found = told(*words, *more)
        assert (found["path"], found["steps"]) == (path, steps)
        assert ("shadow" in found["not_played"]) == ("blue-green" in path)
        (row,) = found["guardrails"][0]["ratios"]
        assert row["safe"]["value"] == row["cleared"]["value"] == 1.0
        hours.append((row["everything"]["median"], row["hours"]["median"]))
    assert hours[0] == hours[1] and hours[2][0] == 0.0 < hours[4][0] < hours[3][0]
    assert all(over >= 24 for _, over in hours)
    (here / "andon.yaml").write_text(HEAD % ("0s", "shadow, canary, blue-green, live", "errors", ", steps: [0.6]"))
    found = told(*words)
    assert (found["path"], found["steps"]) == (["canary", "blue-green", "live"], [0.6])
    assert list(found["not_played"]) == ["shadow", "a first release"]
    assert found["guardrails"][0]["alpha"] == 0.025, "the shadow has its part, and a canary's share goes up to a half"


def test_more_delay_less_time_other_chance(here: Path) -> None:
    plain = told(*ASSUMED, *QUICK)["guardrails"][0]
    late = told(*ASSUMED, *QUICK, "--delay", "2h")["guardrails"][0]
    assert late["late"] and late["ratios"][0]["hours"]["median"] > 2 > plain["ratios"][0]["hours"]["median"]
    assert told(*ASSUMED, *QUICK, "--most", "10s")["guardrails"][0]["ratios"][0]["undecided"]["value"] == 1.0
    assert told(*ASSUMED, *QUICK, "--seed", "1")["guardrails"][0] != plain
    assert told(*ASSUMED, *QUICK, "--seed", "0", "--delay", "0")["guardrails"][0] == plain


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--rate", "0.1"), "both --rate"),
        (("--rate", "1", "--per-hour", "10"), "--rate"),
        (("--rate", "nan", "--per-hour", "10"), "--rate"),
        ((*ASSUMED, "--past", "7d"), "--past and --guardrail"),
        ((*ASSUMED, "--guardrail", "errors"), "--past and --guardrail"),
        ((*ASSUMED, "--ramp", "2"), "--ramp, step 1"),
        ((*ASSUMED, "--ramp", "0.1", "--share", "0.1"), "--ramp is a ramp by hand"),
        ((*ASSUMED, "--ramp", "0.1", "--budget", "9"), "--ramp is a ramp by hand"),
        ((*ASSUMED, "--ramp", "0.1", "--gradual"), "--ramp is a ramp by hand"),
        ((*ASSUMED, "--steps", "0.05:2h,0.5"), "a ramp by hand is: --ramp"),
        ((*ASSUMED, "--steps", "0.5,0.1"), "shares that grow"),
        ((*ASSUMED, "--steps", "0.5,0.95"), "shares that grow"),
        ((*ASSUMED, "--pattern", "canary", "--steps", "0.5"), "those of a blue/green"),
        ((*ASSUMED, "--pattern", "blue-green", "--share", "0.1"), "a canary's"),
        ((*ASSUMED, "--gradual", "--budget", "9"), "a canary's"),
        ((*ASSUMED, "--pattern", "blue-green", "--holdback", "0"), "is not played"),
        ((*ASSUMED, "--holdback", "0.51"), "--holdback: expected a number at least 0 and at most 0.5"),
        ((*ASSUMED, "--bake", "soon"), "--bake"),
        ((*ASSUMED, "--share", "0.51"), "--share: expected a number above 0 and at most 0.5"),
        ((*ASSUMED, "--margin", "1"), "--margin: expected a number above 1 and at most 100"),
        ((*ASSUMED, "--alpha", "0.5"), "--alpha: expected a number above 0 and below 0.5"),
        ((*ASSUMED, "--beta", "0"), "--beta"),
        ((*ASSUMED, "--budget", "nan"), "--budget"),
        ((*ASSUMED, "--ratio", "0"), "--ratio"),
        ((*ASSUMED, "--runs", "9"), "--runs"),
        ((*ASSUMED, "--most", "0s"), "--most: expected a time above 0"),
        ((*ASSUMED, "--most", "9" * 400 + "w"), "--most"),
        ((*ASSUMED, "--delay", "soon"), "--delay"),
        ((*ASSUMED, "--seed", "-1"), "--seed"),
        ((*ASSUMED, "v2"), "no release"),
    ],
)
def test_bad_input_is_one_sentence(here: Path, words: tuple[str, ...], says: str) -> None:
    says = "a release of a project" if says == "no release" else says
    with pytest.raises(UsageError, match=says) as caught:
        call(*words)
    assert caught.value.exit_code == 2 and len(caught.value.message) < 300


@pytest.mark.parametrize(("option", "value"), [("share", 0.5), ("margin", 100.0), ("budget", 1e9), ("beta", 0.49)])
def test_the_ends_of_the_options_are_taken(option: str, value: float) -> None:
    ask = Ask(rate=0.3, per_hour=1000, ratios=(10.0,), runs=10)
    assert simulate(None, replace(ask, **{option: value})).guardrails[0].ratios[0].runs == 10


def test_the_past_of_a_log_is_played_for_each_guardrail(lived: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lived.root)
    found = told("v2", *AGO, "--runs", "10", "--ramp", "0.2", "--ratio", "1", "--ratio", "8")
    assert (found["version"], found["traffic"], found["margin"], found["alpha"]) == ("v2", "past", 2.0, 0.1)
    errors, wrong = found["guardrails"]
    assert (errors["guardrail"], errors["late"], wrong["late"]) == ("errors", False, True)
    assert errors["rate"] == pytest.approx(0.05, abs=0.02) and wrong["rate"] == pytest.approx(0.14, abs=0.04)
    assert errors["alpha"] == wrong["alpha"] == 0.05, "two guardrails share it"
    assert errors["per_hour"] == pytest.approx(1900 / 18, rel=0.05)
    for rail in (errors, wrong):
        good, bad = rail["ratios"]
        assert bad["rolled_back"]["value"] == 1.0 and good["rolled_back"]["value"] <= 0.3
        assert bad["hours"]["median"] < good["hours"]["median"]
    assert found == told("v2", *AGO, "--runs", "10", "--ramp", "0.2", "--ratio", "1", "--ratio", "8")


def test_where_people_look_at_a_sample_the_drawn_answers_are_the_traffic(tmp_path: Path) -> None:
    line = Reviewed(tmp_path / ".andon", people(0.25))
    line.wrong["v1"] = 0.3
    line.arrive(1500, defer=0.6)
    line.look_again()
    project = Project(tmp_path, line.charter, line.workspace)
    (wrong,) = simulate(project, Ask(past="1d", ratios=(3.0,), runs=10)).guardrails
    # 600 automatic answers, a quarter of them looked at, 3 in 10 of these wrong; people's own answers are not among them.
    assert wrong.rate == pytest.approx(0.3, abs=0.08) and wrong.stands_for == 4.0
    assert wrong.per_hour == pytest.approx(150 / (1500 / 3600), rel=0.25)
    assert wrong.requests == pytest.approx(10, rel=0.25)
    assert (wrong.ratios[0].extra.median or 0) % 4 == 0
    line.close()


def test_means_and_a_first_release_are_not_played_and_that_is_said(lived: Project, tmp_path: Path) -> None:
    means = Project(lived.root, charter(rails="errors, worth"), lived.workspace)
    found = simulate(means, Ask(past="1d", ratios=(8.0,), runs=10, ramp="0.2"))
    assert [one.guardrail for one in found.guardrails] == ["errors"] and found.guardrails[0].alpha == 0.025
    assert list(found.not_played) == ["worth"] and "a mean" in found.not_played["worth"]
    with pytest.raises(UsageError, match="none can be played: worth is a mean"):
        simulate(means, Ask(past="1d", guardrail="worth"))
    first = Rolling(tmp_path / "first", live="")
    first.bad[""] = 0.2
    first.come(300, seconds=3600, label=False)
    with pytest.raises(UsageError, match="no version is live"):
        simulate(Project(tmp_path, first.charter, first.workspace), Ask(past="1d"))
    first.close()


def test_one_guardrail_and_the_automatic_rollout_on_a_past(lived: Project) -> None:
    found = simulate(lived, Ask(past="1d", guardrail="errors", ratios=(8.0,), runs=10))
    assert [one.guardrail for one in found.guardrails] == ["errors"] and found.ramp == "automatic"
    assert found.guardrails[0].ratios[0].rolled_back.value == 1.0
    assert found.guardrails[0].alpha == 0.05, "the others are watched all the same"


def test_requests_are_all_that_come_also_where_few_are_labelled(tmp_path: Path) -> None:
    rolling = Rolling(tmp_path / "line", charter(rails="wrong", delay="1h"))
    rolling.wrong["v1"] = 0.2
    for _ in range(4):
        rolling.come(300, seconds=900, label=False)
        rolling.unlabelled[:] = rolling.unlabelled[:75]
        rolling.label()
    project = Project(tmp_path, rolling.charter, rolling.workspace)
    (wrong,) = simulate(project, Ask(past="1d", ratios=(4.0,), ramp="0.3", runs=10)).guardrails
    assert wrong.requests == 4.0 and wrong.per_hour == pytest.approx(300, rel=0.02)
    row = wrong.ratios[0]
    assert row.units.median is not None and row.requests.median == 4 * row.units.median
    rolling.close()


def test_a_log_with_too_little_says_so_with_3(lived: Project) -> None:
    with pytest.raises(NotEnoughEvidence, match=r"the log has .* units") as caught:
        simulate(lived, Ask(past="10s"))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("ask", "kind", "says"),
    [
        (Ask(guardrail="nothing"), NotFound, "no guardrail 'nothing'; it has errors, wrong"),
        (Ask(version="v9"), NotFound, "v9"),
        (Ask(delay="1h"), UsageError, "--delay is for assumed traffic"),
        (Ask(past="-1d"), UsageError, "--past"),
    ],
)
def test_what_a_project_does_not_have_is_said(lived: Project, ask: Ask, kind: type[AndonError], says: str) -> None:
    with pytest.raises(kind, match=says):
        simulate(lived, ask)


def test_an_empty_log_and_a_charter_without_guardrails(here: Path) -> None:
    (here / "andon.yaml").write_text(HEAD % ("0s", "canary, live", "errors", ""))
    with pytest.raises(NotEnoughEvidence, match="the log has 0 units"):
        call()
    bare = HEAD.replace(', goal: "<= 0.2"', "") % ("0s", "canary, live", "", "")
    (here / "andon.yaml").write_text(bare)
    with pytest.raises(UsageError, match="guardrail"):
        call()
    assert told(*ASSUMED, *QUICK)["guardrails"][0]["guardrail"] == "events"
