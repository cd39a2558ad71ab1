"""One gateway process: its loop, its sockets, its timers, and an end that finishes what was begun.

Spawned, never forked. All workers of a line listen at one door (``doors``); each writes a log stream of its own and keeps
its part of the ids. On SIGHUP the certificate is read again.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import os
import resource
import signal
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvloop

from andon.core.record import Field
from andon.deploy.desk import Desk
from andon.deploy.doors import BACKLOG, Door, bound_socket, shared_server
from andon.deploy.gateway import Gateway
from andon.deploy.gateway_metrics import Scraper
from andon.deploy.idempotency import SeenIds
from andon.deploy.memory import Memory
from andon.deploy.meter import Meter
from andon.deploy.parts import Parts
from andon.deploy.peers import Links, Listener, socket_path
from andon.deploy.placing import Terms
from andon.deploy.protocol import Front
from andon.deploy.protocol_message import fault_place
from andon.deploy.protocol_reader import Limits
from andon.deploy.recorder import Recorder
from andon.deploy.replica import Replicas, load_model
from andon.deploy.reviews import Reviews
from andon.deploy.ring import RingWriter
from andon.deploy.settings import GatewayConfig
from andon.deploy.shadow import ring_path
from andon.deploy.shed import Shed, settle_left
from andon.deploy.tls import renew, server_context
from andon.errors import AndonError, Conflict, UsageError
from andon.model.bundle import bundle_path
from andon.people.access import Access
from andon.store.codec import Loss, encode_losses
from andon.store.rolling import ROLL_SECONDS
from andon.store.tokens import TokenFile
from andon.store.wal import FrameKind, WalWriter
from andon.store.workspace import Workspace

__all__ = ["Worker", "run_worker"]

_log = logging.getLogger(__name__)

_TICK_SECONDS = 0.02
_SWEEP_SECONDS = 1.0
_LOAD_SECONDS = 30.0
_LOCK_SECONDS = 6.0
_DRAIN_LEAST_SECONDS = 0.25
_STUCK_LEAST_SECONDS = 10.0
_HANDSHAKE_SECONDS = 10.0
_SHUTDOWN_SECONDS = 2.0


def run_worker(
    config: GatewayConfig, workspace_home: Path, index: int, workers: int, door: Door, parent_fd: int
) -> None:
    """Serve until SIGTERM, SIGINT or the end of ``parent_fd`` (-1: there is no parent), then drain.

    Raises ``Conflict`` when the port or this worker's log stream is taken, ``Unavailable`` when the log cannot be opened,
    ``UsageError`` when a certificate cannot be used. No database is opened.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a connection is a file
    workspace = Workspace.open(workspace_home)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        worker = Worker(config, workspace, index, workers)
        runner.run(worker.serve(door, parent_fd))
    workspace.close()


