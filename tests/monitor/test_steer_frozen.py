"""A person's freeze holds whoever decides: also a controller that lost its database before it could read it, and any race."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.monitor.rollout_rig import Rolling, route_of

from andon.core.record import Route
from andon.deploy.frozen import put, word_of
from andon.deploy.rollout import replayed
from andon.deploy.rollout_store import ask, freeze
from andon.errors import Conflict, Unavailable, UsageError
from andon.monitor.notify import Notifier
from andon.monitor.report import Report, leave

Make = Callable[..., Rolling]
PARTS = ("states", "journal", "leases", "records", "windows")


class Gone:
    """A part of the workspace whose database is gone."""

    def __getattr__(self, name: str) -> Any:
        def refuse(*args: Any, **more: Any) -> None:
            raise Unavailable("the database is gone")

        return refuse


@contextmanager
def cut_off(line: Rolling, *parts: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        for part in parts or PARTS:
            patched.setattr(line.workspace, part, Gone())
        yield


def begun(rolling: Make, **more: Any) -> tuple[Rolling, list[str]]:
    """A canary that shows harm from now on, and the titles of the notices that are sent."""
    line, sent = rolling(**more), list[str]()
    line.steer._notifier = Notifier(["https://example.org/hook"], post=lambda url, body, s: sent.append(body["title"]))
    line.begin()
    assert line.look().state == "canary"
    line.bad["v2"] = 0.9
    return line, sent


def notices(line: Rolling, sent: list[str]) -> list[str]:
    assert line.steer._notifier is not None
    line.steer._notifier.flush()
    return sent


def told_twice_the_same(line: Rolling) -> None:
    for event in line.workspace.journal.read(action="rollout.transition", limit=1000):
        first, again = replayed(event.evidence)
        assert first == again


AFTER = (pytest.param(f"after the cut, {what}", marks=pytest.mark.slow) for what in ("elsewhere", "with no database"))


@pytest.mark.parametrize("when", ["before the cut", *AFTER])
def test_a_freeze_that_a_cut_off_controller_could_not_read_keeps_it_from_acting(rolling: Make, when: str) -> None:
    line, sent = begun(rolling)
    if when == "before the cut":
        ask(line.workspace, "freeze", actor="bob", reason="irreversible")
    with cut_off(line):
        line.come(900)
        if when == "after the cut, with no database":
            name, said = freeze(line.workspace, actor="bob", reason="irreversible")
            assert name == "" and said.startswith(
                f"route {route_of(line).epoch} freezes whatever rollout is on its way"
            )
    if when == "after the cut, elsewhere":
        ask(line.workspace, "freeze", actor="bob", reason="irreversible")
    with cut_off(line):
        (said,) = line.steer.without_database()
        assert said.startswith("rollout v2#1, with the database gone: errors: harm")
        assert said.endswith("frozen by bob, so nothing was changed")
        assert line.steer.without_database() == [], "told once"
        assert notices(line, sent) == ["screening: rollout v2#1 shows harm, and nothing is done"]
    assert (route_of(line).candidate, route_of(line).share, route_of(line).held) == ("v2", 0.1, False)
    after = line.look()
    assert (after.state, after.reason) == ("frozen", "harm") and "frozen by a person" in after.sentence
    assert line.told()[-2:] == ["frozen", "frozen"] and route_of(line).held and route_of(line).candidate == "v2"
    assert [event.actor for event in line.workspace.journal.read(action="deploy.freeze")] == ["bob"]
    told_twice_the_same(line)


@pytest.mark.parametrize("database", [pytest.param("there", marks=pytest.mark.slow), "gone"])
def test_a_freeze_at_the_last_moment_before_the_act_wins(
    rolling: Make, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    """Between what was decided and its route, also behind the last look at who answers: the route in between is seen."""
    line, _ = begun(rolling)
    line.come(900)
    real, raced = line.workspace.routes.publish, list[int]()

    def publish(route: Route) -> Route:
        if route.action == "rollback" and not raced:
            raced.append(route.epoch)
            put(line.workspace, "freeze", actor="bob", reason="wait")
        return real(route)

    monkeypatch.setattr(line.workspace.routes, "publish", publish)
    if database == "gone":
        with cut_off(line):
            assert line.steer.without_database() == []
            (said,) = line.steer.without_database()
            assert "frozen by bob" in said
    else:
        assert (line.look().state, line.now.reason) == ("frozen", "harm")
    assert len(raced) == 1 and route_of(line).candidate == "v2"
    assert not [route for route in line.workspace.routes.history() if route.action == "rollback"]


def test_who_led_since_is_seen_right_before_the_act(rolling: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another controller begins to lead between the look and the act: it may know what this one cannot."""
    line, _ = begun(rolling)
    line.come(900)
    real = line.steer._do
    line.steer._term = 3

    def late(rollout: Any, pending: Any) -> None:
        leave(line.workspace.run_dir, Report("another", 4))
        real(rollout, pending)

    monkeypatch.setattr(line.steer, "_do", late)
    with cut_off(line):
        assert line.steer.without_database() == [] and route_of(line).candidate == "v2"
        line.steer._term = 4
        assert len(line.steer.without_database()) == 1 and route_of(line).candidate is None


