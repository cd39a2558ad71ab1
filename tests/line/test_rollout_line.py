"""The automatic rollout on real processes: traffic and labels over HTTP, a good release, a bad one, kills, a person, no database."""

from __future__ import annotations

import os
import pickle
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from tests.line.database import locked, moved_away
from tests.line.pressure import Pressure
from tests.line.switching import PATIENCE, Told, lateness
from tests.line.toyline import MODEL, Running, make_toy

from andon.config import open_project
from andon.core.record import Route
from andon.data.contract import Contract
from andon.demo.client import Client
from andon.deploy.release import release
from andon.deploy.rollout import replayed
from andon.deploy.rollout_record import Rollout
from andon.deploy.rollout_store import ask, freeze, newest, start
from andon.errors import Unavailable
from andon.model.bundle import Compiled, Parts, seal
from andon.model.predictor import load_user_source
from andon.model.training import Options, train
from andon.monitor.report import report

pytestmark = [pytest.mark.line, pytest.mark.slow]

LATEST_MS = 250.0
RULES = "rollout: {guardrails: [error], path: [%s], start_share: 0.3, margin: 2.5, budget: 1000, bake: %s%s}"
FLIPPED = MODEL.replace(
    "data.features, data.y", "data.features, ['small' if y == 'large' else 'large' for y in data.y]"
)


class Traffic(threading.Thread):
    """Asks for decisions by the hundred and says at once how each case went; keeps what failed."""

    def __init__(self, client: Client, seed: int = 1) -> None:
        super().__init__(daemon=True)
        self._client, self._random = client, random.Random(seed)
        self._name = f"t{seed}"
        self.ending = threading.Event()
        self.asked = 0
        self.failures: list[str] = []

    def run(self) -> None:
        while not self.ending.is_set():
            cases = {f"{self._name}-{self.asked + n}": self._random.gauss(0, 1) for n in range(100)}
            # What is true is not what the inputs say in one case of five: both releases err about as often.
            true = {id: (a > 0) != (self._random.random() < 0.2) for id, a in cases.items()}
            self.asked += len(cases)
            bodies: list[Any] = [{"id": id, "x": {"a": a, "b": 0.0, "c": "x"}, "unit": id} for id, a in cases.items()]
            said = [{"id": id, "kind": "label", "value": "large" if large else "small"} for id, large in true.items()]
            try:
                answers = self._client.post("/v1/projects/toy/decisions", bodies)
                answers += self._client.post("/v1/projects/toy/feedback", [said])
                self.failures += [str(one.body) for one in answers if one.status not in (200, 202)]
            except Unavailable as error:
                self.failures.append(str(error))
            time.sleep(0.1)

    def end(self) -> None:
        self.ending.set()
        self.join(timeout=30)


GOOD, BAD = "v3", "v4"


