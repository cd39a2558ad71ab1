from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.core.record import Field
from andon.data.contract import Contract
from andon.deploy.away import Limits
from andon.deploy.batcher import Scored
from andon.deploy.isolated import Isolated, model_command
from andon.deploy.isolated_wire import (
    READY,
    decode_answer,
    decode_question,
    decode_ready,
    encode_error,
    encode_question,
    encode_scores,
)
from andon.deploy.replica import Replica, load_model
from andon.engine.child import ANSWER_MAX, LENGTH, Child
from andon.errors import AndonError, Corrupt, Unavailable, UserCodeError
from andon.model.bundle import Compiled, Parts, seal
from andon.model.predictor import load_user_source

FIELDS = (Field("age", "float"), Field("site", "text", optional=True))
CLASSES = ("no", "yes")
CODE = b"""
import ctypes, os, signal, time
import numpy as np


class Model:
    def __init__(self, mark=""):
        self.mark = mark

    def predict_proba(self, x):
        ages, sites = x["age"].to_numpy(), x["site"].to_list()
        if "segfault" in sites:
            ctypes.string_at(0)
        if "exit" in sites:
            os._exit(3)
        if "killed" in sites:
            os.kill(os.getpid(), signal.SIGKILL)
        if "hang" in sites:
            time.sleep(60)
        if "memory" in sites:
            np.ones(1 << 29)
        if "raise" in sites:
            raise ValueError("not this one")
        if "shape" in sites:
            return np.ones((1, 7))
        if "once" in sites and not os.path.exists(self.mark):
            open(self.mark, "w").close()
            os._exit(4)
        p = np.clip(ages / 100, 0, 1)
        return np.stack([1 - p, p], axis=1)


class Late(Model):
    def __setstate__(self, state):
        self.__dict__.update(state)
        if os.path.exists(self.mark):
            os._exit(5)
"""


def sealed(home: Path, kind: str = "Model", mark: str = "") -> tuple[Path, str]:
    code = load_user_source(CODE, Path("model.py"))
    model = getattr(code.module, kind)(mark)
    compiled = Compiled("python", pickle.dumps(model), reason="a test", trusted_by="owner")
    hash = seal(Parts(Contract(FIELDS, "y", CLASSES), compiled, code), home)
    return home / hash, hash


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    made: list[Isolated] = []

    def build(kind: str = "Model", mark: str = "", **limits: Any) -> Replica:
        path, hash = sealed(tmp_path, kind, mark)
        one = Isolated(path, hash, Limits(**limits))
        made.append(one)
        return Replica("v1", hash, one)

    yield build
    for one in made:
        one.close()


def away(replica: Replica) -> Isolated:
    found: object = replica._away
    assert isinstance(found, Isolated)
    return found


def rows(*sites: str | None) -> list[list[Any]]:
    return [[90.0, site] for site in sites]


def labels(found: list[Scored]) -> list[str | None]:
    return [one.label for one in found]


def test_a_model_answers_from_its_own_process_as_it_would_here(make: Callable[..., Replica]) -> None:
    replica = make()
    found = replica.score([[90.0, "a"], [10.0, None], [float("nan"), "ü" * 1000]])
    assert labels(found) == ["yes", "no", None] and found[0].confidence == pytest.approx(0.9)
    assert replica.foreign and replica.slow(1.0) and replica.fault == "" and away(replica).pid != os.getpid()
    ages = [float(n % 100) for n in range(512)]
    many: list[list[Any]] = [[age, None] for age in ages]
    assert labels(replica.score(many)) == ["yes" if age > 50 else "no" for age in ages]


@pytest.mark.parametrize(
    ("site", "said"),
    [
        ("segfault", "SIGSEGV"),
        ("exit", "ended with exit code 3"),
        ("killed", "SIGKILL (out of memory, perhaps)"),
    ],
)
def test_a_row_that_kills_the_process_is_found_and_the_others_are_answered(
    make: Callable[..., Replica], site: str, said: str
) -> None:
    replica = make(seconds=60.0)
    found = replica.score(rows("a", "b", site, "c", "d"))
    assert labels(found) == ["yes", "yes", None, "yes", "yes"]
    assert said in (found[2].error or "") and said in replica.fault and replica.fault.startswith("v1: ")
    assert labels(replica.score(rows("a"))) == ["yes"]


