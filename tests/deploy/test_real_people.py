"""Real labelers and real officers through the shadow and the automation ladder: what agreement shows, and what it does not.

Nothing here is simulated but the order in which people were asked. The model beside the labelers is made of other
people (`tests.deploy.real_people`); that beside the officers has learnt from decisions of theirs about other applicants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from tests.deploy.real_people import NOON, Answered, Crowd, asked, bluebirds, ducks, officers, opened, record, write

from andon.core.clock import HOUR
from andon.core.record import Field
from andon.deploy.ladder import Rung
from andon.deploy.ladder_evidence import kept
from andon.deploy.line import Line
from andon.deploy.paired import shadow_comparison
from andon.deploy.raters import rate
from andon.monitor.climb import Climb
from andon.monitor.notify import Notifier
from andon.scope.charter import Charter, parse
from andon.store.workspace import Workspace
from andon.surface.view.deploy_pair import read_pairs

#: Who they are, how they were halved, and an error that the model keeps to and single people do not.
CROWDS = {"bluebirds": (bluebirds, 3), "ducks": (ducks, 1)}
PROMISED = {"grosbeak": 0.15, "no duck": 0.1}
PLACE = (Field("item", "int"),)


def charter(crowd: Crowd, truth: str) -> Charter:
    return parse(f"""
project: birds
case: automate
inputs: {{item: int}}
target: {{name: bird, classes: [{", ".join(crowd.classes)}], truth: {truth}}}
safe_default: ask again
automation: {{level: shadow, partial: {{max_error: {PROMISED[crowd.classes[0]]}}}}}
review: {{double_share: 1}}
""")


@pytest.fixture(scope="module", params=list(CROWDS))
def played(request: pytest.FixtureRequest) -> tuple[Crowd, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """The people, those of them that judge, and what the model that never saw these says."""
    make, seed = CROWDS[request.param]
    crowd = make()
    eyes, judges = crowd.halves(seed)
    return crowd, judges, crowd.model(eyes, seed)


@pytest.fixture
def opened_line(tmp_path: Path, played: Any) -> Iterator[Callable[[bool], Workspace]]:
    """A line on which every item was answered by a judge, by a second one, and by a third where these differed."""
    crowd, judges, model = played
    made: list[Workspace] = []

    def open_(labels: bool) -> Workspace:
        workspace = opened(tmp_path / str(labels), PLACE, crowd.classes)
        made.append(workspace)
        Line(workspace, charter(crowd, "external")).shadow("v1", actor="maria")
        write(workspace, PLACE, asked(crowd, judges, model, seed=0), labels=labels)
        return workspace

    yield open_
    for workspace in made:
        workspace.close()


def rung_of(workspace: Workspace, rules: Charter) -> Rung:
    """What the controller's duty finds: it looks for a threshold, and says where the slice stands."""
    climb = Climb(workspace, rules, Notifier((), stays="organisation"), seconds=0, slow=0)
    climb.turn()
    found = kept(workspace)
    assert found is not None
    (rung,) = found.rungs
    return rung


def test_people_as_raters_come_closer_to_the_truth_than_a_person_taken_for_it(played: Any) -> None:
    """Errors of real people are not independent; they are closer to that than to being none."""
    crowd, judges, (label, confidence) = played
    true = float((label != crowd.truth).mean())
    taken = [float((crowd.said[one] != label)[crowd.said[one] >= 0].mean()) for one in judges]
    rated, closer = [], 0
    for seed in range(12):
        cases = asked(crowd, judges, (label, confidence), seed)
        found = rate(record(cases), version="v1", classes=crowd.classes).model_error
        first = float(np.mean([case.model != case.people[0][1] for case in cases]))
        if found.value is not None:
            closer += abs(found.value - true) < abs(first - true)
            rated.append(found.value)
    assert closer == len(rated) >= 11
    # Nobody knows beforehand who of them is the best one; beside most of them the model seems far worse than it is.
    middle = abs(float(np.mean(rated)) - true)
    assert sum(middle < abs(one - true) for one in taken) >= 0.75 * len(taken)
    assert middle < 0.6 * float(np.mean([abs(one - true) for one in taken]))


