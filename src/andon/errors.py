"""Every error Andon raises on purpose, as one tree.

::

    AndonError                 something went wrong that we can explain           exit 4   http 500
    ├── UsageError             the call, file or name given is wrong              exit 2   http 400
    │   ├── CharterError       the charter has faults; all of them are listed     exit 2   http 400
    │   └── NotFound           the named thing does not exist                     exit 2   http 404
    ├── ContractError          data do not fit the contract                       exit 4   http 422
    ├── Conflict               somebody or something was first                    exit 4   http 409
    ├── Denied                 no or a wrong token, or a role that may not        exit 4   http 403
    ├── Overloaded             a queue is full; try again later                   exit 4   http 429
    ├── Unavailable            a part that is needed is gone for now              exit 4   http 503
    ├── DeadlineExceeded       the answer would come too late                     exit 4   http 504
    ├── Corrupt                stored bytes differ from their hash or checksum    exit 4   http 500
    ├── UserCodeError          the project's own Python code raised               exit 4   http 500
    ├── GateFailed             a gate said no                                     exit 1   http 409
    └── NotEnoughEvidence      a gate could not say yes or no                     exit 3   http 409

A message is one sentence for a person: what happened, which thing, what was expected and found, what to do.

>>> error = ContractError("cough: expected true, false or null, found 'yes'", field="x.cough", hint="send a JSON boolean")
>>> error.code, error.http, error.exit_code, error.field
('contract', 422, 4, 'x.cough')
>>> error.to_dict()
{'code': 'contract', 'message': "cough: expected true, false or null, found 'yes'", 'field': 'x.cough', 'hint': 'send a JSON boolean'}
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar

__all__ = [
    "AndonError",
    "CharterError",
    "Conflict",
    "ContractError",
    "Corrupt",
    "DeadlineExceeded",
    "Denied",
    "GateFailed",
    "NotEnoughEvidence",
    "NotFound",
    "Overloaded",
    "Unavailable",
    "UsageError",
    "UserCodeError",
]


class AndonError(Exception):
    """The root of the tree: a fault we can explain, with a stable ``code`` and, where known, ``field`` and ``hint``.

    ``kept`` is what may be written down where ``message`` may not, because it holds what a model was given or what a
    model, a library or a server said: our own words without any value. Without any it is the code alone.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 4
    http: ClassVar[int] = 500

    def __init__(
        self, message: str, *, field: str | None = None, hint: str | None = None, kept: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kept = kept or f"it failed ({self.code})"
        self.field = field
        self.hint = hint

    def to_dict(self) -> dict[str, str]:
        """The wire form: ``code`` and ``message``, and ``field`` and ``hint`` where there are any."""
        body = {"code": self.code, "message": self.message}
        if self.field is not None:
            body["field"] = self.field
        if self.hint is not None:
            body["hint"] = self.hint
        return body


class UsageError(AndonError):
    """The call, file or name given is wrong; nothing was done."""

    code = "usage"
    exit_code = 2
    http = 400


class CharterError(UsageError):
    """The charter has faults; ``faults`` lists all of them as sentences."""

    code = "charter"

    def __init__(self, message: str, faults: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults


class NotFound(UsageError):
    """The named thing does not exist."""

    code = "not_found"
    http = 404


class ContractError(AndonError):
    """Data do not fit the contract."""

    code = "contract"
    http = 422


class Conflict(AndonError):
    """Somebody or something was first."""

    code = "conflict"
    http = 409


class Denied(AndonError):
    """No token, a wrong one, or a role that may not do this."""

    code = "denied"
    http = 403


class Overloaded(AndonError):
    """A queue is full; the caller should try again later."""

    code = "overloaded"
    http = 429


class Unavailable(AndonError):
    """A part that is needed is gone for now."""

    code = "unavailable"
    http = 503


class DeadlineExceeded(AndonError):
    """The answer would come too late to be of use."""

    code = "deadline"
    http = 504


class Corrupt(AndonError):
    """Stored bytes differ from their hash or checksum."""

    code = "corrupt"


class UserCodeError(AndonError):
    """The project's own Python code raised; the original error is the ``__cause__``."""

    code = "user_code"


class GateFailed(AndonError):
    """A gate said no."""

    code = "gate_failed"
    exit_code = 1
    http = 409


class NotEnoughEvidence(AndonError):
    """A gate could say neither yes nor no."""

    code = "not_enough_evidence"
    exit_code = 3
    http = 409


class _Errors(ModuleType):
    """The module under a name that is also an analysis: called, it is ``andon.model.priority.errors``.

    Python makes a submodule an attribute of its package as soon as anything imports it, so a function of the same name
    would be there or not depending on what was imported before.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        return import_module("andon.model.priority").errors(*args, **options)


sys.modules[__name__].__class__ = _Errors
