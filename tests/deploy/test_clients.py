"""Other people's clients against a real gateway, each in an environment of its own that the test makes and keeps.

They are too heavy for the development environment (NVIDIA's brings 20 distributions, KServe's 66).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.deploy.line_rig import Line

import andon

pytestmark = [pytest.mark.slow, pytest.mark.line, pytest.mark.timeout(1800)]

HERE = Path(__file__).parent
KEPT = HERE.parents[1] / "benchmarks" / "out" / "clients"


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    running = Line(tmp_path_factory.mktemp("clients") / "home", workers=2)
    bundle = running.seal()
    running.route(live="v1", bundles={"v1": bundle}, levels={"*": "partial"}, thresholds={"v1/*": 0.8})
    running.start()
    yield running
    running.close()


def client(requirement: str, *more: str) -> Path:
    """The Python of an environment that has a client; skips where it cannot be had."""
    folder = KEPT / requirement.replace("[", "-").replace("]", "")
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, capture_output=True)
        install = [str(python), "-m", "pip", "install", "-q", "--only-binary", ":all:", requirement, *more]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{requirement} cannot be installed here: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
        ready.touch()
    return python


def seen(line: Line, python: Path, script: str) -> Any:
    command = [str(python), str(HERE / "clients" / script), f"127.0.0.1:{line.port}", "screening"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_nvidias_client(line: Line) -> None:
    found = seen(line, client("tritonclient[http]==2.73.0"), "triton.py")
    assert (found["live"], found["ready"], found["model_ready"], found["version_ready"]) == (
        True,
        True,
        True,
        [True, False],
    )
    assert found["extensions"] == ["binary_tensor_data"] and found["metadata"]["versions"] == ["v1"]
    assert len(found["decisions"]) == 10
    assert {tuple(made) for made in found["decisions"].values()} == {("negative", "", "positive")}
    rows = found["rows"]
    assert rows["request"] == "q7" and rows["ids"] == ["ä1", "b", "c"] and rows["pending"] == 1
    assert rows["status"] == ["decided", "pending", "decided"] and rows["confidence"][1] == 0.0
    assert found["alone"][0] == ["decided", "error"] and found["alone"][1][1].startswith("age: expected")
    assert found["async"] == ["negative", "", "positive"]
    assert found["fault"] == ["422", "inputs: 'aeg': no input has this name; did you mean 'age'?"]
    assert line.call("GET", "/v1/projects/screening/decisions/b")[1]["status"] == "pending"


def test_kserves_client(line: Line) -> None:
    found = seen(line, client("kserve==0.21.0"), "kserved.py")
    assert (found["live"], found["ready"], found["model_ready"]) == (True, True, [True, False])
    for form in ("binary True", "binary False"):
        assert found[form]["decision"] == ["negative", "", "positive"] and found[form]["request"] == "q", found[form]
        assert found[form]["status"] == ["decided", "pending", "decided"]
    assert found["binary True"]["id"] == ["k1", "k2", "k3"]
    assert "inputs: 'aeg': no input has this name" in found["fault"]


def test_mlflows_client(line: Line) -> None:
    found = seen(line, client("mlflow-skinny==3.17.2", "pandas", "scipy"), "mlflowed.py")
    assert found["version"] == andon.__version__ and found["pending"] == [{"row": 1, "id": "m2"}]
    assert found["frame"] == ["negative", None, "positive"]
    assert found["gaps"]["predictions"] == ["negative", None] and found["gaps"]["errors"][0]["row"] == 1
    assert found["matrix"] == ["negative", "positive"]
    assert "error code 400" in found["fault"] and "INVALID_PARAMETER_VALUE" in found["fault"]
