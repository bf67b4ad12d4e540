"""A case as a network of slices sees it, and back: which values of which map, on which pixels, and where they belong.

Axes: slices z from below, channels c (map after map, each with its colours), pixels i j as a radiologist sees them: i
to the patient's left, j to the back; classes n. Values are stored small, `uint8` for colours and `float16` for values,
and are of order 1 once `scaled`; 0 is no value. Padding is 0, and background.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil, nan, sqrt
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Shaped, UInt8
from scipy import ndimage

from strokelens.arrays import Volume
from strokelens.case import Case, Segmentation
from strokelens.errors import CaseError
from strokelens.grid import Grid, from_radiological, radiological
from strokelens.labels import CORE, HYPOPERFUSED, PENUMBRA, LabelScheme
from strokelens.perfusion.colormap import BAR_RANGES, VENDOR_TABLES

Form = Literal["colours", "values", "relative", "robust"]
Colours = UInt8[np.ndarray, "i j k 3"]

CLINICAL: Final[Mapping[str, float]] = MappingProxyType({"nihss": 20.0, "age_years": 100.0, "female": 1.0})
"""The clinical values that a network may see, and what each is divided by to be of order 1."""

TOPS: Final[Mapping[str, float]] = MappingProxyType(
    {name: high for name, (_, high) in BAR_RANGES.items()} | {"MIP": 255.0, "ADC": 1000.0}
)
"""The value of each channel that becomes 1."""

LATE_S: Final = 10.0
"""The seconds later than normal that become 1, where values are relative."""

_SHARES: Final = ("CBF", "CBV", "MTT")
_ARRIVALS: Final = ("TTP",)
_HIGHEST = 4.0
"""Values beyond so many times the top are cut: they are vessels and noise."""
_TAILS_PERCENT = (0.5, 99.5)
"""What lies beyond is cut before robust values are standardised: a single wild voxel would squeeze the brain."""


@dataclass(frozen=True)
class Recipe:
    """What a network sees: maps in order, and in which form; clinical values; the classes of the truth; the side."""

    maps: tuple[str, ...]
    scheme: LabelScheme
    clinical: tuple[str, ...] = ()
    form: Form = "values"
    size: int = 512

    @property
    def colours(self) -> int:
        """How many values of a map belong to each pixel."""
        return 3 if self.form == "colours" else 1


@dataclass(frozen=True)
class Frame:
    """Which pixels of a case's grid a network's pixels are: blocks of `factor` × `factor`, in the middle of `size`.

    >>> frame = Frame.of(Grid((200, 180, 3), np.diag([1.0, 1.0, 5.0, 1.0])), 128)
    >>> frame.factor, frame.reduced(np.ones((200, 180, 3), np.float32)).shape
    (2, (3, 128, 128))
    """

    grid: Grid
    factor: int
    size: int

    @classmethod
    def of(cls, grid: Grid, size: int) -> "Frame":
        """The finest frame of so many pixels a side that holds the whole slice."""
        longest = max(grid.shape[axis] for axis in grid.axes[:2])
        return cls(grid, ceil(longest / size), size)

    @property
    def pixel_mm(self) -> float:
        """The edge of a square as large as a pixel of the network."""
        first, second = (self.grid.spacing_mm[axis] for axis in self.grid.axes[:2])
        return float(self.factor * sqrt(first * second))

    def reduced(self, volume: Shaped[np.ndarray, "i j k"], *, empty: float = 0) -> Float32[np.ndarray, "z s s"]:
        """The mean of each block, of those of its pixels that are no NaN; a block without any is `empty`."""
        blocks = self._blocks(radiological(volume, self.grid).astype(np.float32, copy=False), nan)
        known = ~np.isnan(blocks)
        count = known.sum(axis=(2, 4))
        total = np.where(known, blocks, 0).sum(axis=(2, 4), dtype=np.float32)
        mean: Float32[np.ndarray, "z s s"] = np.where(count > 0, total / np.maximum(count, 1), empty).astype(np.float32)
        return mean

    def reduced_labels(self, labels: UInt8[np.ndarray, "i j k"], classes: int) -> UInt8[np.ndarray, "z s s"]:
        """The commonest class of each block, of equally common ones the last, so that small lesions stay."""
        blocks = self._blocks(radiological(labels, self.grid), 0)
        counts = np.stack([(blocks == value).sum(axis=(2, 4)) for value in range(classes)])
        last: UInt8[np.ndarray, "z s s"] = (classes - 1 - counts[::-1].argmax(axis=0)).astype(np.uint8)
        return last

    def restored(self, values: Float[np.ndarray, "z n s s"]) -> Float32[np.ndarray, "n i j k"]:
        """Values of the frame's pixels on the case's grid, between their centres by linear interpolation."""
        zoom = (1, 1, self.factor, self.factor)
        wide = values if self.factor == 1 else ndimage.zoom(values, zoom, order=1, mode="nearest", grid_mode=True)
        x, y = (self.grid.shape[axis] for axis in self.grid.axes[:2])
        (left, _), (front, _) = self._margins
        cut = np.moveaxis(wide[..., left : left + x, front : front + y], 0, -1)  # (n, i, j, k) as shown
        return np.stack([from_radiological(each, self.grid) for each in cut]).astype(np.float32, copy=False)

    @cached_property
    def _margins(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Pixels of padding before and after, along both axes as shown."""
        spare = [self.size * self.factor - self.grid.shape[axis] for axis in self.grid.axes[:2]]
        first, second = ((each // 2, each - each // 2) for each in spare)
        return first, second

    def _blocks(self, shown: Shaped[np.ndarray, "x y z"], filler: float) -> Shaped[np.ndarray, "z s f s f"]:
        padded = np.pad(np.moveaxis(shown, 2, 0), ((0, 0), *self._margins), constant_values=filler)
        side, factor = self.size, self.factor
        return padded.reshape(len(padded), side, factor, side, factor)


@dataclass(frozen=True, eq=False)
class Sample:
    """All slices of a case: `x` as stored, `y` its truth where there is one, clinical values and which are known."""

    x: Shaped[np.ndarray, "z c s s"]
    y: UInt8[np.ndarray, "z s s"] | None
    values: Float32[np.ndarray, "v"]
    known: Bool[np.ndarray, "v"]
    frame: Frame


def prepare(case: Case, recipe: Recipe, colours: Mapping[str, Colours] | None = None) -> Sample:
    """The case as the recipe wants it; `colours` are its own pictures, where it has them.

    Maps in physical units are coloured by the vendor's table where a recipe of colours finds no picture: where all of
    them are 0 or NaN is outside of the head, and black. Raises `CaseError` when a map is lacking, or a class of the
    recipe is none of the truth's.
    """
    frame = Frame.of(case.grid, recipe.size)
    own = (
        {name: colours[name] for name in recipe.maps if name in colours} if colours and recipe.form == "colours" else {}
    )
    maps = _within_head({name: _map(case, name) for name in recipe.maps if name not in own})
    planes = [_planes(own.get(name), maps.get(name), name, recipe, frame) for name in recipe.maps]
    truth = None
    if case.truth is not None:
        truth = frame.reduced_labels(_labels(case.id, case.truth, recipe.scheme), len(recipe.scheme))
    return Sample(
        np.stack([each for some in planes for each in some], axis=1), truth, *clinical_of(case.clinical, recipe), frame
    )


def clinical_of(told: Mapping[str, float], recipe: Recipe) -> tuple[Float32[np.ndarray, "v"], Bool[np.ndarray, "v"]]:
    """The recipe's clinical values, of order 1, and which of them are known; the others are 0.

    >>> from strokelens.labels import CORE_ONLY
    >>> clinical_of({"nihss": 10.0}, Recipe(("CBF",), CORE_ONLY, ("nihss", "age_years")))
    (array([0.5, 0. ], dtype=float32), array([ True, False]))
    """
    values = np.array([told.get(name, nan) / CLINICAL[name] for name in recipe.clinical], np.float32)
    return np.nan_to_num(values), ~np.isnan(values)


def scaled(stored: Shaped[np.ndarray, "*space"]) -> Float32[np.ndarray, "*space"]:
    """Stored values as a network takes them: colours from 0 to 1, values as they are."""
    values = stored.astype(np.float32)
    return values / np.float32(255) if stored.dtype == np.uint8 else values


def segmentation(probabilities: Float[np.ndarray, "z n s s"], frame: Frame, scheme: LabelScheme) -> Segmentation:
    """The likeliest class of each voxel of the case's grid, and the probabilities of all but the background.

    Raises `CaseError` when a probability is no number: no class would be likelier, and the background would be taken.
    """
    strange = np.count_nonzero(~np.isfinite(probabilities))
    if strange:
        raise CaseError(
            f"{strange} of {probabilities.size} probabilities are no numbers, which is no finding; look for absurd "
            "values in the maps, or take another model"
        )
    restored = frame.restored(probabilities)
    named = {label.name: restored[at] for at, label in enumerate(scheme) if at > 0}
    return Segmentation(restored.argmax(axis=0).astype(np.uint8), frame.grid, scheme, named)


def _labels(case_id: str, truth: Segmentation, scheme: LabelScheme) -> UInt8[np.ndarray, "i j k"]:
    """The truth in the recipe's classes; hypoperfused is penumbra and core, where it is no class of the truth."""
    both = HYPOPERFUSED in scheme and {PENUMBRA, CORE} <= set(truth.scheme)
    told = (*truth.scheme.names, *((HYPOPERFUSED.name,) if both else ()))
    lacking = [name for name in scheme.names if name not in told]
    if lacking:
        known = ", ".join(truth.scheme.names[1:])
        raise CaseError(f"{case_id}: its truth tells no {lacking[0]}, only {known}; set input.classes to what it tells")
    labels = truth.scheme.merge(truth.labels, scheme)
    if HYPOPERFUSED in scheme:
        parts = [label.name for label in (PENUMBRA, CORE) if label in truth.scheme and label not in scheme]
        labels[truth.mask(*parts)] = scheme.value(HYPOPERFUSED.name)
    return labels


def _within_head(maps: Mapping[str, Volume]) -> dict[str, Volume]:
    """The maps, NaN where all of them are 0 or NaN."""
    if not maps:
        return {}
    head = np.any([np.isfinite(volume) & (volume != 0) for volume in maps.values()], axis=0)
    return {name: np.where(head, volume, np.float32(nan)) for name, volume in maps.items()}


def _planes(
    picture: Colours | None, values: Volume | None, name: str, recipe: Recipe, frame: Frame
) -> list[Shaped[np.ndarray, "z s s"]]:
    """A map's values in the frame, one array for each of its colours: of its picture, or else painted."""
    if picture is None:
        assert values is not None
        if recipe.form != "colours":
            return [_stored(frame.reduced(_of_order_1(values, name, recipe.form)))]
        picture = _painted(values, name)
    return [np.rint(frame.reduced(picture[..., colour])).astype(np.uint8) for colour in range(3)]


def _of_order_1(values: Volume, name: str, form: Form) -> Volume:
    if form == "robust":
        return _standardised(values)
    return _relative(values, name) if form == "relative" else _by_top(values, name)


def _standardised(values: Volume) -> Volume:
    """Without its tails, less its mean over the head, in standard deviations; all 0 where a map is one value."""
    if np.isnan(values).all():
        return values
    low, high = np.nanpercentile(values, _TAILS_PERCENT).astype(np.float32)
    cut = np.clip(values, low, high)
    spread = np.float32(np.nanstd(cut, dtype=np.float64))
    centred: Volume = cut - np.float32(np.nanmean(cut, dtype=np.float64))
    return centred / spread if spread > 0 else centred


def _by_top(values: Volume, name: str) -> Volume:
    if name not in TOPS:
        raise CaseError(f"{name} has no scale of its own, so its values are not of order 1; set input.form to robust")
    return values / np.float32(TOPS[name])


def _relative(values: Volume, name: str) -> Volume:
    """Flow, volume and transit time as a share of the head's median, arrival as later than it, others by their tops."""
    if name not in (*_SHARES, *_ARRIVALS) or not np.nan_to_num(values).any():
        return _by_top(values, name)
    median = np.float32(np.median(values[np.isfinite(values) & (values != 0)]))  # 0 is air, and no value
    if name in _ARRIVALS:
        return (values - median) / np.float32(LATE_S)
    if median <= 0:
        raise CaseError(f"the median of {name} over the head is {median:g}: nothing is a share of it; look at the map")
    return values / median


def _stored(values: Float32[np.ndarray, "z s s"]) -> Shaped[np.ndarray, "z s s"]:
    small: Shaped[np.ndarray, "z s s"] = np.clip(values, -_HIGHEST, _HIGHEST).astype(np.float16)
    return small


def _map(case: Case, name: str) -> Volume:
    values = case[name]
    if values.ndim != 3:
        raise CaseError(f"{case.id}: {name} is a series; give its maps, as `strokelens maps` makes them")
    return values


def _painted(values: Volume, name: str) -> Colours:
    """A map in the vendor's colours; what has no bar is grey, its highest value white."""
    if name in BAR_RANGES:
        low, high = BAR_RANGES[name]
        return VENDOR_TABLES[name].paint(values, low=low, high=high)
    grey = np.nan_to_num(values) * np.float32(255 / TOPS.get(name, max(float(np.nanmax(values)), 1e-6)))
    picture: Colours = np.repeat(np.clip(np.rint(grey), 0, 255).astype(np.uint8)[..., None], 3, axis=3)
    return picture
