"""Classes in grey slices: of a truth, which may have scratches, and of a prediction, whose levels must be exact."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from jaxtyping import Int, UInt8

from strokelens.errors import LabelError
from strokelens.labels import CORE_PENUMBRA_BRAIN, LabelScheme

GREY_LEVELS: Final[Mapping[int, str]] = MappingProxyType({0: "background", 85: "brain", 170: "penumbra", 255: "core"})
"""The grey levels of a truth and their classes."""

OLD_GREY_LEVELS: Final[Mapping[int, str]] = MappingProxyType(
    {255: "background", 1: "brain", 76: "penumbra", 150: "core"}
)
"""The same in the oldest patients, told by a white border."""

FARTHEST: Final = 8
"""How far a level of a truth may lie from that of a class."""

NAME_THEM: Final = "tell what they mean with --labels 1=penumbra,2=core"
"""The cure where numbers have no meaning yet."""

_STRANGE_SHARE = 0.01
_MOST_CLASSES = 3
_BRAIN_UP_TO, _PENUMBRA_UP_TO = 90, 212.5
"""Where the first ancestor cut its predictions into brain, penumbra and core."""

_PREDICTED = frozenset({0, 42, 43, 85, 127, 128, 170, 255})
"""Its levels: class × 255 / (classes − 1), and 85 more in the brain, or less outside of it."""

Slices = Sequence[UInt8[np.ndarray, "row column"]]


def grey_labels(slices: Slices, name: str) -> list[UInt8[np.ndarray, "row column"]]:
    """The classes of `CORE_PENUMBRA_BRAIN` in a truth, in the code of 0, 85, 170, 255 or the older one.

    Each pixel takes the nearest level. Raises `LabelError` when more than 1 % of those that are no background are
    farther than 8 from any, for a lesion is often no more; and for levels 1 to 3 alone, which are numbers of classes.
    """
    counts = _counts(slices)
    levels = OLD_GREY_LEVELS if _is_old(slices) else GREY_LEVELS
    if levels is GREY_LEVELS and counts[1 : _MOST_CLASSES + 1].any() and not counts[_MOST_CLASSES + 1 :].any():
        raise LabelError(f"{name}: grey levels {_found(counts)} are numbers of classes; export it as {_shown(levels)}")
    values = np.array(list(levels))
    distance = np.abs(np.arange(256)[:, None] - values)
    table = _classes(levels)[distance.argmin(axis=1)]
    strange = np.flatnonzero((distance.min(axis=1) > FARTHEST) & (counts > 0))
    if counts[strange].sum() > _STRANGE_SHARE * counts[(table > 0) | (distance.min(axis=1) > FARTHEST)].sum():
        shown = ", ".join(str(level) for level in sorted(strange[np.argsort(-counts[strange])][:5]))
        raise LabelError(f"{name}: grey levels {shown} are none of {_shown(levels)}; export the truth again")
    return [table[each] for each in slices]


def predicted_labels(slices: Slices, name: str) -> list[UInt8[np.ndarray, "row column"]]:
    """The classes of `CORE_PENUMBRA_BRAIN` in a prediction, whose levels are those of a truth or of the first ancestor.

    The latter's are cut as its statistics did: up to 90 is brain, up to 212.5 penumbra, above it core. Raises
    `LabelError` for a single pixel of another level.
    """
    counts = _counts(slices)
    levels = frozenset(np.flatnonzero(counts).tolist())
    if levels <= OLD_GREY_LEVELS.keys() and _is_old(slices):
        return grey_labels(slices, name)
    if not levels <= _PREDICTED:
        known, found = _shown(GREY_LEVELS), _found(counts, without=_PREDICTED)
        numbers = max(levels) <= _MOST_CLASSES
        cure = NAME_THEM if numbers else "save class by class, without smoothing or JPEG"
        raise LabelError(f"{name}: grey levels {found} are none of {known}; {cure}")
    grey = np.arange(256)
    table = np.select([grey == 0, grey <= _BRAIN_UP_TO, grey <= _PENUMBRA_UP_TO], [0, 1, 2], 3).astype(np.uint8)
    return [table[each] for each in slices]


def numbered_labels(
    slices: Slices, values: Mapping[int, str], scheme: LabelScheme, name: str
) -> list[UInt8[np.ndarray, "row column"]]:
    """The classes of `scheme` in slices whose levels are integers with a meaning.

    Raises `LabelError` for a single pixel that has none.
    """
    counts = _counts(slices)
    strange = sorted(set(np.flatnonzero(counts).tolist()) - values.keys())
    if strange:
        known = ", ".join(f"{value} {label}" for value, label in sorted(values.items()))
        raise LabelError(f"{name} holds {_found(counts, without=values)}; known: {known}; correct what names them")
    table = np.zeros(256, np.uint8)
    for value, label in values.items():
        if value < table.size:
            table[value] = scheme.value(label)
    return [table[each] for each in slices]


def renamed(
    labels: UInt8[np.ndarray, "row column"], values: Mapping[int, str], scheme: LabelScheme
) -> UInt8[np.ndarray, "row column"]:
    """Classes of `CORE_PENUMBRA_BRAIN` in `scheme`, as `values` calls their grey levels."""
    if scheme == CORE_PENUMBRA_BRAIN and values == GREY_LEVELS:
        return labels
    table = np.array([scheme.value(values[label.grey]) for label in CORE_PENUMBRA_BRAIN], np.uint8)
    return np.take(table, labels)


def _is_old(slices: Slices) -> bool:
    """Whether the border is white, as in the oldest patients."""
    border = np.concatenate([np.concatenate([each[0], each[-1], each[:, 0], each[:, -1]]) for each in slices])
    return float((border > 250).mean()) > 0.5


def _counts(slices: Slices) -> Int[np.ndarray, "256"]:
    """How many pixels each level has."""
    counts: np.ndarray = sum((np.bincount(each.ravel(), minlength=256) for each in slices), np.zeros(256, np.int64))
    return counts


def _classes(levels: Mapping[int, str]) -> UInt8[np.ndarray, "levels"]:
    return np.array([CORE_PENUMBRA_BRAIN.value(label) for label in levels.values()], np.uint8)


def _found(counts: Int[np.ndarray, "256"], without: "Mapping[int, str] | frozenset[int]" = frozenset({0})) -> str:
    """Up to five levels that are there, the most frequent ones."""
    levels = [int(level) for level in np.flatnonzero(counts) if level not in without]
    return ", ".join(str(level) for level in sorted(sorted(levels, key=lambda level: -int(counts[level]))[:5]))


def _shown(levels: Mapping[int, str]) -> str:
    return ", ".join(str(level) for level in sorted(levels))
