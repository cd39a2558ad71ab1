"""What is not known yet is no good news: complaints that may still come, and labels that come sooner where it went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from tests.monitor.rollout_rig import HEAD, Rolling

from andon.core.clock import HOUR, SECOND
from andon.core.record import Feedback
from andon.deploy.rollout_proof import said_of
from andon.deploy.rollout_record import Rail
from andon.measure.alone import Alone
from andon.measure.event import event_of
from andon.measure.gate import Bound
from andon.monitor.cases import measurable
from andon.monitor.proof import Proof
from andon.monitor.steer import standing
from andon.scope.charter import Charter, parse
from andon.store.codec import encode_feedback
from andon.store.frame import FrameKind
from andon.store.view import Seen

Make = Callable[[Charter, str], Rolling]


@pytest.fixture
def rolling(tmp_path: Path) -> Iterator[Make]:
    made: list[Rolling] = []

    def make(rules: Charter, live: str) -> Rolling:
        made.append(Rolling(tmp_path / f"home{len(made)}", rules, live=live))
        return made[-1]

    yield make
    for one in made:
        one.close()


def charter(rails: str, delay: str) -> Charter:
    more = '  redo: {of: feedback(redo), goal: "<= 0.2"}\n  missed: {of: "recall[positive]", goal: ">= 0.8"}\n'
    head = HEAD.replace("  worth:", f"{more}  worth:")
    return parse(
        head.replace("start_share: 0.1", "start_share: 0.5, budget: 100000") % (delay, "canary, live", rails, "")
    )


def rail(line: Rolling) -> Rail:
    """The one guardrail as a controller that has just begun sees it."""
    (found,) = Proof(line.workspace, line.charter).look(line.now, standing(line.workspace, line.now)).rails
    return found


def tell(line: Rolling, ids: Sequence[tuple[str, str, str | None]]) -> None:
    rows = [Feedback(id, kind, value) for id, kind, value in ids]
    line.writer.append(FrameKind.FEEDBACK, encode_feedback(rows), count=len(rows), time_us=line.clock.now())


def test_that_nobody_complained_yet_clears_nobody_while_they_may(rolling: Make) -> None:
    line = rolling(charter("redo", "1d"), "v1")
    line.begin()
    line.until("canary", units=10, label=False)
    for _ in range(4):
        line.come(6000, seconds=1200, label=False)
        assert line.look().state in ("canary", "hold")
    seen = rail(line)
    assert sum(seen.units) == 0 and said_of(line.now.plan, seen) == "not_yet"
    tell(line, [("u20", "redo", None), ("u21", "redo", None)])
    assert sum(rail(line).units) == 2, "a complaint counts as it comes"
    line.clock.advance(25 * HOUR / SECOND)
    line.come(10, label=False)
    assert sum(rail(line).units) > 20_000


@pytest.mark.parametrize("of", ["feedback(redo)", "feedback(redo, shown)"])
def test_a_complaint_is_known_since_it_came_whatever_else_came_before(rolling: Make, of: str) -> None:
    line = rolling(charter("redo", "1d"), "v1")
    line.come(3, label=False)
    came = []
    for kind in ("click", "shown", "redo", "late"):
        line.clock.advance(60)
        tell(line, [("u2", kind, None)])
        came.append(line.clock.now())
    look = event_of(of, Bound.parse("<= 0.2"), ())
    table = measurable(Seen(line.workspace, None, None), {"redo": look}, line.charter).collect()
    assert table.filter("bad:redo")["known:redo"].to_list() == [came[2]]


@pytest.mark.parametrize("wrong", [0.02, 0.1])
def test_against_a_goal_labels_that_come_sooner_where_it_went_wrong_do_not_count_more(
    rolling: Make, wrong: float
) -> None:
    line = rolling(charter("wrong", "1d"), "")
    line.wrong["v2"] = wrong
    line.begin()
    line.until("canary", units=10)
    for _ in range(6):
        line.come(500, seconds=3600, label=False)
        bad = [(unit, "label", "positive") for unit, missed in line.unlabelled if missed]
        line.unlabelled = [(unit, missed) for unit, missed in line.unlabelled if not missed]
        tell(line, bad)
        line.look()
    assert rail(line).units == (0, 0), "those that went wrong are known, the others are not"
    assert line.now.state in ("canary", "hold")
    line.label()
    line.clock.advance(25 * HOUR / SECOND)
    line.until("bake", "settled", units=20)


def test_against_a_goal_harm_is_shown_by_what_is_known_if_all_that_is_not_were_right(rolling: Make) -> None:
    line = rolling(charter("wrong", "1d"), "")
    line.wrong["v2"] = 0.9
    line.begin()
    line.until("canary", units=10)
    line.come(200, seconds=3600, label=False)
    tell(line, [(unit, "label", "positive") for unit, missed in line.unlabelled[:100] if missed])
    seen = rail(line)
    assert seen.units == (0, 0) and isinstance(seen.other, Alone) and seen.other.harm.n > 80
    assert line.look().state in ("rolling_back", "rolled_back")
    assert "units so far, the goal is at most 0.2" in line.now.sentence


def test_against_a_goal_a_case_that_is_known_not_to_count_gives_no_hope(rolling: Make) -> None:
    line = rolling(charter("missed", "1d"), "")
    line.begin()
    line.until("canary", units=10)
    # One in twenty is positive, and the release finds none of them.
    line.come(600, seconds=3600)
    assert line.look().state in ("rolling_back", "rolled_back")


def test_against_a_goal_a_label_that_did_not_come_in_its_time_gives_no_hope(rolling: Make) -> None:
    line = rolling(charter("wrong", "1d"), "")
    line.wrong["v2"] = 0.9
    line.begin()
    line.until("canary", units=10)
    line.come(400, seconds=3600, label=False)
    line.unlabelled = line.unlabelled[::8]
    line.label()
    assert line.look().state in ("canary", "hold"), "all others may still be right"
    line.clock.advance(25 * HOUR / SECOND)
    assert line.look().state in ("rolling_back", "rolled_back")