@pytest.mark.slow
def test_a_freeze_comes_before_harm_that_the_same_look_finds(rolling: Make) -> None:
    line, _ = begun(rolling)
    line.come(900)
    ask(line.workspace, "freeze", actor="bob")
    assert (line.look().state, line.now.reason) == ("frozen", "harm")
    assert route_of(line).candidate == "v2" and line.told()[-2:] == ["frozen", "frozen"]
    told_twice_the_same(line)


@pytest.mark.slow
def test_what_is_taken_back_with_the_database_gone_lets_harm_act_again(rolling: Make) -> None:
    line, _ = begun(rolling)
    line.bad["v2"] = 0.05
    ask(line.workspace, "freeze", actor="bob")
    assert (line.look().state, line.now.reason) == ("frozen", "person")
    line.bad["v2"] = 0.9
    with cut_off(line):
        line.come(900)
        assert line.steer.without_database() == []
        put(line.workspace, "resume", actor="ann", reason="it may")
        line.line.resume(actor="ann")
        (said,) = line.steer.without_database()
        assert "errors: harm" in said and route_of(line).candidate is None
    assert (line.look().state, line.now.reason) == ("rolled_back", "harm")


def test_a_freeze_that_is_taken_back_before_the_look_changes_nothing(rolling: Make) -> None:
    line = rolling()
    line.begin()
    line.look()
    put(line.workspace, "freeze", actor="bob")
    put(line.workspace, "resume", actor="bob")
    assert line.look().state == "canary"
    ask(line.workspace, "freeze", actor="bob")
    ask(line.workspace, "resume", actor="bob")  # before the controller has looked
    assert line.look().state == "canary"
    put(line.workspace, "freeze", actor="bob", reason="lunch")
    assert (line.look().state, line.now.reason) == ("frozen", "person") and "bob: lunch" in line.now.sentence
    put(line.workspace, "resume", actor="ann")
    line.line.resume(actor="ann")
    assert line.look().state == "canary" and "the word of ann" in line.now.sentence
    assert line.look().state == "canary", "heard once"
    told_twice_the_same(line)


def test_a_word_counts_from_the_rollout_on_and_until_somebody_goes_on_by_hand(rolling: Make) -> None:
    line = rolling()
    put(line.workspace, "freeze", actor="bob", reason="of something else")
    line.begin()
    assert line.look().state == "canary", "it was begun later"
    first = route_of(line).epoch
    put(line.workspace, "freeze", actor="bob")
    assert word_of(line.workspace.routes, first) is not None and word_of(line.workspace.routes, first + 1) is None
    line.line.switch("v2", actor="ann", reason="I know better")
    assert word_of(line.workspace.routes, first) is None
    assert line.look().state == "bake"


def test_asking_again_and_again_is_heard_whatever_the_controller_writes(
    rolling: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = rolling()
    line.begin()
    line.look()
    real, refused = line.workspace.states.put, list[int]()

    def busy(*args: Any, **more: Any) -> int:
        if args[0] == "rollout" and len(refused) < 3:
            refused.append(1)
            raise Conflict("the controller was quicker")
        return real(*args, **more)

    monkeypatch.setattr(line.workspace.states, "put", busy)
    ask(line.workspace, "freeze", actor="bob")
    assert len(refused) == 3 and line.look().state == "frozen"


def test_a_line_that_has_not_begun_has_nothing_to_freeze(rolling: Make, tmp_path: Any) -> None:
    from andon.store.workspace import Workspace

    empty = Workspace.create(tmp_path / "empty")
    with pytest.raises(UsageError, match="has not begun"):
        put(empty, "freeze", actor="bob")
    empty.close()


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ("rollback", "is taken back"),
        ("freeze", "is frozen until a person decides"),
        ("people", "is frozen until a person decides"),
    ],
)
def test_what_is_taken_back_or_waits_for_somebody_is_told_once(rolling: Make, rule: str, what: str) -> None:
    line, sent = begun(rolling, more=f", on_harm: {rule}")
    line.come(400)
    for _ in range(3):
        line.look()
    assert line.now.reason == "harm" and notices(line, sent) == [f"screening: rollout v2#1 {what}"]


def test_what_a_person_does_is_told_to_nobody_but_the_harm_of_it(rolling: Make) -> None:
    line, sent = begun(rolling)
    ask(line.workspace, "freeze", actor="bob")
    assert line.look().state == "frozen" and notices(line, sent) == []
    line.come(400)
    assert (line.look().state, line.now.reason) == ("frozen", "harm")
    assert notices(line, sent) == ["screening: rollout v2#1 is frozen until a person decides"]
    line.line.rollback(actor="bob")
    assert line.look().state == "rolled_back" and len(notices(line, sent)) == 1
