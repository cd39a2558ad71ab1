"""A release that takes long to load: the rollout says so and waits, the controller does not; who cannot load it ends it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from tests.monitor.rollout_rig import Rolling, route_of

from andon.deploy.crew import process_began
from andon.deploy.loading import LONGEST, ask_for, loading
from andon.deploy.rollout import replayed
from andon.deploy.rollout_store import active
from andon.monitor import bringing
from andon.monitor.explain import explain
from andon.store.routes import Ack

Make = Callable[..., Rolling]


@pytest.fixture(autouse=True)
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers of these tests load when they are told to, and follow no route."""
    monkeypatch.setattr(bringing, "_QUICK", 0.0)
    monkeypatch.setattr("andon.deploy.line.wait_followed", lambda *args: (0, 0))


def says(line: Rolling, worker: str, *loaded: str, **faults: str) -> None:
    """What a worker says of itself, but for when it began."""
    epoch = line.workspace.routes.word()
    line.workspace.routes.acknowledge(worker, Ack(worker, os.getpid(), epoch, loaded, line.clock.wall(), faults))


def begun(rolling: Make, *args: Any, workers: tuple[str, ...] = ("w0", "w1")) -> Rolling:
    line = rolling(*args)
    for worker in workers:
        says(line, worker, "v1")
    line.begin()
    return line


def missing(line: Rolling) -> str:
    now = active(line.workspace)
    assert now is not None
    return explain(line.workspace, line.charter, now).missing[0]


def acts(line: Rolling) -> list[str]:
    """What the controller did to the line, oldest first."""
    return [route.action for route in reversed(line.workspace.routes.history()) if route.actor == "controller"]


def test_it_holds_says_how_far_it_is_survives_a_kill_and_goes_on(rolling: Make) -> None:
    line = begun(rolling)
    held = line.look()
    assert (held.state, held.reason, held.place) == ("hold", "dependency", "preflight")
    assert held.sentence == "v2 is loading since 0 s in workers w0 and w1"
    assert "v2" in route_of(line).warm and route_of(line).candidate is None
    line.clock.advance(40)
    assert line.look() == held, "it is told once, and shown as it is"
    assert missing(line).startswith("v2 is loading since 40 s in workers w0 and w1; it gets no unit before")
    line.steer = line.leader()
    says(line, "w0", "v1", "v2")
    line.clock.advance(200)
    assert line.look() == held and missing(line).startswith("v2 is loading since 4 min in worker w1")
    says(line, "w1", "v1", "v2")
    assert line.look().state == "canary" and route_of(line).candidate == "v2"
    assert line.told() == ["preflight", "hold", "preflight", "canary"] and acts(line) == ["warm", "canary"]
    for event in line.workspace.journal.read(action="rollout.transition", limit=100):
        first, again = replayed(event.evidence)
        assert first == again


def test_killed_between_asking_and_telling_it_asks_no_second_time(
    rolling: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = begun(rolling)

    class Killed(BaseException):
        pass

    def die(*args: Any, **more: Any) -> Any:
        ask_for(*args, **more)
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr("andon.monitor.bringing.ask_for", die)
        line.look()
    line.steer = line.leader()
    assert line.look().sentence.startswith("v2 is loading since") and acts(line) == ["warm"]


def test_what_loads_quickly_is_not_told(rolling: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bringing, "_QUICK", 2.0)
    line = begun(rolling, workers=("w0",))
    monkeypatch.setattr("andon.monitor.bringing.time.sleep", lambda seconds: says(line, "w0", "v1", "v2"))
    assert line.look().state == "canary" and line.told() == ["preflight", "canary"]


def test_a_worker_that_cannot_load_it_ends_it_with_its_own_words(rolling: Make) -> None:
    line = begun(rolling)
    says(line, "w1", "v1", v2="an old fault of another try")
    assert line.look().state == "hold", "a fault from before it was asked for does not count"
    says(line, "w0", "v1", "v2")
    says(line, "w1", "v1", v2="the file model.onnx is damaged")
    done = line.look()
    assert (done.state, done.reason) == ("rejected", "unfit")
    assert done.sentence == "v2 is not rolled out: worker w1 could not load v2: the file model.onnx is damaged"
    assert route_of(line).warm == () and acts(line) == ["warm", "cool"]
    assert line.begin().name == "v2#2", "another try may begin"


def test_the_longest_that_is_waited(rolling: Make) -> None:
    line = begun(rolling)
    line.look()
    says(line, "w0", "v1", "v2")
    line.clock.advance(LONGEST)
    assert line.look().state == "hold"
    line.clock.advance(0.001)
    assert line.look().state == "rejected"
    assert line.now.sentence == "v2 is not rolled out: v2 is not loaded in worker w1 after 15 min"


def test_a_worker_that_was_started_anew_has_its_own_time_to_load_what_is_kept_since_long(rolling: Make) -> None:
    line = rolling()
    says(line, "w0", "v1", "v2")
    ask_for(line.workspace, "v2", {"v2": "b2" * 8}, actor="ann", reason="it was rolled back, and stays loaded")
    line.clock.advance(3 * LONGEST)
    line.begin()
    with subprocess.Popen(["sleep", "60"]) as worker:
        young = Ack("w0", worker.pid, line.workspace.routes.word(), ("v1",), began=process_began(worker.pid))
        line.workspace.routes.acknowledge("w0", young)
        held = line.look()
        worker.kill()
    assert (held.state, held.reason) == ("hold", "dependency") and " is loading since " in held.sentence
    says(line, "w0", "v1")
    assert line.look().state == "rejected", "one that is there since long, and has not loaded it"


def test_a_person_is_heard_while_it_loads(rolling: Make) -> None:
    from andon.deploy.rollout_store import ask

    line = begun(rolling)
    line.look()
    ask(line.workspace, "freeze", actor="bob", reason="not today")
    assert (line.look().state, line.now.place) == ("frozen", "preflight")
    for worker in ("w0", "w1"):
        says(line, worker, "v1", "v2")
    assert line.look().state == "frozen"
    ask(line.workspace, "resume", actor="bob")
    assert line.look().state == "canary"


@pytest.mark.parametrize("loads", [pytest.param(True, marks=pytest.mark.slow), False])
def test_behind_a_shadow_it_is_loaded_before_the_canary_or_taken_out_of_it(rolling: Make, loads: bool) -> None:
    line = begun(rolling, "shadow, canary, live")
    line.bad = dict.fromkeys(line.bad, 0.0)
    assert line.look().state == "shadow" and "v2" not in route_of(line).warm, "nobody needs it yet"
    line.come(400)
    held = line.look()
    assert (held.state, held.reason, held.place) == ("hold", "dependency", "shadow")
    says(line, "w0", "v1", "v2")
    says(line, "w1", "v1", **({} if loads else {"v2": "no memory is left"}))
    if loads:
        says(line, "w1", "v1", "v2")
        assert line.look().state == "canary"
        return
    done = line.look()
    assert (done.state, done.reason) == ("rolled_back", "unfit")
    assert "worker w1 could not load v2: no memory is left" in done.sentence
    assert (route_of(line).shadows, route_of(line).warm) == ((), ())


def test_a_line_without_workers_has_nobody_to_wait_for(rolling: Make) -> None:
    line = begun(rolling, workers=())
    assert line.look().state == "canary" and acts(line) == ["canary"]
    assert loading(line.workspace.routes, "v2", line.clock.wall()) is None
