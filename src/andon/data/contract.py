"""The input contract: which columns come in, of which kind, and which answers exist.

One contract is enforced everywhere: on the rows of a dataset (``check_frame``, whole columns at once) and on every
request of the gateway (``validator``, one row in about a microsecond). It is inferred once and then kept by its hash.

>>> contract = Contract((Field("cough", "bool", optional=True), Field("age", "int", low=0, high=130)), "result", ("neg", "pos"))
>>> validate = contract.validator()
>>> validate({"age": 41, "cough": True})
[True, 41]
>>> validate({"age": 200, "caugh": True})
Traceback (most recent call last):
...
andon.errors.ContractError: age: expected a whole number from 0 to 130, found 200; caugh: not a field of this contract, did you mean 'cough'?
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from math import inf
from typing import TYPE_CHECKING, Any

import msgspec

from andon.core.record import Field, Scalar
from andon.errors import ContractError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["CheckedFrame", "Contract", "infer"]

Validator = Callable[[Mapping[str, Any]], list[Scalar]]


@dataclass(frozen=True)
class CheckedFrame:
    """What ``check_frame`` returns: the typed rows that fit, their row numbers, and the others with their reasons.

    ``frame`` has the contract's fields first, then the target, then the columns that the contract does not know
    (meta-data), unchanged. ``rows`` are the row numbers of ``frame`` (Int64); ``rejects`` has ``row`` and ``reason``.
    """

    frame: pl.DataFrame
    rows: pl.Series
    rejects: pl.DataFrame


class Contract(msgspec.Struct, frozen=True, omit_defaults=True):
    """Input columns, the target's name and its classes, in the order in which values and scores travel.

    Raises ``ContractError`` when there is no field, a name appears twice, or the target is among the inputs.
    """

    fields: tuple[Field, ...]
    target: str
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        names = self.names
        if not names:
            raise ContractError("the contract has no input field; name at least one input")
        twice = sorted({name for name in names if names.count(name) > 1} | _repeated(self.classes))
        if twice:
            raise ContractError(f"the contract names {twice[0]!r} twice; names of fields and classes are unique")
        for field in self.fields:
            low, high = field.low if field.low is not None else -inf, field.high if field.high is not None else inf
            if not low <= high or inf in (low, -high):
                raise ContractError(
                    f"{field.name}: expected a range with low <= high, found {field.low} to {field.high}"
                )
        if self.target in names:
            raise ContractError(f"the target {self.target!r} is also an input; a model may not see its own answer")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the input fields, in order."""
        return tuple(field.name for field in self.fields)

    @property
    def hash8(self) -> bytes:
        """The contract's identity as 8 bytes: BLAKE2b of its canonical JSON; what a frame of the log carries."""
        return blake2b(msgspec.json.encode(self), digest_size=8).digest()

    @property
    def hash(self) -> str:
        """The same as 16 hex digits.

        >>> Contract((Field("x", "float"),), "y", ("a", "b")).hash
        'd3abcc3ec5002208'
        """
        return self.hash8.hex()

    def validator(self) -> Validator:
        """Compile the check of one row: a mapping in, its values in field order out.

        It raises ``ContractError`` with all faults of the row in one message and the first fault's path in ``field``,
        and nothing else, whatever JSON it is given. Texts (also images, as base64) stay texts.
        """
        from andon.data.validator import compile_validator

        return compile_validator(self.fields)

    def check_frame(
        self, frame: pl.DataFrame, *, rows: pl.Series | None = None, unlabelled: bool = False
    ) -> CheckedFrame:
        """Type a whole frame: bool, Int64, Float64, String or Binary columns; rows with a fault become rejects.

        ``rows`` are the row numbers to report (1, 2, 3... if not given). With ``unlabelled`` the target may be null or
        absent. Raises ``ContractError`` when a required column is absent.

        >>> import polars as pl
        >>> contract = Contract((Field("age", "int"),), "result", ("neg", "pos"))
        >>> checked = contract.check_frame(pl.DataFrame({"age": ["41", "old"], "result": ["neg", "pos"]}))
        >>> checked.frame.rows(), checked.rejects.rows()
        ([(41, 'neg')], [(2, "age: expected a whole number, found 'old'")])
        """
        from andon.data.conform import check_frame

        return check_frame(self, frame, rows=rows, unlabelled=unlabelled)


def _repeated(names: tuple[str, ...]) -> set[str]:
    return {name for name in names if names.count(name) > 1}


def infer(
    frame: pl.DataFrame, target: str, classes: tuple[str, ...] | None = None, hints: tuple[Field, ...] = ()
) -> Contract:
    """The contract that a frame keeps to. Hinted fields are taken as they are, and are then the only inputs.

    Without hints every column but the target, dates and ``id``, ``time_us``, ``unit`` and ``weight`` is an input: its kind
    comes from its type or, for texts, from what all of them parse as; it is optional if a value is missing. Categories
    and ranges are never inferred: a value not seen before is news to be monitored, not an error.
    Raises ``ContractError`` when the target is absent, a column has no value to infer from or a name of Andon's own.

    >>> import polars as pl
    >>> infer(pl.DataFrame({"age": ["41", ""], "sex": ["f", "m"], "y": [0, 1]}), "y").names
    ('age', 'sex')
    """
    from andon.data.infer import infer_contract

    return infer_contract(frame, target, classes, hints)
