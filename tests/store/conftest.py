"""What the store's tests share: databases to run on, and a short way to write frames."""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from andon.core.clock import ManualClock
from andon.store.tables import Database
from andon.store.wal import Frame, FrameKind, Gap, WalWriter, read_stream

Fill = Callable[..., list[Frame]]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = Database.create(f"sqlite:///{tmp_path / 'andon.db'}", busy_seconds=5.0)
    yield database
    database.close()


def _server_programs() -> Path | None:
    """Where PostgreSQL's server programs are, all of them: where Debian puts them, or on the path."""
    found = shutil.which("initdb")
    folders = [
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
        *([Path(found).parent] if found else []),
    ]
    return next((folder for folder in folders if (folder / "postgres").exists() and (folder / "initdb").exists()), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a real PostgreSQL server of our own, with ``{}`` for the database's name."""
    programs = _server_programs()
    if programs is None or importlib.util.find_spec("psycopg") is None:
        pytest.skip("needs a PostgreSQL server and andon[postgres]")
    home = Path(tempfile.mkdtemp(prefix="andon-pg-"))
    who: dict[str, Any] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        try:
            account = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("needs an account that a PostgreSQL server may run as")
        os.chown(home, account.pw_uid, account.pw_gid)
        who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    quiet: dict[str, Any] = {"cwd": home, "check": True, "stdout": subprocess.DEVNULL, **who}
    cluster = str(home / "data")
    initdb, pg_ctl = str(programs / "initdb"), str(programs / "pg_ctl")
    subprocess.run([initdb, "-D", cluster, "-U", "andon", "-A", "trust", "--no-sync"], **quiet)
    options = f"-c listen_addresses='' -k {home} -c fsync=off"
    control = [pg_ctl, "-D", cluster, "-w", "-l", str(home / "log")]
    subprocess.run([*control, "-o", options, "start"], **quiet)
    try:
        yield f"postgresql://andon@/{{}}?host={home}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **quiet)
        shutil.rmtree(home)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.line)])
def any_db(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A new database of each kind that Andon runs on."""
    if request.param == "sqlite":
        yield request.getfixturevalue("db")
        return
    url: str = request.getfixturevalue("postgres")
    name = f"andon_{secrets.token_hex(4)}"
    engine = create_engine(Database(url.format("postgres")).url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    database = Database.create(url.format(name))
    yield database
    database.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000_000)


@pytest.fixture
def fill() -> Fill:
    """Write frames of given sizes to a stream and close it."""

    def write(directory: Path, *sizes: int, stream: str = "w0", segment_bytes: int = 1 << 20) -> list[Frame]:
        writer = WalWriter(directory, stream, segment_bytes=segment_bytes)
        frames = [
            writer.append(FrameKind.DECISION, os.urandom(size), count=i % 3 + 1, time_us=i)
            for i, size in enumerate(sizes)
        ]
        writer.close()
        return frames

    return write


@pytest.fixture
def read() -> Callable[..., list[Frame | Gap]]:
    def everything(directory: Path, stream: str = "w0", start: int = 0) -> list[Frame | Gap]:
        return list(read_stream(directory, stream, start))

    return everything
