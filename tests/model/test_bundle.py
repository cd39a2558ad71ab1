from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from andon.core.record import Field
from andon.data.contract import Contract
from andon.errors import Corrupt, NotFound, UserCodeError
from andon.model.bundle import Compiled, Parts, Served, load_bundle, load_manifest, load_profile, seal
from andon.model.predictor import load_user_source
from andon.model.profile import Profile

CONTRACT = Contract((Field("a", "float", optional=True), Field("b", "bool")), "y", ("no", "yes"))
CODE = b"""
import numpy as np
def features(x: dict[str, np.ndarray]):
    return np.column_stack([np.nan_to_num(x["a"]), x["b"]])
"""
ROWS = {"a": np.array([0.0, np.nan, 2.0]), "b": np.array([0.0, 1.0, 1.0])}


def pickled(code: bytes = CODE) -> Parts:
    x = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [3.0, 1.0]])
    model = LogisticRegression().fit(x, ["no", "no", "yes", "yes"])
    compiled = Compiled("python", pickle.dumps(model), reason="a test", trusted_by="owner")
    return Parts(CONTRACT, compiled, load_user_source(code, Path("model.py")))


def sealed(tmp_path: Path) -> tuple[Path, str]:
    digest = seal(pickled(), tmp_path)
    return tmp_path / digest, digest


def test_a_sealed_bundle_answers(tmp_path: Path) -> None:
    served = load_bundle(*sealed(tmp_path))
    scores = served.predict(ROWS)
    assert scores.dtype == np.float32 and scores.shape == (3, 2)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    assert (served.engine, served.reason, served.classes) == ("python", "a test", ("no", "yes"))
    assert served.contract == CONTRACT and served.reference == load_profile(*sealed(tmp_path)) == Profile()
    assert served.predict({"a": np.zeros(0), "b": np.zeros(0)}).shape == (0, 2)


def test_a_python_object_that_nobody_trusts_is_not_loaded(tmp_path: Path) -> None:
    parts = pickled()
    digest = seal(replace(parts, model=msgspec.structs.replace(parts.model, trusted_by="")), tmp_path)
    with pytest.raises(Corrupt, match="nobody trusts"):
        load_bundle(tmp_path / digest, digest)


def test_sealing_twice_gives_the_same_hash_and_leaves_no_rest(tmp_path: Path) -> None:
    assert seal(pickled(), tmp_path) == seal(pickled(), tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["manifest.json", "model.pkl", "model.py", "contract.json", "reference.json"])
def test_one_changed_byte_is_refused(tmp_path: Path, name: str) -> None:
    path, digest = sealed(tmp_path)
    content = bytearray((path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(Corrupt, match=f"{digest[:12]}/{name} has changed"):
        load_bundle(path, digest)


def test_a_missing_file_and_a_missing_bundle(tmp_path: Path) -> None:
    path, digest = sealed(tmp_path)
    (path / "model.py").unlink()
    with pytest.raises(Corrupt, match=r"model\.py is gone"):
        load_bundle(path, digest)
    with pytest.raises(NotFound, match="no bundle 0123"):
        load_bundle(tmp_path / "0123", "0123")


def test_another_bundle_than_the_one_named_is_refused(tmp_path: Path) -> None:
    path, _ = sealed(tmp_path)
    with pytest.raises(Corrupt):
        load_bundle(path, "0" * 64)


def test_faults_of_the_features_code_name_its_line(tmp_path: Path) -> None:
    code = b"def features(x):\n    return x['nothing']\n"
    digest = seal(pickled(code), tmp_path)
    with pytest.raises(UserCodeError, match=r"features in model\.py:2 raised ColumnNotFoundError"):
        load_bundle(tmp_path / digest, digest).predict(ROWS)


def test_an_answer_of_the_wrong_length_is_refused(tmp_path: Path) -> None:
    code = b"import numpy as np\ndef features(x: dict):\n    return np.zeros((1, 2))\n"
    digest = seal(pickled(code), tmp_path)
    with pytest.raises(UserCodeError, match="one row for each row"):
        load_bundle(tmp_path / digest, digest).predict(ROWS)


def test_columns_are_not_changed(tmp_path: Path) -> None:
    served: Served = load_bundle(*sealed(tmp_path))
    before = {name: column.copy() for name, column in ROWS.items()}
    served.predict(ROWS)
    for name, column in ROWS.items():
        np.testing.assert_array_equal(column, before[name])


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_damage_anywhere_is_ever_loaded(tmp_path: Path, data: st.DataObject) -> None:
    path, digest = sealed(tmp_path)
    victim = path / data.draw(st.sampled_from(sorted(file.name for file in path.iterdir())))
    whole = victim.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    how = data.draw(st.sampled_from(["cut", "flip", "insert"]))
    flipped = bytes([whole[at] ^ data.draw(st.integers(1, 255))])
    damaged = {
        "cut": whole[:at],
        "flip": whole[:at] + flipped + whole[at + 1 :],
        "insert": whole[:at] + b"\0" + whole[at:],
    }
    victim.write_bytes(damaged[how])
    try:
        with pytest.raises(Corrupt):
            load_bundle(path, digest)
    finally:
        victim.write_bytes(whole)
    assert load_manifest(path, digest).engine == "python"
