"""Values of single DICOM elements, parsed from their bytes: what is odd gives None, never an exception or a warning.

pydicom finds the elements; their text is parsed here, as headers in the field break the rules that it enforces.
"""

import logging
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from types import MappingProxyType
from typing import Any
from warnings import catch_warnings, filterwarnings

from pydicom.config import disable_value_validation
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

Tag = tuple[int, int]

Elements = Dataset | Mapping[Tag, bytes]
"""The elements of a file or an item: as pydicom has them, or their bytes by tag, which are little-endian."""

_NONE: Mapping[Tag, bytes] = MappingProxyType({})
_SIZES: Mapping[str, int] = MappingProxyType({"H": 2, "h": 2, "f": 4, "d": 8})
_MOST_CHARACTERS = 1 << 16


@contextmanager
def without_warnings() -> Iterator[None]:
    """Pydicom warns of headers that break rules, and quotes them; what matters here is found and told otherwise.

    What it logs is kept from standard error, too: it may hold a person's name.
    """
    logger, silence = logging.getLogger("pydicom"), logging.NullHandler()
    before = logger.propagate
    logger.addHandler(silence)
    logger.propagate = False
    try:
        with catch_warnings(), disable_value_validation():
            filterwarnings("ignore", module="pydicom")
            yield
    finally:
        logger.propagate = before
        logger.removeHandler(silence)


def text(data: Elements, tag: Tag) -> str:
    """The text of an element, without padding; empty where it is not there."""
    value = _raw(data, tag)[0] if isinstance(data, Dataset) else data.get(tag)
    return "" if not value else value[:_MOST_CHARACTERS].decode("latin-1").strip(" \0\r\n\t")


def raw(data: Elements, tag: Tag) -> bytes:
    """The bytes of an element; none where it is not there."""
    return _raw(data, tag)[0]


def words(data: Elements, tag: Tag) -> tuple[str, ...]:
    """The values of a text element."""
    found = text(data, tag)
    if "\\" in found:
        return tuple(word.strip() for word in found.split("\\"))
    return (found,) if found else ()


def numbers(data: Elements, tag: Tag, count: int | None = None) -> tuple[float, ...] | None:
    """The numbers in a text element (DS, IS), all finite; None where they are not, or not `count` of them."""
    try:
        found = tuple(float(word) for word in words(data, tag))
    except ValueError:
        return None
    if not found or not all(map(isfinite, found)) or (count is not None and len(found) != count):
        return None
    return found


def number(data: Elements, tag: Tag) -> float | None:
    """The first number in a text element."""
    found = numbers(data, tag)
    return found[0] if found else None


def binary(data: Elements, tag: Tag, kind: str) -> float | None:
    """The first number of a binary element: `kind` is H, h (16 bits), f or d, as in `struct`."""
    value, little = _raw(data, tag)
    size = _SIZES[kind]
    if len(value) < size:
        return None
    found = float(struct.unpack(("<" if little else ">") + kind, value[:size])[0])
    return found if isfinite(found) else None


def items(data: Elements, tag: Tag) -> list[Dataset]:
    """The items of a sequence; none where it is not there."""
    if not isinstance(data, Dataset) or tag not in data:
        return []
    element = data[tag]
    return list(element.value) if isinstance(element.value, DicomSequence) else []


def first(data: Elements, tag: Tag) -> Elements:
    """The first item of a sequence, empty where there is none."""
    found = items(data, tag)
    return found[0] if found else _NONE


def _raw(data: Elements, tag: Tag) -> tuple[bytes, bool]:
    """The bytes of an element, and whether they are little-endian."""
    if not isinstance(data, Dataset):
        return data.get(tag, b""), True
    if tag not in data:
        return b"", True
    element: Any = data.get_item(tag)
    if isinstance(element, RawDataElement):
        return (element.value or b"") if isinstance(
            element.value, bytes | type(None)
        ) else b"", element.is_little_endian
    value = element.value  # already converted, as pydicom does with some elements of its own
    return "\\".join(map(str, value if isinstance(value, list) else [value])).encode("latin-1", "replace"), True


def clock_s(stated: str) -> float | None:
    """The seconds after midnight of a DICOM time (TM, or the time of a DT); None where it is none.

    >>> clock_s("235959.5"), clock_s("20260101000001.25+0100"), clock_s("12:30:00"), clock_s("noon")
    (86399.5, 1.25, 45000.0, None)
    """
    clock = stated.replace(":", "")
    for sign in "+-":
        clock = clock.partition(sign)[0]
    whole, _, fraction = clock.partition(".")
    whole = whole[8:] if len(whole) > 8 else whole
    if not (whole + fraction).isascii() or not whole.isdigit() or len(whole) not in (4, 6) or len(fraction) > 9:
        return None
    if fraction and not fraction.isdigit():
        return None
    hours, minutes, seconds = int(whole[:2]), int(whole[2:4]), int(whole[4:6] or 0)
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    return hours * 3600 + minutes * 60 + seconds + float(f"0.{fraction or 0}")
