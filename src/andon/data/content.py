"""The content of a dataset: one canonical form, whatever file it came in, and its hash.

The hash covers every column of every row and the contract, and nothing else: not the order of rows or columns, not the
file format, not the width of integers. So the same rows are the same version wherever they come from, and one changed
label out of millions is another version. (A widely used tracker hashes the first 10,000 rows and leaves out boolean
columns; two datasets with all labels flipped look alike to it.)

>>> from andon.core.record import Field
>>> contract = Contract((Field("n", "int"),), "y", ("a", "b"))
>>> one = pl.DataFrame({"n": [1, 2], "y": ["a", "b"]})
>>> content_hash(one, contract) == content_hash(one.reverse().select("y", "n"), contract)
True
>>> content_hash(one, contract) == content_hash(one.with_columns(y=pl.lit("a")), contract)
False
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import polars as pl

from andon.data.contract import Contract
from andon.errors import ContractError

__all__ = ["canonical", "content_hash", "image_columns", "stowed", "unstowed"]

_FORMAT = b"andon dataset 1\0"
_COUNT = "\0count"
_WORDS = 65_536
_INT = r"^(0|-?[1-9]\d{0,17})$"
# A decimal that is the same number written one way only: no "1.10", which may be a release and not a number.
_FLOAT = r"^-?(0|[1-9]\d*)(\.\d*[1-9]|\.0)?([eE][+-]?\d+)?$"
_DATE = r"^\d{4}-\d{2}-\d{2}$"
_TIME = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?$"


def canonical(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """The meta-data columns (those outside the contract) in types that every file format can tell.

    Texts that are all numbers, dates, times or truth values become those; ``id`` stays text. Raises ``ContractError``
    for a column that holds more than one value per row.

    >>> from andon.core.record import Field
    >>> contract = Contract((Field("n", "int"),), "y", ("a",))
    >>> canonical(pl.DataFrame({"n": [1], "y": ["a"], "day": ["2020-03-11"], "code": ["007"]}), contract).dtypes
    [Int64, String, Date, String]
    """
    known = {*contract.names, contract.target}
    return frame.with_columns(_meta(frame[name]) for name in frame.columns if name not in known)


def content_hash(frame: pl.DataFrame, contract: Contract) -> str:
    """64 hex digits of BLAKE2b over the contract and the multiset of rows; images count by their bytes' hash."""
    total = blake2b(_FORMAT + contract.hash8, digest_size=32)
    names = sorted(frame.columns)
    rows = pl.DataFrame([_plain(frame[name]) for name in names]).sort(names, nulls_last=True)
    new = rows.select(pl.any_horizontal(pl.all().ne_missing(pl.all().shift()))).to_series()
    first = new.set(pl.int_range(new.len(), eager=True) == 0, True).arg_true()
    count = first.extend_constant(rows.height, 1).diff(null_behavior="drop").cast(pl.Int64).alias(_COUNT)
    for column in (*rows.select(pl.all().gather(first)).get_columns(), count):
        total.update(f"{column.name}\0{_kind(frame, column.name)}\0{column.len()}\0".encode())
        for part in _bytes(column):
            total.update(blake2b(part, digest_size=32).digest())
    return total.hexdigest()


def image_columns(contract: Contract) -> list[str]:
    """Names of the contract's image fields."""
    return [field.name for field in contract.fields if field.kind == "image"]


def stowed(frame: pl.DataFrame, contract: Contract, put: Callable[[bytes], str]) -> pl.DataFrame:
    """The frame with every image put away once and replaced by its hash (hex text)."""
    for name in image_columns(contract):
        hashes = [None if data is None else put(data) for data in frame[name]]
        frame = frame.with_columns(pl.Series(name, hashes, dtype=pl.String))
    return frame


def unstowed(frame: pl.DataFrame, contract: Contract, get: Callable[[str], bytes]) -> pl.DataFrame:
    """The reverse of ``stowed``: hashes replaced by the images' bytes; each different image is read once."""
    for name in image_columns(contract):
        images = {hash: get(hash) for hash in frame[name].unique().drop_nulls()}
        data = [None if hash is None else images[hash] for hash in frame[name]]
        frame = frame.with_columns(pl.Series(name, data, dtype=pl.Binary))
    return frame