@pytest.fixture
def begun(running: Callable[..., Running]) -> Iterator[Callable[..., tuple[Running, Traffic]]]:
    """A line with v1 live at level full, and traffic on it."""
    traffics: list[Traffic] = []

    def make(
        path: str = "canary, live", bake: str = "1s", more: str = "", live: str | None = "v1"
    ) -> tuple[Running, Traffic]:
        line = running(2, charter=RULES % (path, bake, more))
        if live is not None:
            line.line.switch(live, actor="test")
        line.start(niceness=0)
        traffics.append(Traffic(line.client(4), len(traffics) + 1))
        traffics[-1].start()
        return line, traffics[-1]

    yield make
    for one in traffics:
        one.end()


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy project with a third release that answers nearly as the first, and a fourth that errs in most cases."""
    root = make_toy(tmp_path_factory.mktemp("toy-to-roll"))
    project = open_project(root)
    for number, model in ((3, MODEL.replace('("C", 1.0)', '("C", 0.98)')), (4, FLIPPED)):
        path = root / f"model_{number}.py"
        path.write_text(model)
        (dataset,) = project.workspace.records.names("dataset")
        run = train(project.workspace, project.charter, dataset, Options(path, actor="test"))
        made = release(project.workspace, project.charter, run.id, actor="test", reason="toy", override=True)
        assert made.version == f"v{number}"
    project.workspace.close()
    (root / "andon.yaml").write_text((root / "andon.yaml").read_text().replace("level: human", "level: full"))
    return root


def now(line: Running) -> Rollout:
    found = newest(line.project.workspace)
    assert found is not None
    return found.rollout


def route_of(line: Running) -> Route:
    route = line.project.workspace.routes.current()
    assert route is not None
    return route


def roll(line: Running, version: str, **more: Any) -> None:
    start(line.project.workspace, line.project.charter, version, actor="ann", **more)


def told(line: Running) -> list[str]:
    """The states that the journal tells; each transition is there once and decided again to the byte."""
    events = line.project.workspace.journal.read(action="rollout.transition", subject=now(line).name, limit=1000)
    numbers = [event.evidence["transition"]["number"] for event in events]
    assert numbers == list(range(1, len(events) + 1))
    for event in events:
        first, again = replayed(event.evidence)
        assert first == again
    return [event.evidence["transition"]["after"] for event in events]


@pytest.mark.parametrize(("path", "pattern"), [("canary, live", "canary"), ("blue-green, live", "blue-green")])
def test_a_good_release_settles_and_a_bad_one_goes_back(begun: Any, path: str, pattern: Any) -> None:
    line, traffic = begun(path, more=", holdback: 0.3")
    roll(line, GOOD, pattern=pattern)
    line.until(lambda: now(line).ended, 90, "the good release did not settle")
    place = pattern.replace("-", "_")
    assert now(line).state == "settled" and route_of(line).live == GOOD and "v1" in route_of(line).warm
    assert [one for one in dict.fromkeys(told(line)) if one != "hold"] == ["preflight", place, "bake", "settled"]
    roll(line, BAD, pattern=pattern)
    line.until(lambda: now(line).ended, 90, "the bad release did not go back")
    assert now(line).state == "rolled_back" and (route_of(line).live, route_of(line).candidate) == (GOOD, None)
    assert "error: harm" in now(line).sentence and told(line)[-2:] == ["rolling_back", "rolled_back"]
    traffic.end()
    assert not traffic.failures and traffic.asked > 500


@pytest.mark.parametrize(("version", "seed"), [(BAD, 1), (BAD, 2), (BAD, 3), (GOOD, 4), (GOOD, 5)])
def test_a_controller_that_is_killed_at_every_transition_ends_where_one_that_lives_does(
    begun: Any, version: str, seed: int
) -> None:
    line, traffic = begun()
    dice = random.Random(seed)
    roll(line, version)
    kills, epoch = 0, route_of(line).epoch

    def over() -> bool:
        nonlocal kills, epoch
        newest_epoch = line.project.workspace.routes.word()
        # As soon as a route is there, or at any moment: before the journal, before the state, or in the middle of a look.
        if newest_epoch != epoch or dice.random() < 0.004:
            epoch = newest_epoch
            pid = line.pid("controller")
            if pid is not None:
                time.sleep(dice.choice((0.0, 0.0, 0.002, 0.01, 0.05)))
                os.kill(pid, signal.SIGKILL)
                kills += 1
        return now(line).ended

    line.until(over, 150, "it did not come to an end")
    assert kills >= 2
    ways = {
        BAD: ("rolled_back", "v1", ["preflight", "canary", "rolling_back", "rolled_back"], ["canary", "rollback"]),
        GOOD: ("settled", GOOD, ["preflight", "canary", "bake", "settled"], ["canary", "switch"]),
    }
    state, live, states, acts = ways[version]
    assert now(line).state == state and (route_of(line).live, route_of(line).candidate) == (live, None)
    assert [one for one in dict.fromkeys(told(line)) if one != "hold"] == states
    changed = [one.action for one in line.project.workspace.routes.history() if one.actor == "controller"]
    assert sorted(one for one in changed if one not in ("warm", "ramp")) == acts, "each was done once"
    shares = [one.share for one in line.project.workspace.routes.history() if one.action == "ramp"]
    assert version == BAD or shares.count(0.95) == 1, "it baked with the holdback, once"
    traffic.end()
    assert not traffic.failures


def test_harm_takes_a_release_back_while_the_database_is_gone(begun: Any) -> None:
    line, traffic = begun()
    roll(line, BAD)
    line.until(lambda: route_of(line).candidate == BAD, 30, "the canary did not begin")
    # The controller has looked once at the canary when it keeps that look; then the database goes.
    line.until(lambda: now(line).state == "canary", 30, "the state was not kept")
    with moved_away(line.project.workspace.home):
        line.until(lambda: route_of(line).candidate is None, 60, "harm waited for the database")
        assert (route_of(line).live, route_of(line).actor) == ("v1", "controller")
        assert "error: harm" in route_of(line).reason
    line.until(lambda: now(line).ended, 60, "it was not told")
    assert (now(line).state, now(line).reason) == ("rolled_back", "harm")
    traffic.end()
    assert not traffic.failures


def test_a_freeze_with_the_database_gone_keeps_the_controller_from_acting_on_harm(begun: Any) -> None:
    line, traffic = begun()
    roll(line, BAD)
    line.until(lambda: now(line).state == "canary", 30, "the canary did not begin")
    with moved_away(line.project.workspace.home):
        _, said = freeze(line.project.workspace, actor="ann", reason="irreversible")
        assert "freezes whatever rollout is on its way" in said
        line.until(lambda: "frozen by ann, so nothing was changed" in line.log("controller"), 60, "harm was not told")
        assert route_of(line).candidate == BAD
    line.until(lambda: now(line).reason == "harm", 60, "it was not told")
    assert now(line).state == "frozen" and route_of(line).candidate == BAD and route_of(line).held
    assert "frozen" in told(line) and "rolling_back" not in told(line)
    traffic.end()
    assert not traffic.failures


SLOW = b"""
import time
from pathlib import Path
import numpy as np


