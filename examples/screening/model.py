"""The screening model: the data scientist's part, all of it."""

from __future__ import annotations

from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

import andon

SYMPTOMS = ["cough", "fever", "sore_throat", "shortness_of_breath", "head_ache"]
GROUPS = ["age_60_and_above", "gender", "test_indication"]


def train(data: andon.TrainingData, params: dict[str, Any]) -> Pipeline:
    """A logistic regression on the symptoms and the groups; a missing answer is a value of its own."""
    encode = ColumnTransformer(
        [
            ("symptoms", SimpleImputer(strategy="constant", fill_value=0), SYMPTOMS),
            ("groups", OneHotEncoder(handle_unknown="ignore"), GROUPS),
        ]
    )
    model = LogisticRegression(C=params.get("C", 1.0), max_iter=500)
    return make_pipeline(encode, model).fit(data.x, data.y)
