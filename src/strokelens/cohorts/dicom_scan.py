"""The wanted elements of an ordinary DICOM header, found in one pass over its bytes, much faster than pydicom does.

Only what is plain is scanned: a preamble, a little-endian transfer syntax, known value representations, no functional
groups. Anything else is left to pydicom. What is found is what pydicom gives;
a test holds both against each other.
"""

import struct
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from strokelens.cohorts.dicom_elements import Tag
from strokelens.cohorts.dicom_plane import COMPRESSED

FIRST_BYTES: Final = 1 << 13
"""So many bytes hold most headers."""

_MORE_BYTES = 1 << 19
_SYNTAX: Final[Tag] = (0x0002, 0x0010)
_IMPLICIT = "1.2.840.10008.1.2"
_EXPLICIT = "1.2.840.10008.1.2.1"
_PIXELS: Final = frozenset({(0x7FE0, 0x0008), (0x7FE0, 0x0009), (0x7FE0, 0x0010)})
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_UNDEFINED = 0xFFFFFFFF
_NO_LENGTH = b"\xff\xff\xff\xff"
_MOST_PATTERNS = 24
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
    """The wanted elements of a header, all little-endian; the transfer syntax; and the byte where pixels begin.

    Without `pixels` the file ends there.
    """

    elements: Mapping[Tag, bytes]
    syntax: str
    start: int
    pixels: bool


class _OddError(Exception):
    """Something that is left to pydicom."""


@dataclass(frozen=True, eq=False)
class _Pattern:
    """A header seen before: where in its `bytes` the wanted values are, and a mask of all that lays that down.

    A header that is the same under the mask has the same elements of the same lengths.
    """

    length: int
    header: int
    mask: int
    spans: tuple[tuple[Tag, int, int], ...]
    syntax: str

    def scanned(self, head: bytes) -> Scanned | None:
        if (int.from_bytes(head[: self.length], "little") ^ self.header) & self.mask:
            return None
        elements = {tag: head[begin:end] for tag, begin, end in self.spans}
        return Scanned(elements, self.syntax, self.length - 4, pixels=True)


class Scanner:
    """Finds the wanted elements of headers, in no time where one is laid out as another was before.

    A header that is not plain, or has one of the `odd` elements, is left to pydicom.
    """

    def __init__(self, wanted: Collection[Tag], odd: Collection[Tag]) -> None:
        self._wanted, self._odd = wanted, odd
        self._patterns: list[_Pattern] = []

    def scan(self, head: bytes, more: Callable[[int], bytes]) -> Scanned | None:
        """The wanted elements of a header, of which `head` has the first bytes; None where it is not plain.

        `more` gives so many bytes from the first one on.
        """
        for at, pattern in enumerate(self._patterns):
            if (found := pattern.scanned(head)) is not None:
                if at:
                    self._patterns.insert(0, self._patterns.pop(at))
                return found
        if head[128:132] != b"DICM":
            return None
        try:
            return self._walked(head, whole=len(head) < FIRST_BYTES)
        except _OddError:
            return None
        except (IndexError, struct.error):
            if len(head) < FIRST_BYTES:
                return None
        head = more(_MORE_BYTES)  # the header goes on
        try:
            return self._walked(head, whole=len(head) < _MORE_BYTES)
        except (_OddError, IndexError, struct.error):
            return None

    def _walked(self, head: bytes, *, whole: bool) -> Scanned:
        """The elements of a header whose bytes are all there, or the file's `whole`; else raises `struct.error`."""
        syntax, at, laid = _meta(head)
        explicit = syntax != _IMPLICIT
        spans: list[tuple[Tag, int, int]] = []
        size = len(head)
        while not (whole and at == size):
            tag, begin, end = _tag(head, at), at + 8, 0
            if tag in _PIXELS:
                break
            if explicit and head[at + 4 : at + 6] in _SHORT:  # as nearly all are
                end = begin + _short_length(head, at + 6)[0]
            else:
                _, begin, end = _element(head, at, explicit=explicit)
            if tag in self._odd or tag[0] in (0, 2, 0xFFFE):
                raise _OddError
            if end > size:
                raise struct.error
            laid.append((at, begin if _is_defined(head, begin) else end))
            if tag in self._wanted:
                spans.append((tag, begin, end))
            at = end
        else:
            return Scanned({tag: head[begin:end] for tag, begin, end in spans}, syntax, at, pixels=False)
        self._keep(head[: at + 4], [*laid, (at, at + 4)], spans, syntax)
        return Scanned({tag: head[begin:end] for tag, begin, end in spans}, syntax, at, pixels=True)

    def _keep(
        self,
        head: bytes,
        laid: Iterable[tuple[int, int]],
        spans: Sequence[tuple[Tag, int, int]],
        syntax: str,
    ) -> None:
        """Remember how a header is laid out: the bytes of these ranges are what it takes."""
        mask = bytearray(len(head))
        for begin, end in laid:
            mask[begin:end] = b"\xff" * (end - begin)
        header, laid_down = int.from_bytes(head, "little"), int.from_bytes(mask, "little")
        self._patterns.insert(0, _Pattern(len(head), header, laid_down, tuple(spans), syntax))
        del self._patterns[_MOST_PATTERNS:]


def _meta(head: bytes) -> tuple[str, int, list[tuple[int, int]]]:
    """The transfer syntax, the byte where the elements begin, and the ranges of bytes that lay that down."""
    syntax, at, laid = "", 132, [(128, 132)]
    while _tag(head, at)[0] == 2:
        tag, begin, end = _element(head, at, explicit=True)
        laid.append((at, end if tag == _SYNTAX else begin))
        if tag == _SYNTAX:
            syntax = head[begin:end].decode("latin-1").strip(" \0")
        at = end
    if syntax not in (_IMPLICIT, _EXPLICIT) and not syntax.startswith(COMPRESSED):
        raise _OddError
    return syntax, at, laid


def _is_defined(head: bytes, begin: int) -> bool:
    """Whether the length before a value is not that of a sequence that ends where its end is marked."""
    return head[begin - 4 : begin] != _NO_LENGTH


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
