"""``andon load`` and ``andon scope size`` on a line of real processes: what they send, refuse, remember, and agree on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.line.toyline import Running

from andon.scope.sizing import agrees
from andon.store import view

pytestmark = pytest.mark.line


def andon(root: Path, *words: str) -> tuple[int, Any]:
    command = [sys.executable, "-m", "andon", *words, "--json"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, json.loads(done.stdout)


def live(line: Running) -> None:
    line.line.switch("v1", actor="test", reason="test")
    line.line.automate("full", actor="test", reason="test")


def test_a_load_is_marked_remembered_and_judged(running: Callable[..., Running]) -> None:
    line = running(1)
    live(line)
    line.start()
    code, found = andon(line.root, "load", "--qps", "100", "--seconds", "2")
    assert code == 3, found  # 200 requests cannot tell the p99.9
    assert found["sent"] == found["answered"] == found["status"]["200"]
    assert "part 'test' of v1's data" in found["source"]
    assert found["cpu_ms_per_request"] > 0
    assert found["memory_mb"]["worker"] > 10
    rows = view.decisions(line.project.workspace)
    assert rows.height == found["sent"] + 20
    assert rows["id"].str.starts_with(f"load-{found['run']}-").all()
    assert rows["id"].n_unique() == rows.height
    event = line.project.workspace.journal.read(action="load.run")[0]
    assert event.subject == found["name"] == "l1"
    assert event.evidence["sent"] == found["sent"]


def test_people_are_not_flooded_unasked(running: Callable[..., Running]) -> None:
    line = running(1)
    line.start()
    code, found = andon(line.root, "load", "--qps", "100", "--seconds", "1")
    assert code == 2
    assert "would come to people" in found["error"]["message"]
    assert view.decisions(line.project.workspace).height == 1
    assert line.project.workspace.records.names("load") == ()


def test_rows_that_do_not_fit_and_other_machines_are_refused(running: Callable[..., Running], tmp_path: Path) -> None:
    line = running(1)
    live(line)
    line.start()
    file = tmp_path / "rows.jsonl"
    file.write_text('{"x": {"a": "text"}}\n')
    code, found = andon(line.root, "load", "--qps", "10", "--seconds", "1", "--requests", str(file))
    assert code == 2
    assert "a" in found["error"]["message"]
    file.write_text('{"x": [1]}\n')
    assert "line 1" in andon(line.root, "load", "--qps", "10", "--requests", str(file))[1]["error"]["message"]
    for url in ("http://192.0.2.1:8700", "https://127.0.0.1", "ftp://x", "http://127.0.0.1:99999", "http://a b"):
        code, found = andon(line.root, "load", url, "--qps", "10", "--seconds", "1")
        assert code == 2, (url, found)
    assert view.decisions(line.project.workspace).height == 0


@pytest.mark.slow
def test_a_forecast_agrees_with_the_load_that_follows(running: Callable[..., Running]) -> None:
    """Both are measured up to three times: what else runs on the machine changes between them."""
    line = running(1)
    live(line)
    line.start(ship_seconds=5.0)
    tried = []
    for _ in range(3):
        _, sized = andon(line.root, "scope", "size", "--qps", "200", "--fresh", "--rows-per-day", "1000")
        _, loaded = andon(line.root, "load", "--qps", "200", "--seconds", "8")
        pairs = [(sized["now"][f"{p}_ms"]["value"], loaded["lateness"][p]["value"]) for p in ("p50", "p95")]
        tried.append(pairs)
        assert sized["calibration"]["kept_bytes"] > 10
        if all(
            forecast is not None and measured is not None and agrees(forecast, measured) for forecast, measured in pairs
        ):
            return
    pytest.fail(f"(forecast, measured) of p50 and p95 in ms: {tried}")
