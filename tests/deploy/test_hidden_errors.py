"""A model that fails says what it was given; whatever engine it is of, none of that is written where inputs are redacted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.deploy.batch_rig import frame
from tests.deploy.rig import FakeServed, Rig
from tests.deploy.test_redaction import CHARTER, FIELDS, HIDING, files_of
from tests.model.test_remote import Server, reply

from andon.core.reach import Reach
from andon.deploy import batch
from andon.deploy.away import Away
from andon.deploy.batch import Wish, predict
from andon.deploy.batch_model import Answering
from andon.deploy.isolated_wire import decode_answer, encode_error
from andon.deploy.ring import RingWriter
from andon.deploy.route import compile_or_people, in_force
from andon.deploy.shadow import Shadow, ring_path
from andon.errors import AndonError, Unavailable, UserCodeError
from andon.model.adapter import Layout, ObjectScorer, OnnxScorer
from andon.model.booster import BoosterScorer, Input
from andon.model.predictor import user_code
from andon.model.remote import Remote, RemoteScorer, SealedRemote
from andon.model.remote_tensors import Input as Tensor
from andon.monitor.ingest import Ingest
from andon.scope.charter import parse
from andon.store.wal import WalWriter
from andon.store.workspace import Workspace
from andon.surface.doctor import examine

MARK = "ann@secret.org"
NUMBER = 43.987654
X = {"age": NUMBER, "mail": MARK, "card": "1234"}
CLASSES = ("negative", "positive")
Predict = Callable[[Any], Any]


def raising(columns: Any) -> Any:
    with user_code("predict", Path("model.py")):
        raise ValueError(f"could not read {columns['mail'][0]}")


def saying(columns: Any) -> Any:
    raise UserCodeError(f"nobody is called {columns['mail'][0]}")


def gone(columns: Any) -> Any:
    raise Unavailable(f"no room for {columns['mail'][0]}")


def isolated(columns: Any) -> Any:
    try:
        raising(columns)
    except AndonError as error:
        return decode_answer(encode_error(error), len(columns["mail"]), 2)


class Sklearn:
    classes_ = CLASSES

    def predict_proba(self, frame: Any) -> Any:
        return np.asarray(frame["mail"], dtype=np.float64)  # could not convert string to float: 'ann@secret.org'


def onnx(columns: Any) -> Any:
    """What stands before a graph: its matrix."""
    graph = OnnxScorer.__new__(OnnxScorer)
    graph.layout = Layout(width=1)
    return graph.scores(columns["mail"])


def xgboost(columns: Any) -> Any:
    given = Input(columns=("mail",), levels={"mail": ("x", "y")}, strict=True, places=(0, 1))
    return BoosterScorer("xgboost", lambda matrix: matrix[:, 0], given, None, 2).scores(columns)


def sklearn(columns: Any) -> Any:
    return ObjectScorer(Sklearn(), CLASSES, Path("model.py")).scores(columns)


LOCAL: dict[str, Predict] = {
    "python": raising,
    "words": saying,
    "gone": gone,
    "isolated": isolated,
    "skops": sklearn,
    "onnx": onnx,
    "xgboost": xgboost,
}


def outputs(*tensors: dict[str, Any]) -> bytes:
    return reply({"outputs": list(tensors)})


def strange(body: bytes) -> bytes:
    return f"{MARK} {body.decode('utf-8', 'replace')}".encode()


REMOTE: dict[str, Callable[[bytes], bytes]] = {
    "400": lambda body: reply({"error": strange(body).decode()}, 400),
    "500": lambda body: reply(strange(body), 500),
    "503": lambda body: reply({"error": strange(body).decode()}, 503),
    "302": lambda body: reply(strange(body), 302),
    "no HTTP": lambda body: b"what is " + strange(body) + b"\r\n\r\n",
    "no JSON": lambda body: reply(b"{" + strange(body)),
    "class": lambda body: outputs({"name": "l", "datatype": "BYTES", "shape": [1], "data": [MARK]}),
    "output": lambda body: outputs({"name": MARK, "datatype": "BOOL", "shape": [1], "data": [True]}),
    "shape": lambda body: outputs({"name": MARK, "datatype": "FP32", "shape": [1, 2], "data": [1.0]}),
    "probability": lambda body: outputs({"name": MARK, "datatype": "FP32", "shape": [1, 2], "data": [NUMBER, 0.0]}),
    "number": lambda body: reply({}),
}


class AtServer(Away):
    """As ``andon.deploy.remote.RemoteModel``, without a bundle."""

    def __init__(self, scorer: RemoteScorer) -> None:
        model = FakeServed(scorer.scores, FIELDS)
        self.contract, self.classes, self.path, self.engine = model.contract, model.classes, model.path, "remote"
        self.predict, self.scorer = scorer.scores, scorer

    @property
    def fault(self) -> str:
        return self.scorer.fault


@pytest.fixture
def at_server() -> Iterator[Callable[[str], Any]]:
    """A model at a server that fails on every row, by how it does."""
    opened: list[Any] = []

    def build(how: str) -> Any:
        server = Server(lambda method, path, body: REMOTE[how](body))
        age = Tensor("age", "INT64" if how == "number" else "FP64", ("age",))
        sealed = SealedRemote(Remote(server.url, "m"), (age, Tensor("mail", "BYTES", ("mail",))), "organisation")
        scorer = RemoteScorer(msgspec.json.encode(sealed), CLASSES, Reach("organisation"))
        opened.extend((scorer, server))
        return AtServer(scorer)

    yield build
    for one in opened:
        one.close()


def in_a_file(space: Workspace, rig: Rig, model: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """What ``andon predict`` says, and the reasons of its rejects."""
    route = in_force(rig.workspace.routes.current(), "refer")
    compiled, _ = compile_or_people(route, model.contract.names)
    monkeypatch.setattr(batch, "choose", lambda *_: Answering("v1", "0" * 64, model, compiled, "terms"))
    path = space.home.parent / "rows.jsonl"
    path.write_bytes(msgspec.json.encode(X) + b"\n")
    try:
        found = predict(space, HIDING, Wish((path,), out=space.home / "out.jsonl", fresh=True))
    except Unavailable as error:
        return error.kept
    return str(frame(found.rejects)["reason"].to_list())


def shadowed(space: Workspace, model: Any) -> None:
    """A shadow that fails on what it sees, which is redacted, in words of its own."""
    wal = WalWriter(space.wal_dir, "s0")
    shadow = Shadow(space, wal, lambda hash: model, lambda text: None, hidden=HIDING.limits.redacts)
    assert shadow.step()
    shadow.close()
    wal.close()


@pytest.mark.parametrize("where", ["here", "at a server"])
def test_what_a_failing_model_says_is_written_nowhere(
    tmp_path: Path,
    where: str,
    at_server: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "andon.yaml").write_text(CHARTER)
    space = Workspace.create(tmp_path / ".andon")
    ways = LOCAL if where == "here" else REMOTE
    models = [FakeServed(LOCAL[how], FIELDS) if where == "here" else at_server(how) for how in ways]
    rig = Rig(space, HIDING, {f"v{n}": model for n, model in enumerate(models)}, sink=ring(space))
    told = []
    for n, (how, model) in enumerate(zip(ways, models, strict=True)):
        name = f"v{n}"
        rig.route(live=name, levels={"*": "full"}, shadows=(name,), bundles={name: name})
        told += [repr(rig.decide(X)) for _ in range(3)]
        assert [(row.version, bool(row.error)) for row in rig_log(rig)[-3:]] == [(name, True)] * 3, how
        rig.desk.acknowledge()
        told += [repr(rig.workspace.routes.acks()), in_a_file(space, rig, model, monkeypatch)]
        shadowed(space, model)
    rig.route(live="v0", levels={"*": "human"}, bundles={"v0": "v0"})
    Ingest(space, parse(CHARTER)).finish()
    told += [caplog.text, repr(examine(tmp_path, deep=True, log=True, workspace=space))]
    rig.close()
    space.close()
    for text in told:
        assert MARK not in text and str(NUMBER)[:6] not in text, text
    for path, content in files_of(tmp_path / ".andon").items():
        assert MARK.encode() not in content and str(NUMBER)[:6].encode() not in content, path


def ring(space: Workspace) -> RingWriter:
    return RingWriter(ring_path(space.run_dir, 0), 1 << 16)


def rig_log(rig: Rig) -> list[Any]:
    from andon.store.codec import decode_decisions
    from andon.store.wal import Frame, FrameKind, read_stream

    frames = [one for one in read_stream(rig.workspace.wal_dir, rig.wal.stream) if isinstance(one, Frame)]
    return [row for one in frames if one.kind == FrameKind.DECISION for row in decode_decisions(FIELDS, one)]


def test_where_nothing_is_redacted_the_model_is_heard(tmp_path: Path) -> None:
    space = Workspace.create(tmp_path / ".andon")
    rig = Rig(space, msgspec.structs.replace(HIDING, redact=(), rules={}), {"v1": FakeServed(raising, FIELDS)})
    rig.route(live="v1", levels={"*": "full"})
    rig.decide(X)
    assert rig_log(rig)[0].error.endswith(f"raised ValueError: could not read {MARK}")
    rig.close()
    space.close()
