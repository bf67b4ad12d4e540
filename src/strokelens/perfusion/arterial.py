"""The arterial input and the venous output: which voxels, and how their curves scale the maps."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from strokelens.arrays import Curve


@dataclass(frozen=True, eq=False)
class Vessels:
    """The curves that feed (`aif`) and drain (`vof`) the brain, as concentration on uniform times.

    `aif` is what the voxels show, before it is scaled by `partial_volume` = AUC(aif) / AUC(vof), the share of the
    arterial voxel that is blood; 1 where no venous curve could be used. Voxels are rows of (i, j, k).
    """

    time_s: Curve
    aif: Curve
    vof: Curve
    partial_volume: float
    aif_voxels: Int[np.ndarray, "n 3"]
    vof_voxels: Int[np.ndarray, "m 3"]
    unit: str
