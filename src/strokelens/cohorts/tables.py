"""Tables of clinical values (CSV, TSV): typed where they are numbers, absent where they are missing."""

import codecs
import csv
import io
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from types import MappingProxyType

from strokelens.cohorts.listing import regular
from strokelens.errors import FileError

MISSING = frozenset({"", "-", "–", "na", "n/a", "nan", "none", "null", "unknown", "?"})
"""What a cell says, in lower case, where nothing is known."""

CLINICAL_OF: Mapping[str, str] = MappingProxyType(
    {
        "nihss": "nihss",
        "nihss at admission": "nihss",
        "nihss at discharge": "nihss_discharge",
        "age": "age_years",
        "gender": "sex",
        "sex": "sex",
        "mrs": "mrs",
        "mrs at 3 months": "mrs",
        "mrs on 90 days": "mrs",
        "tici": "tici",
        "mrs_days": "mrs_days",
        "since_stroke_min": "since_stroke_min",
        "to_treatment_min": "to_treatment_min",
    }
)
"""What columns are called, in lower case, and our names with their units."""

RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"nihss": (0, 42), "nihss_discharge": (0, 42), "age_years": (0, 120), "mrs": (0, 6)}
)
"""What the scores can be; other numbers, and what is no number, are left out and told."""

_LARGEST_BYTES = 16 << 20
_MOST_ROWS = 100_000


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table by its header; raises as `read_table` does."""
    header, *rows = read_table(path)
    return [dict(zip(header, row, strict=False)) for row in rows]


def read_table(path: Path) -> list[list[str]]:
    """The rows of a table, its header first, without empty ones; separated by ; or , or tabs, whichever it has most.

    UTF-8, UTF-16 as Excel's Unicode text, else Latin-1. Raises `FileError` when it cannot be read, or is no table.
    """
    try:
        if regular(path).stat().st_size > _LARGEST_BYTES:
            raise FileError(f"{path.name} is larger than 16 MiB, which no table of patients is; remove it")
        raw = path.read_bytes()
    except OSError as error:
        raise FileError(f"{path.name} cannot be read: {error.strerror}; change its permissions") from error
    text = _decoded(raw)
    head = text.partition("\n")[0]
    separator = max(";,\t", key=head.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise FileError(f"{path.name} is no table ({error}); save it as CSV") from error
    rows = [[cell.strip() for cell in row] for row in rows]
    rows = [row for row in rows if any(row)]
    if not 1 <= len(rows) <= _MOST_ROWS:
        raise FileError(f"{path.name} has {len(rows)} rows, not 1 to {_MOST_ROWS}; correct or remove it")
    return rows


def _decoded(raw: bytes) -> str:
    utf_16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return raw.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def number(cell: str) -> float | None:
    """The number in a cell; None where it is missing or no number. A decimal comma is read.

    >>> number("3,5"), number("-"), number("2b")
    (3.5, None, None)
    """
    if cell.strip().casefold() in MISSING:
        return None
    try:
        value = float(cell.replace(",", ".") if cell.count(",") == 1 and "." not in cell else cell)
    except ValueError:
        return None
    return value if isfinite(value) else None


def typed(cell: str) -> float | str | None:
    """A cell as a number, else as its text; None where it is missing.

    >>> typed("2"), typed("2b"), typed("n/a")
    (2.0, '2b', None)
    """
    if cell.strip().casefold() in MISSING:
        return None
    value = number(cell)
    return cell.strip()[:80] if value is None else value


def clinical(row: Mapping[str, str]) -> dict[str, float | str]:
    """The clinical values of a row under our names; what is missing, or is no column of ours, is absent.

    Sex is `M` or `F`; DICOM's age `064Y` is 64 years. What is not possible is left out, and `doubts` tells it.

    >>> clinical({"nihss": "-", "age": "064Y", "gender": "0", "name": "Smith"})
    {'age_years': 64.0, 'sex': 'M'}
    """
    return {name: value for name, _, value in _cells(row) if value is not None}


def doubts(row: Mapping[str, str]) -> tuple[str, ...]:
    """What a row says that is no possible value of its column.

    >>> doubts({"nihss": "-3", "age": "7O", "sex": "M"})
    ("nihss is '-3', not 0 to 42, and left out", "age_years is '7O', not 0 to 120, and left out")
    """
    found = [(name, cell) for name, cell, value in _cells(row) if value is None and typed(cell) is not None]
    return tuple(doubt(name, cell) for name, cell in found)


def doubt(name: str, cell: str) -> str:
    """What is said of a value of a column of ours that is not possible."""
    wanted = "{:g} to {:g}".format(*RANGES[name]) if name in RANGES else "M or F"
    return f"{name} is {cell[:20]!r}, not {wanted}, and left out"


def _cells(row: Mapping[str, str]) -> Iterator[tuple[str, str, float | str | None]]:
    """The cells in columns of ours: our name, the text, and the value; None where it is missing or not possible."""
    for column, cell in row.items():
        name = CLINICAL_OF.get((column or "").strip().casefold())
        if name is not None:
            yield name, str(cell), possible(name, typed(str(cell)))


def possible(name: str, value: float | str | None) -> float | str | None:
    """A value of a column of ours; None where it is missing or not possible."""
    if name == "age_years" and isinstance(value, str):
        value = number(value.removesuffix("Y"))
    if name == "sex":
        return _sex(value)
    if name in RANGES:
        low, high = RANGES[name]
        return value if isinstance(value, float) and low <= value <= high else None
    return value


def _sex(value: float | str | None) -> str | None:
    """M or F; the first cohort writes 0 for men and 1 for women."""
    if isinstance(value, str):
        return value[:1].upper() if value[:1].upper() in ("M", "F") else None
    return None if value is None or value not in (0, 1) else ("M", "F")[int(value)]