class Slow:
    def __init__(self, mark):
        self.mark = mark

    def __setstate__(self, state):
        self.__dict__.update(state)
        while Path(self.mark).exists():
            time.sleep(0.05)

    def predict_proba(self, x):
        p = np.where(x["a"].to_numpy() > 0, 0.9, 0.1)
        return np.stack([1 - p, p], axis=1)
"""


def slow_release(line: Running, mark: Path) -> str:
    """A release whose model loads as long as a file is there."""
    mark.touch()
    project, code = line.project, load_user_source(SLOW, Path("model.py"))
    contract = Contract(project.charter.fields(), "y", project.charter.target.classes)
    model = Compiled("python", pickle.dumps(code.module.Slow(str(mark))), reason="a test", trusted_by="owner")
    bundle = seal(Parts(contract, model, code), project.workspace.home / "bundles")
    project.workspace.records.put("release", "v5", {"version": "v5", "bundle": bundle, "run": "r"})
    return "v5"


def test_a_release_that_loads_for_longer_than_the_lease_lasts_is_waited_for_and_nothing_else_waits(
    begun: Any, tmp_path: Path
) -> None:
    line, traffic = begun()
    version, mark = slow_release(line, tmp_path / "loading"), tmp_path / "loading"
    roll(line, version)
    line.until(lambda: now(line).state == "hold", 30, "it does not say that it is loading")
    assert now(line).reason == "dependency" and "is loading since" in now(line).sentence
    workspace, began, idle = line.project.workspace, time.monotonic(), 0.0
    shipped, killed = _rows(line), False
    while time.monotonic() - began < 20.0:
        line.engine.poll()
        left = report(workspace.run_dir)
        assert left is not None
        if not killed:
            idle = max(idle, (workspace.clock.wall() - left.acted_us) / 1e6)
        if not killed and time.monotonic() - began > 17.0:  # longer than the lease lasts
            pid, killed = line.pid("controller"), True
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    print(f"its rounds were {idle:.1f} s apart at most while a release was loading")
    assert idle < 5.0 and _rows(line) > shipped + 1000
    assert now(line).state == "hold" and route_of(line).candidate is None
    mark.unlink()
    line.until(lambda: now(line).ended, 90, "it does not go on")
    assert now(line).state == "settled" and route_of(line).live == version
    assert told(line)[:4] == ["preflight", "hold", "preflight", "canary"]
    assert [one.action for one in workspace.routes.history() if one.actor == "controller"].count("warm") == 1
    traffic.end()
    assert not traffic.failures


def _rows(line: Running) -> int:
    """How many decisions are in the log's tables."""
    log = line.project.workspace.log
    return sum(log.rows(name) for name in log.tables() if name.startswith("decisions/"))


