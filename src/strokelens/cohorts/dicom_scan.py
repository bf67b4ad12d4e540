"""The wanted elements of an ordinary DICOM header, found in one pass over its bytes, much faster than pydicom does.

Only what is plain is scanned: a preamble, a little-endian transfer syntax, known value representations, no functional
groups. Of anything else `scan` gives None, and pydicom reads it. Where it gives something, that is what pydicom gives;
a test holds both against each other.
"""

import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from strokelens.cohorts.dicom_elements import Tag

_FIRST_BYTES = 1 << 13
_MORE_BYTES = 1 << 19
_SYNTAX: Final[Tag] = (0x0002, 0x0010)
_IMPLICIT = "1.2.840.10008.1.2"
_EXPLICIT = "1.2.840.10008.1.2.1"
_COMPRESSED: Final = ("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5")
_PIXELS: Final = frozenset({(0x7FE0, 0x0008), (0x7FE0, 0x0009), (0x7FE0, 0x0010)})
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_UNDEFINED = 0xFFFFFFFF
_SHORT: Final = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split(),
)
_LONG: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_tag = struct.Struct("<HH").unpack_from
_implicit = struct.Struct("<HHL").unpack_from
_length = struct.Struct("<L").unpack_from
_short_length = struct.Struct("<H").unpack_from


@dataclass(frozen=True, eq=False)
class Scanned:
    """The wanted elements of a header, all little-endian; the transfer syntax; and the byte where pixels begin."""

    elements: Mapping[Tag, bytes]
    syntax: str
    start: int


class _OddError(Exception):
    """Something that is left to pydicom."""


def scan(read: Callable[[int], bytes], wanted: Collection[Tag], odd: Collection[Tag]) -> Scanned | None:
    """The wanted elements of a header; None where it is not plain, or has one of the `odd` elements.

    `read` gives the next bytes of the file, from its first one on.
    """
    head = read(_FIRST_BYTES)
    if head[128:132] != b"DICM":
        return None
    whole = len(head) < _FIRST_BYTES
    for _ in range(2):
        try:
            return _scanned(head, wanted, odd, whole)
        except _OddError:
            return None
        except (IndexError, struct.error):  # the header goes on
            if whole:
                return None
            more = read(_MORE_BYTES)
            head, whole = head + more, len(more) < _MORE_BYTES
    return None


def _scanned(head: bytes, wanted: Collection[Tag], odd: Collection[Tag], whole: bool) -> Scanned:
    """The elements of a header whose bytes are all there, or the file's `whole`; else raises `struct.error`."""
    syntax, at = "", 132
    while _tag(head, at)[0] == 2:
        tag, begin, at = _element(head, at, explicit=True)
        if tag == _SYNTAX:
            syntax = head[begin:at].decode("latin-1").strip(" \0")
    if syntax not in (_IMPLICIT, _EXPLICIT) and not syntax.startswith(_COMPRESSED):
        raise _OddError
    explicit = syntax != _IMPLICIT
    found: dict[Tag, bytes] = {}
    size = len(head)
    while not (whole and at == size):
        if (tag := _tag(head, at)) in _PIXELS:
            break
        if explicit and head[at + 4 : at + 6] in _SHORT:  # as nearly all are
            begin = at + 8
            at = begin + _short_length(head, at + 6)[0]
        else:
            tag, begin, at = _element(head, at, explicit=explicit)
        if tag in odd or tag[0] in (0, 2, 0xFFFE):
            raise _OddError
        if at > size:
            raise struct.error
        if tag in wanted:
            found[tag] = head[begin:at]
    return Scanned(found, syntax, at)


def _element(head: bytes, at: int, *, explicit: bool) -> tuple[Tag, int, int]:
    """The tag of the element at a byte, and where its value begins and ends."""
    if explicit:
        kind = head[at + 4 : at + 6]
        if kind in _SHORT:
            begin = at + 8
            return _tag(head, at), begin, begin + _short_length(head, at + 6)[0]
        if kind not in _LONG:
            raise _OddError if len(head) >= at + 6 else struct.error
        begin, length = at + 12, _length(head, at + 8)[0]
        if length == _UNDEFINED and kind != b"SQ":
            raise _OddError
    else:
        begin, length = at + 8, _implicit(head, at)[2]
    if length == _UNDEFINED:
        return _tag(head, at), begin, _after_sequence(head, begin, explicit=explicit)
    return _tag(head, at), begin, begin + length


def _after_sequence(head: bytes, at: int, *, explicit: bool) -> int:
    """The byte behind a sequence of undefined length whose first item begins at a byte."""
    while True:
        group, element, length = _implicit(head, at)
        at += 8
        if (group, element) == _SEQUENCE_END:
            return at
        if (group, element) != _ITEM:
            raise _OddError
        if length != _UNDEFINED:
            at += length
            continue
        while _tag(head, at) != _ITEM_END:
            at = _element(head, at, explicit=explicit)[2]
        at += 8
