"""A case as a network of slices sees it, and back: which values of which map, on which pixels, and where they belong.

Axes: slices z from below, channels c (map after map, each with its colours), pixels i j as a radiologist sees them: i
to the patient's left, j to the back; classes n. Values are stored small, `uint8` for colours and `float16` for values,
and are of order 1 once `scaled`; 0 is no value. Padding is 0, and background.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import nan
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Shaped, UInt8

from strokelens.arrays import Volume
from strokelens.case import Case, Segmentation
from strokelens.errors import CaseError
from strokelens.frames import Lattice, Resampling, lattice_of
from strokelens.labels import CORE, HYPOPERFUSED, PENUMBRA, LabelScheme
from strokelens.perfusion.colormap import BAR_RANGES, VENDOR_TABLES

Form = Literal["colours", "values", "relative", "robust", "minmax"]
Colours = UInt8[np.ndarray, "i j k 3"]

CLINICAL: Final[Mapping[str, float]] = MappingProxyType(
    {
        "nihss": 20.0,
        "age_years": 100.0,
        "female": 1.0,
        "since_stroke_min": 300.0,
        "to_treatment_min": 300.0,
        "tici": 3.0,
        "mrs": 6.0,
    }
)
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
    """What a network sees: maps in order, and in which form; clinical values; the classes of the truth; the side.

    `depth` are the slices that a case is stretched to, its own where it is None. A recipe that `may_lack` maps takes a
    case without some of them, which then have no value anywhere.
    """

    maps: tuple[str, ...]
    scheme: LabelScheme
    clinical: tuple[str, ...] = ()
    form: Form = "values"
    size: int = 512
    resampling: Resampling = "area"
    depth: int | None = None
    may_lack: bool = False

    @property
    def colours(self) -> int:
        """How many values of a map belong to each pixel."""
        return 3 if self.form == "colours" else 1


@dataclass(frozen=True, eq=False)
class Sample:
    """All slices of a case: `x` as stored, `y` its truth where there is one, clinical values and which are known."""

    x: Shaped[np.ndarray, "z c s s"]
    y: UInt8[np.ndarray, "z s s"] | None
    values: Float32[np.ndarray, "v"]
    known: Bool[np.ndarray, "v"]
    frame: Lattice


def prepare(case: Case, recipe: Recipe, colours: Mapping[str, Colours] | None = None) -> Sample:
    """The case as the recipe wants it; `colours` are its own pictures, where it has them.

    Maps in physical units are coloured by the vendor's table where a recipe of colours finds no picture: where all of
    them are 0 or NaN is outside of the head, and black. Raises `CaseError` when a map is lacking, or a class of the
    recipe is none of the truth's.
    """
    frame = lattice_of(case.grid, recipe.size, recipe.resampling, recipe.depth)
    own = (
        {name: colours[name] for name in recipe.maps if name in colours} if colours and recipe.form == "colours" else {}
    )
    there = {name: _map(case, name) for name in recipe.maps if name not in own and not _lacks(case, name, recipe)}
    if not there and not own:
        raise CaseError(
            f"{case.id} has none of {', '.join(recipe.maps)}; it has {', '.join(case.channels) or 'nothing'}"
        )
    maps = there if recipe.form == "minmax" else _within_head(there)
    planes = [_planes(own.get(name), maps.get(name), name, recipe, frame) for name in recipe.maps]
    truth = None
    if case.truth is not None:
        truth = frame.reduced_labels(labels_in(case.id, case.truth, recipe.scheme), len(recipe.scheme))
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


def labels_in(case_id: str, truth: Segmentation, scheme: LabelScheme) -> UInt8[np.ndarray, "i j k"]:
    """The truth in the recipe's classes; hypoperfused is penumbra and core, where it is no class of the truth.

    Raises `CaseError` when a class of the recipe is none of the truth's.
    """
    both = HYPOPERFUSED in scheme and {PENUMBRA, CORE} <= set(truth.scheme)
    told = (*truth.scheme.names, *((HYPOPERFUSED.name,) if both else ()))
    lacking = [name for name in scheme.names if name not in told]
    if lacking:
        known = ", ".join(truth.scheme.names[1:])
        raise CaseError(
            f"{case_id}: its truth tells no {lacking[0]}, only {known}; set input.classes and target to those"
        )
    labels = truth.scheme.merge(truth.labels, scheme)
    if HYPOPERFUSED in scheme:
        parts = [label.name for label in (PENUMBRA, CORE) if label in truth.scheme and label not in scheme]
        labels[truth.mask(*parts)] = scheme.value(HYPOPERFUSED.name)
    return labels


def segmentation(probabilities: Float[np.ndarray, "z n s s"], frame: Lattice, scheme: LabelScheme) -> Segmentation:
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


def _within_head(maps: Mapping[str, Volume]) -> dict[str, Volume]:
    """The maps, NaN where all of them are 0 or NaN."""
    if not maps:
        return {}
    head = np.any([np.isfinite(volume) & (volume != 0) for volume in maps.values()], axis=0)
    return {name: np.where(head, volume, np.float32(nan)) for name, volume in maps.items()}


def _planes(
    picture: Colours | None, values: Volume | None, name: str, recipe: Recipe, frame: Lattice
) -> list[Shaped[np.ndarray, "z s s"]]:
    """A map's values in the frame, one array for each of its colours: of its picture, or else painted."""
    if picture is None and values is None:
        nothing = frame.reduced(np.zeros(frame.grid.shape, np.float32))
        return [nothing.astype(np.uint8 if recipe.form == "colours" else np.float16)] * recipe.colours
    if picture is None:
        assert values is not None
        if recipe.form != "colours":
            return [_stored(frame.reduced(_of_order_1(values, name, recipe.form)))]
        picture = _painted(values, name)
    return [np.rint(frame.reduced(picture[..., colour])).astype(np.uint8) for colour in range(3)]


def _of_order_1(values: Volume, name: str, form: Form) -> Volume:
    if form == "robust":
        return _standardised(values)
    if form == "minmax":
        return _stretched(values)
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


def _stretched(values: Volume) -> Volume:
    """From the lowest voxel as 0 to the highest as 1; as it is where all are one. What is no number is 0 before."""
    whole: Volume = np.nan_to_num(values)
    low, high = whole.min(), whole.max()
    return (whole - low) / (high - low) if high > low else whole


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


def _lacks(case: Case, name: str, recipe: Recipe) -> bool:
    return recipe.may_lack and name not in case.channels


def _map(case: Case, name: str) -> Volume:
    if name not in case.channels:
        raise lacking(case.id, name, case.channels)
    values = case[name]
    if values.ndim != 3:
        raise CaseError(f"{case.id}: {name} is a series; give its maps, as `strokelens maps` makes them")
    return values


def lacking(case_id: str, name: str, there: Collection[str]) -> CaseError:
    """The error for a map that a network needs and a case has not."""
    told = ", ".join(sorted(there)) or "nothing"
    cure = "add it, or take a network that was trained with augmentation.drop_map"
    return CaseError(f"{case_id} has no {name}, which the network sees, but {told}; {cure}")


def _painted(values: Volume, name: str) -> Colours:
    """A map in the vendor's colours; what has no bar is grey, its highest value white."""
    if name in BAR_RANGES:
        low, high = BAR_RANGES[name]
        return VENDOR_TABLES[name].paint(values, low=low, high=high)
    grey = np.nan_to_num(values) * np.float32(255 / TOPS.get(name, max(float(np.nanmax(values)), 1e-6)))
    picture: Colours = np.repeat(np.clip(np.rint(grey), 0, 255).astype(np.uint8)[..., None], 3, axis=3)
    return picture
