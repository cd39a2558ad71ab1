"""A toy project, built once and copied for every test that runs a line of real processes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.line.toyline import Running, make_toy


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project that every line is a copy of."""
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def running(toy: Path, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Call it with a number of workers (and settings of the gateway, and sections of the charter): a line on a free port, not started yet."""
    lines: list[Running] = []

    def make(workers: int, gateway: str = "", charter: str = "") -> Running:
        root = tmp_path / f"line-{len(lines)}"
        shutil.copytree(toy, root)
        lines.append(Running(root, workers, gateway, charter))
        return lines[-1]

    yield make
    for line in lines:
        line.close()
