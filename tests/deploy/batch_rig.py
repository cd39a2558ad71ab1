"""A workspace with a sealed release and a route, to predict files with; run as a program it is a child to be killed."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression

from andon.core.record import Field, Route
from andon.data.contract import Contract
from andon.deploy import batch
from andon.deploy.batch import Summary, Wish, predict
from andon.deploy.batch_progress import Disk
from andon.deploy.settings import GatewayConfig
from andon.model.bundle import Compiled, Parts, seal
from andon.model.predictor import load_user_source
from andon.store.workspace import Workspace

FIELDS = (
    Field("age", "float", low=0),
    Field("cough", "bool", optional=True),
    Field("site", "category", optional=True, categories=("north", "süd")),
    Field("note", "text", optional=True),
)
CLASSES = ("negative", "positive")
#: Thirteen breaks it, seventeen is dropped by clean.
CODE = b"""
import numpy as np
import polars as pl

def clean(raw: pl.DataFrame) -> pl.DataFrame:
    return raw.filter(pl.col("age") != 17)

def features(x: dict[str, np.ndarray]) -> np.ndarray:
    if (x["age"] == 13).any():
        raise ValueError("thirteen, said " + str(x["note"][0]))
    return np.column_stack([x["age"], np.nan_to_num(x["cough"])])
"""
#: Every step that is told of while a batch runs, in order.
STEPS = (
    "answers written",
    "part written",
    "note written",
    "answers merged",
    "merged",
    "sealed",
    "placed out",
    "placed rejects",
    "receipt",
    "cleared",
)
CONFIG = GatewayConfig(project="screening", fields=FIELDS, classes=CLASSES, target="result", safe_default="refer")


def make_bundle(home: Path, code: bytes = CODE, fields: tuple[Field, ...] = FIELDS, turn: float = 50.0) -> str:
    """Seal a model that is surer the further the age is from ``turn``; it is kept as a Python object."""
    x = np.array([[turn - 40, 0], [turn - 10, 1], [turn + 10, 0], [turn + 40, 1.0]])
    model = LogisticRegression().fit(x, ["negative", "negative", "positive", "positive"])
    compiled = Compiled("python", pickle.dumps(model), reason="a test", trusted_by="owner")
    parts = Parts(Contract(fields, "result", CLASSES), compiled, load_user_source(code, Path("model.py")))
    return seal(parts, home / "bundles")


def publish(workspace: Workspace, bundle: str, **fields: Any) -> Route:
    """The next route, with v1 live."""
    asked = {"live": "v1", "levels": {"*": "full"}, "bundles": {"v1": bundle}, **fields}
    route = Route(workspace.routes.next_epoch(), 0, 0, "ann", "test", "a test", **asked)
    return workspace.routes.publish(route)


def cases(n: int, seed: int = 5) -> pl.DataFrame:
    """Rows of which some do not fit and some break the model."""
    draw = np.random.default_rng(seed)
    age = draw.integers(-2, 100, n).astype(float)
    site = draw.choice(np.array(["north", "süd", "west"]), n, p=[0.5, 0.45, 0.05])
    note = [f'note {i}, "said"' if i % 7 == 0 else None for i in range(n)]
    return pl.DataFrame({"age": age, "cough": draw.random(n) > 0.5, "site": site, "note": note})


def frame(path: Path | str) -> pl.DataFrame:
    """A file that was written."""
    path = Path(path)
    if path.stat().st_size == 0:
        return pl.DataFrame()
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".parquet": pl.read_parquet,
        ".csv": pl.read_csv,
        ".jsonl": pl.read_ndjson,
    }
    return readers[path.suffix](path)


def run(
    workspace: Workspace, *files: Path, config: GatewayConfig = CONFIG, disk: Disk | None = None, **more: Any
) -> Summary:
    """Predict, and hold the counts against what was written."""
    wish = Wish(tuple(files), **more)
    found = predict(workspace, config, wish, disk=disk)
    assert found.read == found.predicted + found.rejected
    assert frame(found.out).height == found.predicted
    assert frame(found.rejects).height == found.rejected
    return found


def main() -> None:
    """``HOME FILE OUT PART_ROWS STEP NUMBER``: predict, and die at the step's NUMBER-th time; 0 is never."""
    home, file, out, part_rows, step, number = sys.argv[1:]
    batch._PART_ROWS = int(part_rows)
    left = [int(number)]

    def at(name: str) -> None:
        if name == step:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    predict(Workspace.open(Path(home)), CONFIG, Wish((Path(file),), Path(out), batch_rows=40), disk=Disk(at=at))


if __name__ == "__main__":
    main()
