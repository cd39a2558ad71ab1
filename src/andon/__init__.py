"""Andon: from an idea to a production line that watches itself.

See every station; stop the line; improve; go on. The folders of this package, read in this order, are the lifecycle:
``scope``, ``data``, ``model``, ``deploy``, ``monitor``; what they share is in ``core``, ``measure``, ``store``,
``people`` and ``engine``; the doors are in ``surface``.

>>> import andon
>>> andon.evalute
Traceback (most recent call last):
...
AttributeError: module 'andon' has no attribute 'evalute'; did you mean 'evaluate'?
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from andon.config import open_workspace as open
    from andon.data.split import split
    from andon.measure.agreement import agreement
    from andon.model.evaluate import evaluate
    from andon.model.predictor import TrainingData
    from andon.model.priority import errors
    from andon.model.remote import Remote
    from andon.store.workspace import Workspace

__version__ = "0.1.0"
__all__ = ["Remote", "TrainingData", "Workspace", "__version__", "agreement", "errors", "evaluate", "open", "split"]

#: Public name -> (module, name there; "" is the module itself). Loaded when first used, so that ``import andon`` costs next to nothing.
_PUBLIC = {
    "Remote": ("andon.model.remote", "Remote"),
    "TrainingData": ("andon.model.predictor", "TrainingData"),
    "Workspace": ("andon.store.workspace", "Workspace"),
    "agreement": ("andon.measure.agreement", "agreement"),
    "errors": ("andon.errors", ""),  # called, it is the priority table
    "evaluate": ("andon.model.evaluate", "evaluate"),
    "open": ("andon.config", "open_workspace"),
    "split": ("andon.data.split", "split"),
}


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        module, attribute = _PUBLIC[name]
        value: Any = import_module(module)
        value = getattr(value, attribute) if attribute else value
        globals()[name] = value
        return value
    if name.startswith("__"):
        raise AttributeError(f"module 'andon' has no attribute {name!r}")
    from andon.core.registry import did_you_mean

    raise AttributeError(f"module 'andon' has no attribute {name!r}; {did_you_mean(name, _PUBLIC)}")


def __dir__() -> list[str]:
    return sorted(__all__)
