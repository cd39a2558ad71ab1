from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.deploy.line_rig import CONFIG, Line

import andon
from andon.core.reach import Reach
from andon.core.record import Field
from andon.data.contract import Contract
from andon.deploy.away import Limits
from andon.deploy.batcher import CALLS_BROKEN, score
from andon.deploy.replica import Replica, load_model
from andon.errors import AndonError, Corrupt, Denied, Unavailable, UsageError, UserCodeError
from andon.model.bundle import Parts, load_bundle, seal
from andon.model.compile import compile_model
from andon.model.predictor import load_user_source
from andon.model.remote import Breaker, Remote, RemoteScorer, SealedRemote, seal_remote
from andon.model.remote_line import may_go_to
from andon.model.remote_tensors import Input, Spec, Tensor, decode, encode, plan

FIELDS = (Field("age", "float"), Field("site", "category", optional=True))
CLASSES = ("no", "yes")
INSIDE = Reach("organisation")
COLUMNS = {"age": np.array([90.0, 10.0, np.nan]), "site": np.array(["a", None, "b"], dtype=object)}

Act = Callable[[str, str, bytes], bytes | None]


class Server:
    """A tiny server of the protocol; ``act(method, path, body)`` gives the raw answer, None to hang up."""

    def __init__(self, act: Act) -> None:
        self.act = act
        self.calls: list[tuple[str, str]] = []
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                found, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(found)
            threading.Thread(target=self._serve, args=(found,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        file = line.makefile("rb")
        with line, file, suppress(OSError):  # a client may hang up at any moment
            while head := file.readline():
                length = 0
                while (name := file.readline()) not in (b"\r\n", b""):
                    if name.lower().startswith(b"content-length:"):
                        length = int(name.split(b":")[1])
                body = file.read(length)
                method, path, _ = head.decode().split()
                self.calls.append((method, path))
                answer = self.act(method, path, body)
                if answer is None:
                    line.shutdown(socket.SHUT_RDWR)
                    return
                try:
                    line.sendall(answer)
                except OSError:
                    return

    def close(self) -> None:
        self._socket.close()
        for one in self._open:
            one.close()


def reply(body: Any, status: int = 200) -> bytes:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%s" % (status, len(raw), raw)


METADATA = {"name": "m", "inputs": [{"name": "age", "datatype": "FP64", "shape": [-1, 1]}, {"name": "site", "datatype": "BYTES", "shape": [-1]}]}  # fmt: skip


def honest(method: str, path: str, body: bytes) -> bytes | None:
    if method == "GET":
        return reply(METADATA)
    inputs = {one["name"]: one for one in msgspec.json.decode(body)["inputs"]}
    ages = inputs["age"]["data"]
    if "poison" in inputs["site"]["data"]:
        return reply({"error": "a poisoned row"}, 400)
    data = [[None, None] if age is None else [1 - age / 100, age / 100] for age in ages]
    return reply({"outputs": [{"name": "p", "datatype": "FP32", "shape": [len(ages), 2], "data": data}]})


@pytest.fixture
def serve() -> Iterator[Callable[[Act], Server]]:
    made: list[Server] = []

    def build(act: Act) -> Server:
        made.append(Server(act))
        return made[-1]

    yield build
    for one in made:
        one.close()


def scorer_at(server: Server, **more: Any) -> RemoteScorer:
    return RemoteScorer(seal_remote(Remote(server.url, "m", **more), FIELDS, "organisation"), CLASSES, INSIDE)


def sealed(server: Server, home: Path, **more: Any) -> tuple[Path, str]:
    code = load_user_source(b"", Path("model.py"))
    model = andon.Remote(server.url, "m", **more)
    compiled = compile_model(model, COLUMNS, FIELDS, CLASSES, code, reach=Reach("organisation"))
    assert compiled.engine == "remote" and "answered by http://127.0.0.1" in compiled.reason
    hash = seal(Parts(Contract(FIELDS, "y", CLASSES), compiled, code), home)
    return home / hash, hash


def test_a_remote_model_is_sealed_loaded_and_asked(serve: Callable[[Act], Server], tmp_path: Path) -> None:
    server = serve(honest)
    path, hash = sealed(server, tmp_path, version="3")
    found = load_bundle(path, hash, INSIDE).predict(COLUMNS)
    assert found.dtype == np.float32 and np.allclose(found[:2], [[0.1, 0.9], [0.9, 0.1]]) and np.isnan(found[2]).all()
    assert {path for _, path in server.calls} == {"/v2/models/m/versions/3", "/v2/models/m/versions/3/infer"}
    replica = Replica("v1", hash, load_model(lambda _: path, Limits())(hash))
    before = server.connections
    for _ in range(5):
        rows = replica.score([[90.0, "a"], [1.0, "poison"], [10.0, None]])
        assert [one.label for one in rows] == ["yes", None, "no"] and "a poisoned row" in (rows[1].error or "")
    assert server.connections == before + 1 and replica.away and replica.fault == ""
    replica.close()


def test_rows_go_in_calls_of_a_few(serve: Callable[[Act], Server]) -> None:
    server = serve(honest)
    scorer = scorer_at(server, rows=2)
    columns = {"age": np.array([1.0, 2.0, 3.0, 4.0, 5.0]), "site": np.array(["a"] * 5, dtype=object)}
    assert np.allclose(scorer.scores(columns)[:, 1], [0.01, 0.02, 0.03, 0.04, 0.05])
    assert len([one for one in server.calls if one[0] == "POST"]) == 3
    frame = pl.DataFrame({"age": [50.0], "site": ["a"]})
    assert np.allclose(scorer.scores(frame), [[0.5, 0.5]])


def test_a_connection_that_was_closed_is_tried_once_more_and_only_once(serve: Callable[[Act], Server]) -> None:
    left = [0]

    def act(method: str, path: str, body: bytes) -> bytes | None:
        if method == "POST" and left[0]:
            left[0] -= 1
            return None
        return honest(method, path, body)

    server = serve(act)
    scorer = scorer_at(server)
    scorer.scores(COLUMNS)
    left[0] = 1
    assert np.allclose(scorer.scores(COLUMNS)[0], [0.1, 0.9])
    left[0] = 2
    with pytest.raises(Unavailable, match="does not answer"):
        scorer.scores(COLUMNS)
    assert left[0] == 0
    asked = len(server.calls)
    left[0] = 1
    with pytest.raises(Unavailable, match="does not answer"):  # on a new connection nothing is asked twice
        scorer.scores(COLUMNS)
    assert left[0] == 0 and len(server.calls) == asked + 1


def test_a_connection_is_looked_at_before_it_is_used_again(serve: Callable[[Act], Server]) -> None:
    server = serve(honest)
    scorer = scorer_at(server)
    scorer.scores(COLUMNS)
    another = reply({"outputs": [{"name": "p", "datatype": "FP32", "shape": [3, 2], "data": [[1, 0]] * 3}]})
    server._open[-1].sendall(another)
    time.sleep(0.05)  # what it says beside its answer is not the next answer
    assert np.allclose(scorer.scores(COLUMNS)[0], [0.1, 0.9]) and server.connections == 3  # one asked for metadata
    server._open[-1].shutdown(socket.SHUT_RDWR)
    time.sleep(0.05)
    assert np.allclose(scorer.scores(COLUMNS)[0], [0.1, 0.9]) and server.connections == 4
    assert len([one for one in server.calls if one[0] == "POST"]) == 3


def test_what_is_no_http_is_one_short_line(serve: Callable[[Act], Server]) -> None:
    odd = b"SSH-2.0 \x1b[31m" + b"x" * 60_000 + b"\r\n"
    scorer = scorer_at(serve(lambda method, path, body: honest(method, path, body) if method == "GET" else odd))
    with pytest.raises(Unavailable, match=r"does not answer: SSH-2\.0 ") as found:
        scorer.scores(COLUMNS)
    assert len(found.value.message) < 400 and found.value.message.isprintable()


def test_what_came_back_in_part_is_not_tried_again(serve: Callable[[Act], Server]) -> None:
    cut = [False]

    def act(method: str, path: str, body: bytes) -> bytes | None:
        if not cut[0] or method == "GET":
            return honest(method, path, body)
        return b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"

    server = serve(act)
    scorer = scorer_at(server)
    cut[0] = True
    scorer.until = time.monotonic() + 0.3
    with pytest.raises(Unavailable, match="in time"):
        scorer.scores(COLUMNS)
    assert len([one for one in server.calls if one[0] == "POST"]) == 1


GOOD = b'{"outputs": [{"name": "p", "datatype": "FP32", "shape": [1, 2], "data": [0.25, 0.75]}]}'


InPieces = Callable[..., RemoteScorer]


@pytest.fixture
def in_pieces() -> Iterator[InPieces]:
    """A scorer at a server that answers each call with these, one after the other with rests between, and hangs up."""
    opened: list[socket.socket | RemoteScorer] = []

    def build(*pieces: bytes, rests: float = 0.03) -> RemoteScorer:
        listening = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            with suppress(OSError):
                while True:
                    line, _ = listening.accept()
                    with line, suppress(OSError):
                        asked = b""
                        while not asked.endswith(b"]}"):
                            asked += line.recv(1 << 16)
                        for piece in pieces:
                            line.sendall(piece)
                            time.sleep(rests)

        threading.Thread(target=serve, daemon=True).start()
        remote = Remote(f"http://127.0.0.1:{listening.getsockname()[1]}", "m")
        sealed = SealedRemote(remote, (Input("age", "FP64", ("age",)),), "organisation")
        opened.extend((listening, RemoteScorer(msgspec.json.encode(sealed), CLASSES, INSIDE)))
        return opened[-1]  # type: ignore[return-value]

    yield build
    for one in opened:
        if isinstance(one, socket.socket):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(GOOD),
        b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(GOOD),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_a_server_that_hangs_up_behind_its_answer_is_heard_to_the_end(head: bytes, in_pieces: InPieces) -> None:
    body = [GOOD[:20], GOOD[20:]]
    if b"chunked" in head:
        body = [*(b"%x\r\n%s\r\n" % (len(part), part) for part in body), b"0\r\n\r\n"]
    scorer = in_pieces(head, *body)
    for _ in range(2):  # the second call makes a connection of its own
        assert np.allclose(scorer.scores({"age": np.array([1.0])}), [[0.25, 0.75]])
    assert scorer._line._connection is None
    late = in_pieces(head, *body, rests=0.5)
    late.until, began = time.monotonic() + 0.2, time.monotonic()
    with pytest.raises(Unavailable, match="in time"):
        late.scores({"age": np.array([1.0])})
    assert time.monotonic() - began < 0.45


def test_an_answer_that_breaks_off_is_the_servers_fault_not_the_rows(in_pieces: InPieces) -> None:
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(GOOD)
    for cut in (0, 20, len(GOOD) - 1):
        with pytest.raises(Unavailable, match="does not answer"):
            in_pieces(head, GOOD[:cut]).scores({"age": np.array([1.0])})


def test_time_is_the_deadlines_however_slowly_bytes_come(serve: Callable[[Act], Server]) -> None:
    server = serve(honest)
    scorer = scorer_at(server)
    drip = socket.create_server(("127.0.0.1", 0))

    def slow() -> None:
        line, _ = drip.accept()
        with line:
            line.recv(1 << 16)
            try:
                for byte in b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 1000:
                    line.sendall(bytes([byte]))
                    time.sleep(0.05)
            except OSError:
                return

    threading.Thread(target=slow, daemon=True).start()
    payload = msgspec.json.encode({**msgspec.json.decode(msgspec.json.encode(scorer.sealed)), "remote": {"url": f"http://127.0.0.1:{drip.getsockname()[1]}", "model": "m"}})  # fmt: skip
    late = RemoteScorer(payload, CLASSES, INSIDE)
    late.until = time.monotonic() + 0.4
    began = time.monotonic()
    with pytest.raises(Unavailable, match="in time"):
        late.scores(COLUMNS)
    assert time.monotonic() - began < 2.0
    drip.close()


def test_a_server_that_keeps_failing_is_left_alone_and_that_is_said(
    serve: Callable[[Act], Server], tmp_path: Path
) -> None:
    sick = [False]

    def act(method: str, path: str, body: bytes) -> bytes | None:
        return reply({"error": "no memory"}, 503) if sick[0] and method == "POST" else honest(method, path, body)

    server = serve(act)
    path, hash = sealed(server, tmp_path)
    served = load_model(lambda _: path, Limits())(hash)
    replica = Replica("v1", hash, served)
    sick[0] = True
    for _ in range(3):
        rows = replica.score([[90.0, "a"], [10.0, "a"]])
        assert "answered 503: no memory" in (rows[0].error or "")
    assert "is left alone" in replica.fault and "answered 503" in replica.fault
    assert "no memory" not in replica.fault, "what a server says may hold what it was given"
    calls = len(server.calls)
    assert "asked again in" in (replica.score([[90.0, "a"]])[0].error or "") and len(server.calls) == calls
    scorer: Any = served._scorer  # type: ignore[attr-defined]
    sick[0] = False
    scorer.breaker._until = time.monotonic()
    assert replica.score([[90.0, "a"]])[0].label == "yes" and replica.fault == ""
    replica.close()


@pytest.mark.parametrize("guilty", [1, 8, 32])
def test_rows_that_break_a_server_are_found_and_it_is_not_left_alone(
    serve: Callable[[Act], Server], guilty: int
) -> None:
    def act(method: str, path: str, body: bytes) -> bytes | None:
        return reply({"error": "boom"}, 500) if b"poison" in body else honest(method, path, body)

    scorer = scorer_at(serve(act))
    rows = [[50.0, "poison" if at % (64 // guilty) == 0 else "a"] for at in range(64)]
    found = score(scorer.scores, FIELDS, CLASSES, rows)
    assert [one.label is None for one in found] == [row[1] == "poison" for row in rows] and scorer.fault == ""


def test_the_breaker_opens_at_its_edge_and_stays_longer_each_time() -> None:
    breaker = Breaker()
    for _ in range(CALLS_BROKEN):
        breaker.failed(0.0, "x", gone=False)
    assert breaker.closed_in(0.0) == 0
    breaker.failed(0.0, "x", gone=False)
    assert breaker.closed_in(0.0) == 5.0
    now, pauses = 5.0, []
    for _ in range(6):
        breaker.failed(now, "x", gone=False)
        pauses.append(breaker.closed_in(now))
        now += pauses[-1]
    assert pauses == [10.0, 20.0, 40.0, 60.0, 60.0, 60.0]
    breaker.worked()
    assert breaker.closed_in(now) == 0 and breaker.why == ""


@pytest.mark.parametrize(
    ("stays", "host", "may"),
    [
        ("device", "127.0.0.1", False),
        ("organisation", "127.0.0.1", True),
        ("organisation", "10.1.2.3", True),
        ("organisation", "::1", True),
        ("organisation", "fe80::1%eth0", True),
        ("organisation", "::ffff:10.0.0.1", True),
        ("organisation", "::ffff:8.8.8.8", False),
        ("organisation", "8.8.8.8", False),
        ("anywhere", "8.8.8.8", True),
    ],
)
def test_rows_go_only_where_they_may(stays: Any, host: str, may: bool) -> None:
    if may:
        may_go_to(host, "u", stays)
    else:
        with pytest.raises(Denied, match=r"privacy\.stays"):
            may_go_to(host, "u", stays)


def test_a_line_that_may_send_less_than_when_it_was_sealed(serve: Callable[[Act], Server], tmp_path: Path) -> None:
    server = serve(honest)
    path, hash = sealed(server, tmp_path)
    with pytest.raises(Denied, match="stays is 'device'"):
        load_model(lambda _: path, Limits(stays="device"))(hash)
    with pytest.raises(Denied, match="stays is 'device'"):
        seal_remote(Remote(server.url, "m"), FIELDS, "device")
    with pytest.raises(Denied, match="stays is 'device'"):
        load_bundle(path, hash)  # nobody said that they may
    payload = seal_remote(Remote(server.url, "m"), FIELDS, "organisation", ("a.example",))
    line = RemoteScorer(payload, CLASSES, Reach("anywhere", ("b.example",)))._line
    assert (line.stays, line.hosts) == ("organisation", ("b.example",))


@pytest.mark.parametrize(
    "url",
    ["ftp://a", "http://", "http://u:p@h:1", "http://h:99999", "h:1", "http://h/?q", "", "http://h\n:1", "http://[::"],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UsageError, match="a remote model's url"):
        seal_remote(Remote(url, "m"), FIELDS, "anywhere")


def test_nobody_there_and_nonsense(serve: Callable[[Act], Server]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(Unavailable, match="Connection refused"):
        seal_remote(Remote(f"http://127.0.0.1:{port}", "m"), FIELDS, "anywhere")
    for raw, error in (
        (reply(b"nonsense"), "does not describe a model"),
        (b"SSH-2.0\r\n\r\n", "does not answer"),
        (reply({"error": "unknown model"}, 404), "answered 404: unknown model"),
        (reply({"inputs": []}), "does not say what inputs"),
        (reply(b"", 302), "answered 302"),
    ):
        with pytest.raises(AndonError, match=error):
            seal_remote(Remote(serve(lambda *_, raw=raw: raw).url, "m"), FIELDS, "anywhere")
    with pytest.raises(Corrupt, match="holds no remote model"):
        RemoteScorer(b"{}", CLASSES, INSIDE)


# --- tensors


def test_columns_are_mapped_by_name_and_datatype() -> None:
    fields = (Field("n", "int"), Field("flag", "bool"))
    one = plan([Spec("input-0", "FP32", [-1, 2])], fields)
    assert one == (Input("input-0", "FP32", ("n", "flag")),)
    matrix = np.array([[1.0, 0.0], [np.nan, 1.0]])
    assert encode(plan([Spec("x", "FP64", [-1, -1])], fields), {"n": matrix[:, 0], "flag": matrix[:, 1]}, 2)[0]["data"] == [1.0, 0.0, None, 1.0]  # fmt: skip
    assert encode((Input("x", "INT8", ("a", "b")),), matrix[:1], 1)[0] == {"name": "x", "shape": [1, 2], "datatype": "INT8", "data": [1, 0]}  # fmt: skip
    assert encode(plan([Spec("flag", "BOOL", [-1])], fields), {"flag": np.array([1.0])}, 1)[0]["data"] == [True]
    with pytest.raises(UserCodeError, match=r"takes INT64, found 1\.5"):
        encode((Input("n", "INT64", ("n",)),), {"n": np.array([1.5])}, 1)
    for specs, said in (
        ([Spec("n", "BYTES", [-1]), Spec("flag", "BOOL", [-1])], "takes BYTES, found int"),
        ([Spec("nn", "INT64", [-1]), Spec("flag", "BOOL", [-1])], "did you mean 'n'|no input here"),
        ([Spec("x", "FP32", [-1, 3])], "found 2 columns"),
    ):
        with pytest.raises(UsageError, match=said):
            plan(specs, fields)


def test_outputs_become_scores() -> None:
    two = ("a", "b")
    assert decode([Tensor("p", "FP32", [2, 1], [0.25, None])], 2, two)[0].tolist() == [0.75, 0.25]
    assert decode([Tensor("l", "INT64", [2], [1, 0])], 2, two).tolist() == [[0, 1], [1, 0]]
    assert decode([Tensor("l", "INT64", [1], [7])], 1, ("7", "8")).tolist() == [[1, 0]]
    both = [Tensor("l", "BYTES", [2], ["b", ""]), Tensor("confidence", "FP64", [2, 1], [[0.75], [0.0]])]
    assert decode(both, 2, two)[0].tolist() == [0.25, 0.75] and np.isnan(decode(both, 2, two)[1]).all()
    assert decode([Tensor("x", "FP32", [1, 2], [1, 0]), both[0]], 2, two, output="l")[0].tolist() == [0, 1]
    for outputs, said in (
        ([Tensor("p", "FP32", [1, 2], [2.0, 0.0])], "from 0 to 1, found 2"),
        ([Tensor("p", "FP32", [1, 2], [0.5])], "1 elements for shape"),
        ([Tensor("p", "FP32", [1, 2], ["x", 0.5])], "holds a str"),
        ([Tensor("p", "FP32", [1, 2], [10**400, 0.5])], "too large"),
        ([Tensor("p", "FP32", [1, 3], [0.1, 0.2, 0.7])], "no probabilities of shape"),
        ([Tensor("l", "BYTES", [1], ["c"])], "class 'c'"),
        ([Tensor("l", "INT64", [1], [2])], "class '2'"),
        ([Tensor("l", "BYTES", [1], ["a"]), Tensor("confidence", "FP64", [1], [0.4])], "cannot be"),
        ([Tensor("l", "BYTES", [1, 2], ["a", "b"])], "expected"),
        ([], "found no output"),
    ):
        with pytest.raises(UserCodeError, match=said):
            decode(outputs, 1, two)
    with pytest.raises(UserCodeError, match="no output 'zz'"):
        decode([Tensor("l", "BYTES", [1], ["a"])], 1, two, output="zz")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
_tensors = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["p", "confidence", "l"]),
            "datatype": st.sampled_from(["FP32", "BYTES", "INT64", "BOOL", "x"]),
            "shape": st.lists(st.integers(-1, 4), max_size=5),
            "data": st.lists(_json, max_size=6),
        }
    ),
    max_size=3,
)


@settings(max_examples=300, deadline=None)
@given(st.fixed_dictionaries({"outputs": _tensors | _json}).map(msgspec.json.encode) | st.binary(max_size=80))
def test_any_answer_is_scores_or_one_sentence(body: bytes) -> None:
    from andon.model.remote import _answer
    from andon.model.remote_line import said_in

    assert said_in(body)
    try:
        found = decode(_answer(body), 2, CLASSES)
    except UserCodeError as error:
        assert error.message
        return
    assert found.shape == (2, 2) and ((found >= -1e-6) & (found <= 1 + 1e-6) | np.isnan(found)).all()


# --- another line


@pytest.mark.line
def test_another_line_answers(tmp_path: Path) -> None:
    line = Line(tmp_path / "home", workers=1, config=msgspec.structs.replace(CONFIG, isolation="none"))
    try:
        line.route(live="v1", bundles={"v1": line.seal()}, levels={"*": "full"})
        line.start()
        fields = (Field("cough", "bool", optional=True), Field("age", "float"))
        remote = Remote(f"http://127.0.0.1:{line.port}", "screening")
        scorer = RemoteScorer(seal_remote(remote, fields, "organisation"), ("negative", "positive"), INSIDE)
        columns = {"cough": np.array([1.0, np.nan]), "age": np.array([90.0, 20.0])}
        assert np.allclose(scorer.scores(columns), [[0.1, 0.9], [0.8, 0.2]], atol=1e-6)
        line.route(live="v1", bundles={"v1": line.seal()}, levels={"*": "human"})
        end = time.monotonic() + 10
        while not np.isnan(scorer.scores(columns)).all():
            assert time.monotonic() < end
            time.sleep(0.05)
        scorer.close()
    finally:
        line.close()