def test_errors_that_are_no_crash_leave_the_process_alone(make: Callable[..., Replica]) -> None:
    replica = make()
    pid = away(replica).pid
    found = replica.score(rows("a", "raise", "shape"))
    assert labels(found) == ["yes", None, None] and replica.fault == "" and away(replica).pid == pid
    assert "ValueError: not this one" in (found[1].error or "") and "shape" in (found[2].error or "")


def test_a_process_that_hangs_is_ended_in_time_and_its_rows_take_the_safe_path(make: Callable[..., Replica]) -> None:
    replica = make(seconds=1.0)
    pid = away(replica).pid
    began = time.monotonic()
    found = replica.score(rows("a", "hang"))
    assert time.monotonic() - began < 3.0
    assert labels(found) == [None, None] and "did not answer within 1 s" in (found[0].error or "")
    assert pid is not None and gone(pid)


def test_a_limit_of_memory_is_an_error_of_the_row(make: Callable[..., Replica]) -> None:
    replica = make(memory_mb=512, seconds=30.0)
    found = replica.score(rows("a", "memory"))
    assert labels(found) == ["yes", None] and "MemoryError" in (found[1].error or "")


def test_a_process_that_cannot_begin_again_is_tried_ever_more_slowly(
    make: Callable[..., Replica], tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    replica = make("Late", str(mark), seconds=20.0)
    mark.touch()
    found = replica.score(rows("exit"))
    assert labels(found) == [None]
    found = replica.score(rows("a"))
    assert labels(found) == [None]
    found = replica.score(rows("a"))
    assert "it is started again in" in (found[0].error or "") or "exit code 5" in (found[0].error or "")
    assert "it is started again" in replica.fault
    mark.unlink()
    end = time.monotonic() + 20
    while labels(replica.score(rows("a"))) != ["yes"]:
        replica.tick(time.monotonic())
        assert time.monotonic() < end
        time.sleep(0.02)
    assert "a new one answers" in replica.fault


def test_one_that_ends_while_nobody_asks_is_noticed_and_replaced(make: Callable[..., Replica]) -> None:
    replica = make()
    pid = away(replica).pid
    assert pid is not None
    os.kill(pid, 9)
    end = time.monotonic() + 20
    while not away(replica)._ready or away(replica).pid == pid:
        replica.tick(time.monotonic())
        assert time.monotonic() < end
        time.sleep(0.02)
    assert "SIGKILL" in replica.fault and "while nothing was asked" in replica.fault
    assert labels(replica.score(rows("a"))) == ["yes"]
    replica.close()


def test_loading_fails_in_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    mark.touch()
    path, hash = sealed(tmp_path, "Late", str(mark))
    with pytest.raises(UserCodeError, match="exit code 5, while it loaded the model"):
        Isolated(path, hash, Limits())
    with pytest.raises(Unavailable, match="could not be started"):
        Isolated(path, hash, Limits(), start=lambda: Child(("/no/such/program",)))
    (path / "model.pkl").write_bytes(b"changed")
    with pytest.raises(Corrupt, match="has changed"):
        Isolated(path, hash, Limits())
    with pytest.raises(Unavailable, match=r"is being loaded|did not load"):
        Isolated(path, hash, Limits(load_seconds=0.05), start=silent)


def silent() -> Child:
    return Child((sys.executable, "-c", "import time; time.sleep(60)", "{fd}"))


def test_who_gets_a_process(tmp_path: Path) -> None:
    path, hash = sealed(tmp_path)
    for isolation, expected in (("auto", True), ("process", True), ("none", False)):
        found = load_model(lambda _: path, Limits(isolation=isolation))(hash)  # type: ignore[arg-type]
        assert isinstance(found, Isolated) is expected
        if isinstance(found, Isolated):
            found.close()
    assert Limits("process").isolated("onnx") and not Limits("auto").isolated("onnx")
    assert not Limits("process").isolated("remote")


def test_the_process_ends_with_its_worker(tmp_path: Path) -> None:
    path, hash = sealed(tmp_path)
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom andon.deploy.isolated import Isolated\n"
        "from andon.deploy.away import Limits\n"
        f"one = Isolated(Path({str(path)!r}), {hash!r}, Limits())\nprint(one.pid, flush=True)\ntime.sleep(60)\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    pid = int(worker.stdout.readline())
    worker.kill()
    worker.wait()
    worker.stdout.close()
    end = time.monotonic() + 10
    while not gone(pid):
        assert time.monotonic() < end
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


# --- what the child may say


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: b"E" + tail), st.integers(1, 5))
def test_whatever_is_said_is_scores_an_error_or_no_answer(body: bytes, count: int) -> None:
    try:
        scores = decode_answer(body, count, 2)
        assert scores.shape == (count, 2)
    except (AndonError, ValueError) as error:
        assert str(error)
    try:
        decode_ready(body)
        assert body == READY
    except (AndonError, ValueError):
        pass


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_a_question_of_any_bytes_is_read_or_refused(body: bytes) -> None:
    try:
        columns = decode_question(body, FIELDS)
    except ValueError:
        return
    assert set(columns) == {"age", "site"}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(width=64), st.none() | st.text(st.characters(codec="utf-8"))), max_size=20))
