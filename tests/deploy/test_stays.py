"""A remote model that was sealed when rows might go anywhere, and a charter that now keeps them: from every caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from tests.model.test_remote import Server, reply

from andon.core.reach import Reach
from andon.data.contract import Contract
from andon.data.dataset import add
from andon.deploy.batch import Wish, predict
from andon.deploy.batch_model import choose
from andon.deploy.release import release
from andon.deploy.replay import Asked, asks_bundle
from andon.deploy.replica import load_model
from andon.deploy.settings import GatewayConfig
from andon.errors import Denied
from andon.model.baseline import baselines
from andon.model.bundle import bundle_path
from andon.model.compare import compare
from andon.model.pairing import pair
from andon.model.run import find_run, served
from andon.model.training import Options, train
from andon.scope.charter import Charter, parse
from andon.store.workspace import Workspace

TEXT = """
project: p
inputs: {n: float}
target: {name: y, classes: [bad, good]}
safe_default: nobody
metrics: {error: {of: error_rate, goal: "<= 0.9"}}
baselines: [{kind: previous, release: v1}]
checklist: {privacy: {stays: %s}}
"""
OPEN, SHUT = parse(TEXT % "anywhere"), parse(TEXT % "device")
Ask = Callable[[Workspace, Charter], Any]


def answering(method: str, path: str, body: bytes) -> bytes:
    if method == "GET":
        return reply({"inputs": [{"name": "n", "datatype": "FP64", "shape": [-1, 1]}]})
    n = np.array(msgspec.json.decode(body)["inputs"][0]["data"])
    p = 1 / (1 + np.exp(-n))
    data = np.stack([1 - p, p], axis=1).tolist()
    return reply({"outputs": [{"name": "p", "datatype": "FP64", "shape": [len(n), 2], "data": data}]})


def _rows(seed: int) -> pl.DataFrame:
    n = np.random.default_rng(seed).normal(size=60)
    return pl.DataFrame({"n": n, "y": np.where(n > 0.3, "good", "bad")})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Server]]:
    """Two runs on other data, both of them at a server; the first is released."""
    home = tmp_path_factory.mktemp("stays")
    server = Server(answering)
    (home / "model.py").write_text(f'import andon\ndef train(data, params): return andon.Remote("{server.url}", "m")\n')
    workspace = Workspace.create(home / "w")
    for seed in (1, 2):
        version = add(workspace, _rows(seed), Contract(OPEN.fields(), "y", ("bad", "good")), name="p").version
        train(workspace, OPEN, version, Options(home / "model.py"))
    release(workspace, OPEN, "r1", actor="ann")
    (home / "rows.jsonl").write_text('{"n": 1.0}\n')
    yield workspace, server
    workspace.close()
    server.close()


def _predicted(workspace: Workspace, charter: Charter) -> Any:
    wish = Wish((workspace.home.parent / "rows.jsonl",), release="v1", fresh=True)
    return predict(workspace, GatewayConfig.from_charter(charter), wish).predicted


def _replayed(workspace: Workspace, charter: Charter) -> Any:
    ask = asks_bundle(choose(workspace, GatewayConfig.from_charter(charter), "r1"))
    return ask([Asked("a", {"n": 1.0}, "good", None, None, "v1")])[0].decision


def _paired(workspace: Workspace, charter: Charter) -> Any:
    found = pair(workspace, charter, find_run(workspace, "r1"), find_run(workspace, "r2"))
    if found.how == "none":  # a page says it and goes on
        raise Denied(found.note)
    return found.how


def _live(workspace: Workspace, charter: Charter) -> Any:
    load = load_model(lambda hash: bundle_path(workspace.home, hash), GatewayConfig.from_charter(charter).limits)
    return load(find_run(workspace, "r1").bundle).predict({"n": np.array([1.0])}).shape == (1, 2)


def _trained(workspace: Workspace, charter: Charter) -> Any:
    return train(workspace, charter, find_run(workspace, "r1").dataset, Options(workspace.home.parent / "model.py"))


CALLERS: dict[str, Ask] = {
    "predict": _predicted,
    "replay": _replayed,
    "evaluate": lambda workspace, charter: compare(workspace, charter, "r1", "r2").n,
    "pair": _paired,
    "baseline": lambda workspace, charter: baselines(workspace, charter, find_run(workspace, "r2")),
    "a worker, and the shadow": _live,
    "train": _trained,
    "release": lambda workspace, charter: release(workspace, charter, "r2", actor="ann"),
}


@pytest.mark.parametrize("caller", CALLERS)
def test_rows_go_to_a_remote_model_only_where_the_charter_lets_them_now(
    made: tuple[Workspace, Server], caller: str
) -> None:
    workspace, server = made
    before = len(server.calls)
    with pytest.raises(Denied, match=r"rows may not be sent to .*privacy\.stays is 'device'"):
        CALLERS[caller](workspace, SHUT)
    assert len(server.calls) == before
    assert CALLERS[caller](workspace, OPEN)
    assert len(server.calls) > before or caller == "release"


def test_whoever_does_not_say_how_far_rows_may_go_may_send_none(made: tuple[Workspace, Server]) -> None:
    workspace, _ = made
    run = find_run(workspace, "r1")
    with pytest.raises(Denied):
        served(workspace, run)
    assert served(workspace, run, Reach("organisation")).predict({"n": np.array([1.0])}).shape == (1, 2)
