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


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One worker without sockets for all examples of a module, with a model that answers and some that people decide."""
    from tests.deploy.rig import CONFIG, FakeServed, Rig

    workspace = Workspace.create(tmp_path_factory.mktemp("fuzz") / "home")
    rig = Rig(workspace, CONFIG, {"v1": FakeServed()})
    rig.route(live="v1", levels={"*": "partial"}, thresholds={"v1/*": 0.9})
    yield rig
    rig.close()
    workspace.close()