def test_a_question_comes_back_as_it_was(cells: list[tuple[float, str | None]]) -> None:
    site = np.array([*(text for _, text in cells), None], dtype=object)[:-1]
    columns = {"age": np.array([age for age, _ in cells], dtype=np.float64), "site": site}
    question = b"".join(encode_question(columns, FIELDS))
    back = decode_question(question, FIELDS)
    assert np.array_equal(back["age"], columns["age"], equal_nan=True) and back["site"].tolist() == site.tolist()
    for cut in range(0, len(question), max(1, len(question) // 10)):
        with pytest.raises(ValueError, match="question"):
            decode_question(question[:cut], FIELDS)
    with pytest.raises(ValueError, match="length"):
        decode_question(question + b"x", FIELDS)


def test_scores_at_the_edges_of_their_length() -> None:
    body = encode_scores(np.full((3, 2), 0.5, dtype=np.float32))
    assert decode_answer(body, 3, 2).tolist() == [[0.5, 0.5]] * 3
    for wrong in (body[:-1], body + b"\0", b"S", b"", b"X"):
        with pytest.raises(ValueError, match="an answer"):
            decode_answer(wrong, 3, 2)
    with pytest.raises(UserCodeError) as found:
        decode_answer(encode_error(UserCodeError("x" * 10_000)), 1, 2)
    assert len(found.value.message) == 2000


_SAYS = """
import socket, sys, base64
with socket.socket(fileno=int(sys.argv[1])) as line:
    line.sendall(base64.b64decode(sys.argv[2]))
    line.recv(1 << 20)
    line.sendall(base64.b64decode(sys.argv[3]))
    while line.recv(1 << 20):
        pass
"""


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((1 << 62).to_bytes(LENGTH, "little"), "which is more than"),
        ((ANSWER_MAX + 1).to_bytes(LENGTH, "little"), "which is more than"),
        ((3).to_bytes(LENGTH, "little") + b"Sxx", "what is no answer"),
        ((3).to_bytes(LENGTH, "little") + b"E\xc1\xff", "what is no answer"),
        ((2).to_bytes(LENGTH, "little") + b"??", "what is no answer"),
        ((50).to_bytes(LENGTH, "little") + b"S", "did not answer within"),
        (b"\x01", "did not answer within"),
    ],
)
def test_a_process_that_says_anything_else_is_ended(tmp_path: Path, answer: bytes, said: str) -> None:
    import base64

    path, hash = sealed(tmp_path)
    words = [base64.b64encode(one).decode() for one in ((1).to_bytes(LENGTH, "little") + READY, answer)]
    # A question comes in two parts, so the script reads until its line is closed: only the worker ends it. Where something
    # else than the time is to be told, there is time enough for the busiest machine.
    limits = Limits(seconds=1.0 if said == "did not answer within" else 60.0)
    one = Isolated(path, hash, limits, start=lambda: Child((sys.executable, "-c", _SAYS, "{fd}", *words)))
    replica = Replica("v1", hash, one)
    pid = one.pid
    found = replica.score(rows("a"))
    assert labels(found) == [None] and said in (found[0].error or "")
    assert pid is not None and gone(pid)
    one.close()


