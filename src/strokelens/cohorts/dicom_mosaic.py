"""What the private header of a Siemens mosaic tells: how many slices are in the picture, and which way they go on."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

_MAGIC = b"SV10"
_MOST_TAGS, _MOST_ITEMS = 1000, 1000
_TAG_BYTES, _ITEM_BYTES = 84, 16
_integer = struct.Struct("<i").unpack_from


@dataclass(frozen=True)
class Mosaic:
    """A picture of `across` × `across` tiles, row by row; the first `count` of them are slices along `normal`."""

    count: int
    normal: tuple[float, float, float]

    @property
    def across(self) -> int:
        """How many tiles are beside each other.

        >>> [Mosaic(count, (0.0, 0.0, 1.0)).across for count in (9, 10, 48)]
        [3, 4, 7]
        """
        return next(side for side in range(1, self.count + 1) if side * side >= self.count)


def mosaic_of(csa: bytes) -> Mosaic | None:
    """The mosaic that a CSA image header (version 2) describes; None where it does not."""
    try:
        told = _values(csa)
        (count,) = map(int, told.get("NumberOfImagesInMosaic", ()))
        x, y, z = map(float, told.get("SliceNormalVector", ()))
    except (ValueError, struct.error):
        return None
    if not 1 < count <= _MOST_ITEMS or not all(map(isfinite, (x, y, z))) or not 0.9 < x * x + y * y + z * z < 1.1:
        return None
    return Mosaic(count, (x, y, z))


def _values(csa: bytes) -> Mapping[str, Sequence[str]]:
    """The values of each tag that has some, as text; raises `struct.error` where the bytes end too soon."""
    if csa[:4] != _MAGIC:
        return {}
    found: dict[str, list[str]] = {}
    at = 16
    for _ in range(min(_integer(csa, 8)[0], _MOST_TAGS)):
        name = csa[at : at + 64].partition(b"\0")[0].decode("latin-1")
        items = _integer(csa, at + 76)[0]
        at += _TAG_BYTES
        for _ in range(min(items, _MOST_ITEMS)):
            length = max(_integer(csa, at + 4)[0], 0)
            at += _ITEM_BYTES
            text = csa[at : at + length].partition(b"\0")[0].decode("latin-1").strip()
            at += -(-length // 4) * 4
            if text:
                found.setdefault(name, []).append(text)
    return found
