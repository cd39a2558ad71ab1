"""What several tests of rollouts on a line begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
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
