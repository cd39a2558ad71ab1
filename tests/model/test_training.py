from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from andon.data.contract import Contract
from andon.data.dataset import add
from andon.errors import Corrupt, NotFound, UsageError, UserCodeError
from andon.model.bundle import bundle_path
from andon.model.run import find_run, predictions, runs, served
from andon.model.training import STAGES, Options, train
from andon.monitor.inputs import measured
from andon.scope.charter import Charter, parse
from andon.store.workspace import Workspace

CHARTER = """
project: clinic
inputs: {cough: bool?, temp: float?, place: category}
target: {name: result, classes: [negative, positive]}
safe_default: refer
metrics:
  accuracy: {of: accuracy, goal: ">= 0.6"}
  recall: {of: "recall[positive]"}
  cough: {of: "mean(cough)", alarm: reference}
  latency: {of: latency_p95_ms, goal: "<= 500"}
slices: {abroad: "place = 'Abroad'"}
monitor: {window: 1d}
"""
MODEL = """
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

def train(data, params):
    print("this goes to stderr")
    encode = ColumnTransformer([("n", SimpleImputer(), ["cough", "temp"]),
                                ("p", OneHotEncoder(handle_unknown="ignore"), ["place"])])
    return make_pipeline(encode, LogisticRegression(C=params.get("C", 1.0))).fit(data.x, data.y)
"""


def cases(rows: int = 600, seed: int = 1) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    temp = random.normal(37, 1, rows).round(1)
    return pl.DataFrame(
        {
            "cough": random.random(rows) < 0.3,
            "temp": temp,
            "place": random.choice(["Abroad", "Here"], rows),
            "result": np.where((temp > 37.3) ^ (random.random(rows) < 0.1), "positive", "negative"),
            "time_us": np.arange(rows) * 3_600_000_000,
        }
    )


@pytest.fixture(scope="module")
def charter() -> Charter:
    return parse(CHARTER)


@pytest.fixture
def workspace(tmp_path: Path, charter: Charter) -> Iterator[Workspace]:
    opened = Workspace.create(tmp_path / ".andon")
    contract = Contract(charter.fields(), "result", charter.target.classes)
    add(opened, cases(), contract, name="cases")
    yield opened
    opened.close()


def model_file(tmp_path: Path, text: str = MODEL) -> Path:
    path = tmp_path / "model.py"
    path.write_text(text)
    return path


def test_a_run_keeps_its_legs_its_cost_and_its_estimates(
    workspace: Workspace, charter: Charter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[str, int, int]] = []
    options = Options(model_file(tmp_path), {"C": 0.5}, seed=3, actor="ann", reason="first try")
    run = train(workspace, charter, "cases", options, lambda *stage: seen.append(stage))
    assert [stage[0] for stage in seen] == list(STAGES) and seen[-1][1:] == (6, 6)
    assert capsys.readouterr().out == ""
    assert (run.id, run.status, run.engine, run.part) == ("r1", "done", "onnx", "test")
    assert run.rows == {"train": 360, "dev": 120, "test": 120} and run.parameters == {"C": 0.5}
    assert run.legs["data"] == run.dataset and run.legs["split"].endswith("/3")
    assert run.wall_seconds > 0 and run.peak_mb > 10 and run.environment["scikit-learn"]
    accuracy = run.metrics["accuracy"]
    assert accuracy.value is not None and accuracy.value > 0.8 and accuracy.n == 120
    assert run.slices["abroad"]["recall"].n > 0 and run.metrics["latency"].value is None
    assert set(run.other) == {"train", "dev"}
    assert find_run(workspace, "r1") == run and runs(workspace) == [run]
    event = workspace.journal.read(action="model.train")[0]
    assert (event.subject, event.actor, event.reason) == ("r1", "ann", "first try")


def test_what_is_measured_is_what_was_sealed(workspace: Workspace, charter: Charter, tmp_path: Path) -> None:
    run = train(workspace, charter, "cases", Options(model_file(tmp_path)))
    frame = predictions(workspace, run)
    assert frame.height == 120 and {"cough", "place", "label", "prediction", "confidence", "scores"} <= set(
        frame.columns
    )
    again = served(workspace, run)
    from andon.model.scoring import predict_frame

    assert predict_frame(again, frame)["prediction"].equals(frame["prediction"])
    assert again.contract.hash == run.contract and workspace.load_contract(run.contract)[1] == again.classes


def test_the_reference_profile_has_windows_and_inputs(workspace: Workspace, charter: Charter, tmp_path: Path) -> None:
    run = train(workspace, charter, "cases", Options(model_file(tmp_path)))
    reference = served(workspace, run).reference
    assert reference.window_us == 86_400_000_000 and reference.rows == 480
    assert len(reference.windows["cough"]) >= 20 and all(window.n >= 5 for window in reference.windows["cough"])
    assert set(reference.inputs) == {"cough", "temp", "place"} and "latency" not in reference.windows
    assert {window.n for window in reference.windows["accuracy"]} != set()


