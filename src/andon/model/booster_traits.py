"""What a trained LightGBM or XGBoost model says of itself: its bytes, outputs, columns and categories."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from andon.errors import UsageError
from andon.model.booster import Library

__all__ = ["Traits", "traits_of"]

#: Objectives whose outputs are probabilities.
_LIGHTGBM = {"binary", "cross_entropy", "multiclass", "multiclassova"}
_XGBOOST = {"binary:logistic", "reg:logistic", "multi:softprob", "multi:softmax"}

#: What LightGBM calls columns that have no names.
_NAMELESS = re.compile(r"Column_\d+")


@dataclass(frozen=True)
class Traits:
    """What is sealed and what it means. ``names`` is empty where it was trained without; see ``Input`` for the others.

    ``categorical`` are the places of categorical columns where they are known, ``levels`` their categories in turn.
    """

    payload: bytes
    classes: tuple[str, ...]
    width: int
    names: tuple[str, ...] = ()
    categorical: tuple[int, ...] = ()
    levels: tuple[tuple[str | float, ...], ...] = ()
    rounds: int = 0
    margin: bool = False
    missing: float | None = None


def traits_of(library: Library, final: Any) -> Traits:
    """The traits of a trained model; raises ``UsageError`` when it gives no probabilities of classes."""
    return _lightgbm(final) if library == "lightgbm" else _xgboost(final)


def _refuse(library: str, objective: str, allowed: set[str]) -> None:
    if objective not in allowed:
        raise UsageError(
            f"the {library} model is not sealed: its objective is {objective or 'a function of your own'}, which gives no "
            f"probabilities of classes; expected {', '.join(sorted(allowed))}"
        )


def _classes(final: Any, outputs: int) -> tuple[str, ...]:
    """The names of the outputs: those of ``classes_``, else the numbers of the labels that a Booster is trained on."""
    own = getattr(final, "classes_", None)
    return tuple(map(str, range(outputs) if own is None else np.asarray(own).tolist()))


def _lightgbm(final: Any) -> Traits:
    booster = final.booster_ if hasattr(final, "booster_") else final
    text = booster.model_to_string()  # the best rounds only, where training was stopped early
    objective = re.search(r"^objective=(\S+)", text, re.MULTILINE)
    _refuse("lightgbm", objective[1] if objective else "", _LIGHTGBM)
    names = tuple(booster.feature_name())
    levels = tuple(tuple(map(_level, one)) for one in booster.pandas_categorical or ())
    return Traits(
        payload=text.encode(),
        classes=_classes(final, max(2, booster.num_model_per_iteration())),
        width=booster.num_feature(),
        names=() if all(map(_NAMELESS.fullmatch, names)) else names,
        categorical=_of_lightgbm(booster, len(levels)),
        levels=levels,
    )


def _of_lightgbm(booster: Any, expected: int) -> tuple[int, ...]:
    found = tuple(sorted(int(i) for i in booster.params.get("categorical_column") or ()))
    return found if len(found) == expected else ()


def _level(value: Any) -> str | float:
    return value if isinstance(value, str) else float(value)


def _xgboost(final: Any) -> Traits:
    booster = final.get_booster() if hasattr(final, "get_booster") else final
    objective = json.loads(booster.save_config())["learner"]["objective"]
    _refuse("xgboost", objective["name"], _XGBOOST)
    multiclass = objective.get("softmax_multiclass_param", {}).get("num_class", 2)
    categorical, levels = _of_xgboost(booster)
    missing = getattr(final, "missing", None)
    return Traits(
        payload=bytes(booster.save_raw("ubj")),
        classes=_classes(final, max(2, int(multiclass))),
        width=booster.num_features(),
        names=tuple(booster.feature_names or ()),
        categorical=categorical,
        levels=levels,
        rounds=_rounds(final) if final is not booster else 0,
        margin=objective["name"] == "multi:softmax",
        missing=None if missing is None or np.isnan(missing) else float(missing),
    )


def _rounds(final: Any) -> int:
    """How many rounds a classifier answers with: up to the best one, where training was stopped early."""
    with suppress(AttributeError):
        return int(final.best_iteration) + 1
    return 0


def _of_xgboost(booster: Any) -> tuple[tuple[int, ...], tuple[tuple[str | float, ...], ...]]:
    """Columns with categories that were learnt from a frame, and those; codes that came as numbers stay numbers."""
    if "c" not in (booster.feature_types or ()):
        return (), ()
    model = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]
    encoders = model.get("model", model.get("gbtree", {}).get("model", {})).get("cats", {}).get("enc", [])
    levels = {i: _decoded(one) for i, one in enumerate(encoders) if len(one.get("values", ()))}
    return tuple(levels), tuple(levels.values())


def _decoded(encoder: dict[str, Any]) -> tuple[str | float, ...]:
    """Categories as XGBoost writes them: texts as bytes with where each ends, numbers as they are."""
    if "offsets" not in encoder:
        return tuple(float(value) for value in encoder["values"])
    whole = bytes(value % 256 for value in encoder["values"])
    ends = encoder["offsets"]
    return tuple(whole[start:end].decode() for start, end in pairwise(ends))
