"""Scores of volume: how much was found, no matter where.

Conventions: ml, from the voxels' edges in mm; a difference is prediction − truth, positive where too much was found.
Masks have three axes, because a slice has an area and no volume.

Metrics: signed and absolute volume difference, volume similarity.

References:
    Taha & Hanbury 2015, BMC Med Imaging 15:29 (volume similarity); ISLES'22, eval_utils.py (absolute difference).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from strokelens.arrays import Mask
from strokelens.errors import GridError
from strokelens.metrics import pairs
from strokelens.metrics.overlap import Counts
from strokelens.metrics.pairs import Pair


@dataclass(frozen=True)
class Volumes:
    """The volumes of truth and prediction."""

    truth_ml: float
    prediction_ml: float

    @classmethod
    def of(cls, counts: Counts, spacing_mm: Sequence[float]) -> "Volumes":
        """The volumes of counted voxels with edges at right angles."""
        return cls.of_voxels(counts, prod(float(length) for length in spacing_mm) / 1000)

    @classmethod
    def of_voxels(cls, counts: Counts, voxel_ml: float) -> "Volumes":
        """The volumes of counted voxels of any form."""
        return cls((counts.tp + counts.fn) * voxel_ml, (counts.tp + counts.fp) * voxel_ml)

    @property
    def difference_ml(self) -> float:
        """Prediction − truth; 0 when both are empty."""
        return self.prediction_ml - self.truth_ml

    @property
    def similarity(self) -> float:
        """1 − |prediction − truth| / (prediction + truth); NaN when both are empty."""
        total_ml = self.prediction_ml + self.truth_ml
        return 1 - abs(self.difference_ml) / total_ml if total_ml else float("nan")

    def evaluate(self) -> dict[str, float]:
        """Every score of these volumes, by name."""
        return {
            "volume_difference_ml": self.difference_ml,
            "absolute_volume_difference_ml": abs(self.difference_ml),
            "volume_similarity": self.similarity,
        }


def validate(truth: Mask, prediction: Mask, spacing_mm: Sequence[float]) -> None:
    """Raise what `pairs.validate` raises, and `GridError` for slices or a wrong spacing."""
    pairs.validate(truth, prediction)
    if truth.ndim != 3:
        raise GridError(f"a mask of shape {truth.shape} has no volume; give (i, j, 1) and the slice's thickness")
    pairs.validate_spacing(spacing_mm, truth.ndim)


def volume_difference_ml(truth: Mask, prediction: Mask, spacing_mm: Sequence[float]) -> float:
    """Volume of the prediction − volume of the truth.

    An empty mask has the volume 0, so that two empty masks differ by 0.

    >>> import numpy as np
    >>> mask = np.ones((10, 10, 10), bool)
    >>> volume_difference_ml(mask, mask & ~mask, (1.0, 1.0, 2.0))
    -2.0
    """
    return _volumes(truth, prediction, spacing_mm).difference_ml


def absolute_volume_difference_ml(truth: Mask, prediction: Mask, spacing_mm: Sequence[float]) -> float:
    """|Volume of the prediction − volume of the truth|, as in ISLES'22 and ISLES'24.

    An empty mask has the volume 0, so that two empty masks differ by 0.

    >>> import numpy as np
    >>> mask = np.ones((10, 10, 10), bool)
    >>> absolute_volume_difference_ml(mask, mask & ~mask, (1.0, 1.0, 2.0))
    2.0
    """
    return abs(_volumes(truth, prediction, spacing_mm).difference_ml)


def volume_similarity(truth: Mask, prediction: Mask) -> float:
    """1 − |prediction − truth| / (prediction + truth), by voxels: what Dice would be if all were in the right place.

    NaN when both are empty, 0 when one is.

    >>> import numpy as np
    >>> mask = np.zeros((4, 4, 4), bool)
    >>> mask[0] = True
    >>> volume_similarity(mask, mask[::-1]), volume_similarity(mask, ~mask)
    (1.0, 0.5)
    """
    return _volumes(truth, prediction, (1.0, 1.0, 1.0)).similarity


def evaluate(truth: Mask, prediction: Mask, spacing_mm: Sequence[float]) -> dict[str, float]:
    """Every score of this module for one pair of masks, by name.

    >>> import numpy as np
    >>> mask = np.ones((10, 10, 10), bool)
    >>> evaluate(mask, mask, (1.0, 1.0, 1.0))
    {'volume_difference_ml': 0.0, 'absolute_volume_difference_ml': 0.0, 'volume_similarity': 1.0}
    """
    return _volumes(truth, prediction, spacing_mm).evaluate()


def _volumes(truth: Mask, prediction: Mask, spacing_mm: Sequence[float]) -> Volumes:
    validate(truth, prediction, spacing_mm)
    return Volumes.of(Counts.of(Pair.of(truth, prediction)), spacing_mm)
