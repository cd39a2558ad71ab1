"""CSV, read so that no row gets lost: what cannot be read is a reject with its number and its reason.

A plain file (quotes around whole values, no short row, clean UTF-8: most are) goes through polars at full speed. Any
other is read record by record: a row with too few or too many values, bytes that are no UTF-8, or a quote that never
closes costs that row alone, and reading goes on at the next line. A value of more than 131,072 characters is taken for
a quote that never closes. (Polars by itself fills a short row with nulls and stops at the first bad byte.)

>>> frame, rows, rejects = parse_csv(b"n,t\\n1,a\\n2\\n3,b\\n", "cases.csv")
>>> frame.rows(), rows.to_list(), rejects.rows()
([('1', 'a'), ('3', 'b')], [1, 3], [(2, 'line 3: expected 2 values, found 1')])
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from andon.data.conform import REJECTS_SCHEMA
from andon.data.validator import show
from andon.errors import UsageError

if TYPE_CHECKING:
    from _csv import Reader

__all__ = ["Block", "Unread", "parse_block", "parse_csv", "read_header", "text_begins"]

_CHUNK = 20_000
_OPEN = "end of data"  # how csv says that a quote was not closed
_UTF16 = (b"\xff\xfe", b"\xfe\xff")

Parsed = tuple[pl.DataFrame, pl.Series, pl.DataFrame]


@dataclass(frozen=True, slots=True)
class Unread:
    """A row that cannot be read: its number, why, and its text as it stands in the file."""

    row: int
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Block:
    """Some records of a longer file: those that can be read, those that cannot, and how many bytes they took.

    Rows are counted from 1 within the block; a record that goes on behind its end is left for the next one.
    """

    frame: pl.DataFrame
    rows: pl.Series
    unread: list[Unread]
    used: int


def parse_csv(data: bytes, name: str, separator: str | None = None) -> Parsed:
    """All columns as texts (an empty value is null), the row numbers from 1, and the rejects.

    ``name`` is used in sentences; the separator is found in the header line (comma, else semicolon or tab).
    Raises ``UsageError`` when the file is empty, is UTF-16, or has a header that cannot name its columns.
    """
    data = data[text_begins(data, name) :]
    header, separator = _header(data, name, separator)
    quick = _quick(data, header, separator)
    if quick is not None:
        return quick, pl.int_range(1, quick.height + 1, dtype=pl.Int64, eager=True).alias("row"), _rejects([])
    return _careful(data, header, separator)


def text_begins(data: bytes, name: str) -> int:
    """Where the text begins, in bytes: behind a mark that says it is UTF-8. Raises ``UsageError`` when it is UTF-16.

    >>> text_begins(b"\\xef\\xbb\\xbfn,t", "cases.csv"), text_begins(b"n,t", "cases.csv")
    (3, 0)
    """
    if data.startswith(_UTF16):
        raise UsageError(f"{name}: expected UTF-8 text, found UTF-16; save the file as UTF-8")
    return len(data) - len(data.removeprefix(b"\xef\xbb\xbf"))


def read_header(data: bytes, name: str, separator: str | None = None) -> tuple[list[str], str, int]:
    """The columns, the separator, and where the rows begin, in bytes; raises as ``parse_csv`` does.

    >>> read_header(b"\\n a;b\\n1;2\\n", "cases.csv")
    (['a', 'b'], ';', 6)
    """
    begins = text_begins(data, name)
    columns, separator = _header(data[begins:], name, separator)
    while begins < len(data):
        end = data.find(b"\n", begins)
        line, begins = data[begins : end if end >= 0 else None], end + 1 if end >= 0 else len(data)
        if line.strip():
            break
    return columns, separator, begins


def parse_block(data: bytes, header: list[str], separator: str, *, line: int = 0, last: bool = True) -> Block:
    """Whole lines from the middle of a file, read as ``parse_csv`` reads them; ``line`` lines came before.

    Unless it is the ``last``, a block leaves a record that is open at its end alone.

    >>> block = parse_block(b'1,a\\n2\\n3,"b\\n', ["n", "t"], ",", line=1, last=False)
    >>> block.frame.rows(), block.unread[0].reason, block.used
    ([('1', 'a')], 'line 3: expected 2 values, found 1', 6)
    """
    made_up = separator.join(f"c{i}" for i in range(len(header))).encode() + b"\n"
    quick = _quick(made_up + data, header, separator)
    if quick is not None:
        numbers = pl.int_range(1, quick.height + 1, dtype=pl.Int64, eager=True).alias("row")
        return Block(quick, numbers, [], len(data))
    text = _Text(made_up + data, separator)
    good: list[list[str]] = []
    numbers_of, unread, used = [], list[Unread](), len(data)
    records = _records(text, len(header), last=last)
    next(records)  # the header made up
    for number, (at, values, why) in enumerate(records, 1):
        if values is not None:
            good.append(values)
            numbers_of.append(number)
        elif why:
            unread.append(Unread(number, f"line {line + at - 1}: {why}", text.line(at)))
        else:
            used = int(text.starts[at - 1]) - len(made_up)
    return Block(_texts(header, good), pl.Series("row", numbers_of, dtype=pl.Int64), unread, used)


def _header(data: bytes, name: str, separator: str | None) -> tuple[list[str], str]:
    first = next((line for line in data.split(b"\n", 50) if line.strip()), b"")
    if not first:
        raise UsageError(f"{name}: the file is empty; expected a header line and rows")
    try:
        line = first.decode().rstrip("\r")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: the header line is not UTF-8 text; save the file as UTF-8") from error
    separator = separator or next((mark for mark in ",;\t" if mark in line), ",")
    try:
        columns = [column.strip() for column in next(csv.reader([line], delimiter=separator, strict=True))]
    except csv.Error as error:
        raise UsageError(f"{name}: the header line cannot be read ({error})") from error
    for i, column in enumerate(columns):
        if not column or column in columns[:i]:
            what = f"names {show(column)} twice" if column else f"leaves column {i + 1} without a name"
            raise UsageError(f"{name}: the header line {what}; give every column its own name")
    return columns, separator


def _quick(data: bytes, header: list[str], separator: str) -> pl.DataFrame | None:
    """Polars' parse where it cannot be wrong, else None: a null in the last column may be a short row."""
    if not _plain(data, separator):
        return None
    try:
        # A last line without its end would lose a value that is one too many.
        frame = pl.read_csv(
            BytesIO(data if data.endswith(b"\n") else data + b"\n"), infer_schema=False, separator=separator
        )
    except pl.exceptions.PolarsError:
        return None
    if frame.width != len(header) or frame[frame.columns[-1]].null_count():
        return None
    frame.columns = header
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all())) if b'""' in data else frame


