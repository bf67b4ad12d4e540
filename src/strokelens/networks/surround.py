"""A slice with those below and above it, as the channels of one image."""

import numpy as np
from jaxtyping import Int, Shaped

Part = tuple[slice, slice]
"""Pixels along i and j."""


def surrounded(
    stored: Shaped[np.ndarray, "z c s s"], chosen: Int[np.ndarray, "b"], part: Part, *, slices: int, maps: int
) -> Shaped[np.ndarray, "b _ i j"]:
    """The part of the chosen slices, map after map; of each map the values of so many `slices` from the lowest on.

    What lies beyond the lowest and the highest slice is 0, no value.

    >>> x = np.arange(1, 4, dtype=np.float16).reshape(3, 1, 1, 1)
    >>> surrounded(x, np.array([0, 1]), (slice(None), slice(None)), slices=3, maps=1)[:, :, 0, 0].tolist()
    [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]
    """
    count, channels = stored.shape[:2]
    i, j = part
    found = []
    for distance in range(-(slices // 2), slices // 2 + 1):
        at = chosen + distance
        inside = (at >= 0) & (at < count)
        values = np.stack([stored[z, :, i, j] for z in at.clip(0, count - 1)])
        values[~inside] = 0
        found.append(values.reshape(len(chosen), maps, channels // maps, *values.shape[2:]))
    together = np.stack(found, axis=2)  # (b, maps, slices, colours, i, j)
    return together.reshape(len(chosen), slices * channels, *together.shape[4:])
