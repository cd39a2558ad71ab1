"""What is installed: pinned by hash, from nowhere in particular, and little of it."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements/runtime.txt", "requirements/dev.txt")
#: MLflow alone brings 87, Evidently 79, NannyML 92.
MOST = 66


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pinned(lock: str) -> dict[str, set[str]]:
    """Versions by name; a name may have one for each range of Python versions."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9][\w.-]*)(?:\[[\w,-]+\])?==(\S+)", text, re.MULTILINE):
        found.setdefault(normal(name), set()).add(version)
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_carries_hashes_and_no_address(lock: str) -> None:
    entries = re.split(r"\n(?=\S)", (ROOT / lock).read_text(encoding="utf-8"))
    bare = [entry.split()[0] for entry in entries if "==" in entry.split("#")[0] and "--hash=sha256:" not in entry]
    loose = [
        entry for entry in entries if not entry.startswith("#") and entry.strip() and "==" not in entry.split("\n")[0]
    ]
    text = (ROOT / lock).read_text(encoding="utf-8")
    addresses = re.findall(r".*(?:://|--(?:extra-)?index-url|--find-links|--trusted-host| @ ).*", text)
    assert (bare, loose, addresses) == ([], [], [])


def test_few_distributions_are_installed() -> None:
    # One more for Andon itself; the build backend is pinned there, too, and counts.
    assert len(pinned("requirements/runtime.txt")) + 1 <= MOST, sorted(pinned("requirements/runtime.txt"))


def test_what_the_package_asks_for_is_pinned_and_new_enough() -> None:
    from packaging.requirements import Requirement

    pins = pinned("requirements/runtime.txt")
    asked = [Requirement(text) for text in project()["project"]["dependencies"]]
    wrong = [str(one) for one in asked if not all(map(one.specifier.contains, pins.get(normal(one.name), {"0"})))]
    assert wrong == []


def test_the_two_locks_agree() -> None:
    runtime, dev = pinned("requirements/runtime.txt"), pinned("requirements/dev.txt")
    assert {name: (version, dev.get(name)) for name, version in runtime.items() if dev.get(name) != version} == {}


@pytest.mark.parametrize(
    ("extra", "name"), [("postgres", "psycopg"), ("lightgbm", "lightgbm"), ("xgboost", "xgboost-cpu")]
)
def test_what_not_everybody_needs_is_an_extra_and_tested_with_its_bounds(extra: str, name: str) -> None:
    from packaging.requirements import Requirement

    assert name not in pinned("requirements/runtime.txt")
    asked = [Requirement(text) for text in project()["project"]["optional-dependencies"][extra]]
    bound = next(one.specifier for one in asked if one.name == name)
    assert all(map(bound.contains, pinned("requirements/dev.txt")[name]))


def test_ci_and_make_know_the_same_words() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    promised = {"setup", "demo", "test", "test-all", "bench", "lint", "pictures"}
    assert promised <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
    assert "make test" in (ROOT / ".ci/run").read_text(encoding="utf-8")


def test_an_old_python_is_told_in_one_sentence(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.1 && exit 0\nexit 1\n')
    old.chmod(0o755)
    command = ["make", "-f", str(ROOT / "Makefile"), f"PYTHON={old}", "setup"]
    (tmp_path / "requirements").mkdir()
    for name in (*LOCKS, "pyproject.toml"):
        (tmp_path / name).touch()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert (
        f"Andon needs Python 3.11 or newer, and '{old}' is Python 3.9.1. Name another one: make PYTHON=" in done.stderr
    )
    assert not (tmp_path / ".venv").exists()
