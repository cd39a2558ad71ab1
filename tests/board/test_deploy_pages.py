"""The Deploy page and the history: who answers, since when and why, in every state that a route can have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.board.deploying import CHARTER, Yard, refused
from tests.board.reviewing import BEGIN
from tests.deploy.test_transition import ACTIONS, play

from andon.core.clock import HOUR, MINUTE
from andon.core.record import Route
from andon.deploy.chronicle import levels_of
from andon.surface.view.deploy_change import changes, who_answers
from andon.surface.view.deploy_history import history_view
from andon.surface.view.deploy_now import steps
from andon.surface.view.deploy_route import route_now

HARM = "<script>document.title='taken'</script>"


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    made = Yard(tmp_path / "yard")
    yield made
    made.close()


def test_before_anything_was_deployed_the_page_says_how_it_will_begin(yard: Yard) -> None:
    view = yard.look("deploy")
    assert (view.route, view.state, view.first) == (None, "idle", "the line begins at level shadow")
    assert [(one.slice, one.level) for one in view.levels] == [("*", "shadow")]
    assert yard.workspace.routes.current() is None
    page = yard.person("otto", "owner").page("/deploy")
    assert "Nothing was deployed yet: the line begins at level shadow." in page and "andon up" in page
    assert "/act/deploy/shadow?version=v1" in page
    assert "No route was published yet" in yard.person("vera", "viewer").page("/deploy/history")


def test_without_a_release_it_says_what_makes_one(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "bare", CHARTER)
    with yard.workspace.db.write() as connection:
        connection.exec_driver_sql("DELETE FROM records")
    page = yard.person("otto", "owner").page("/deploy")
    assert "There is no release yet." in page and "<code>andon train</code>" in page
    yard.close()


def test_who_answers_with_shares_since_when_by_whom_and_why(yard: Yard) -> None:
    yard.line.switch("v1", actor="olga", reason="met its goals")
    yard.clock.advance(3600)
    yard.line.automate("full", actor="olga")
    yard.clock.advance(3600)
    yard.line.canary("v2", 0.05, actor="tom", reason="a few first")
    yard.line.shadow("v3", actor="ann", reason="watch it")
    view = yard.look("deploy")
    told = [
        (one.name, one.role, one.tone, one.share, one.since.actor, one.since.reason) for one in view.route.answering
    ]
    assert told == [
        ("v1", "live", "machine", 0.95, "olga", "met its goals"),
        ("v2", "candidate", "candidate", 0.05, "tom", "a few first"),
    ]
    assert view.route.answering[0].since.time_us == BEGIN and view.route.answering[1].since.time_us == BEGIN + 2 * HOUR
    assert [(one.name, one.role, one.since.actor) for one in view.route.watching] == [("v3", "shadow", "ann")]
    assert (view.route.epoch, view.route.since.actor, view.route.since.action) == (yard.route.epoch, "ann", "shadow")
    assert "v2 answers 5 % of the units, v1 the rest" in view.sentence
    page = yard.person("vera", "viewer").page("/deploy")
    assert "95 % of the units; decides alone" in page and 'href="/deploy/shadow/v3"' in page


def test_the_share_and_its_hold_are_dated_from_when_they_are_so(yard: Yard) -> None:
    yard.line.switch("v1")
    yard.line.canary("v2", 0.05, actor="tom")
    yard.clock.advance(60)
    yard.line.ramp(0.2, actor="olga", reason="well so far")
    yard.clock.advance(60)
    yard.line.hold(actor="ann", reason="the weekend")
    yard.line.automate("assist", actor="ann")
    view = yard.look("deploy")
    candidate = view.route.answering[1]
    assert (candidate.share, candidate.since.actor, candidate.since.time_us) == (0.2, "olga", BEGIN + MINUTE)
    assert (view.route.hold.actor, view.route.hold.reason) == ("ann", "the weekend")
    commands = [one.command for one in view.actions]
    assert commands == ["deploy.resume", "deploy.rollback"]
    assert "ann holds the share since" in yard.person("otto", "owner").page("/deploy")


def test_a_stopped_line_says_who_pulled_the_cord(yard: Yard) -> None:
    yard.line.switch("v1")
    yard.line.stop(actor="olga", reason="smoke")
    view = yard.look("deploy")
    [one] = view.route.answering
    assert (view.state, one.tone, one.share, one.since.actor, one.since.reason) == (
        "stop",
        "people",
        1.0,
        "olga",
        "smoke",
    )
    yard.line.stop("safe_default", actor="tom", reason="nobody is there")
    [one] = yard.look("deploy").route.answering
    assert (one.name, one.tone, one.since.actor) == ("“refer”", "idle", "tom")
    page = yard.person("otto", "owner").page("/deploy")
    assert 'href="/act/start' in page and "every answer is &#39;refer&#39;" in page


def test_levels_by_slice_on_a_ladder_with_thresholds(yard: Yard) -> None:
    yard.line.switch("v1")
    yard.line.automate("partial", "older")
    yard.line.automate("assist")
    older, rest = yard.look("deploy").levels
    assert (older.slice, older.predicate, older.level, older.rung) == ("older", "age >= 60", "partial", 3)
    assert [(one.version, one.confidence) for one in older.sure] == [("v1", None)]
    assert (rest.slice, rest.level, rest.rung, rest.sure) == ("*", "assist", 2, ())
    plane, route = yard.workspace.routes, yard.route
    plane.publish(msgspec.structs.replace(route, epoch=route.epoch + 1, thresholds={"v1/older": 0.925}))
    older, _ = yard.look("deploy").levels
    assert [one.confidence for one in older.sure] == [0.925]
    page = yard.person("vera", "viewer").page("/deploy")
    assert "v1: automatic from 0.925 on" in page and "level partial, step 4 of 5" in page


def test_what_can_be_done_with_each_release_is_what_is_not_refused(yard: Yard) -> None:
    yard.line.switch("v1")
    settings: list[list[tuple[str, dict[str, Any]]]] = [
        [],
        [("deploy.blue-green", {"version": "v2"})],
        [("deploy.ramp", {"share": 0.5})],
        [("stop", {})],
    ]
    for setting in settings:
        for name, given_ in setting:
            yard.act(name, **given_)
        view = yard.look("deploy")
        offered = {(one.command, one.params.get("version")) for row in view.releases for one in row.actions}
        assert not {one for one in offered if one[1] == "v1" and one[0] != "deploy.rollback"}
        for row in view.releases:
            for one in row.actions:
                assert refused(lambda: yard.ask(one.command, **one.params)) is None  # noqa: B023 - called at once
                assert yard.ask(one.command, **one.params).then == one.then
        for one in view.actions:
            more: dict[str, Any] = {"share": 0.5} if one.asks_share else {}
            assert yard.ask(one.command, **one.params, **more).then


def test_releases_say_how_they_met_their_goals(yard: Yard) -> None:
    yard.line.switch("v1")
    third, second, first = yard.look("deploy").releases
    assert [(one.version, one.role) for one in (first, second, third)] == [("v1", "live"), ("v2", ""), ("v3", "")]
    assert (first.state, first.word, first.overridden) == ("good", "goals met", False)
    assert (third.state, third.word, third.overridden) == ("look", "goals not met", True)
    assert [(gate.metric, gate.cohort, gate.word) for gate in third.gates] == [
        ("error", "", "met"),
        ("recall", "older", "not met"),
    ]
    page = yard.person("vera", "viewer").page("/deploy")
    assert "released all the same" in page and "recall on older is 0.5: outside &gt;= 0.9" in page and "latency" in page


def test_only_the_newest_releases_and_those_in_use_are_listed(yard: Yard) -> None:
    yard.line.switch("v1")
    for number in range(4, 30):
        yard.release(f"v{number}")
    view = yard.look("deploy")
    assert len(view.releases) == 21 and view.older == 8
    assert view.releases[-1].version == "v1" and view.releases[0].version == "v29"


def test_workers_with_what_they_follow_have_loaded_and_complain_of(yard: Yard) -> None:
    yard.line.switch("v1")
    yard.worker("w0", yard.route.epoch, "v1")
    yard.worker("w1", yard.route.epoch - 1, "v1", v2="disk full")
    view = yard.look("deploy")
    assert [(one.worker, one.epoch, one.faults) for one in view.running.workers] == [
        ("w0", yard.route.epoch, ()),
        ("w1", yard.route.epoch - 1, ("disk full",)),
    ]
    assert view.state == "stop" and "a worker says: disk full" in view.sentence
    live = next(one for one in view.versions if one.role == "live")
    assert (live.version, live.loaded, live.missing, live.bundle) == ("v1", ("w0", "w1"), (), "v1" * 8)
    page = yard.person("vera", "viewer").page("/deploy")
    assert "disk full" in page and f"route {yard.route.epoch - 1}" in page


def test_what_people_wrote_is_text(yard: Yard) -> None:
    yard.line.switch("v1", actor=HARM, reason=HARM)
    yard.line.stop(actor="olga", reason=HARM)
    owner = yard.person("otto", "owner")
    for path in ("/deploy", "/deploy/history"):
        page = owner.page(path)
        assert HARM not in page and "&lt;script&gt;document.title" in page, path


def test_a_route_that_cannot_be_read_is_told(yard: Yard) -> None:
    yard.line.switch("v1")
    yard.line.stop()
    path = yard.workspace.routes.directory / f"{yard.route.epoch:012d}.json"
    path.write_bytes(b"{")
    view = yard.look("deploy")
    assert view.route.live == "v1" and "cannot be read" in view.trouble
    assert "Not everything is known now" in yard.person("vera", "viewer").page("/deploy")


# ----------------------------------------------------------------------------------------------------- the history


def test_every_route_with_what_it_changed_and_how_long_it_was_in_force(yard: Yard) -> None:
    yard.line.switch("v1", actor="olga")
    yard.clock.advance(600)
    yard.line.automate("full", actor="olga")
    yard.line.canary("v2", 0.05, actor="tom", reason="a few first")
    yard.clock.advance(3600)
    yard.line.ramp(0.2, actor="tom")
    yard.line.to_people(actor="controller", reason="harm is 0.1")
    yard.clock.advance(30)
    view = yard.look("deploy.history")
    told = [(row.step.epoch, row.step.changes, row.lasted_us // 1_000_000, row.current, row.state) for row in view.rows]
    assert told == [
        (6, ("level: full → shadow",), 30, True, "look"),
        (5, ("share of v2: 5 % → 20 %",), 0, False, "good"),
        (4, ("v2 is the candidate with 5 %",), 3600, False, "good"),
        (3, ("level: shadow → full",), 0, False, "good"),
        (2, ("live: people alone → v1",), 600, False, "good"),
        (1, ("the first route: level shadow",), 0, False, "good"),
    ]
    page = yard.person("vera", "viewer").page("/deploy/history")
    assert "share of v2: 5 % → 20 %" in page and "harm is 0.1" in page and 'id="route-5"' in page


def test_the_history_is_read_in_pages(yard: Yard) -> None:
    yard.line.switch("v1")
    for _ in range(60):
        yard.line.stop()
    first, second = yard.look("deploy.history"), yard.look("deploy.history", page=2)
    assert (first.total, first.pages, len(first.rows), len(second.rows)) == (62, 2, 50, 12)
    assert [row.step.epoch for row in (*first.rows, *second.rows)] == list(range(62, 0, -1))
    assert second.rows[0].step.changes == () and second.rows[-1].step.changes
    assert yard.look("deploy.history", page=99).page == 2
    assert not any(row.current for row in second.rows)


def test_a_long_history_is_cut_and_says_so(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    from andon.surface.view import deploy_history

    monkeypatch.setattr(deploy_history, "MOST_ROUTES", 4)
    for _ in range(5):
        yard.line.stop()
    view = yard.look("deploy.history")
    assert (view.total, view.cut) == (4, True)


LISTS = st.lists(ACTIONS, max_size=20)


@given(LISTS)
def test_laws_of_the_history(story: list[Any]) -> None:
    routes = play(story)[::-1]
    for at, route in enumerate(routes):
        before = routes[at + 1] if at + 1 < len(routes) else None
        said = changes(before, route)
        assert len(set(said)) == len(said) and all(said)
        if before is not None:
            seen = ("live", "candidate", "share", "stopped", "levels", "shadows", "held")
            differs = any(getattr(before, name) != getattr(route, name) for name in seen)
            assert said or not differs, (before, route)
    assert [step.epoch for step in steps(routes)] == [route.epoch for route in routes]
    now = route_now(routes)
    assert abs(sum(one.share for one in now.answering) - 1.0) < 1e-9
    assert now.says == who_answers(routes[0])
    assert [name for name, _ in levels_of(routes[0])][-1] == "*"


class _Plane:
    def __init__(self, routes: list[Route]) -> None:
        self._routes = routes

    def history(self, limit: int) -> list[Route]:
        return self._routes[:limit]


class _Anything:
    def __init__(self, **given_: Any) -> None:
        self.__dict__.update(given_)


@given(LISTS, st.lists(st.integers(-5, 50), min_size=30, max_size=30))
def test_laws_of_the_chart(story: list[Any], pauses: list[int]) -> None:
    times, routes = 1_000, []
    for route, pause in zip(play(story), pauses, strict=False):
        times += pause
        routes.append(msgspec.structs.replace(route, time_us=times))
    project = _Anything(workspace=_Anything(routes=_Plane(routes[::-1])))
    view = history_view(_Anything(project=project, now_us=times + 10), _Anything(page=1))  # type: ignore[arg-type]
    stamps = [one.time_us for one in view.shares]
    assert stamps == sorted(stamps) and len(stamps) >= 2
    for one in view.shares:
        assert abs(one.people + one.live + one.candidate + one.safe_default - 1.0) < 1e-9
    assert sum(row.current for row in view.rows) == 1 and all(row.lasted_us >= 0 for row in view.rows)
    for strip in view.strips:
        assert all(a.until_us >= a.since_us for a in strip.stretches)
        assert all(a.level != b.level for a, b in zip(strip.stretches, strip.stretches[1:], strict=False))
