"""Files through a model on another server: an outage stops and goes on later, and only a row's own fault is a reject."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.deploy.batch_rig import frame, publish, run
from tests.model.test_remote import Server, reply

import andon
from andon.core.reach import Reach
from andon.core.record import Field
from andon.data.contract import Contract
from andon.deploy.settings import GatewayConfig
from andon.errors import Unavailable
from andon.model.bundle import Parts, seal
from andon.model.compile import compile_model
from andon.model.predictor import load_user_source
from andon.store.workspace import Workspace

FIELDS = (Field("n", "float"),)
CLASSES = ("bad", "good")
CONFIG = GatewayConfig(project="p", fields=FIELDS, classes=CLASSES, target="y", stays="organisation")


class Sick:
    """A server that can be ill: ``status`` for every call, ``poison`` breaks it with 500, ``refused`` is a 400."""

    def __init__(self) -> None:
        self.status = 200
        self.after: int | None = None
        self.asked = 0
        self.poison: frozenset[float] = frozenset()
        self.refused: frozenset[float] = frozenset()
        self.server = Server(self.answer)

    def answer(self, method: str, path: str, body: bytes) -> bytes:
        if method == "GET":
            return reply({"inputs": [{"name": "n", "datatype": "FP64", "shape": [-1, 1]}]})
        self.asked += 1
        if self.after is not None and self.asked > self.after:
            return reply({"error": "out of order"}, self.status)
        n = msgspec.json.decode(body)["inputs"][0]["data"]
        if self.refused & {*n}:
            return reply({"error": "does not fit"}, 400)
        if self.poison & {*n}:
            return reply({"error": "broken"}, 500)
        return reply(
            {"outputs": [{"name": "p", "datatype": "FP64", "shape": [len(n), 2], "data": [0.25, 0.75] * len(n)}]}
        )


@pytest.fixture
def sick(workspace: Workspace) -> Iterator[Sick]:
    made = Sick()
    code = load_user_source(b"", Path("model.py"))
    model = andon.Remote(made.server.url, "m", rows=16)
    compiled = compile_model(model, {"n": np.array([0.0])}, FIELDS, CLASSES, code, reach=Reach("organisation"))
    publish(workspace, seal(Parts(Contract(FIELDS, "y", CLASSES), compiled, code), workspace.home / "bundles"))
    made.asked = 0
    yield made
    made.server.close()


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"n": {n}.0}}\n' for n in range(200)))
    return path


@pytest.mark.parametrize("status", [503, 500])
@pytest.mark.parametrize("after", [0, 5, 9])
def test_an_outage_stops_and_the_same_call_goes_on(
    workspace: Workspace, rows: Path, sick: Sick, status: int, after: int
) -> None:
    sick.status, sick.after = status, after
    with pytest.raises(Unavailable, match=f"no row is to blame: .* answered {status}: out of order") as stopped:
        run(workspace, rows, config=CONFIG, batch_rows=50)
    assert "the same call goes on" in (stopped.value.hint or "") and sick.asked <= after + 12
    sick.after = None
    found = run(workspace, rows, config=CONFIG, batch_rows=50)
    assert (found.read, found.predicted, found.rejected, found.resumed) == (200, 200, 0, after // 4 * 50)


@pytest.mark.parametrize("kind", ["poison", "refused"])
@pytest.mark.parametrize("bad", [{0.0}, {*map(float, range(30))}, {199.0, 0.0, 77.0, 78.0}])
def test_a_row_that_breaks_the_server_is_a_reject_however_many_there_are(
    workspace: Workspace, rows: Path, sick: Sick, kind: str, bad: set[float]
) -> None:
    setattr(sick, kind, frozenset(bad))
    found: Any = run(workspace, rows, config=CONFIG, batch_rows=50)
    assert frame(found.rejects)["row"].to_list() == [int(n) + 1 for n in sorted(bad)]
    said = "answered 500: broken" if kind == "poison" else "answered 400: does not fit"
    assert all(said in reason for reason in frame(found.rejects)["reason"])


def test_where_inputs_are_redacted_the_servers_words_are_not_said(workspace: Workspace, rows: Path, sick: Sick) -> None:
    sick.status, sick.after = 503, 0
    with pytest.raises(Unavailable, match=r"answered 503; its words are not kept") as stopped:
        run(workspace, rows, config=msgspec.structs.replace(CONFIG, redact=("n",)))
    assert "out of order" not in str(stopped.value)
