"""Colour-coded maps: values to colours with their bar, and back to values through the bar that an image carries.

The tables are piecewise linear between colours that were measured on a vendor's bars [rgb2scalar]_. Black stands for
no value and is in no table. An image's own bar is always to be preferred: scanner versions and colour management change
colours by more than a table is accurate.

.. [rgb2scalar] Bars of 254 colours of Siemens CT Neuro Perfusion, as published with rgb2scalar; ours
   differ by at most 13 of 255 a channel, and read these bars within 0.7 % of the range.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage
from scipy.spatial import cKDTree

from strokelens.errors import FileError

Picture = UInt8[np.ndarray, "row column 3"]
"""An image in RGB, the first row on top."""

LEVELS = 256
"""How many colours a table of ours has."""

FARTHEST = 40.0
"""A colour farther than this from every colour of the table (Euclidean, of 255 a channel) is no value of the map."""

_DARKEST = 10
_SAME = 8
_LEAST_ROWS, _LEAST_COLUMNS, _LEAST_COLOURS = 64, 4, 24
_EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True, eq=False)
class ColourTable:
    """Colours from the lowest value to the highest, evenly spaced; a colour that comes twice in a row counts once.

    Raises `FileError` at birth when there are fewer than two colours.

    >>> table = ColourTable(np.array([[0, 0, 255], [0, 255, 0], [255, 0, 0]], np.uint8))
    >>> picture = table.paint(np.array([[0.0, 5.0], [10.0, np.nan]]), low=0, high=10)
    >>> picture[0, 1], picture[1, 1], table.decode(picture, low=0, high=10)[0]
    (array([  0, 255,   0], dtype=uint8), array([0, 0, 0], dtype=uint8), array([0., 5.], dtype=float32))
    """

    colours: UInt8[np.ndarray, "n 3"]

    def __post_init__(self) -> None:
        if len(np.unique(self.colours, axis=0)) < 2:
            raise FileError("a colour table needs two different colours; give the bar of the image")

    def paint(self, values: Float[np.ndarray, "*space"], *, low: float, high: float) -> UInt8[np.ndarray, "*space 3"]:
        """The colours of values; beyond `low` and `high` is the end's colour, NaN is black."""
        steps = len(self.colours) - 1
        level = np.clip((values - low) * (steps / (high - low)), 0, steps)
        places = np.nan_to_num(np.rint(level), nan=-1).astype(int)
        painted: UInt8[np.ndarray, "*space 3"] = np.concatenate([self.colours, np.zeros((1, 3), np.uint8)])[places]
        return painted

    def decode(self, picture: UInt8[np.ndarray, "*space 3"], *, low: float, high: float) -> Float[np.ndarray, "*space"]:
        """The values of colours, each by the nearest colour of the table; NaN where it is black or far from all.

        Each different colour is looked up once. A run of one colour at an end of the table is the end: values beyond
        the scale have its colour too.
        """
        values = np.full(picture.shape[:-1], np.nan, np.float32)
        lit = picture.any(axis=-1)
        unique, inverse = _unique(picture[lit])
        distance, nearest = self._tree.query(unique.astype(np.float64))
        fraction = np.where(distance <= FARTHEST, self._fractions[nearest], np.nan)
        values[lit] = (low + fraction * (high - low)).astype(np.float32)[inverse]
        return values

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(np.concatenate([self._runs[0], np.zeros((1, 3))]))

    @cached_property
    def _fractions(self) -> Float[np.ndarray, "m"]:
        """The place of each colour of the tree from 0 to 1; black, which is last, has none."""
        return np.append(self._runs[1], np.nan)

    @cached_property
    def _runs(self) -> tuple[Float[np.ndarray, "m 3"], Float[np.ndarray, "m"]]:
        """Each run of one colour, and the middle of its places from 0 to 1."""
        starts = np.flatnonzero(np.append(True, np.any(np.diff(self.colours.astype(int), axis=0), axis=1)))
        ends = np.append(starts[1:], len(self.colours)) - 1
        places = (starts + ends) / (2 * (len(self.colours) - 1))
        places[[0, -1]] = 0, 1
        return self.colours[starts].astype(np.float64), places


@dataclass(frozen=True, eq=False)
class Bar:
    """A vertical colour bar: where it lies in an image, and its table; its top is the highest value."""

    rows: slice
    columns: slice
    table: ColourTable


