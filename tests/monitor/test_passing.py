"""A file that cannot be read for a moment: nothing is concluded from that, and nothing that was there then is lost."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import polars as pl
import pytest
from tests.monitor.rollout_rig import Rolling

from andon.core.record import Route
from andon.deploy.rollout_store import active
from andon.errors import Unavailable
from andon.monitor.arms import Rollouts
from andon.monitor.proof import Proof
from andon.monitor.steer import standing
from andon.monitor.window import Measured

Make = Callable[..., Rolling]


def canary(rolling: Make) -> tuple[Rolling, int]:
    """A canary on which units came, and the epoch of its route."""
    line = rolling()
    line.begin()
    line.look()
    line.come(200)
    route = line.workspace.routes.current()
    assert route is not None and route.candidate == "v2"
    return line, route.epoch


def unreadable(line: Rolling, epoch: int, patched: pytest.MonkeyPatch) -> None:
    real = line.workspace.routes.at

    def at(asked: int) -> Route:
        if asked == epoch:
            raise Unavailable("the route could not be read: input/output error")
        return real(asked)

    patched.setattr(line.workspace.routes, "at", at)


def test_a_rollout_is_not_judged_without_the_cases_of_a_route_and_has_them_later(rolling: Make) -> None:
    line, epoch = canary(rolling)
    now = active(line.workspace)
    assert now is not None
    stand, going = standing(line.workspace, now.rollout), Proof(line.workspace, line.charter)
    with pytest.MonkeyPatch.context() as patched:
        unreadable(line, epoch, patched)
        with pytest.raises(Unavailable):
            going.look(now.rollout, stand)
    line.come(50)
    anew = Proof(line.workspace, line.charter).look(now.rollout, stand)
    assert anew.candidate + anew.live == 250
    assert msgspec.json.encode(going.look(now.rollout, stand)) == msgspec.json.encode(anew)


def test_what_is_measured_once_is_not_measured_without_its_route(rolling: Make) -> None:
    line, epoch = canary(rolling)
    plan, table = Measured.of(line.charter), pl.DataFrame({"epoch": [epoch]})
    with pytest.MonkeyPatch.context() as patched:
        unreadable(line, epoch, patched)
        with pytest.raises(Unavailable):
            Rollouts(line.workspace, plan).early(table)
    arms = Rollouts(line.workspace, plan)
    assert arms._salt(epoch) == f"v2@{epoch}"
    assert arms._salt(epoch + 7) is None, "a route that is gone says nothing, for good"