def _plain(data: bytes, separator: str) -> bool:
    """Whether every reader agrees on this text: line ends are plain and quotes stand around whole values of one line."""
    if b"\r" in data.replace(b"\r\n", b""):
        return False
    if b'"' not in data:
        return True
    ordinary = b'[^\r\n"' + re.escape(separator.encode()) + b"]"
    if re.search(ordinary + b'"(?:"")*' + ordinary, data):  # a value goes on behind the quote that ended it
        return False
    edge = b"(?:^|[\r\n" + re.escape(separator.encode()) + b"])"
    if re.search(edge + b'(?:"")+' + ordinary, data):  # an empty value in quotes that goes on
        return False
    codes = np.frombuffer(data, dtype=np.uint8)
    before = np.searchsorted(np.flatnonzero(codes == ord('"')), np.flatnonzero(codes == ord("\n")))
    return not (before % 2).any()


Record = tuple[int, list[str] | None, str]


class _Text:
    """The lines of a file, to be read from any of them on."""

    def __init__(self, data: bytes, separator: str) -> None:
        self.data = data
        self.separator = separator
        ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n")) + 1
        self.starts = np.concatenate([[0], ends[ends < len(data)]])

    def reader(self, line: int) -> Reader:
        """A csv reader that starts with the line numbered ``line`` from 0; a bad byte becomes half a surrogate pair."""
        stream = BytesIO(self.data)
        stream.seek(int(self.starts[line]))
        lines = TextIOWrapper(stream, "utf-8", errors="surrogateescape", newline="\n")
        return csv.reader(lines, delimiter=self.separator, strict=True)

    def line(self, number: int) -> str:
        """The line numbered from 1, without its end."""
        end = self.starts[number] if number < len(self.starts) else len(self.data)
        return self.data[int(self.starts[number - 1]) : int(end)].rstrip(b"\r\n").decode(errors="replace")


def _careful(data: bytes, header: list[str], separator: str) -> Parsed:
    frames, numbers, faults = [], [], []
    count = 0
    records = _records(_Text(data, separator), len(header))
    next(records)  # the header
    while chunk := list(islice(records, _CHUNK)):
        good = [(count + i, values) for i, (_, values, _) in enumerate(chunk, 1) if values is not None]
        faults += [
            (count + i, f"line {line}: {why}") for i, (line, values, why) in enumerate(chunk, 1) if values is None
        ]
        count += len(chunk)
        frames.append(_texts(header, [values for _, values in good]))
        numbers.append(pl.Series("row", [number for number, _ in good], dtype=pl.Int64))
    frame = pl.concat(frames) if frames else _texts(header, [])
    return frame, pl.concat(numbers) if numbers else pl.Series("row", [], dtype=pl.Int64), _rejects(faults)


def _texts(header: list[str], rows: list[list[str]]) -> pl.DataFrame:
    """Records as columns of texts; an empty value is null."""
    columns = zip(*rows, strict=True) if rows else [[] for _ in header]
    frame = pl.DataFrame(dict(zip(header, columns, strict=True)), schema=dict.fromkeys(header, pl.String))
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all()))


def _records(text: _Text, width: int, *, last: bool = True) -> Iterator[Record]:
    """Every record, blank lines left out: its line from 1, its values, or None and why it cannot be read.

    With ``last`` False a record that is open at the end is told as one without values and without a reason.
    """
    line, count = 0, len(text.starts)
    while line < count:
        reader = text.reader(line)
        begun = line
        try:
            for values in reader:
                end = begun + reader.line_num
                if values and (fault := _fault(values, width)):
                    yield line + 1, None, fault
                    if end > line + 1:  # a quote that closed lines later: only the first of them is taken for bad
                        line += 1
                        break
                elif values:
                    yield line + 1, values, ""
                line = end
            else:
                return
        except csv.Error as error:
            if not last and _OPEN in str(error):
                yield line + 1, None, ""
                return
            yield line + 1, None, _quote_fault(error)
            line += 1


def _fault(values: list[str], width: int) -> str | None:
    if len(values) != width:
        return f"expected {width} values, found {len(values)}"
    text = "".join(values)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return f"not UTF-8 (byte 0x{ord(text[error.start]) & 0xFF:02x})"
    return None


def _quote_fault(error: csv.Error) -> str:
    said = str(error)
    return "a quote that does not close" if _OPEN in said or "limit" in said else said


def _rejects(faults: list[tuple[int, str]]) -> pl.DataFrame:
    return pl.DataFrame(faults, schema=REJECTS_SCHEMA, orient="row")
