"""The two files of a new project: a charter and a model, small, commented, and working as they are.

>>> from andon.core.record import Field
>>> charter, model = starter("shop", (Field("amount", "float"), Field("channel", "category")), "fraud", ("no", "yes"))
>>> from andon.scope.charter import parse
>>> parse(charter).target.classes
('no', 'yes')
>>> compile(model, "model.py", "exec").co_name
'<module>'
"""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from andon.core.record import Field

__all__ = ["EXAMPLE_FIELDS", "starter"]

#: Inputs of a project that starts without data.
EXAMPLE_FIELDS = (
    Field("amount", "float"),
    Field("returning", "bool", optional=True),
    Field("channel", "category"),
)

_CHARTER = """\
# The charter: what this line is for. `andon check` tells what is wrong, unanswered or unwatched;
# every key is explained in docs/scope.md, and editors complete them with the schema that `andon check --schema` prints.
project: {project}
problem: ""                   # what is decided, and for whom, in one sentence
phase: poc                    # poc | production
case: new                     # new | automate (people do it today) | replace (another system does): the default path
owner: ""                     # who answers for it

inputs:                       # bool, int, float, category, text or image; ? = may be missing
{inputs}
target: {{name: {target}, classes: {classes}}}   # the column to predict and every answer there is
safe_default: {safe_default}           # what is answered when nobody and nothing can decide

checklist:
  latency_p95_ms: 500         # 95 of 100 answers are quicker
  logging: {{durability: flush, retain_days: 365}}
  security: {{tokens: none}}    # required: every call carries a token (`andon token create`)

metrics:                      # goal: a release must meet it; alarm: rings when live data leave it
  error:     {{of: error_rate, goal: "<= 0.5", alarm: "<= 0.5"}}   # loose to begin with
  null_rate: {{of: null_outputs, alarm: "<= 0.02"}}
  latency:   {{of: latency_p95_ms, alarm: "<= 500"}}
{watched}
slices: {{}}                    # parts to look at on their own, e.g. {example_slice}
risks:                        # what could go wrong, and which metric would show it
  - {{what: the model is wrong too often, shows_in: [error]}}
  - {{what: it does not answer or answers late, shows_in: [null_rate, latency]}}
  - {{what: the inputs change, shows_in: [{shows}]}}

automation: {{level: full}}     # human | shadow | assist | partial | full: how much the model decides by itself
review: {{deadline: 1h, on_timeout: safe_default}}
"""

_MODEL = '''\
"""Your model: Andon calls train() and serves what it returns."""

from typing import Any

from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import andon

{columns}

def train(data: andon.TrainingData, params: dict[str, Any]) -> Any:
    """data.x is a polars frame of the charter's inputs, data.y the labels; params come from `andon train --param C=0.1`."""
{body}

# Optional: def clean(raw): ...     the same cleaning for training data and live requests
# Optional: def features(x): ...    what the model gets instead of the inputs; sealed with it
'''

_BODY = """\
    encode = make_column_transformer({parts})
    model = LogisticRegression(C=params.get("C", 1.0), max_iter=1000)
    return make_pipeline(encode, model).fit(data.x, data.y)
"""
_NUMBERS = "(make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS)"
_YES_NO = '(SimpleImputer(strategy="constant", fill_value=0), YES_NO)'
_WORDS = '(OneHotEncoder(handle_unknown="ignore"), WORDS)'


def starter(
    project: str, fields: Sequence[Field], target: str, classes: Sequence[str], safe_default: str = "refer"
) -> tuple[str, str]:
    """The text of ``andon.yaml`` and of ``model.py`` for these inputs and classes."""
    first = next((field for field in fields if field.kind in ("bool", "int", "float")), None)
    metric = f"mean({first.name})" if first else f"missing({fields[0].name})"
    alarm = ", alarm: reference" if first else ""
    watched = f"input_{(first or fields[0]).name}"[:64]
    charter = _CHARTER.format(
        project=_word(project),
        inputs="\n".join(f"  {field.name}: {_kind(field)}" for field in fields) + "\n",
        target=_word(target),
        classes="[" + ", ".join(map(_word, classes)) + "]",
        safe_default=_word(safe_default),
        watched=f'  {watched}: {{of: "{metric}"{alarm}}}\n',
        example_slice=f'{{known: "{fields[0].name} IS NOT NULL"}}',
        shows=watched,
    )
    return charter, _model(fields)


def _model(fields: Sequence[Field]) -> str:
    groups = {
        "NUMBERS": [field.name for field in fields if field.kind in ("int", "float")],
        "YES_NO": [field.name for field in fields if field.kind == "bool"],
        "WORDS": [field.name for field in fields if field.kind == "category"],
    }
    parts = {"NUMBERS": _NUMBERS, "YES_NO": _YES_NO, "WORDS": _WORDS}
    used = [name for name, names in groups.items() if names]
    columns = "".join(f"{name} = {_listing(groups[name])}\n" for name in used)
    if not used:
        return _MODEL.format(
            columns="", body='    raise NotImplementedError("text and images need features() first")\n'
        )
    body = _BODY.format(parts="".join(f"\n        {parts[name]}," for name in used) + "\n    ")
    return _MODEL.format(columns=columns, body=body)


def _listing(names: list[str]) -> str:
    text = ", ".join(f'"{name}"' for name in names)
    return f"[{text}]" if len(text) < 100 else "[\n    " + ",\n    ".join(f'"{name}"' for name in names) + ",\n]"


def _kind(field: Field) -> str:
    return field.kind + ("?" if field.optional else "")


def _word(text: str) -> str:
    """A text as it is written inside YAML's brackets: bare where that is safe, else quoted."""
    bare = text.isidentifier() and yaml.safe_load(text) == text
    return text if bare else yaml.safe_dump(text, default_style='"', allow_unicode=True, width=1 << 20).strip()
