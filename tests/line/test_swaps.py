"""A thousand model swaps under load, over four engines: no request fails, no memory and no descriptor stays behind."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.line.pressure import Pressure
from tests.line.toyline import CHARTER, Running, rows

from andon.config import open_project
from andon.demo.making import new_dataset
from andon.deploy.release import release
from andon.model.training import Options, train

pytestmark = [pytest.mark.line, pytest.mark.slow, pytest.mark.timeout(3000)]

SWAPS = 1000
#: One model each; more of them than a worker keeps (``andon.deploy.replica.KEPT``, the live and the warm one), so that
#: every swap loads one and lets one go.
ENGINES = ("onnx", "lightgbm", "xgboost", "skops", "lightgbm", "xgboost", "onnx", "skops")
#: What a swap may leave behind, in KB of resident memory: a hundredth of what one of these models takes.
LEFT_KB = 10.0

MODEL = """
import lightgbm
import numpy as np
import xgboost
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

MAKE = {
    "onnx": lambda n: LogisticRegression(C=n),
    "lightgbm": lambda n: lightgbm.LGBMClassifier(n_estimators=100 + n, n_jobs=1, verbose=-1),
    "xgboost": lambda n: xgboost.XGBClassifier(n_estimators=100 + n, n_jobs=1),
    "skops": lambda n: KNeighborsClassifier(n + 1),
}


def features(x: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([x["a"], np.nan_to_num(x["b"])], axis=1)


def train(data, params):
    labels = np.array([data.classes.index(y) for y in data.y]) if params["engine"] == "xgboost" else data.y.to_numpy()
    return MAKE[params["engine"]](params["n"]).fit(data.features, labels)
"""


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Running]:
    (tmp_path / "andon.yaml").write_text(CHARTER)
    (tmp_path / "model.py").write_text(MODEL)
    project = open_project(tmp_path)
    dataset = new_dataset(project, rows(), "toy", actor="test")
    for n, engine in enumerate(ENGINES, start=1):
        options = Options(project.model_file, parameters={"engine": engine, "n": n}, actor="test")
        run = train(project.workspace, project.charter, dataset.version, options)
        assert run.engine == engine
        release(project.workspace, project.charter, run.id, actor="test", reason="toy", override=True)
    project.workspace.close()
    line = Running(tmp_path, 1, "idempotency_ids: 5000")
    yield line
    line.close()


def resident_kb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_a_thousand_swaps_fail_no_request_and_leave_nothing_behind(line: Running) -> None:
    for version in ("v2", "v1"):
        line.line.switch(version, actor="test")
    line.line.automate("full", actor="test")
    line.start()
    pid = line.pid("worker-0")
    assert pid is not None
    pressure = Pressure(line.port, connections=4).begin()
    memory, open_files = [], []
    try:
        for swap in range(1, SWAPS + 1):
            line.line.switch(f"v{swap % len(ENGINES) + 1}", actor="test", reason="test")
            memory.append(resident_kb(pid))
            open_files.append(descriptors(pid))
        heard = pressure.end()
    finally:
        pressure.kill()
    assert line.pid("worker-0") == pid, "the worker was started again"
    assert [answer for answer in heard if answer.failed] == []
    second = np.arange(SWAPS // 2, SWAPS)
    slope, error = _trend(second, np.array(memory)[second])
    files, _ = _trend(second, np.array(open_files)[second])
    answers = Counter(answer.status for answer in heard)
    print(f"{dict(answers)}, {memory[0]:.0f} -> {memory[SWAPS // 2]:.0f} -> {memory[-1]:.0f} KB, ")
    print(
        f"{slope:.2f} +- {2 * error:.2f} KB a swap, descriptors {open_files[0]} -> {open_files[-1]}, {files:.5f} a swap"
    )
    assert answers.keys() == {200} and len(heard) > SWAPS
    assert slope - 2 * error <= LEFT_KB
    assert abs(files) < 0.01 and max(open_files[SWAPS // 2 :]) <= max(open_files[: SWAPS // 2]) + 2


def _trend(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of a least-squares line and its standard error."""
    (slope, offset), covariance = np.polyfit(x, y, 1, cov=True)
    del offset
    return float(slope), float(np.sqrt(covariance[0, 0]))
