"""The part of slices that shows anything, on the network's own lattice: what is outside of it is not computed."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool

from strokelens.networks.fusion import STRIDE

MARGIN: Final = 16
"""Pixels around the brain that are computed at least: what lies beyond the box is absent to a network, not black."""


@dataclass(frozen=True)
class Box:
    """The pixels of a slice that are computed."""

    i: slice
    j: slice

    @classmethod
    def around(
        cls, shown: Bool[np.ndarray, "s s"], *, stride: int = STRIDE, margin: int = MARGIN, least: int = STRIDE
    ) -> "Box":
        """The box that holds what is shown and `margin` pixels around it, from a multiple of `stride` to one.

        So each voxel of a bottleneck covers the same pixels in the box as it does in the slice. A side that the stride
        does not divide, and one that shows nothing, is taken whole.
        """
        i, j = (_span(np.any(shown, axis=axis), stride, margin, least) for axis in (1, 0))
        return cls(i, j)

    def corner(self, side: int) -> tuple[int, int] | None:
        """The voxel of the bottleneck at which it begins in a slice; None where it is all of it."""
        whole = slice(0, side)
        return None if (self.i, self.j) == (whole, whole) else (self.i.start // STRIDE, self.j.start // STRIDE)

    def mirrored(self, side: int) -> "Box":
        """Where it lies in the mirrored slice."""
        return Box(slice(side - self.i.stop, side - self.i.start), self.j)


def box_of_volume(shown: Bool[np.ndarray, "s s"], stride: int) -> Box:
    """The box of a volume that is computed, in training as when it is asked: without a margin, as norms are of it all.

    It is two voxels of the bottleneck wide at least, where the slice is: a norm of a single one says nothing.
    """
    return Box.around(shown, stride=stride, margin=0, least=2 * stride)


def _span(shown: Bool[np.ndarray, "s"], stride: int, margin: int, least: int) -> slice:
    side, places = len(shown), np.flatnonzero(shown)
    if side % stride or not places.size:
        return slice(0, side)
    start = max(0, int(places[0]) - margin) // stride * stride
    stop = -(-(int(places[-1]) + 1 + margin) // stride) * stride
    start = min(start, max(0, side - least))
    stop = max(stop, start + least)
    return slice(start, min(stop, side))
