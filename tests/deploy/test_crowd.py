"""Ten thousand idle connections and a thousand that drip: bounded, cut in time, and hardly noticed by others."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.deploy.line_rig import Line

from andon.deploy.protocol_reader import Limits
from benchmarks.crowd import Asker, Dripping, crowd, memory_of, paired, raise_files

pytestmark = [pytest.mark.line, pytest.mark.slow, pytest.mark.timeout(900)]
LIMITS = Limits()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    running = Line(tmp_path / "home", workers=1)
    running.route(live="v1", bundles={"v1": running.seal()}, levels={"*": "full"})
    running.start()
    yield running
    running.close()


def test_ten_thousand_idle_connections_cost_little_and_are_closed_in_their_time(line: Line) -> None:
    idle = raise_files(10_000)
    assert idle == 10_000, "this machine lets a process open too few files"
    each, busy, alone = paired(line, idle, rounds=3, requests=500)
    assert each < 16_384  # bytes of the worker
    assert statistics.median(a / b for a, b in zip(busy, alone, strict=True)) < 3
    grown = memory_of(line.processes[0].pid)
    with crowd(line.port, idle) as clients:
        opened, asker = time.monotonic(), Asker(line.port)
        while time.monotonic() - opened < LIMITS.idle_seconds - 5:
            asker.ask(5)
            time.sleep(0.2)
        assert not _ended(clients[-1]), "an idle connection was closed too early"
        while not _ended(clients[-1]):
            asker.ask(5)
            assert time.monotonic() - opened < LIMITS.idle_seconds + 30
        assert all(_ended(client) for client in clients)
        asker.close()
    assert memory_of(line.processes[0].pid) < grown + 16 * (1 << 20), "connections that are gone are kept"


def _ended(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


def test_clients_that_drip_are_cut_in_time_while_others_are_served(line: Line) -> None:
    raise_files(10_000)
    dripping, asker = Dripping(line.port, 1_000), Asker(line.port)
    alone = statistics.median(asker.ask(300))
    dripping.start()
    meanwhile = []
    while dripping.clients:
        dripping.drip()
        dripping.listen()
        end = time.monotonic() + 1
        while time.monotonic() < end:
            meanwhile += asker.ask(20)
        assert time.monotonic() - dripping.begun < LIMITS.request_seconds + LIMITS.linger_seconds + 20
    assert len(dripping.ended) == 1_000 and min(dripping.ended) > LIMITS.request_seconds - 1
    # Heads and bodies alike; a body of 20 bytes is not whole after 15 s, either.
    assert sum(said.startswith(b"HTTP/1.1 408") for said in dripping.said.values()) == 1_000
    assert statistics.median(meanwhile) < 5 * alone
    asker.close()
    dripping.close()
