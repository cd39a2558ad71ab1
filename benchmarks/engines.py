"""What one call of a sealed model costs against the library's own call of what was trained, in batches of 1 and of 64.

Every engine answers the same 20 normal features as the gateway asks it: canonical columns in, float32 scores out. The
library's own call is ``predict_proba`` of the trained object on a ready numpy matrix, with one thread. Contestants take
turns in blocks (`benchmarks.paired`), so a ratio below 1 means that the sealed form is the quicker one.

    python -m benchmarks.engines --rounds 9 --seconds 0.2
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as a worker is started

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from andon.core.record import Field
from andon.data.contract import Contract
from andon.model.bundle import Parts, Served, load_bundle, seal
from andon.model.columns import Block
from andon.model.compile import compile_model
from andon.model.predictor import load_user_source
from benchmarks.paired import median, ratio, take_turns

NAMES = tuple(f"f{i}" for i in range(20))
FIELDS = tuple(Field(name, "float") for name in NAMES)
CLASSES = ("no", "yes")
BATCHES = (1, 64)


def models() -> dict[str, Callable[[], Any]]:
    """What is trained, by what it is; LightGBM and XGBoost where they are installed."""
    found: dict[str, Callable[[], Any]] = {
        "logistic regression": lambda: LogisticRegression(max_iter=200),
        "boosted, 100 trees": lambda: HistGradientBoostingClassifier(max_iter=100, early_stopping=False),
        "neighbours": lambda: KNeighborsClassifier(),
    }
    try:
        import lightgbm
        import xgboost
    except ImportError:
        return found
    found["LightGBM, 100 trees"] = lambda: lightgbm.LGBMClassifier(n_estimators=100, n_jobs=1, verbose=-1)
    found["XGBoost, 100 trees"] = lambda: xgboost.XGBClassifier(n_estimators=100, n_jobs=1)
    return found


def sealed(model: Any, x: np.ndarray[Any, Any], home: Path) -> Served:
    """The model as a worker loads it."""
    code = load_user_source(b"", Path("model.py"))
    columns = dict(zip(NAMES, x.T.copy(), strict=True))
    parts = Parts(
        Contract(FIELDS, "y", CLASSES), compile_model(model, columns, FIELDS, CLASSES, code, trusted_by=""), code
    )
    hash = seal(parts, home)
    return load_bundle(home / hash, hash)


def timed(call: Callable[[], Any], seconds: float) -> float:
    """Microseconds of processor time per call, over about so many seconds."""
    count, begun, end = 0, time.process_time(), time.perf_counter() + seconds
    while time.perf_counter() < end:
        call()
        count += 1
    return (time.process_time() - begun) / count * 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.2)
    options = parser.parse_args()
    draw = np.random.default_rng(7)
    x = draw.normal(size=(2000, 20))
    y = (x[:, 0] + x[:, 1] * x[:, 2] + draw.logistic(size=len(x)) > 0).astype(int)
    warnings.simplefilter("ignore")
    print(f"{'model':22}{'engine':10}{'rows':>5}  {'sealed, us':26}{'library, us':26}{'sealed / library':20}")
    with tempfile.TemporaryDirectory() as home:
        for name, make in models().items():
            named = "XGBoost" in name
            frame = pl.DataFrame(x, schema=list(NAMES)) if not ("LightGBM" in name or named) else x
            model = make().fit(frame, y if named else np.array(CLASSES)[y])
            served = sealed(model, x, Path(home))
            for rows in BATCHES:
                batch = np.ascontiguousarray(x[:rows])
                block = Block(NAMES, batch)
                found = take_turns(
                    {
                        "sealed": lambda served=served, block=block: timed(  # type: ignore[misc]
                            lambda: served.predict(block), options.seconds
                        ),
                        "library": lambda model=model, batch=batch: timed(  # type: ignore[misc]
                            lambda: model.predict_proba(batch), options.seconds
                        ),
                    },
                    options.rounds,
                )
                texts = [median(found[key]).text(1) for key in ("sealed", "library")]
                times = ratio(found["sealed"], found["library"]).text(2)
                print(f"{name:22}{served.engine:10}{rows:5}  {texts[0]:26}{texts[1]:26}{times:20}")


if __name__ == "__main__":
    main()
