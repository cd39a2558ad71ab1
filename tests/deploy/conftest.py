from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from andon.store.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parents[2]))

#: Scripts for environments of other people's clients.
collect_ignore = ["clients"]

if TYPE_CHECKING:
    from tests.deploy.rig import Rig


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    space = Workspace.create(tmp_path / "home")
    yield space
    space.close()


@pytest.fixture
def make(workspace: Workspace) -> Iterator[Callable[..., Rig]]:
    """Builds workers without sockets and closes them in the end."""
    from tests.deploy.rig import FakeServed, Rig

    rigs: list[Rig] = []

    def build(*config: Any, **more: Any) -> Rig:
        more.setdefault("models", {"v1": FakeServed(), "v2": FakeServed()})
        rigs.append(Rig(workspace, *config, **more))
        return rigs[-1]

    yield build
    for rig in rigs:
        rig.close()
