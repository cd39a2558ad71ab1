"""The quick way with models that are slow, somebody's code or elsewhere: rows wait in columns, and nobody is forgotten."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.deploy.rig import BASE, CONFIG, FIELDS, FakeServed, Rig, by_age
from tests.deploy.test_express import counted, rows

from andon.deploy.express_behind import Behind
from andon.deploy.protocol_message import Answer
from andon.errors import UserCodeError

Columns = Mapping[str, np.ndarray[Any, Any]]


class Gated(FakeServed):
    """Somebody's code: it answers when it may, and remembers how many rows it was asked about."""

    def __init__(self, said: Callable[[Columns], np.ndarray[Any, Any]] = by_age) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.asked: list[int] = []

        def predict(columns: Columns) -> np.ndarray[Any, Any]:
            self.gate.wait(5)
            self.asked.append(len(columns["age"]))
            return said(columns)

        super().__init__(predict)
        self.engine = "python"

    def close_gate(self) -> None:
        self.asked.clear()
        self.gate.clear()


@pytest.fixture
def model() -> Iterator[Gated]:
    found = Gated()
    yield found
    found.gate.set()


@pytest.fixture
def rig(make: Callable[..., Rig], model: Gated) -> Rig:
    rig = make(CONFIG, models={"v1": model, "v2": FakeServed()})
    rig.route(live="v1", levels={"*": "full"})
    model.close_gate()
    return rig


def ask(rig: Rig, id: str, age: float = 20.0) -> list[Answer]:
    return rig.ask("POST", f"{BASE}/decisions", {"x": {"age": age}, "id": id})


def waits(rig: Rig) -> int:
    """How many rows wait, as the gauge says; none when the worker may end."""
    n = rig.desk.gauge().queue_rows
    assert rig.desk.idle == (n == 0)
    return n


