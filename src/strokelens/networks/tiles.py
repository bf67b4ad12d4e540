"""Windows that cover a slice, and how much a pixel counts in each: for networks that see a slice piece by piece."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def windows(size: int, tile: int, step: int) -> tuple[int, ...]:
    """Where windows of `tile` pixels begin along a side of `size`: every `step`, or nearer, and the last at the end.

    No pixel is left out, whatever the step; a side that is no longer than a window has one.

    >>> windows(100, 32, 24), windows(32, 32, 8), windows(96, 32, 64)
    ((0, 24, 48, 68), (0,), (0, 32, 64))
    """
    if size <= tile:
        return (0,)
    return (*range(0, size - tile, min(step, tile)), size - tile)


def smooth_weight(tile: int) -> Float[Tensor, "t t"]:
    """How much each pixel of a window counts where windows overlap: most in the middle, at the border nearly nothing.

    >>> smooth_weight(2)
    tensor([[0.2500, 0.2500],
            [0.2500, 0.2500]])
    """
    side = torch.sin(math.pi * (torch.arange(tile) + 0.5) / tile).square()
    return side[:, None] * side