def test_a_child_that_closes_its_line_is_gone() -> None:
    child = Child((sys.executable, "-c", "import socket, sys, time; socket.socket(fileno=int(sys.argv[1])).close(); time.sleep(60)", "{fd}"))  # fmt: skip
    with pytest.raises(Unavailable, match="closed its end"):
        child.hear(20.0)
    child.close()
    assert child.ended and Child.said(-77) == "was ended by signal 77"


# --- swaps under load


def _swaps(home: Path, count: int) -> None:
    """Replace the model ``count`` times while rows are asked; nothing fails, nothing is left behind."""
    from andon.core.record import Route
    from andon.deploy.replica import Replicas

    path_of = {}
    hashes = []
    for mark in ("a", "b"):
        path, hash = sealed(home, mark=mark)
        path_of[hash] = path
        hashes.append(hash)
    posted: list[Callable[[], None]] = []
    replicas = Replicas(load_model(path_of.__getitem__, Limits(seconds=30.0)), posted.append, lambda: None)
    answers: list[Scored] = []
    before = None
    for swap in range(count):
        route = Route(swap + 1, 0, 0, "ann", "test", "swap", live="v1", bundles={"v1": hashes[swap % 2]})
        replicas.follow(route)
        while not replicas.settled:
            _ask(replicas, answers, posted)
        assert not replicas.faults, replicas.faults
        if swap == min(10, count // 2):
            before = _held()
    _ask(replicas, answers, posted)
    end = time.monotonic() + 20
    while before is not None and any(now > then + 2 for now, then in zip(_held()[:3], before[:3], strict=True)):
        assert time.monotonic() < end, f"left behind: {before} became {_held()}"
        time.sleep(0.05)
    assert before is not None and _held()[3] - before[3] < 64 << 10, f"{before} became {_held()}"
    replicas.close()
    assert len(answers) >= count and {one.label for one in answers} == {"yes"}


def _ask(replicas: Any, answers: list[Scored], posted: list[Callable[[], None]]) -> None:
    replica = replicas.get("v1")
    if replica is not None and not replica.busy_since:
        replica.submit(lambda: replica.score(rows("a", "b")), answers.extend, posted.append)
    time.sleep(0.002)
    for call in [posted.pop(0) for _ in range(len(posted))]:
        call()


def _held() -> tuple[int, int, int, int]:
    """Open files, threads, children and resident kilobytes of this process."""
    children = sum(len(Path(one).read_text().split()) for one in Path("/proc/self/task").glob("*/children"))
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), children, resident


@pytest.mark.slow
def test_a_dozen_swaps_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    _swaps(tmp_path, 12)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_thousand_swaps_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    _swaps(tmp_path, 1000)


def test_the_command_names_the_bundle_and_its_limits(tmp_path: Path) -> None:
    words = model_command(tmp_path, "ab", Limits(memory_mb=7, seconds=2.0))
    assert words[1:4] == ("-m", "andon.deploy.isolated_child", "{fd}") and words[-2:] == ("7", "2.0")
    assert msgspec.to_builtins(Limits())["isolation"] == "auto" and socket.AF_UNIX