def _meta(column: pl.Series) -> pl.Series:
    dtype = column.dtype
    if dtype in (pl.Categorical, pl.Enum, pl.Null) or column.name == "id" or dtype == pl.UInt64:
        column = column.cast(pl.String)
        return column if column.name == "id" else _meta(column)
    if dtype == pl.String:
        return _parsed(column)
    if dtype.is_integer():
        return column.cast(pl.Int64)
    if dtype.is_numeric():
        return column.cast(pl.Float64)
    if dtype == pl.Datetime:
        zone = getattr(dtype, "time_zone", None)
        return (column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zone else column).cast(
            pl.Datetime("us")
        )
    if dtype in (pl.Boolean, pl.Date):
        return column
    if dtype in (pl.Time, pl.Duration):
        return column.dt.to_string("iso")
    raise ContractError(
        f"{column.name}: a column of type {dtype} cannot be kept; expected one number, text, date or truth value per row",
        field=column.name,
    )


def _parsed(column: pl.Series) -> pl.Series:
    """Texts that are all of one plain kind, as that kind."""
    values = column.drop_nulls()
    if not values.len():
        return column
    first = values[0]
    for pattern, parse in _PARSERS:
        if pl.Series([first]).str.contains(pattern).item() and values.str.contains(pattern).all():
            parsed = parse(column)
            if parsed.null_count() == column.null_count():
                return parsed
    return column


_PARSERS: tuple[tuple[str, Callable[[pl.Series], pl.Series]], ...] = (
    (_INT, lambda column: column.cast(pl.Int64, strict=False)),
    (_FLOAT, lambda column: column.cast(pl.Float64, strict=False)),
    (_DATE, lambda column: column.str.to_date("%Y-%m-%d", strict=False)),
    (_TIME, lambda column: column.str.replace(" ", "T").str.to_datetime(time_unit="us", strict=False)),
    ("^(true|false)$", lambda column: column == "true"),
)


def _plain(column: pl.Series) -> pl.Series:
    """Days, microseconds and truth values as Int64, images as their hash: types whose bytes and order we define."""
    if column.dtype in (pl.Date, pl.Boolean):
        return column.cast(pl.Int32).cast(pl.Int64)
    if column.dtype == pl.Datetime:
        return column.cast(pl.Int64)
    if column.dtype == pl.Float64:
        return column.set(column == 0.0, 0.0).fill_nan(float("nan"))  # one zero and one NaN
    if column.dtype == pl.Binary:
        return pl.Series(
            column.name, [data and blake2b(data, digest_size=32).hexdigest() for data in column], pl.String
        )
    return column


def _kind(frame: pl.DataFrame, name: str) -> str:
    """What the numbers of a column mean, in words of our own: a library may rename its types."""
    dtype = frame.schema.get(name, pl.Int64())
    if dtype == pl.Datetime:
        return "time"
    return {pl.Int64(): "int", pl.Float64(): "float", pl.Boolean(): "bool", pl.Date(): "date"}.get(dtype, "text")


def _bytes(column: pl.Series) -> list[bytes]:
    """Which are null, and the values, little-endian; texts as their UTF-8, or as places in the list of different ones."""
    null = np.packbits(column.is_null().to_numpy()).tobytes()
    if column.dtype != pl.String:
        values = column.fill_null(0).to_numpy()
        return [null, values.astype("<f8" if column.dtype == pl.Float64 else "<i8").tobytes()]
    text = column.fill_null("")
    words = text.unique().sort()
    if words.len() > _WORDS:
        return [null, *_text_bytes(text)]
    places = text.cast(pl.Enum(words)).to_physical().to_numpy()
    return [null, *_text_bytes(words), places.astype("<u4").tobytes()]


def _text_bytes(text: pl.Series) -> list[bytes]:
    return [text.str.len_bytes().to_numpy().astype("<u8").tobytes(), "".join(text.to_list()).encode()]