def test_without_an_outcome_it_is_agreement_with_raters_who_err(played: Any, opened_line: Any) -> None:
    crowd, _, (label, _) = played
    found = shadow_comparison(opened_line(False), charter(crowd, "human"), "v1")
    assert (found.called, found.outcomes, found.said, found.simulated) == ("agreement", 0, None, 0)
    assert not found.model_error.defined and not found.other_error.defined and "cannot be told" in found.verdict
    raters = found.raters
    assert raters is not None and raters.doubles == raters.settled == found.n == len(crowd.truth)
    assert raters.people_error.value is not None and raters.people_error.value > 0.15
    assert raters.said == "safe" or raters.needed is not None
    assert (raters.difference.value or 0) > 0, "it errs less than they do"
    if crowd.classes == ("grosbeak", "bunting"):
        true = float((label != crowd.truth).mean())
        assert raters.model_error.low is not None and raters.model_error.high is not None
        assert raters.model_error.low <= true <= raters.model_error.high


def test_where_all_people_share_a_mistake_only_an_outcome_tells(opened_line: Any, played: Any) -> None:
    """Many call geese ducks. Double review takes what they share for the truth; the outcome does not."""
    crowd, judges, (label, _) = played
    wrong = [float((crowd.said[one] != crowd.truth)[crowd.said[one] >= 0].mean()) for one in judges]
    found = shadow_comparison(opened_line(True), charter(crowd, "external"), "v1")
    assert (found.called, found.said) == ("accuracy", "safe")
    assert found.model_error.value == pytest.approx(float((label != crowd.truth).mean()))
    raters = found.raters
    assert raters is not None and raters.people_error.high is not None
    if crowd.classes == ("no duck", "duck"):
        assert raters.people_error.high < np.mean(wrong), "what they share, nobody sees in how they differ"
        assert (raters.model_error.low or 0) > (found.model_error.high or 1)


def test_agreement_with_unreliable_people_promotes_nothing_and_a_known_truth_does(
    played: Any, opened_line: Any
) -> None:
    crowd = played[0]
    held = rung_of(opened_line(False), charter(crowd, "human"))
    assert (held.kind, held.level, held.why) == ("stay", "shadow", "labels")
    assert held.threshold is None and str(held.max_error) in held.reason
    known = opened_line(True)
    earned = rung_of(known, charter(crowd, "external"))
    assert (earned.kind, earned.to, earned.why, earned.automatic) == ("promote", "assist", "earned", False)
    act = Line(known, charter(crowd, "external")).automate("partial", actor="maria", reason="as suggested")
    assert act.route.thresholds.keys() == {"v1/*"}


def test_without_labels_the_known_truth_that_never_comes_promotes_nothing(played: Any, opened_line: Any) -> None:
    rung = rung_of(opened_line(False), charter(played[0], "external"))
    assert (rung.kind, rung.why, rung.labels) == ("stay", "labels", 0)
    fewest = {"grosbeak": 23, "no duck": 36}[played[0].classes[0]]
    assert rung.labels_needed == fewest and str(fewest) in rung.reason and "too few" in rung.reason


# --------------------------------------------------------------------------------------------------------- officers

_SEEN = (
    "pirat",
    "hirat",
    "lvrat",
    "chist",
    "mhist",
    "phist",
    "unemp",
    "selfemp",
    "condomin",
    "afam",
    "single",
    "hschool",
)
LOAN = tuple(Field(name, "category" if name in ("afam", "single") else "float") for name in ("pirat", "afam", "single"))
OFFICERS = """
project: loans
case: automate
inputs: {pirat: float, afam: category, single: category}
target: {name: deny, classes: ["no", "yes"], truth: TRUTH}
safe_default: ask a second officer
slices: {afam: "afam = 'yes'", others: "afam = 'no'", single: "single = 'yes'"}
automation: {level: shadow, slices: {afam: shadow}, partial: {max_error: 0.02}}
"""


