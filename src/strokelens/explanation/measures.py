"""What a map of relevance is worth: which channel and where it lies, and whether it agrees with a truth."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

import numpy as np
import torch
from jaxtyping import Float32

from strokelens.arrays import Mask
from strokelens.explain.places import (
    Inclusivity,
    Mass,
    Shares,
    inclusivity,
    mass_accuracy,
    mass_by_region,
    pointing_hit,
    rank_accuracy,
    shares,
)
from strokelens.explain.spikes import gini
from strokelens.explanation.case import Explained
from strokelens.explanation.question import Region
from strokelens.labels import BACKGROUND, BRAIN

_BRIGHT = 0.1
"""Of its largest value: what the ancestor took an input's voxels to be bright at."""


@dataclass(frozen=True)
class Worth:
    """The measures of a map: shares of channels, mass by region; with a truth how far it lies there.

    `accuracy` is of the region that is explained, `in_truth` of the truth. `with_truth` and `with_input` are the
    ancestor's inclusivity of each channel with its precision and IoU.
    """

    shares: Shares
    mass: Mapping[str, Mass]
    sparseness: float
    accuracy: float
    in_truth: float
    rank: float
    pointing: float
    with_truth: tuple[Inclusivity, ...]
    with_input: tuple[Inclusivity, ...]


def worth(explained: Explained, maps: Float32[np.ndarray, "m z s s"], target: Region) -> Worth:
    """The measures of one map; NaN where the truth shows none of the class, or is not known."""
    truth = explained.truth
    known = truth is not None and bool(truth.any())
    return Worth(
        shares(maps),
        mass_by_region(maps, regions_of(explained)),
        gini(torch.from_numpy(maps)),
        mass_accuracy(maps, target),
        mass_accuracy(maps, truth) if known and truth is not None else nan,
        rank_accuracy(maps, truth) if known and truth is not None else nan,
        pointing_hit(maps, truth) if known and truth is not None else nan,
        tuple(inclusivity(each, truth) for each in maps) if known and truth is not None else (),
        tuple(inclusivity(each, region) for each, region in zip(maps, bright(explained), strict=True)),
    )


def regions_of(explained: Explained) -> dict[str, Region]:
    """The classes that were found, the rest of both hemispheres of the head, and air; none overlap.

    The middle is that of the head from left to right. `same side` is that of the most of what is explained.
    """
    scheme, found = explained.models[0].scheme, explained.found
    head: Region = (explained.sample.x != 0).any(axis=1)
    parts = {label.name: found == at for at, label in enumerate(scheme) if label not in (BACKGROUND, BRAIN)}
    sick: Region = np.any(list(parts.values()), axis=0)
    columns = np.flatnonzero(head.any(axis=(0, 2)))
    middle = (columns[0] + columns[-1] + 1) / 2 if columns.size else head.shape[1] / 2
    left: Region = np.broadcast_to((np.arange(head.shape[1]) < middle)[None, :, None], head.shape)
    asked: Region = np.any(list(explained.targets.values()), axis=0)
    side = left if np.count_nonzero(asked & left) * 2 >= np.count_nonzero(asked) else ~left
    rest = head & ~sick
    return {**parts, "same side": rest & side, "other side": rest & ~side, "air": ~head & ~sick}


def mass_on_grid(explained: Explained, number: int) -> dict[str, Mass]:
    """Where a map lies on the case's grid: `air` is there what no map of the case shows, as in the pictures.

    In the network's pixels, which are larger, the rim of the head and the air beside it are one.
    """
    scheme, found = explained.models[0].scheme, explained.segmentation
    parts = {label.name: found.mask(label.name) for label in scheme if label not in (BACKGROUND, BRAIN)}
    sick: Mask = np.any(list(parts.values()), axis=0)
    head: Mask = np.any([np.isfinite(each) & (each != 0) for each in explained.backdrop().values()], axis=0)
    far = explained.placed(regions_of(explained)["other side"])
    well = head & ~sick
    regions = {**parts, "same side": well & ~far, "other side": well & far, "air": ~head & ~sick}
    return mass_by_region(np.stack(list(explained.maps(number).values())), regions)


def bright(explained: Explained) -> list[Region]:
    """Where each map is above a tenth of its largest value, as the ancestor binarised its inputs."""
    recipe, x = explained.models[0].recipe, explained.sample.x
    z, _, i, j = x.shape
    size = np.abs(x.reshape(z, len(recipe.maps), recipe.colours, i, j).astype(np.float32)).mean(axis=2)
    return [size[:, at] > _BRIGHT * size[:, at].max() for at in range(len(recipe.maps))]
