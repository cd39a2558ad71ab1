"""A project's line inside other applications: by a server of its own, and mounted."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from andon.errors import Conflict
from andon.surface.asgi import LineApp, create_app

CHARTER = """
project: parts
inputs: {width: float}
target: {name: verdict, classes: [accept, reject]}
safe_default: refer
metrics: {error: {of: error_rate, goal: "<= 0.2", alarm: "<= 0.2"}}
checklist: {data: {}}
"""
DECISIONS = "/v1/projects/parts/decisions"
pytestmark = pytest.mark.line


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "andon.yaml").write_text(CHARTER.replace("checklist: {data: {}}\n", ""))
    return tmp_path


@pytest.fixture
def app(folder: Path) -> Iterator[LineApp]:
    made = create_app(folder)
    yield made
    made.close()


def test_a_server_of_its_own_runs_the_whole_line(folder: Path, app: LineApp) -> None:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        end = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < end and thread.is_alive()
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            answer = client.post(DECISIONS, json={"x": {"width": 1.0}, "id": "a1"})
            assert answer.status_code == 202 and answer.json() == {"id": "a1", "status": "pending"}
            assert client.post(DECISIONS, json={"x": {"width": 2.0}, "id": "a1"}).status_code == 409
            assert client.get("/v2/health/ready").json() == {"ready": True}
        words = [sys.executable, "-m", "andon", "status", "--json"]
        end = time.monotonic() + 30
        while '"controller": "leads"' not in subprocess.run(words, cwd=folder, capture_output=True, text=True).stdout:
            assert time.monotonic() < end
        up = subprocess.run([sys.executable, "-m", "andon", "up"], cwd=folder, capture_output=True, text=True)
        assert up.returncode == 4 and "parts is up already" in up.stderr
        load = subprocess.run([*words[:3], "load", "--qps", "1"], cwd=folder, capture_output=True, text=True)
        assert load.returncode == 2 and "inside another application" in load.stderr
    finally:
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive()


def test_mounted_in_another_application_and_started_again(folder: Path, app: LineApp) -> None:
    async def home(_: Request) -> PlainTextResponse:
        return PlainTextResponse("mine")

    outer = Starlette(routes=[Route("/", home), Mount("/ml", app)], lifespan=app.running)

    async def once(number: int) -> Any:
        async with outer.router.lifespan_context(outer):
            async with httpx.AsyncClient(transport=httpx.ASGITransport(outer), base_url="http://line") as client:
                assert (await client.get("/")).text == "mine"
                asked = [
                    client.post(f"/ml{DECISIONS}", json={"x": {"width": 1.0}, "id": f"{number}-{n}"}) for n in range(20)
                ]
                assert {one.status_code for one in await asyncio.gather(*asked)} == {202}
                assert (await client.get(f"/ml{DECISIONS}/0-3")).status_code == 200  # also what was asked before
            other = create_app(folder)
            with pytest.raises(Conflict, match="parts is up already"):
                await other.start()
            other.close()

    for number in range(2):
        asyncio.run(once(number))