def _between(*knots: tuple[float, tuple[int, int, int]]) -> ColourTable:
    """The table that is linear between colours at places from 0 to 1."""
    places, colours = zip(*knots, strict=True)
    levels = np.linspace(0, 1, LEVELS)
    channels = [np.interp(levels, places, [colour[channel] for colour in colours]) for channel in range(3)]
    return ColourTable(np.rint(np.stack(channels, axis=1)).astype(np.uint8))


FLOW = _between(
    (0.0, (47, 0, 47)),
    (0.004, (63, 0, 63)),
    (0.087, (95, 0, 95)),
    (0.166, (63, 63, 129)),
    (0.308, (63, 64, 254)),
    (0.624, (127, 254, 0)),
    (0.901, (254, 254, 0)),
    (1.0, (224, 32, 31)),
)
"""Violet, blue, green, yellow, red: what the vendor colours flow and volume with."""

TIME = _between(
    (0.0, (190, 0, 191)),
    (0.25, (63, 64, 253)),
    (0.5, (0, 254, 0)),
    (0.75, (254, 254, 0)),
    (1.0, (254, 1, 0)),
)
"""Magenta, blue, green, yellow, red: what the vendor colours times with."""

BAR_RANGES: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {"CBF": (0.0, 100.0), "CBV": (0.0, 6.0), "MTT": (0.0, 20.0), "TTP": (0.0, 20.0), "Tmax": (0.0, 12.0)}
)
"""The values at the ends of the bars of the published cohort; that of MTT is not published, and taken from TTP."""

VENDOR_TABLES: Final[Mapping[str, ColourTable]] = MappingProxyType(
    {"CBF": FLOW, "CBV": FLOW, "MTT": TIME, "TTP": TIME, "Tmax": TIME}
)
"""The vendor's tables, for a map none of whose slices has a bar."""


def with_bar(picture: Picture, table: ColourTable, *, rows: slice, columns: slice) -> Picture:
    """The image with the table's bar in a block of it, the highest value on top."""
    height = rows.stop - rows.start
    places = np.rint(np.linspace(len(table.colours) - 1, 0, height)).astype(int)
    painted = picture.copy()
    painted[rows, columns] = table.colours[places][:, None]
    return painted


def find_bar(picture: Picture, *, rows: slice | None = None) -> Bar | None:
    """The vertical colour bar of an image, None where there is none.

    A bar is a block of at least 64 rows and 4 columns, each row of one colour, with 24 different colours, and black on
    its left and right. Of several the highest is taken. Where the bar's `rows` are known, they are taken if the block
    lies in them but for its darkest end.
    """
    runs = _runs(_even(picture))
    best: Bar | None = None
    for top, bottom, left, right in runs:
        if best is not None and bottom - top <= best.rows.stop - best.rows.start:
            continue
        span = rows if rows is not None and _fits(top, bottom, rows) else slice(top, bottom)
        block = picture[span, left:right]
        colours: UInt8[np.ndarray, "n 3"] = np.median(block, axis=1).astype(np.uint8)[::-1]
        if len(np.unique(colours, axis=0)) >= _LEAST_COLOURS and _alone(picture, top, bottom, left, right):
            best = Bar(span, slice(left, right), ColourTable(colours))
    return best


def map_pixels(picture: Picture, table: ColourTable, bar: Bar | None = None) -> Bool[np.ndarray, "row column"]:
    """The pixels that belong to the map: not the bar, text, or an orientation marker.

    Decided for each island of pixels that are not black: it goes if it is the bar, or if most of it has colours that
    are not the table's. No place is cleared as such, so brain beside or behind the bar's columns stays.
    """
    return _islands(picture, np.isfinite(table.decode(picture, low=0, high=1)), bar)


def decode_by(
    table: ColourTable, picture: Picture, *, low: float, high: float, bar: Bar | None
) -> Float[np.ndarray, "row column"]:
    """The values of a colour-coded map by a table; NaN where there is none.

    `low` and `high` are the values at the bar's ends, which are written beside it; `bar` is where the image has its
    own, None for nowhere.
    """
    values = table.decode(picture, low=low, high=high)
    return np.where(_islands(picture, np.isfinite(values), bar), values, np.float32(np.nan))


