"""The forecast against what is known of queues, and its behaviour where nothing fits."""

from __future__ import annotations

import numpy as np
import pytest

from andon.scope.sizing import Calibration, agrees, people, replay, storage


def constant(service: float, more: float, rest: float = 0.0) -> Calibration:
    return Calibration(latency_ms=(service + rest,) * 200, rate=10.0, cpu_one_ms=service, cpu_many_ms=more)


def test_a_rate_far_from_full_waits_for_nothing() -> None:
    found = replay(constant(0.2, 0.05, rest=0.7), 50.0, 1)
    assert found.p50_ms.value == pytest.approx(0.9, abs=0.02)
    assert found.utilisation == pytest.approx(50 * 0.0002, rel=0.1)
    assert found.stopped == 0


def test_waiting_is_that_of_a_queue_with_constant_service() -> None:
    """A turn that takes k requests takes k times as long, so the server works as in M/D/1 and is as busy."""
    found = replay(constant(1.0, 1.0), 500.0, 1)
    assert found.utilisation == pytest.approx(0.5, rel=0.05)
    assert found.p50_ms.value is not None
    assert (
        1.0 <= found.p50_ms.value <= 2.5
    )  # M/D/1 at half load: a mean of 1.5; answers of a turn leave together, so a little more


def test_batches_carry_what_single_requests_could_not() -> None:
    assert replay(constant(1.0, 1.0), 2000.0, 1).p95_ms.value is None
    found = replay(constant(1.0, 0.1), 2000.0, 1)
    assert found.p95_ms.value is not None
    assert found.utilisation < 1


def test_more_workers_are_never_slower_and_more_requests_never_quicker() -> None:
    busy = constant(1.0, 0.5)
    p95 = [replay(busy, 700.0, workers, connections=1000).p95_ms.value or np.inf for workers in (1, 2, 4)]
    assert p95 == sorted(p95, reverse=True)
    growing = [replay(busy, qps, 1).p95_ms.value or np.inf for qps in (50.0, 400.0, 1200.0, 4000.0)]
    assert growing == sorted(growing)


def test_a_machine_that_stood_still_does_so_by_the_clock_and_not_by_the_request() -> None:
    seen = Calibration((*((1.0,) * 980), *((51.0,) * 20)), 100.0, 0.3, 0.05)
    slow, quick = replay(seen, 20.0, 1), replay(seen, 1000.0, 1)
    assert slow.stopped == pytest.approx(quick.stopped, abs=0.015)
    assert quick.stopped == pytest.approx(0.02, abs=0.015)
    assert quick.p50_ms.value is not None
    assert quick.p50_ms.value < 3


def test_the_same_seed_gives_the_same_forecast() -> None:
    assert replay(constant(1.0, 0.5), 300.0, 2) == replay(constant(1.0, 0.5), 300.0, 2)


def test_few_connections_load_workers_unevenly() -> None:
    known = constant(1.0, 1.0)
    few, many = replay(known, 1000.0, 4, connections=6), replay(known, 1000.0, 4, connections=4000)
    assert few.p95_ms.high is not None
    assert many.p95_ms.high is not None
    assert few.p95_ms.high > many.p95_ms.high


def test_people_are_planned_at_four_fifths() -> None:
    fits, full = people(240, 0.8, capacity=10, each=4), people(240, 0.8001, capacity=10, each=4)
    assert fits.busy == pytest.approx(0.8)
    assert fits.reviewers == 3
    assert full.busy is not None
    assert full.busy > 0.8
    assert people(240, 0.5, capacity=None, double=1.0).cases_per_hour == 10.0
    assert people(0, 0.5, capacity=10).busy == 0


def test_the_log_grows_by_the_day() -> None:
    assert storage(86_400, 130.0, 30).bytes_kept == 86_400 * 130 * 30


def test_agreement_is_within_a_factor_or_a_few_milliseconds() -> None:
    assert agrees(4.0, 1.0)
    assert not agrees(10.0, 4.9)
    assert agrees(10.0, 5.0)