def test_a_batch_is_with_the_model_while_the_next_one_forms(
    rig: Rig, model: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = counted(rig, monkeypatch)
    answers = [ask(rig, "a", 20.0)]
    rig.turn()
    for n in range(3):
        answers.append(ask(rig, f"b{n}", 80.0))
        rig.turn()
    assert not any(answers)
    assert waits(rig) == 4
    model.gate.set()
    rig.until(lambda: all(answers))
    assert model.asked == [1, 3]
    assert taken == [True] * 4
    assert waits(rig) == 0
    told = [msgspec.json.decode(one[0].body)["decision"] for one in answers]
    assert told == ["negative", "positive", "positive", "positive"]
    assert [(row.id, row.decision) for row in rows(rig)] == list(zip(["a", "b0", "b1", "b2"], told, strict=True))


def test_a_batch_holds_no_more_rows_than_it_may(make: Callable[..., Rig]) -> None:
    model = Gated()
    rig = make(msgspec.structs.replace(CONFIG, batch_rows=2), models={"v1": model})
    rig.route(live="v1", levels={"*": "full"})
    model.asked.clear()
    answers = [ask(rig, f"a{n}") for n in range(5)]
    rig.until(lambda: all(answers))
    assert model.asked == [2, 2, 1]


def test_twins_wait_for_the_first_and_are_the_same_case(rig: Rig, model: Gated) -> None:
    first, same, other = ask(rig, "a"), ask(rig, "a"), ask(rig, "a", 21.0)
    rig.turn()
    later, found = ask(rig, "a"), rig.ask("GET", f"{BASE}/decisions/a")
    rig.turn()
    assert not any([first, same, other, later, found])
    model.gate.set()
    rig.until(lambda: all([first, same, other, later, found]))
    assert [one[0].status for one in (first, same, other, later, found)] == [200, 200, 409, 200, 200]
    assert first[0].body == same[0].body == later[0].body
    assert msgspec.json.decode(found[0].body)["decision"] == "negative"
    assert len(rows(rig)) == 1


def test_who_waits_too_long_is_told_so_and_what_comes_later_counts_for_nothing(
    make: Callable[..., Rig], model: Gated
) -> None:
    rig = make(msgspec.structs.replace(CONFIG, deadline_seconds=0.15), models={"v1": model})
    rig.route(live="v1", levels={"*": "full"})
    model.close_gate()
    answers = [ask(rig, "a")]
    rig.turn()
    answers.append(ask(rig, "b"))  # this one is never asked about
    twin = ask(rig, "a")
    rig.until(lambda: all(answers))
    assert [one[0].status for one in answers] == [504, 504]
    assert rig.desk.meter.requests["decisions,504"] == 2
    rig.until(lambda: bool(twin))
    model.gate.set()
    rig.until(lambda: rig.desk.idle and not rig.replicas.get("v1").busy_since)  # type: ignore[union-attr]
    assert model.asked == [1]
    assert [len(one) for one in answers] == [1, 1]
    found = {row.id: row for row in rows(rig)}
    assert "b" not in found
    assert rig.decide({"age": 20.0}, id="b")[0] == 200


def test_some_of_a_batch_may_be_too_late(make: Callable[..., Rig], model: Gated) -> None:
    rig = make(msgspec.structs.replace(CONFIG, deadline_seconds=0.3), models={"v1": model})
    rig.route(live="v1", levels={"*": "full"})
    model.close_gate()
    blocking, first = ask(rig, "z"), []
    rig.turn()
    first = ask(rig, "a", 20.0)
    rig.turn()
    threading.Event().wait(0.2)
    second = ask(rig, "b", 80.0)
    rig.turn()
    rig.until(lambda: bool(first) and bool(blocking))
    assert not second
    model.gate.set()
    rig.until(lambda: bool(second))
    assert (first[0].status, second[0].status) == (504, 200)
    assert [(row.id, row.x["age"], row.decision) for row in rows(rig)] == [("b", 80.0, "positive")]


def test_another_route_that_comes_meanwhile_decides(rig: Rig, model: Gated) -> None:
    with_it = ask(rig, "a")
    rig.turn()
    standing = ask(rig, "b")
    rig.turn()
    rig.route(live="v2", levels={"*": "full"})
    rig.until(lambda: bool(standing))
    assert not with_it
    model.gate.set()
    rig.until(lambda: bool(with_it))
    assert {(row.id, row.version, row.epoch) for row in rows(rig)} == {("a", "v2", 2), ("b", "v2", 2)}
    assert model.asked == [1]


def test_a_row_that_breaks_it_fails_alone_and_says_why(make: Callable[..., Rig]) -> None:
    def touchy(columns: Columns) -> np.ndarray[Any, Any]:
        if (columns["age"] == 13).any():
            raise UserCodeError("predict raised ValueError: thirteen")
        return by_age(columns)

    rig = make(CONFIG, models={"v1": Gated(touchy)})
    rig.route(live="v1", levels={"*": "full"})
    answers = [ask(rig, f"a{age}", float(age)) for age in range(10, 20)]
    rig.until(lambda: all(answers))
    by = [msgspec.json.decode(one[0].body)["decided_by"] for one in answers]
    assert by.count("safe_default") == 1
    assert by[3] == "safe_default"
    assert {row.id: row.error for row in rows(rig) if row.error} == {"a13": "predict raised ValueError: thirteen"}
    assert rig.desk.meter.model_errors == 1


def test_the_queue_is_one_for_both_ways(make: Callable[..., Rig], model: Gated) -> None:
    rig = make(msgspec.structs.replace(CONFIG, queue=3), models={"v1": model})
    rig.route(live="v1", levels={"*": "full"})
    model.close_gate()
    answers = []
    for n in range(5):
        answers.append(ask(rig, str(n)))
        rig.turn()
    assert [one[0].status if one else 0 for one in answers] == [0, 0, 0, 429, 429]
    model.gate.set()
    rig.until(lambda: all(answers))
    assert ask(rig, "later") == []


def test_both_ways_take_turns_at_a_model(rig: Rig, model: Gated) -> None:
    tagged = {"x": {"age": 20.0}, "tags": {"a": "b"}}
    first = [ask(rig, "a"), rig.ask("POST", f"{BASE}/decisions", tagged)]
    rig.turn()
    second = [ask(rig, "b"), rig.ask("POST", f"{BASE}/decisions", tagged)]
    rig.turn()
    model.gate.set()
    rig.until(lambda: all([*first, *second]))
    assert model.asked == [1, 2, 1]
    assert sorted(row.tags.get("a", "") for row in rows(rig)) == ["", "", "b", "b"]


def test_the_inputs_are_in_the_contracts_order_and_may_be_written_to(make: Callable[..., Rig]) -> None:
    seen: list[tuple[list[str], list[float], bool]] = []

    def careless(columns: Columns) -> np.ndarray[Any, Any]:
        seen.append((list(columns), columns["cough"].tolist(), columns["age"].flags.c_contiguous))
        columns["age"][:] = 90.0
        return by_age(columns)

    rig = make(CONFIG, models={"v1": Gated(careless)})
    rig.route(live="v1", levels={"*": "full"})
    seen.clear()
    answers = [
        rig.ask("POST", f"{BASE}/decisions", {"x": {"age": age, "cough": cough}})
        for age, cough in ((20.0, True), (30.0, False))
    ]
    rig.until(lambda: all(answers))
    assert seen == [([field.name for field in FIELDS], [1.0, 0.0], True)]
    assert [row.x["age"] for row in rows(rig)] == [20.0, 30.0]


@pytest.mark.parametrize("where", ["_settle", "append"])
def test_a_fault_of_ours_leaves_nobody_waiting(
    rig: Rig, model: Gated, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    answers = [ask(rig, "a"), ask(rig, "b")]
    rig.turn()
    twin = ask(rig, "a")
    rig.turn()
    whole: Any = rig.gateway._express if where == "_settle" else rig.desk.parts.recorder

    def broken(*given: Any) -> Any:
        monkeypatch.undo()
        raise KeyError("a fault that nobody foresaw")

    monkeypatch.setattr(whole, where, broken)
    model.gate.set()
    with pytest.raises(KeyError):
        rig.until(lambda: all(answers))
    rig.until(lambda: all([*answers, twin]))
    expected = 200 if where == "_settle" else 500
    assert [one[0].status for one in answers] == [expected] * 2
    assert twin[0].status == 200
    assert rig.desk.idle
    assert sorted(str(row.id) for row in rows(rig)) == (["a", "b"] if where == "_settle" else ["a"])


def test_a_model_that_was_let_go_is_not_asked(rig: Rig, model: Gated) -> None:
    """Its rows stand behind a batch that is under way; the route that lets it go takes them along."""
    under_way = ask(rig, "a")
    rig.turn()
    standing = ask(rig, "b")
    rig.turn()
    replica = rig.replicas.get("v1")
    assert replica is not None
    replica.close()
    model.gate.set()
    rig.until(lambda: bool(under_way))
    rig.route(live="v2", levels={"*": "full"})
    rig.until(lambda: bool(standing))
    assert model.asked == [1]


def test_nothing_is_behind_where_nobody_is_slow(make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[int] = []
    monkeypatch.setattr(Behind, "add", lambda self, lane, replica, rows: added.append(len(rows)))
    rig = make(CONFIG, models={"v1": FakeServed()})
    rig.route(live="v1", levels={"*": "full"})
    assert rig.decide({"age": 20.0}, id="a")[0] == 200
    assert added == []