def share_without_value(
    stack: Sequence[Picture], values: Sequence[Float[np.ndarray, "row column"]], bars: Sequence[Bar | None]
) -> float:
    """How much of what is lit in some slices has no value, without bars, and text and marker; 0 where nothing is lit.

    The latter are what lies outside the rows and columns of the largest island of each slice.
    """
    lit = bare = 0
    for picture, shown, bar in zip(stack, values, bars, strict=True):
        bright = picture.max(axis=2) > _DARKEST
        if bar is not None:
            bright[bar.rows, bar.columns] = False
        islands, count = ndimage.label(bright, _EIGHT)
        if count:
            place = ndimage.find_objects(islands)[int(np.bincount(islands.ravel())[1:].argmax())]
            lit += int(bright[place].sum())
            bare += int((bright[place] & np.isnan(shown[place])).sum())
    return bare / lit if lit else 0.0


def _islands(
    picture: Picture, shows: Bool[np.ndarray, "row column"], bar: Bar | None
) -> Bool[np.ndarray, "row column"]:
    """The islands of lit pixels, without the bar, of which at least half `shows` colours of the table."""
    lit: Bool[np.ndarray, "row column"] = picture.max(axis=2) > _DARKEST
    if bar is not None:  # whose rows may be known, and a crop be off by one
        lit[max(bar.rows.start - 1, 0) : bar.rows.stop + 1, bar.columns] = False
    islands, count = ndimage.label(lit, _EIGHT)
    if not count:
        return lit
    share = ndimage.mean(shows, islands, np.arange(count + 1))
    kept = np.asarray(share) >= 0.5
    kept[0] = False
    of_map: Bool[np.ndarray, "row column"] = kept[islands]
    return of_map


def _unique(picture: UInt8[np.ndarray, "*space 3"]) -> tuple[UInt8[np.ndarray, "n 3"], Int[np.ndarray, "m"]]:
    """The different colours, and for each pixel which one it has."""
    flat = picture.reshape(-1, 3).astype(np.uint32)
    packed = (flat[:, 0] << 16) | (flat[:, 1] << 8) | flat[:, 2]
    codes, inverse = np.unique(packed, return_inverse=True)
    return np.stack([codes >> 16, codes >> 8, codes], axis=1).astype(np.uint8), inverse


def _even(picture: Picture) -> Bool[np.ndarray, "row column"]:
    """The pixels that are not black and look like the one on their right."""
    lit = picture.max(axis=2) > _DARKEST
    near = np.abs(np.diff(picture.astype(np.int16), axis=1)).max(axis=2) <= _SAME
    even: Bool[np.ndarray, "row column"] = np.zeros_like(lit)
    even[:, :-1] = lit[:, :-1] & lit[:, 1:] & near
    return even


def _runs(even: Bool[np.ndarray, "row column"]) -> list[tuple[int, int, int, int]]:
    """The blocks (top, bottom, left, right) of neighbouring columns whose longest run of even pixels is the same."""
    ends = [_longest_run(even[:, column]) for column in range(even.shape[1])]
    blocks: list[tuple[int, int, int, int]] = []
    start = 0
    for column in range(1, len(ends) + 1):
        if column < len(ends) and ends[column] == ends[start]:
            continue
        top, bottom = ends[start]
        if bottom - top >= _LEAST_ROWS and column - start >= _LEAST_COLUMNS - 1:
            blocks.append((top, bottom, start, column + 1))
        start = column
    return blocks


def _longest_run(flags: Bool[np.ndarray, "n"]) -> tuple[int, int]:
    """Where the longest run of True begins and ends; (0, 0) where there is none."""
    edges = np.flatnonzero(np.diff(flags, prepend=False, append=False))
    if not edges.size:
        return 0, 0
    starts, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest])


def _fits(top: int, bottom: int, rows: slice) -> bool:
    """Whether a block is the bar in `rows`, but for up to a tenth of it at the dark end."""
    reach = (rows.stop - rows.start) // 10
    return bool(abs(top - rows.start) <= 1 and rows.stop - reach <= bottom <= rows.stop + 1)


def _alone(picture: Picture, top: int, bottom: int, left: int, right: int) -> bool:
    """Whether there is black on both sides, or the image ends there."""
    beside = [picture[top:bottom, column] for column in (left - 1, right) if 0 <= column < picture.shape[1]]
    return all(float((side.max(axis=1) <= _DARKEST).mean()) > 0.9 for side in beside)
