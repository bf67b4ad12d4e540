"""Pairs of masks that hypothesis draws: slices and volumes, from empty to full, with voxels of any shape."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from strokelens.arrays import Region

Drawn = tuple[Region, Region, tuple[float, ...]]


@st.composite
def mask_pairs(draw: st.DrawFn, *, axes: tuple[int, ...] = (2, 3), empty: bool = True) -> Drawn:
    """Truth, prediction and spacing; without `empty` both have a voxel."""
    count = draw(st.sampled_from(axes))
    shape = draw(st.tuples(*[st.integers(1, 5)] * count))
    truth, prediction = (draw(npst.arrays(np.bool_, shape)) for _ in range(2))
    if not empty:
        for mask in (truth, prediction):
            mask[draw(st.tuples(*[st.integers(0, size - 1) for size in shape]))] = True
    return truth, prediction, draw(st.tuples(*[st.floats(0.3, 8.0)] * count))
