from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from andon.core.record import Field
from andon.errors import ContractError, Denied, NotFound, UserCodeError
from andon.model.columns import columns_of, frame_of, length_of
from andon.model.predictor import load_user_module, load_user_source, probabilities, user_code

FIELDS = (Field("n", "int"), Field("b", "bool"), Field("t", "text"), Field("i", "image"))
FRAME = pl.DataFrame({"n": [1, None], "b": [None, True], "t": ["a", None], "i": [b"\x89", None]})


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "model.py"
    path.write_text(text)
    return path


def test_frames_and_columns_are_two_shapes_of_one_table() -> None:
    columns = columns_of(FRAME, FIELDS)
    assert {name: column.dtype for name, column in columns.items()} == {
        "n": np.float64,
        "b": np.float64,
        "t": object,
        "i": object,
    }
    frame = frame_of(columns, FIELDS)
    assert frame.dtypes == [pl.Float64, pl.Float64, pl.String, pl.Binary]
    assert frame.rows() == [(1.0, None, "a", b"\x89"), (None, 1.0, None, None)]
    assert length_of(columns) == 2 and length_of({}) == 0


def test_an_image_may_come_as_base64_as_in_the_log() -> None:
    columns = columns_of(pl.DataFrame({"i": ["iVBO", None]}), FIELDS[3:])
    assert columns["i"].tolist() == [b"\x89PN", None]


def test_columns_that_are_absent_or_no_numbers() -> None:
    with pytest.raises(ContractError, match="no column 'n'; did you mean 'nn'"):
        columns_of(pl.DataFrame({"nn": [1]}), FIELDS[:1])
    with pytest.raises(ContractError, match="n: expected int, found a value of type String"):
        columns_of(pl.DataFrame({"n": ["many"]}), FIELDS[:1])


def test_a_user_module_is_loaded_once_for_its_bytes(tmp_path: Path) -> None:
    path = write(
        tmp_path, "import random\nX = random.random()\nclass Rule: pass\ndef train(data, params): return Rule()\n"
    )
    code, again = load_user_module(path), load_user_source(path.read_bytes(), tmp_path / "elsewhere.py")
    assert code.module is again.module and code.hash == again.hash
    assert code.train is not None and code.features is None and code.clean is None
    assert isinstance(pickle.loads(pickle.dumps(code.train(None, {}))), code.module.Rule)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\ny = x / 0\n", r"importing the code in model\.py:2 raised ZeroDivisionError: division by zero"),
        ("x = (\n", r"importing the code in model\.py:1 raised SyntaxError"),
        ("import nothing_of_this_name\n", r"model\.py:1 raised ModuleNotFoundError"),
        ("raise SystemExit(3)\n", r"model\.py:1 raised SystemExit: 3"),
        ("train = 3\n", "train in model.py: expected a function, found 3"),
    ],
)
def test_faults_of_user_code_are_one_sentence_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    for _ in range(2):  # a module that failed is not remembered as loaded
        with pytest.raises(UserCodeError, match=said):
            load_user_module(path)


def test_the_line_is_the_users_even_when_a_library_raises(tmp_path: Path) -> None:
    code = load_user_module(write(tmp_path, "import polars as pl\n\ndef features(x):\n    return x.select('gone')\n"))
    with pytest.raises(UserCodeError, match=r"features in model\.py:4 raised ColumnNotFoundError") as caught:
        code.prepare({"n": np.zeros(1)}, FIELDS[:1])[0]
    assert isinstance(caught.value.__cause__, pl.exceptions.ColumnNotFoundError)


def test_our_own_errors_and_interrupts_pass_the_boundary() -> None:
    for kind in (Denied, KeyboardInterrupt):
        with pytest.raises(kind), user_code("train", Path("model.py")):
            raise kind("stop")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no model code at"):
        load_user_module(tmp_path / "model.py")


@pytest.mark.parametrize(
    ("signature", "wants"),
    [
        ("x", "polars"),
        ("x: pl.DataFrame", "polars"),
        ("x: dict[str, np.ndarray]", "numpy"),
        ("x: 'Mapping[str, np.ndarray]'", "numpy"),
    ],
)
@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
def test_features_takes_what_its_annotation_says(signature: str, wants: str, future: str) -> None:
    text = f"{future}from collections.abc import Mapping\nimport numpy as np, polars as pl\ndef features({signature}): return x\n"
    code = load_user_source(text.encode(), Path("model.py"))
    assert code.wants == wants
    given = code.prepare({"n": np.array([1.0])}, FIELDS[:1])[0]
    assert isinstance(given, dict if wants == "numpy" else pl.DataFrame)


class Says:
    def __init__(self, answer: Any, **attributes: Any) -> None:
        self.answer = answer
        self.__dict__.update(attributes)

    def predict_proba(self, x: Any) -> Any:
        return self.answer


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Says([0.1, 0.9]), r"expected shape \(rows, 2\), found \(2,\)"),
        (Says([[0.1, 0.2, 0.7]]), r"expected shape \(rows, 2\), found \(1, 3\)"),
        (Says([[0.1, 0.9]], classes_=["no", "perhaps"]), "class 'perhaps', which the charter does not have"),
        (Says([[0.5, 0.5], [9.0, -8.0]]), "expected probabilities from 0 to 1, found 9"),
        (Says([[float("inf"), 0.0]]), "expected probabilities from 0 to 1, found inf"),
        (object(), "train returned object: expected something with predict_proba or predict"),
    ],
)
def test_answers_that_do_not_fit(model: Any, said: str) -> None:
    with pytest.raises(UserCodeError, match=said):
        probabilities(model, [0], ("no", "yes"))


def test_a_probability_may_be_off_by_rounding_and_a_row_may_be_silent() -> None:
    scores = probabilities(Says([[1 + 1e-9, -1e-9], [float("nan")] * 2]), [0, 0], ("no", "yes"))
    assert scores[0, 0] > 1 and np.isnan(scores[1]).all()
