"""What the probabilities of an evaluation tell: of each case the scores and a table of bins, of a cohort their sum."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from jaxtyping import Float

from strokelens.metrics.calibration import Reliability

BINS: Final = 10
"""The bins of probability of an evaluation's tables and its expected calibration error, each a tenth wide."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """The scores of one class of one case by name, and how many voxels of each bin of probability are true."""

    values: Mapping[str, float]
    table: Reliability


@dataclass(frozen=True, eq=False)
class CalibratedRow:
    """A model's probabilities of one case against its truth, by class; `failure` says why there are none."""

    model: str
    case_id: str
    classes: Mapping[str, Calibration] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True)
class Bin:
    """The voxels of a bin over persons, whose scans are averaged; of none, both shares are NaN."""

    voxels: float
    mean_probability: float
    frequency: float


def pooled(tables: Sequence[Reliability], persons: Sequence[str]) -> tuple[tuple[Bin, ...], float]:
    """The bins of all persons together, of whose scans the counts are averaged first, and their calibration error."""
    stacked = np.array([(each.voxels, each.probability_sum, each.true_voxels) for each in tables], np.float64)
    weights = np.array([1 / persons.count(person) for person in persons])
    voxels, sums, true = np.einsum("s,scb->cb", weights, stacked)
    means, shares = _ratio(sums, voxels), _ratio(true, voxels)
    error = float(np.abs(sums - true).sum() / voxels.sum()) if voxels.sum() else float("nan")
    bins = zip(voxels.tolist(), means.tolist(), shares.tolist(), strict=True)
    return tuple(Bin(*each) for each in bins), error


def _ratio(part: Float[np.ndarray, "bins"], whole: Float[np.ndarray, "bins"]) -> Float[np.ndarray, "bins"]:
    shares: np.ndarray = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return shares
