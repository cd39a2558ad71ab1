"""Save the model as MLflow does: ``mlflow_save.py FOLDER``."""

from __future__ import annotations

import sys

import mlflow.sklearn
from peer_model import fit

if __name__ == "__main__":
    mlflow.sklearn.save_model(fit(), sys.argv[1], pyfunc_predict_fn="predict_proba", serialization_format="cloudpickle")
