"""The shadow comparison: the figures are those of the log, and no blind reviewer is told what a model says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.board.deploying import CHARTER, Yard, decided, waiting
from tests.board.reviewing import BEGIN

from andon.core.clock import DAY, HOUR, iso
from andon.errors import NotFound, UsageError


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    made = Yard(tmp_path / "yard")
    made.line.switch("v1")
    made.line.shadow("v2")
    yield made
    made.close()


def fill(yard: Yard) -> None:
    """Ten cases that v1 decided: v2 agrees in seven of them; outcomes of eight are known."""
    answers = ["accept"] * 6 + ["reject"] * 4
    rows = [decided(f"c{at}", answer, BEGIN + at * HOUR) for at, answer in enumerate(answers)]
    yard.decide(*rows[:5], x=(70, "North"))
    yard.decide(*rows[5:], x=(20, "South"))
    said = {f"c{at}": answer for at, answer in enumerate(answers)}
    yard.shadow("v2", {**said, "c0": "reject", "c1": "reject", "c9": None})
    truth = {**said, "c0": "reject"}
    yard.label({id: truth[id] for id in said if id not in ("c8", "c9")})
    yard.clock.advance(10 * HOUR / 1_000_000)


def test_agreement_matrix_and_the_paired_comparison(yard: Yard) -> None:
    fill(yard)
    view = yard.look("deploy.comparison", version="v2")
    found = view.found
    assert (found.n, found.agreement.value, found.discordant, found.silent, found.called) == (10, 0.7, 3, 1, "accuracy")
    assert found.agreement.low < 0.7 < found.agreement.high
    assert (found.outcomes, found.only_model_right, found.only_other_right) == (8, 1, 1)
    assert found.difference.value == 0.0 and found.difference.low < 0 < found.difference.high
    assert (view.answers, view.others) == (("accept", "reject", ""), ("accept", "reject"))
    assert view.matrix == ((4, 0), (2, 3), (0, 1))
    assert sum(map(sum, view.matrix)) == found.n
    page = yard.person("vera", "viewer").page("/deploy/shadow/v2")
    assert "Which errs less cannot be told yet" in page and "no answer" in page


def test_beside_people_it_says_what_second_looks_say(yard: Yard) -> None:
    """Nobody's own errors are on the page: those are theirs and the owner's."""
    ids = [f"p{at}" for at in range(40)]
    yard.decide(*(waiting(id, BEGIN + at * HOUR, level="shadow") for at, id in enumerate(ids)))
    said: dict[str, str | None] = dict.fromkeys(ids, "accept")
    yard.shadow("v2", said | {"p0": "reject"})
    for id in ids:
        yard.review(id, "accept")
    vera, day = yard.person("vera", "viewer"), (iso(BEGIN)[:10], iso(BEGIN + 9 * DAY)[:10])
    path = f"/deploy/shadow/v2?against=people&since={day[0]}&until={day[1]}"
    page = vera.page(path)
    assert "no case was answered blindly by two of them" in page and "double_share" in page
    for at, id in enumerate(ids[:30]):
        yard.review(id, "reject" if at in (1, 2, 3) else "accept", kind="second", reviewer="tom")
    yard.review("p1", "accept", kind="adjudication", reviewer="zoe")
    path += "T12:00"  # what was shown a moment ago is shown for a second, and the clock stands
    page, twin = vera.page(path), vera.twin(path)
    raters = twin["found"]["raters"]
    assert (raters["doubles"], raters["alone_model"], raters["alone_person"], raters["settled"]) == (30, 1, 3, 28)
    assert (
        "People as raters who err" in page
        and "30 cases two people answered" in page
        and "Errors by second looks" in page
    )
    assert "of 30 cases that two people answered blindly v2 stood alone in 1, one of the two in 3" in page
    assert not {"tom", "zoe"} & set(page.split())


def test_by_slice_and_one_slice_alone(yard: Yard) -> None:
    fill(yard)
    view = yard.look("deploy.comparison", version="v2")
    assert [(one.slice, one.n, one.agreement.value, one.discordant) for one in view.by_slice] == [
        ("older", 5, 0.6, 2),
        ("north", 5, 0.6, 2),
    ]
    older = yard.look("deploy.comparison", version="v2", slice="older")
    assert (older.found.n, older.found.agreement.value, older.total, older.by_slice) == (5, 0.6, 2, ())
    assert yard.person("vera", "viewer").page("/deploy/shadow/v2?slice=older").count("All cases") == 1


def test_cases_that_differ_link_to_their_life_newest_first(yard: Yard) -> None:
    fill(yard)
    view = yard.look("deploy.comparison", version="v2")
    told = [(one.id, one.said, one.other, one.by, one.label, one.right) for one in view.differing]
    assert told == [
        ("c9", None, "reject", "v1", None, ""),
        ("c1", "reject", "accept", "v1", "accept", "other"),
        ("c0", "reject", "accept", "v1", "reject", "shadow"),
    ]
    page = yard.person("vera", "viewer").page("/deploy/shadow/v2")
    assert 'href="/decisions/c1"' in page and (view.total, view.veiled) == (3, 0)


def test_a_cell_of_the_matrix_opens_its_cases_and_no_others(yard: Yard) -> None:
    fill(yard)

    def ids(**cell: Any) -> list[str]:
        return [one.id for one in yard.look("deploy.comparison", version="v2", **cell).differing]

    assert ids(said="reject", other="accept") == ["c1", "c0"] and ids(said="reject") == ["c1", "c0"]
    assert ids(silent=True, other="reject") == ["c9"] and ids(silent=True, other="accept") == []
    assert ids(right="shadow") == ["c0"] and ids(right="other") == ["c1"] and ids(right="neither") == []
    assert ids(said="'; drop") == [] and ids() == ["c9", "c1", "c0"]
    whole = yard.look("deploy.comparison", version="v2")
    cell = yard.look("deploy.comparison", version="v2", said="reject", other="accept")
    assert cell.matrix == whole.matrix and cell.found == whole.found and (cell.total, whole.total) == (2, 3)
    share = whole.shares[1][0]
    assert (share.value, share.n) == (0.2, 10) and share.low < 0.2 < share.high
    vera = yard.person("vera", "viewer")
    page = vera.page("/deploy/shadow/v2")
    assert "said=reject&amp;other=accept#differing" in page and "silent=true&amp;other=reject#differing" in page
    assert "right=shadow#differing" in page and "right=other#differing" in page and "not yet" in page
    narrowed = vera.page("/deploy/shadow/v2?said=reject&other=accept")
    assert "2 cases of this kind" in narrowed and "/decisions/c9" not in narrowed and "All that differ" in narrowed
    assert "No case of this kind" in vera.page("/deploy/shadow/v2?silent=true&other=accept")
    twin = vera.twin("/deploy/shadow/v2?silent=true")
    assert [one["id"] for one in twin["differing"]] == ["c9"] and twin["cell"]["silent"] is True


def test_without_an_outcome_it_is_called_agreement(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "yard", CHARTER.replace("[accept, reject]}", "[accept, reject], truth: human}"))
    yard.line.switch("v1")
    yard.line.shadow("v2")
    fill(yard)
    view = yard.look("deploy.comparison", version="v2")
    assert (view.found.called, view.found.outcomes, view.found.difference.value) == ("agreement", 0, None)
    assert all(one.label is None and one.right == "" for one in view.differing)
    page = yard.person("vera", "viewer").page("/deploy/shadow/v2")
    assert "this is agreement and says nothing about who is right" in page and "only v2 right" not in page
    yard.close()


# ------------------------------------------------------------------------------------------------------- the veil


def test_a_case_that_a_blind_reviewer_may_still_get_is_left_out_and_counted(yard: Yard) -> None:
    yard.decide(decided("seen", "accept"), decided("audited", "accept", audit=0.1))
    yard.decide(waiting("open", suggestion="accept"), waiting("fresh", suggestion="accept"))
    yard.decide(waiting("assisted", level="assist", suggestion="accept"))
    yard.shadow("v2", dict.fromkeys(("seen", "audited", "open", "fresh", "assisted"), "reject"))
    yard.add("open", blind=True)
    yard.add("audited", kind="audit", blind=True)
    yard.add("assisted", blind=False)
    view = yard.look("deploy.comparison", version="v2", against="live")
    assert ({one.id for one in view.differing}, view.total, view.veiled) == ({"seen", "assisted"}, 2, 3)
    page = yard.person("rita", "reviewer").page("/deploy/shadow/v2?against=live")
    assert "3 cases left out" in page
    assert not any(f"/decisions/{id}" in page for id in ("open", "audited", "fresh"))
    # A cell says as many are left out as all do: their number there would tell what a model says of a case.
    cell = yard.look("deploy.comparison", version="v2", against="live", said="reject", other="reject")
    assert (cell.differing, cell.total, cell.veiled) == ((), 0, 3)
    beside = yard.look("deploy.comparison", version="v2")  # what waits has no decision yet
    assert ({one.id for one in beside.differing}, beside.veiled) == ({"seen"}, 1)


def test_once_decided_it_is_shown_with_who_decided(yard: Yard) -> None:
    yard.decide(waiting("open", suggestion="accept"))
    yard.shadow("v2", {"open": "reject"})
    yard.add("open", blind=True)
    yard.inbox.take("ann", 1)
    yard.inbox.decide("open", "accept", "ann")
    view = yard.look("deploy.comparison", version="v2")
    assert [(one.id, one.other, one.by) for one in view.differing] == [("open", "accept", "ann")] and view.veiled == 0
    people = yard.look("deploy.comparison", version="v2", against="people")
    assert people.found.n == 1 and people.found.simulated == 0


def test_a_held_answer_is_not_told_yet(yard: Yard) -> None:
    yard.decide(waiting("open", suggestion="accept"))
    yard.shadow("v2", {"open": "reject"})
    yard.add("open", blind=True)
    yard.inbox.take("ann", 1)
    yard.inbox.hold("open", "accept", "ann")
    view = yard.look("deploy.comparison", version="v2", against="live")
    assert (view.differing, view.veiled) == ((), 1)


def test_people_who_saw_a_suggestion_are_no_evidence(yard: Yard) -> None:
    yard.decide(waiting("a", level="assist"), waiting("b"))
    yard.shadow("v2", {"a": "accept", "b": "accept"})
    yard.review("a", "reject", saw_suggestion=True)
    yard.review("b", "reject", simulated=True)
    assert yard.look("deploy.comparison", version="v2").found.n == 2
    people = yard.look("deploy.comparison", version="v2", against="people")
    assert (people.found.n, people.found.simulated) == (1, 1)
    page = yard.person("vera", "viewer").page("/deploy/shadow/v2?against=people")
    assert "proves nothing about people" in page


def test_with_the_database_gone_no_case_is_listed_where_one_may_wait(yard: Yard) -> None:
    fill(yard)
    owner = yard.person("otto", "owner")
    with yard.gone():
        view = yard.look("deploy.comparison", version="v2")
        assert view.total == 3 and not view.trouble  # none of these can wait for anybody
    yard.decide(decided("audited", "accept", audit=0.1))
    yard.shadow("v2", {"audited": "reject"})
    with yard.gone():
        view = yard.look("deploy.comparison", version="v2")
        assert view.differing is None and view.trouble and view.found.n == 11
        page = owner.page("/deploy/shadow/v2")
        assert "Not everything is known now" in page and "/decisions/" not in page


# ------------------------------------------------------------------------------------------------------ which time


def test_the_time_is_the_last_weeks_or_those_before_it_left_the_shadow(yard: Yard) -> None:
    fill(yard)
    now = yard.look("deploy.comparison", version="v2")
    assert (now.reading.until_us - 1, now.reading.says) == (yard.clock.now(), "the last 28 days")
    left = yard.clock.now()
    yard.line.unshadow("v2")
    yard.clock.advance(100 * DAY / 1_000_000)
    then = yard.look("deploy.comparison", version="v2")
    assert then.reading.until_us - 1 == left and then.reading.says == "the last 28 days before it left the shadow"
    assert (then.found.n, then.role) == (10, "it does not run now")
    part = yard.look("deploy.comparison", version="v2", since="2020-03-11T02:00", until="2020-03-11T05:00")
    assert (part.found.n, part.reading.says) == (3, "as asked for")
    long = yard.look("deploy.comparison", version="v2", since="2001-01-01", until="2020-03-12")
    assert long.reading.says.startswith("the last 366 days") and long.found.n == 10


def test_agreement_over_time_adds_up(yard: Yard) -> None:
    fill(yard)
    found = yard.look("deploy.comparison", version="v2").over_time
    assert sum(one.agreement.n for one in found) == 10 and len(found) <= 30
    assert [one.start_us for one in found] == sorted(one.start_us for one in found)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"version": "v22"}, NotFound, "did you mean 'v2'"),
        ({"version": "v2", "slice": "oldr"}, NotFound, "did you mean 'older'"),
        ({"version": "v2", "since": "yesterday"}, UsageError, "since: expected a date or time"),
        ({"version": "v2", "since": "2020-03-12", "until": "2020-03-11"}, UsageError, "since: expected a time before"),
    ],
)
def test_what_is_not_there_is_said(yard: Yard, given: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        yard.look("deploy.comparison", **given)


def test_nothing_in_common_says_what_to_do(yard: Yard) -> None:
    owner = yard.person("otto", "owner")
    assert "have no case in common in this time" in owner.page("/deploy/shadow/v2")
    assert "andon deploy shadow v3" in owner.page("/deploy/shadow/v3")
    assert owner.page("/deploy/shadow/v99", status=404)


def test_many_that_differ_come_in_pages(yard: Yard) -> None:
    yard.decide(*(decided(f"c{at:03}", "accept", BEGIN + at) for at in range(60)))
    yard.shadow("v2", {f"c{at:03}": "reject" for at in range(60)})
    yard.clock.advance(1)
    pages = [yard.look("deploy.comparison", version="v2", page=page) for page in (1, 2, 3)]
    assert [len(page.differing) for page in pages] == [25, 25, 10] and pages[0].pages == 3
    ids = [one.id for page in pages for one in page.differing]
    assert ids == sorted(ids, reverse=True) and len(set(ids)) == 60
    text = yard.person("vera", "viewer").page("/deploy/shadow/v2?page=2&said=reject")
    assert "page 2 of 3" in text and "said=reject&amp;page=3" in text


def test_an_input_may_be_called_like_a_side(tmp_path: Path) -> None:
    charter = CHARTER.replace("region: category", "model: category").replace("region = 'North'", "model = 'North'")
    yard = Yard(tmp_path / "yard", charter)
    yard.line.switch("v1")
    yard.fields = tuple(f if f.name == "age" else type(f)("model", "category") for f in yard.fields)
    yard.decide(decided("a", "accept"))
    yard.shadow("v2", {"a": "accept"})
    view = yard.look("deploy.comparison", version="v2")
    assert view.found.agreement.value == 1.0 and view.by_slice[1].n == 1
    yard.close()