@pytest.fixture(scope="module")
def loans() -> tuple[list[Answered], pl.DataFrame]:
    """The applications that a model, which learnt what officers did with the other half, was asked about."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    table = officers().sample(fraction=1.0, shuffle=True, seed=7)
    seen = table.select(
        pl.col(name) if table[name].dtype.is_numeric() else (pl.col(name) == "yes").cast(pl.Float64) for name in _SEEN
    ).to_numpy()
    half = len(table) // 2
    learnt = make_pipeline(StandardScaler(), LogisticRegression()).fit(seen[:half], table["deny"][:half].to_list())
    shares, rest = learnt.predict_proba(seen[half:]), table[half:]
    cases = [
        Answered(f"loan-{at}", str(learnt.classes_[share.argmax()]), float(share.max()), (("officer", row["deny"]),), "",
                 {name: row[name] for name in ("pirat", "afam", "single")})
        for at, (share, row) in enumerate(zip(shares, rest.iter_rows(named=True), strict=True))
    ]  # fmt: skip
    return cases, rest


@pytest.fixture
def bank(tmp_path: Path, loans: Any) -> Iterator[Workspace]:
    workspace = opened(tmp_path, LOAN, ("no", "yes"))
    Line(workspace, parse(OFFICERS.replace("TRUTH", "external"))).shadow("v1", actor="maria")
    write(workspace, LOAN, loans[0], labels=False)
    yield workspace
    workspace.close()


@pytest.mark.parametrize("truth", ["external", "human"])
def test_what_is_known_of_officers_is_agreement_and_nothing_else(bank: Workspace, truth: str) -> None:
    found = shadow_comparison(bank, parse(OFFICERS.replace("TRUTH", truth)), "v1")
    assert (found.n, found.called, found.outcomes, found.said) == (1190, "agreement", 0, None)
    assert found.agreement.value is not None and 0.86 < found.agreement.value < 0.92
    for unknown in (found.model_error, found.other_error, found.difference, found.odds):
        assert not unknown.defined
    assert found.sentence.startswith("v1 agrees with the people in 8") and "accura" not in str(
        msgspec.to_builtins(found)
    )
    assert found.verdict.startswith("whether v1 or the people is right cannot be told")
    raters = found.raters
    assert raters is not None and raters.doubles == 0 and raters.said is None and raters.needed is not None
    assert raters.verdict == (
        "how often people err is not known: no case was answered blindly by two of them; "
        f"about {raters.needed:,} such cases would tell"
    )


def test_agreement_with_officers_is_told_by_slice(bank: Workspace, loans: Any) -> None:
    cases, rest = loans
    pairs = read_pairs(bank, parse(OFFICERS.replace("TRUTH", "external")), "v1", "people", NOON, NOON + HOUR)
    said = {one.slice: one for one in pairs.by_slice()}
    alike = pl.Series([case.model == case.people[0][1] for case in cases])
    for name, column, value in (("afam", "afam", "yes"), ("others", "afam", "no"), ("single", "single", "yes")):
        mine = alike.filter(rest[column] == value)
        assert (said[name].n, said[name].outcomes) == (len(mine), 0)
        assert said[name].agreement.value == pytest.approx(mine.mean()) and not said[name].difference.defined
    assert (said["afam"].agreement.high or 1) < (said["others"].agreement.low or 0), "there they differ most"


def test_the_ladder_stays_where_no_outcome_ever_comes_and_says_what_is_missing(bank: Workspace) -> None:
    rules = parse(OFFICERS.replace("TRUTH", "external"))
    line = Line(bank, rules)
    line.automate("shadow", "afam", actor="maria")
    Climb(bank, rules, Notifier((), stays="organisation"), seconds=0, slow=0).turn()
    found = kept(bank)
    assert found is not None and {rung.slice for rung in found.rungs} == {"*", "afam"}
    for rung in found.rungs:
        assert (rung.kind, rung.level, rung.why, rung.labels) == ("stay", "shadow", "labels", 0)
        assert rung.labels_needed == 183 and "too few to show an error of at most 0.02" in rung.reason
        assert rung.human_error is None or not rung.human_error.defined
    act = line.automate("partial", actor="maria", reason="to see")
    assert not act.route.thresholds and any("decides nothing by itself" in note for note in act.notes)
