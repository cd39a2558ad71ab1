"""One project for all walks, made once; whoever changes it takes a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.board.atlas import Atlas, atlas
from tests.board.rolled import make_rolled
from tests.board.served import Served
from tests.board.watching import Line
from tests.board.workshop import copy_of, give_tokens, make_empty, make_workshop


@dataclass(frozen=True)
class Workshop:
    """A project's folder and one token's secret of every role."""

    root: Path
    tokens: dict[str, str]


@pytest.fixture(scope="session")
def board_project(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A line with half a day behind it; never change it."""
    root = make_workshop(tmp_path_factory.mktemp("workshop") / "toy")
    return Workshop(root, give_tokens(root))


@pytest.fixture(scope="session")
def rolled_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with rollouts behind it; never change it."""
    return make_rolled(tmp_path_factory.mktemp("rolled") / "line")


@pytest.fixture
def own_project(board_project: Workshop, tmp_path: Path) -> Workshop:
    """A copy that a test may change."""
    return Workshop(copy_of(board_project.root, tmp_path / "toy"), board_project.tokens)


@pytest.fixture(scope="session")
def board(board_project: Workshop) -> Iterator[Served]:
    """Its board, for whoever only reads."""
    served = Served(board_project.root, board_project.tokens)
    served.start()
    yield served
    served.stop()


@pytest.fixture
def serve() -> Iterator[Callable[[Workshop], Served]]:
    """Call it with a project that is yours: its board, until the test ends."""
    boards: list[Served] = []

    def start(project: Workshop) -> Served:
        boards.append(Served(project.root, project.tokens))
        boards[-1].start()
        return boards[-1]

    yield start
    for served in boards:
        served.stop()


@pytest.fixture
def new_project(tmp_path: Path) -> Workshop:
    """A project as `andon init` leaves it."""
    root = make_empty(tmp_path / "fresh")
    return Workshop(root, give_tokens(root))


@pytest.fixture(scope="session")
def addresses(board: Served) -> Atlas:
    """Where links lead (see ``tests.board.atlas``)."""
    return atlas(board)


@pytest.fixture
def serve_local(board_project: Workshop, tmp_path: Path) -> Iterator[Served]:
    """The board of a project that asks for no tokens."""
    root = copy_of(board_project.root, tmp_path / "local")
    charter = root / "andon.yaml"
    charter.write_text(charter.read_text().replace("tokens: required", "tokens: none"))
    served = Served(root, {})
    served.start()
    yield served
    served.stop()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    """A small line with a clock of its own, its log and its board in this process."""
    made = Line(tmp_path / "clinic")
    yield made
    made.close()
