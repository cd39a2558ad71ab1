"""What several tests of rollouts, and of the ladder, on a line begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.monitor import ladder_rig
from tests.monitor.ladder_rig import Climbing
from tests.monitor.rollout_rig import Rolling, charter


@pytest.fixture
def rolling(tmp_path: Path) -> Iterator[Callable[..., Rolling]]:
    """Makes lines that a rollout is on, by the words of ``charter`` and the release that is live."""
    made: list[Rolling] = []

    def make(*args: Any, live: str = "v1", **more: Any) -> Rolling:
        made.append(Rolling(tmp_path / f"{len(made)}", charter(*args, **more), live=live))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def climbing(tmp_path: Path) -> Iterator[Callable[..., Climbing]]:
    """Makes lines with a ladder, by the words of its ``charter`` and whether a release is live."""
    made: list[Climbing] = []

    def make(*args: Any, live: bool = True, **more: Any) -> Climbing:
        made.append(Climbing(tmp_path / f"{len(made)}", ladder_rig.charter(*args, **more), live=live))
        return made[-1]

    yield make
    for one in made:
        one.close()
