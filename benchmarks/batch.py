"""Rows per second of `andon predict` on whole files: logistic regression on 20 features, against its own floor.

The floor reads the same file with polars, whole, and calls the same sealed model on the same batches: no contract, no
decisions, no parts, no output. Both sides run in one process, in turns; the start of a process is not counted.

    python -m benchmarks.batch --rows 500000 --rounds 5
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl

from andon.config import Project, open_project
from andon.deploy.batch import BATCH_ROWS, Wish, predict
from andon.deploy.batch_model import choose
from andon.deploy.settings import GatewayConfig
from andon.model.columns import columns_of
from benchmarks.paired import median, ratio, take_turns
from benchmarks.project import build, free_port, rows

__all__ = ["main"]

_READ: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".csv": pl.read_csv,
    ".jsonl": pl.read_ndjson,
}


def _write(folder: Path, n: int) -> dict[str, Path]:
    frame = rows(n, seed=3).drop("y")
    paths = {suffix: folder / f"rows{suffix}" for suffix in _READ}
    frame.write_parquet(paths[".parquet"])
    frame.write_csv(paths[".csv"])
    frame.write_ndjson(paths[".jsonl"])
    return paths


def _floor(project: Project, path: Path) -> float:
    model = choose(project.workspace, GatewayConfig.from_charter(project.charter)).served
    begun = time.perf_counter()
    frame = _READ[path.suffix](path)
    for part in frame.iter_slices(BATCH_ROWS):
        model.predict(columns_of(part, model.fields))
    return frame.height / (time.perf_counter() - begun)


def _batch(project: Project, path: Path) -> float:
    begun = time.perf_counter()
    found = predict(project.workspace, GatewayConfig.from_charter(project.charter), Wish((path,), fresh=True))
    return found.read / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = open_project(build(Path(folder) / "bench", port=free_port()))
        for suffix, path in _write(Path(folder), asked.rows).items():
            contestants = {"batch": partial(_batch, project, path), "floor": partial(_floor, project, path)}
            speeds = take_turns(contestants, asked.rounds)
            share = ratio(speeds["batch"], speeds["floor"])
            shown = ", ".join(f"{name} {median(found).text()} rows/s" for name, found in speeds.items())
            print(f"{suffix:>8}: {shown}; of the floor {share.text(2)}")
        project.workspace.close()


if __name__ == "__main__":
    main()
