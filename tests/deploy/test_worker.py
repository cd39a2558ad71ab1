from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.line_rig import DECISIONS, Line

pytestmark = pytest.mark.line


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    running = Line(tmp_path / "home")
    yield running
    running.close()


def test_ids_are_kept_across_workers_restart_and_kill(line: Line) -> None:
    hash = line.seal()
    line.route(live="v1", bundles={"v1": hash}, levels={"*": "full"})
    line.start()
    answers = {f"case-{n}": line.decide(n, id=f"case-{n}") for n in range(40)}
    assert {status for status, _ in answers.values()} == {200}
    for id, answer in answers.items():
        assert line.decide(float(id[5:]), id=id) == answer
    assert line.decide(99.0, id="case-3")[0] == 409
    line.kill(0)
    line.start(0)
    line.kill(1)
    line.start(1)
    for id, answer in answers.items():
        assert line.decide(float(id[5:]), id=id) == answer
        assert line.call("GET", f"{DECISIONS}/{id}")[1]["decision"] == answer[1]["decision"]