STATES: dict[str, Callable[[Path], AbstractContextManager[None]]] = {
    "up": lambda _: nullcontext(),
    "locked": locked,
    "gone": moved_away,
}


@pytest.mark.parametrize("state", STATES)
def test_a_person_rolls_back_at_once_while_it_is_held_frozen_and_promoted(begun: Any, state: str) -> None:
    line, traffic = begun(bake="1h")
    pressure = Pressure(line.port, 4).begin()
    acts = []
    try:
        for situation in ("held", "frozen", "promoted"):
            roll(line, GOOD)
            line.until(lambda: route_of(line).candidate == GOOD, 30, "the canary did not begin")
            if situation == "held":
                line.line.hold(actor="ann")
            elif situation == "frozen":
                ask(line.project.workspace, "freeze", actor="ann")
                line.until(lambda: now(line).state == "frozen", 30, "it was not frozen")
            else:
                line.until(lambda: now(line).state == "bake", 90, "it was not promoted")
                assert (route_of(line).live, route_of(line).share) == ("v1", 0.95)
            database = line.project.workspace.db
            with STATES[state](line.project.workspace.home):
                database.busy_seconds, usual = PATIENCE, database.busy_seconds
                act = line.line.rollback(actor="ann", reason="back")
                returned = time.monotonic()
                published = act.route.wall_us / 1e6 - time.time() + returned
                acts.append(Told(situation, act.epoch, published, returned, act))
                time.sleep(0.3)
            database.busy_seconds = usual
            line.until(lambda: now(line).ended, 60, "the rollout did not see the rollback")
            assert now(line).state == "rolled_back" and (route_of(line).live, route_of(line).candidate) == ("v1", None)
        heard = pressure.end()
    finally:
        pressure.kill()
    late = {one.command: lateness(one, heard)[1] for one in acts}
    print(state, {name: f"{ms:.0f} ms after publication" for name, ms in late.items()})
    assert max(late.values()) <= LATEST_MS, late
    assert not [one for one in heard if one.failed]
    traffic.end()
    assert not traffic.failures


@pytest.mark.parametrize(("version", "state"), [(GOOD, "settled"), (BAD, "rolled_back")])
def test_a_first_release_is_held_against_its_goal_while_people_have_the_rest(
    begun: Any, version: str, state: str
) -> None:
    line, traffic = begun(live=None)
    roll(line, version)
    line.until(lambda: now(line).ended, 90, "it did not come to an end")
    assert now(line).state == state, now(line).sentence
    assert (route_of(line).live, route_of(line).candidate) == (GOOD if state == "settled" else None, None)
    assert "goal" in now(line).sentence or state == "settled"
    told(line)
    traffic.end()
    assert not traffic.failures


def test_nothing_is_lost_when_the_whole_line_is_started_anew_in_a_blue_green(begun: Any) -> None:
    # As good as it is, at 5 % one run in thirty would go back by chance.
    line, traffic = begun("blue-green, live", bake="1s", more=", holdback: 0.3, alpha: 0.001")
    roll(line, GOOD, pattern="blue-green")
    line.until(lambda: now(line).state == "blue_green", 30, "it did not begin")
    traffic.end()
    line.engine.close()
    line.start(niceness=0)
    again = Traffic(line.client(4), 77)
    again.start()
    try:
        line.until(lambda: now(line).ended, 90, "it did not go on")
    finally:
        again.end()
    assert now(line).state == "settled" and not again.failures, now(line).sentence
    told(line)
