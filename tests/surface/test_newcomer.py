"""A newcomer's way: a file of data, `andon init`, and what it wrote is trained and released as it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from andon.surface.cli import admin, data, model, scope


def orders(path: Path, rows: int = 400) -> None:
    draw = np.random.default_rng(1)
    amount, returning, channel = draw.gamma(2, 30, rows), draw.random(rows) < 0.4, draw.choice(["web", "shop"], rows)
    fraud = draw.random(rows) < 1 / (1 + np.exp(3 * returning - amount / 20))
    pl.DataFrame(
        {
            "amount": amount.round(2),
            "items": draw.integers(1, 9, rows),
            "returning": [None if unknown else bool(value) for unknown, value in zip(draw.random(rows) < 0.1, returning, strict=True)],
            "channel": channel,
            "fraud": np.where(fraud, "yes", "no"),
        }
    ).write_csv(path)  # fmt: skip


def test_what_init_wrote_is_trained_and_released_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    orders(tmp_path / "orders.csv")
    app = typer.Typer()
    for group in (scope, data, model, admin):
        group.register(app)

    def andon(*words: str) -> str:
        result = CliRunner().invoke(app, list(words), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    andon("init", "shop", "--data", "orders.csv", "--target", "fraud")
    monkeypatch.chdir(tmp_path / "shop")
    assert json.loads(andon("check", "--json"))["doubts"] == []
    andon("data", "add", "../orders.csv")
    andon("train", "--param", "C=0.5")
    andon("release", "r1", "--reason", "the first one")
    actions = [event["action"] for event in json.loads(andon("journal", "--json"))["events"]]
    assert actions == ["data.add", "data.split", "model.train", "model.release"]
