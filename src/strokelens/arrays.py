"""Arrays with letters for their axes, the same everywhere: voxels `i j k`, frames `t`, points `n`."""

import numpy as np
from jaxtyping import Bool, Float, Real, UInt8

Affine = Real[np.ndarray, "4 4"]
"""Voxel indices (i, j, k, 1) to RAS+ world positions in mm."""

Volume = Float[np.ndarray, "i j k"]
"""One channel, on a grid."""

Series = Float[np.ndarray, "i j k t"]
"""One channel over time, frames last."""

Mask = Bool[np.ndarray, "i j k"]
"""A set of voxels."""

Region = Bool[np.ndarray, "*space"]
"""A set of voxels of a slice (i, j) or a volume (i, j, k)."""

Labels = UInt8[np.ndarray, "i j k"]
"""One label per voxel."""

Curve = Float[np.ndarray, "t"]
"""One value per frame."""

Curves = Float[np.ndarray, "n t"]
"""One curve per voxel of a list of voxels."""

Points = Float[np.ndarray, "*n 3"]
"""Positions, three coordinates last."""
