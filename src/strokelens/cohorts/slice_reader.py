"""Reads cases whose maps are pictures, slice by slice: decoded to physical values through their bars, or as RGB."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from strokelens.case import Case, Segmentation, Source
from strokelens.cohorts.cohort import COHORT, Entry, Problem, Truth
from strokelens.cohorts.grey import FARTHEST, GREY_LEVELS, grey_labels, numbered_labels, predicted_labels, renamed
from strokelens.cohorts.slices import picture_size, read_grey, read_picture, volume_of
from strokelens.errors import CaseError, FileError, StrokelensError
from strokelens.grid import Grid, radiological_grid
from strokelens.perfusion.colormap import (
    BAR_RANGES,
    VENDOR_TABLES,
    Bar,
    Picture,
    decode_by,
    find_bar,
    map_pixels,
    share_without_value,
)

SPACING_MM: Final = (0.43664551, 0.43664551, 5.0)
"""The voxels of the published cohort."""

BY_BAR: Final = "its bar"
"""What the note of a map says that was decoded by its own bar."""

NO_BAR: Final = "the vendor's table, as no slice has a bar"
"""What the note of a map says that has no bar of its own."""

BAR_ROWS: Final = slice(129, 385)
"""Where the bar lies in a picture of 512 rows."""

_MOST_WITHOUT_VALUE = 0.1
_LEAST_MM, _MOST_MM = 0.05, 50.0


@dataclass(frozen=True, eq=False)
class Pictures:
    """The maps of a case as pictures in RGB without bar, text and marker; (i, j, k, colour) on a grid."""

    id: str
    grid: Grid
    channels: Mapping[str, UInt8[np.ndarray, "i j k 3"]]
    truth: Segmentation | None = None
    group: str | None = None
    clinical: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SliceReader:
    """Reads pictures with these voxel sizes, and these values at the ends of the bars.

    Slices are taken from below to above, seen from below, as the marker F says; pictures tell no position.
    """

    spacing_mm: tuple[float, float, float] = SPACING_MM
    scales: Mapping[str, tuple[float, float]] = field(default_factory=lambda: dict(BAR_RANGES))
    simulated: bool = False

    def told(self, about: Mapping[str, object], name: str) -> "SliceReader":
        """This reader with the voxel sizes and scales that the JSON object `about` gives.

        Raises `FileError` when they are no numbers, or no possible ones.
        """
        spacing = _numbers(about.get("spacing_mm", list(self.spacing_mm)), 3, f"{name}: spacing_mm")
        if not all(_LEAST_MM <= each <= _MOST_MM for each in spacing):
            shown = ", ".join(f"{each:g}" for each in spacing)
            raise FileError(f"{name}: spacing_mm is {shown}, not {_LEAST_MM:g} to {_MOST_MM:g} mm each; correct it")
        scales = about.get("scales", {})
        if not isinstance(scales, dict) or not set(scales) <= set(BAR_RANGES):
            raise FileError(f"{name}: scales must give two numbers for any of {', '.join(BAR_RANGES)}; correct it")
        given = {channel: _numbers(ends, 2, f"{name}: scale of {channel}") for channel, ends in scales.items()}
        for channel, (low, high) in given.items():
            if not (isfinite(low) and isfinite(high) and low < high):
                raise FileError(f"{name}: the scale of {channel} goes from {low:g} to {high:g}; correct it")
        merged = {**self.scales, **{channel: (ends[0], ends[1]) for channel, ends in given.items()}}
        return SliceReader((spacing[0], spacing[1], spacing[2]), merged, about.get("simulated") is True)

    def look(self, entry: Entry) -> tuple[Problem, ...]:
        """What the headers tell: files that are no pictures, and sizes that differ."""
        sizes: dict[tuple[int, int], Path] = {}
        files = [file for slices in entry.files.values() for file in slices]
        for file in (*files, *(entry.truth.files if entry.truth is not None else ())):
            try:
                sizes.setdefault(picture_size(file), file)
            except StrokelensError as error:
                return (Problem("unreadable", str(error), True),)
        if len(sizes) == 1:
            return ()
        shown = " and ".join(f"{rows}×{columns} ({_place(file)})" for (rows, columns), file in list(sizes.items())[:2])
        return (Problem("other-grid", f"pictures have different sizes: {shown}; export them again", True),)

    def read(self, entry: Entry, channels: Sequence[str]) -> Case:
        """The case with maps decoded to physical units, NaN where no value is shown; MIP as its grey levels."""
        pictures = {name: _stack(entry.files[name]) for name in channels}
        grid, truth = self._place_of(entry, pictures)
        volumes, notes = {}, {}
        for name, stack in pictures.items():
            slices, note = self.decoded(name, stack)
            volumes[name], notes[name] = volume_of(slices), note
        sizes = "voxel sizes as told" if self.spacing_mm != SPACING_MM else "voxel sizes of the published cohort"
        sources = {name: Source(_digest(entry.files[name]), f"{notes[name]}; {sizes}") for name in channels}
        return Case(
            entry.id, grid, volumes, truth, entry.numbers, entry.group, sources=sources, simulated=self.simulated
        )

    def read_truth(self, entry: Entry, truth: Truth) -> Case:
        """The case without channels, on the grid of its truth."""
        rows, columns = picture_size(truth.files[0])
        grid = radiological_grid((columns, rows, len(truth.files)), self.spacing_mm)
        labels = _truth_on(truth, grid)
        return Case(entry.id, grid, {}, labels, entry.numbers, entry.group, simulated=self.simulated)

    def pictures(self, entry: Entry, channels: Sequence[str]) -> Pictures:
        """The case with its maps as they are coloured, but for bar, text and marker, which become black."""
        stacks = {name: _stack(entry.files[name]) for name in channels}
        grid, truth = self._place_of(entry, stacks)
        volumes = {name: volume_of(_bare(name, stack)) for name, stack in stacks.items()}
        return Pictures(entry.id, grid, volumes, truth, entry.group, entry.numbers)

    def _place_of(self, entry: Entry, stacks: Mapping[str, Sequence[Picture]]) -> tuple[Grid, Segmentation | None]:
        """The grid of pictures of one size, and the truth on it."""
        sizes = {(*picture.shape[:2], len(stack)) for stack in stacks.values() for picture in stack}
        if len(sizes) != 1:
            found = " and ".join(sorted(f"{rows}×{columns}×{slices}" for rows, columns, slices in sizes))
            raise CaseError(f"{entry.id}: pictures have different sizes: {found or 'none'}; export them again")
        rows, columns, slices = sizes.pop()
        grid = radiological_grid((columns, rows, slices), self.spacing_mm)
        return grid, None if entry.truth is None else _truth_on(entry.truth, grid)

    def decoded(self, name: str, stack: Sequence[Picture]) -> tuple[list[Float[np.ndarray, "row column"]], str]:
        """The values of each slice, and how they were read.

        Raises `CaseError` when more than a tenth of what is shown has colours without a value.
        """
        if name not in self.scales:
            return [without_marker(picture).astype(np.float32) for picture in stack], f"{name} in grey levels"
        low, high = self.scales[name]
        bars = bars_of(stack)
        table = next((bar.table for bar in bars if bar is not None), VENDOR_TABLES[name])
        source = BY_BAR if any(bars) else NO_BAR
        slices = [
            decode_by(bar.table if bar is not None else table, picture, low=low, high=high, bar=bar)
            for picture, bar in zip(stack, bars, strict=True)
        ]
        share = share_without_value(stack, slices, bars)
        if share > _MOST_WITHOUT_VALUE:
            raise CaseError(
                f"{100 * share:.0f} % of what {name} shows has no colour of {BY_BAR if any(bars) else 'its table'}; "
                "export the map again in colours, with its bar"
            )
        return slices, f"{name} from {low:g} to {high:g} by {source}"


def read_pictures(entry: Entry, *, channels: Sequence[str] | None = None) -> Pictures:
    """A case of coloured slices in RGB, with these channels or all; the other way, decoded, is `Entry.read`.

    Raises `CaseError` when the case is of another layout, or a channel is not there.
    """
    if not isinstance(entry.reader, SliceReader):
        raise CaseError(f"{entry.id} has no coloured slices; read it with Entry.read()")
    wanted = entry.channels if channels is None else tuple(channels)
    for name in wanted:
        if name not in entry.files:
            raise CaseError(f"{entry.id} has no channel {name!r}; it has {', '.join(sorted(entry.files)) or 'none'}")
    return entry.reader.pictures(entry, wanted)


def without_marker(picture: Picture) -> UInt8[np.ndarray, "row column"]:
    """The grey levels of an image without a bar; what lies outside the box of its largest island becomes black."""
    grey: UInt8[np.ndarray, "row column"] = picture.min(axis=2)
    lit = picture.max(axis=2) > FARTHEST
    islands, count = ndimage.label(lit, np.ones((3, 3)))
    if not count:
        return np.zeros_like(grey)
    largest = int(np.bincount(islands.ravel())[1:].argmax())
    rows, columns = ndimage.find_objects(islands)[largest]
    kept = np.zeros_like(grey)
    kept[rows, columns] = grey[rows, columns]
    return kept


def _truth_on(truth: Truth, grid: Grid) -> Segmentation:
    slices = [read_grey(file) for file in truth.files]
    for file, each in zip(truth.files, slices, strict=True):
        if each.shape != (grid.shape[1], grid.shape[0]):
            size = f"{each.shape[0]}×{each.shape[1]}"
            wanted = f"{grid.shape[1]}×{grid.shape[0]}"
            raise CaseError(f"the {truth.called} {_place(file)} has {size} pixels, the maps {wanted}")
    name = f"the {truth.called} in {truth.files[0].parent.name}"
    if truth.values.keys() != GREY_LEVELS.keys():
        return Segmentation(volume_of(numbered_labels(slices, truth.values, truth.scheme, name)), grid, truth.scheme)
    drawn = not truth.by or truth.by.startswith(COHORT)
    classes = (grey_labels if drawn else predicted_labels)(slices, name)
    labels = [renamed(each, truth.values, truth.scheme) for each in classes]
    return Segmentation(volume_of(labels), grid, truth.scheme)


def _stack(files: Sequence[Path]) -> list[Picture]:
    return [read_picture(file) for file in files]


def bars_of(stack: Sequence[Picture]) -> list[Bar | None]:
    """The bar of each slice; where the one before it had one, the same place is looked at first."""
    bars: list[Bar | None] = []
    last: Bar | None = None
    block: Picture | None = None
    for picture in stack:
        if last is None or block is None or not np.array_equal(picture[last.rows, last.columns], block):
            last = find_bar(picture, rows=BAR_ROWS if picture.shape[0] == 512 else None)
            block = picture[last.rows, last.columns] if last is not None else None
        bars.append(last)
    return bars


def _bare(name: str, stack: Sequence[Picture]) -> list[Picture]:
    """The pictures without bar, text and marker."""
    if name not in VENDOR_TABLES:
        greys = [without_marker(picture) for picture in stack]
        return [np.repeat(grey[..., None], 3, axis=2) for grey in greys]
    bars = bars_of(stack)
    table = next((bar.table for bar in bars if bar is not None), VENDOR_TABLES[name])
    kept = [map_pixels(picture, table, bar) for picture, bar in zip(stack, bars, strict=True)]
    return [picture * mask[..., None].astype(np.uint8) for picture, mask in zip(stack, kept, strict=True)]


def _digest(files: Sequence[Path]) -> str:
    """The SHA-256 of the files' bytes, one after the other."""
    digest = sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _place(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"


def _numbers(value: object, count: int, what: str) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != count:
        raise FileError(f"{what} must be {count} numbers; correct it")
    for item in value:
        if not isinstance(item, int | float) or isinstance(item, bool) or (isinstance(item, int) and abs(item) > 1e9):
            raise FileError(f"{what} must be {count} numbers; correct it")
    return tuple(float(item) for item in value)
