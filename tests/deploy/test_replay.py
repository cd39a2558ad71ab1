"""A replay: every decision is the same, otherwise, or not replayable for a reason; and nothing is written anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from tests.deploy.rig import CONFIG, FIELDS, FakeServed, Rig, by_age

from andon.core.record import Field
from andon.deploy.replay import Asked, Replayed, Said, Wish, asks_bundle, replay
from andon.errors import NotEnoughEvidence, UsageError, UserCodeError
from andon.store import view

Make = Callable[..., Rig]


def model(predict: Any = by_age, fields: tuple[Field, ...] = FIELDS) -> Any:
    return SimpleNamespace(served=FakeServed(predict, fields), version="v2")


@pytest.fixture
def line(make: Make) -> Rig:
    """Ten decisions by the model (ages 5 to 95), one by a client, one that waits, one with the safe default."""

    def touchy(columns: Any) -> Any:
        if (columns["age"] == 1).any():
            raise UserCodeError("predict raised ValueError: one")
        return by_age(columns)

    rig = make(models={"v1": FakeServed(touchy), "v2": FakeServed()})
    rig.route(live="v1", levels={"*": "full"})
    for age in range(5, 100, 10):
        rig.decide({"age": float(age), "cough": age > 50}, id=f"a{age}")
    rig.decide(id="elsewhere", human="positive")
    rig.decide({"age": 1.0}, id="broken")
    rig.route(live="v1", levels={"*": "human"})
    rig.decide(id="waits")
    return rig


def again(rig: Rig, ask: Any = None, config: Any = CONFIG, **wish: Any) -> Replayed:
    return replay(rig.workspace, config, Wish(**wish), "v2", ask or asks_bundle(model()))


def content(rig: Rig) -> dict[str, bytes]:
    home = rig.workspace.home
    return {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file() and "andon.db" not in path.name}


def test_the_same_release_answers_the_same_and_what_no_model_decided_is_counted(line: Rig) -> None:
    before, head = content(line), line.workspace.journal.head()
    found = again(line)
    assert (found.read, found.equal, found.different) == (13, 10, 0)
    assert found.not_replayable == {
        "it was decided elsewhere": 1,
        "the safe default answered": 1,
        "a person has not decided it yet": 1,
    }
    assert found.largest_difference == 0.0
    assert content(line) == before
    assert line.workspace.journal.head() == head


def test_what_differs_is_counted_measured_and_listed(line: Rig, tmp_path: Path) -> None:
    def shifted(columns: Any) -> Any:
        p = np.clip(columns["age"] / 100 + 0.1, 0, 1)
        return np.stack([1 - p, p], axis=1).astype(np.float32)

    out = tmp_path / "differ.csv"
    found = again(line, asks_bundle(model(shifted)), out=out)
    assert (found.equal, found.different, found.other_decision) == (0, 10, 1)  # 45 becomes positive
    assert found.largest_difference == pytest.approx(0.1, abs=1e-6)
    rows = pl.read_csv(out)
    assert rows.filter(pl.col("decision_then") != pl.col("decision_now"))["id"].to_list() == ["a45"]
    assert found.out == str(out)
    assert again(line, asks_bundle(model(shifted)), tolerance=0.11).different == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_span_a_slice_a_version_and_a_number_choose(line: Rig) -> None:
    times = view.decisions(line.workspace, columns=["id", "time_us"]).sort("time_us")
    third = times["time_us"][3]
    assert again(line, until_us=third).read == 3
    assert again(line, since_us=third).read == 10
    assert again(line, slice="age >= 60").read == 4
    assert again(line, version="v1").read >= 10
    assert again(line, most=4).read == 4
    assert again(line, most=13).read == 13
    with pytest.raises(NotEnoughEvidence, match="no decision fits"):
        again(line, version="v9")
    with pytest.raises(NotEnoughEvidence, match="in that span"):
        again(line, until_us=5)
    with pytest.raises(UsageError, match="ends before it begins"):
        again(line, since_us=7, until_us=7)
    with pytest.raises(UsageError, match="no column is called 'agee'"):
        again(line, slice="agee > 1")
    with pytest.raises(UsageError, match="its folder is not there"):
        again(line, out=Path("/nowhere/at/all.csv"))


def test_redacted_rows_and_rows_that_fit_no_longer_are_told_by_reason(line: Rig) -> None:
    hidden = msgspec.structs.replace(CONFIG, redact=("cough",))
    assert again(line, config=hidden).not_replayable["redacted inputs: cough"] == 10
    narrow = (Field("age", "float", high=50.0),)
    found = again(line, asks_bundle(model(fields=narrow)))
    assert (found.equal, found.not_replayable["its inputs do not fit the release's contract"]) == (5, 5)
    more = (*FIELDS, Field("weight", "float"))
    assert again(line, asks_bundle(model(fields=more))).compared == 0


def test_a_model_that_breaks_now_is_no_difference(line: Rig) -> None:
    def broken(columns: Any) -> Any:
        raise UserCodeError("predict raised ValueError: always")

    found = again(line, asks_bundle(model(broken)))
    assert found.not_replayable["the model failed on it"] == 10
    assert found.read == found.compared + sum(found.not_replayable.values())


def test_a_gateway_tells_no_scores_so_the_confidence_is_compared(line: Rig) -> None:
    def ask(rows: Sequence[Asked]) -> list[Said]:
        return [Said(row.decision, (row.confidence or 0) + 0.01) for row in rows]

    found = again(line, ask)
    assert (found.different, found.other_decision) == (10, 0)
    assert found.largest_difference == pytest.approx(0.01)


def test_rows_of_several_days_are_read_day_by_day(line: Rig) -> None:
    told: list[float] = []
    found = replay(line.workspace, CONFIG, Wish(), "v2", asks_bundle(model()), lambda now, share: told.append(share))
    assert found.read == 13
    assert told[-1] == 1.0
