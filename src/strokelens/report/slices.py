"""Predictions slice by slice as pictures, as the first ancestor drew them: grey classes, heat, and the truth's outline.

Slices are turned as a radiologist sees them: columns to the patient's left, rows to the back.
"""

from typing import Final

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from scipy import ndimage

from strokelens.arrays import Mask, Region, Volume
from strokelens.case import Segmentation
from strokelens.grid import radiological
from strokelens.labels import BACKGROUND, BRAIN, CORE

Grey = UInt8[np.ndarray, "row column"]
Colours = UInt8[np.ndarray, "row column 3"]

_HYPOPERFUSED: Final = (0, 0, 255)
_CORE: Final = (255, 0, 0)
_ADDED = 85


def slices(segmentation: Segmentation, volume: Shaped[np.ndarray, "i j k"]) -> list[Shaped[np.ndarray, "row column"]]:
    """The slices of a volume on the segmentation's grid, from below to above."""
    return list(np.moveaxis(radiological(volume, segmentation.grid), (2, 1), (0, 1)))


def grey_slices(segmentation: Segmentation) -> list[Grey]:
    """The classes as the grey levels of the truth: 0, 85, 170, 255."""
    return slices(segmentation, segmentation.scheme.to_grey(segmentation.labels))


def ancestor_slices(segmentation: Segmentation, brain: Mask) -> list[Grey]:
    """The classes as the ancestor coded them: class · 255 / (classes − 1), 85 more in the brain, 85 less in a lesion.

    Of three classes these are 85, 128 and 255 in the brain, and 0, 42 and 170 outside of it: halves become even.
    """
    level = segmentation.labels * (255 / (len(segmentation.scheme) - 1))
    coded = level + _ADDED * brain.astype(np.float64) - _ADDED * (level > 0)
    return slices(segmentation, np.rint(coded).astype(np.uint8))


def backdrop_slices(segmentation: Segmentation, values: Volume) -> list[Grey]:
    """Any volume in grey, its highest value white; NaN and what is below 0 are black."""
    finite = np.nan_to_num(values)
    top = float(finite.max(initial=0))
    scaled = np.clip(finite * (255 / top if top > 0 else 0), 0, 255)
    return slices(segmentation, scaled.astype(np.uint8))


def heat(probability: Float[np.ndarray, "row column"], under: Grey) -> Colours:
    """A probability in blue, green and red, half and half with what lies under it.

    >>> heat(np.array([[0.0, 0.5, 1.0]]), np.zeros((1, 3), np.uint8)).tolist()
    [[[0, 0, 64], [64, 128, 64], [64, 0, 0]]]
    """
    rise = np.array([3.0, 2.0, 1.0])  # where red, green and blue are highest, in quarters
    jet = np.clip(1.5 - np.abs(4 * probability[..., None].astype(np.float64) - rise), 0, 1)
    mixed: Colours = np.rint((255 * jet + under[..., None].astype(np.float64)) / 2).astype(np.uint8)
    return mixed


def outlined_slices(pictures: list[Grey], truth: Segmentation) -> list[Colours]:
    """Grey slices with the outlines of the truth, two pixels wide: hypoperfused tissue blue, core over it red."""
    lesion = [label.name for label in truth.scheme if label not in (BACKGROUND, BRAIN)]
    core = [name for name in lesion if name == CORE.name] or lesion
    drawn = []
    regions = (slices(truth, truth.mask(*lesion)), slices(truth, truth.mask(*core)))
    for picture, whole, inner in zip(pictures, *regions, strict=True):
        coloured = np.repeat(picture[..., None], 3, axis=2)
        coloured[outline(whole)] = _HYPOPERFUSED
        coloured[outline(inner)] = _CORE
        drawn.append(coloured)
    return drawn


def outline(region: Region) -> Region:
    """The outer border of a region, one pixel to each side; holes have none."""
    filled = ndimage.binary_fill_holes(region)
    border: Region = ndimage.binary_dilation(filled) & ~ndimage.binary_erosion(filled, border_value=1)
    return border