class Worker:
    """Everything of one worker, built inside its running loop by ``serve``."""

    def __init__(self, config: GatewayConfig, workspace: Workspace, index: int, workers: int) -> None:
        self._config = config.per_worker(workers)
        self._workspace = workspace
        self._index = index
        self._workers = workers
        self._armed = False
        self._fields: dict[bytes, tuple[Field, ...]] = {}
        self._line = workspace.unit_hash("this line")

    async def serve(self, door: Door, parent_fd: int) -> None:
        """Start, serve, drain."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_say_fault)
        context = server_context(door.cert, door.key) if door.tls else None
        self._ending = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        if parent_fd >= 0:
            loop.add_reader(parent_fd, self._parent, parent_fd)
        await self._build(loop)
        try:
            await self._wait_loaded()
            await self._open(loop, door, context)
            gc.collect()
            gc.freeze()  # what was built so far lives as long as the process; the collector need not look at it again
            await self._ending.wait()
            await self._drain()
        finally:
            self._close()

    async def _build(self, loop: asyncio.AbstractEventLoop) -> None:
        config, workspace, index = self._config, self._workspace, self._index
        self._loop = loop
        self._wal = await _locked(lambda: WalWriter(workspace.wal_dir, f"w{index}", durability=config.durability))
        seen = SeenIds(config.idempotency_ids, config.idempotency_seconds)
        memory = Memory(workspace.wal_dir, index, self._workers, seen, self._fields_of)
        memory.rebuild(config.idempotency_ids, workspace.clock, config.idempotency_seconds)
        reviews = Reviews(workspace.wal_dir)
        reviews.catch_up()
        load = load_model(lambda hash: bundle_path(workspace.home, hash), config.limits)
        self._replicas = Replicas(load, self._post, self._loaded)
        self._links = Links(workspace.run_dir, self._workers, workspace.clock, config.deadline_seconds, config.queue)
        self._ring = RingWriter(ring_path(workspace.run_dir, index), config.ring_bytes)
        parts = Parts(
            clock=workspace.clock,
            routes=workspace.routes,
            replicas=self._replicas,
            recorder=self._recorder(),
            memory=memory,
            reviews=reviews,
            keep_contract=self._keep_contract,
            wake=self._wake,
            post=self._post,
            peers=self._links if self._workers > 1 else None,
            sink=self._ring,
            shed=self._shed(),
        )
        self._desk = Desk(config, parts, index)
        self._desk.meter.started = time.time()
        self._desk.follow()
        self._front_of(config)

    def _recorder(self) -> Recorder:
        config = self._config
        commit = config.durability == "commit"
        redactor = config.redactor(self._workspace.redaction_key)
        return Recorder(
            self._wal,
            self._workspace.unit_hash,
            redactor,
            commit=commit,
            post=self._post,
            backlog=config.backlog_bytes,
        )

    def _shed(self) -> Shed | None:
        """Where answers are counted that the log cannot take, if the charter lets them go."""
        config, workspace = self._config, self._workspace
        path = workspace.run_dir / f"shed-w{self._index}"
        if config.pressure == "block":
            settle_left(path, workspace.wal_dir, self._wal.stream, self._write_loss)
            return None
        return Shed(path, workspace.wal_dir, self._wal.stream, config.idempotency_seconds)

    def _write_loss(self, loss: Loss) -> None:
        now = self._workspace.clock.now()
        self._wal.append(FrameKind.LOSS, encode_losses([loss]), count=1, time_us=now)

    def _front_of(self, config: GatewayConfig) -> None:
        workspace = self._workspace
        self._ready = False
        self._scraper = Scraper(workspace.run_dir, self._index, self._workers, self._gauge)
        access = Access(TokenFile(workspace.home))
        self._gateway = Gateway(
            config,
            self._desk,
            access=access,
            ready=lambda: self._ready,
            scrape=self._scraper.page,
            wall=workspace.clock.wall,
            line=self._line,
        )
        self._front = Front(self._gateway, Limits(body_bytes=config.max_body_bytes), self._gateway.shortcut)

    def _gauge(self) -> Meter:
        meter = self._desk.gauge()
        meter.refused = self._front.refused
        return meter

    async def _wait_loaded(self) -> None:
        """Take no traffic before the route's versions are loaded, or known not to load."""
        end = time.monotonic() + _LOAD_SECONDS
        while not self._replicas.settled and time.monotonic() < end and not self._ending.is_set():
            await asyncio.sleep(0.005)

    async def _open(self, loop: asyncio.AbstractEventLoop, door: Door, context: ssl.SSLContext | None) -> None:
        bound = bound_socket(door.host, door.port, shared=self._workers > 1, line=self._line, tls=door.tls)
        path = socket_path(self._workspace.run_dir, self._index)
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - the path may lead through an open directory
        self._listener = await loop.create_unix_server(Listener(self._desk).connection, path)
        front = self._front.connection
        if context is None:
            server = await loop.create_server(front, sock=bound, backlog=BACKLOG)
        else:
            loop.add_signal_handler(signal.SIGHUP, self._renew, context, door)
            server = await loop.create_server(
                front,
                sock=bound,
                backlog=BACKLOG,
                ssl=context,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
            )
        self._servers = [server]
        if door.uds >= 0:
            self._servers.append(await shared_server(loop, front, door.uds))
        self._ready = True
        self._loop.call_later(_TICK_SECONDS, self._tick)
        self._sweep()

    def _renew(self, context: ssl.SSLContext, door: Door) -> None:
        try:
            renew(context, door.cert, door.key)
        except UsageError as error:
            _log.error("%s; the one before stays", error.message)

    def _tick(self) -> None:
        self._loop.call_later(_TICK_SECONDS, self._tick)  # first of all: a fault below must not end deadlines for good
        self._links.expire()
        self._desk.tick()

    def _sweep(self) -> None:
        self._loop.call_later(_SWEEP_SECONDS, self._sweep)
        self._guard()
        now = time.monotonic()
        self._front.sweep(now)
        self._wal.roll_older(now, ROLL_SECONDS)
        self._desk.meter.connections = len(self._front.connections)
        with suppress(AndonError):
            self._scraper.publish()

    def _guard(self) -> None:
        """End this process, where it stands, if its loop or a model in a thread does not come back.

        A model may hang, even without ever letting Python run; then only a new process helps. What was answered is
        written down, and the log says in which line it hung.
        """
        stuck = max(_STUCK_LEAST_SECONDS, self._config.deadline_seconds)
        if not self._replicas.hangs(time.monotonic(), stuck):
            faulthandler.dump_traceback_later(stuck, exit=True)

    async def _drain(self) -> None:
        """Take nothing new, finish what was begun, for at most ``drain_seconds``; other workers are still answered."""
        self._ready = False
        for server in self._servers:
            server.close()
        self._front.drain()
        now = time.monotonic()
        soonest, latest = now + _DRAIN_LEAST_SECONDS, now + self._config.drain_seconds
        while time.monotonic() < latest:
            busy = self._front.connections or not self._desk.idle or not self._links.idle
            if not busy and time.monotonic() > soonest:
                break
            await asyncio.sleep(0.01)

    def _close(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        for part in ("_listener", "_links", "_replicas"):
            if hasattr(self, part):
                getattr(self, part).close()
        if hasattr(self, "_scraper"):
            with suppress(AndonError):
                self._scraper.publish()
        if hasattr(self, "_desk"):
            self._desk.settle_shed()
        if hasattr(self, "_wal"):
            self._wal.close()

    def _wake(self) -> None:
        """One turn for everything that is parsed in this iteration of the loop."""
        if not self._armed:
            self._armed = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._armed = False
        self._gateway.turn()

    def _post(self, call: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(call)

    def _loaded(self) -> None:
        self._desk.acknowledge()

    def _parent(self, parent_fd: int) -> None:
        if not os.read(parent_fd, 1):
            self._loop.remove_reader(parent_fd)
            self._ending.set()

    def _keep_contract(self, terms: Terms) -> None:
        contract = terms.contract
        self._workspace.save_contract(contract.hash, contract.fields, contract.classes)

    def _fields_of(self, hash8: bytes) -> tuple[Field, ...]:
        found = self._fields.get(hash8)
        if found is None:
            found = self._fields[hash8] = self._workspace.load_contract(hash8.hex())[0]
        return found


def _say_fault(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What the loop caught, without its message and without what was at hand: both may hold what a client sent."""
    _log.error("the loop caught a fault: %s", fault_place(context.get("exception")))


async def _locked(open_stream: Callable[[], WalWriter]) -> WalWriter:
    """The stream of this worker; a worker of this number that is just ending is waited for."""
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return open_stream()
        except Conflict:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.05)