def test_the_same_legs_give_the_same_bundle(workspace: Workspace, charter: Charter, tmp_path: Path) -> None:
    first, second = (train(workspace, charter, "cases", Options(model_file(tmp_path), seed=1)) for _ in range(2))
    assert first.legs == second.legs and first.bundle == second.bundle and (first.id, second.id) == ("r1", "r2")


def test_a_failed_run_is_kept_with_its_reason(workspace: Workspace, charter: Charter, tmp_path: Path) -> None:
    path = model_file(tmp_path, "def train(data, params):\n    raise ValueError('too few rows')\n")
    with pytest.raises(UserCodeError, match=r"train in model\.py:2 raised ValueError: too few rows"):
        train(workspace, charter, "cases", Options(path))
    run = find_run(workspace, "r1")
    assert run.status == "failed" and "too few rows" in run.error and not run.bundle
    for ask in (predictions, served):
        with pytest.raises(NotFound, match="run r1 failed"):
            ask(workspace, run)


def test_wrong_use(workspace: Workspace, charter: Charter, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no function train"):
        train(workspace, charter, "cases", Options(model_file(tmp_path, "x = 1\n")))
    with pytest.raises(UserCodeError, match="returned nothing"):
        train(workspace, charter, "cases", Options(model_file(tmp_path, "def train(data, params): pass\n")))
    other = parse(CHARTER.replace("[negative, positive]", "[no, positive]").replace("first", "second"))
    with pytest.raises(UsageError, match="the charter's is result with no, positive"):
        train(workspace, other, "cases", Options(model_file(tmp_path)))
    with pytest.raises(NotFound, match="no dataset is called 'case'; did you mean 'cases'"):
        train(workspace, charter, "case", Options(model_file(tmp_path)))


def test_a_damaged_bundle_is_noticed(workspace: Workspace, charter: Charter, tmp_path: Path) -> None:
    run = train(workspace, charter, "cases", Options(model_file(tmp_path)))
    path = bundle_path(workspace.home, run.bundle) / "model.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(Corrupt, match=r"model\.onnx has changed"):
        served(workspace, run)


CLEAN = """
import polars as pl
from sklearn.linear_model import LogisticRegression

def clean(raw):
    return raw.filter(pl.col("temp").is_null() | (pl.col("temp") < 39)).select("_row", pl.col("temp").fill_null(37.0))

def train(data, params):
    assert data.x.columns == ["temp"] and data.x["temp"].max() < 39 and len(data) == data.x.height
    return LogisticRegression().fit(data.x, data.y)
"""


def test_clean_runs_in_training_and_in_production(workspace: Workspace, charter: Charter, tmp_path: Path) -> None:
    run = train(workspace, charter, "cases", Options(model_file(tmp_path, CLEAN)))
    model = served(workspace, run)
    columns = {
        "cough": np.zeros(3),
        "temp": np.array([37.0, 40.0, np.nan]),
        "place": np.array(["Here"] * 3, dtype=object),
    }
    scores = model.predict(columns)
    assert np.isnan(scores[1]).all() and not np.isnan(scores[[0, 2]]).any() and (scores[0] == scores[2]).all()
    assert model.engine == "onnx" and "gives no answer" in run.notes[0]
    assert np.isnan(model.predict({name: column[1:2] for name, column in columns.items()})).all()


IMAGES = """
project: parts
inputs: {photo: image}
target: {name: kind, classes: [dark, light]}
safe_default: nobody
metrics: {accuracy: {of: accuracy}, brightness: {of: "mean(brightness)", alarm: reference}}
"""
LOOK = """
import io
import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
def features(x: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(io.BytesIO(b)).convert("L"), dtype=float).ravel() / 255 for b in x["photo"]])
def train(data, params): return LogisticRegression().fit(data.features, data.y)
"""


def photo(shade: int) -> bytes:
    out = BytesIO()
    Image.new("L", (2, 2), shade).save(out, "PNG")
    return out.getvalue()


def test_images_reach_features_as_bytes_and_metrics_as_numbers(tmp_path: Path) -> None:
    charter, workspace = parse(IMAGES), Workspace.create(tmp_path / "w")
    shades = [int(shade) for shade in np.linspace(0, 255, 100)]
    kinds = ["light" if shade > 127 else "dark" for shade in shades]
    frame = pl.DataFrame({"photo": [photo(shade) for shade in shades], "kind": kinds})
    add(workspace, frame, Contract(charter.fields(), "kind", charter.target.classes), name="parts")
    options = Options(
        model_file(tmp_path, LOOK),
        enrich=lambda records: measured(records, charter.fields(), frozenset({"brightness"})),
    )
    run = train(workspace, charter, "parts", options)
    assert (run.engine, run.reason) == ("onnx", "") and run.metrics["accuracy"].value == 1
    assert predictions(workspace, run).columns.count("photo") == 0
    model = served(workspace, run)
    assert len(model.reference.windows["brightness"]) >= 5 and model.reference.inputs == {}
    light = model.predict({"photo": np.array([photo(250), photo(3)], dtype=object)})
    assert light.argmax(axis=1).tolist() == [1, 0]
    workspace.close()
