"""Every score of one truth and prediction at once, and tables of many patients that tell how many each score counts.

Conventions: those of overlap, surface, lesions and volumes, which define the scores. The unit is in the name; a score
without one is a share or a number. What is costly, the box, the surfaces and the lesions, is found once for all.

Empty cases: those of the modules. A score that a patient does not have is NaN, and a table leaves it out and says so,
"18 of 20". A slice has no volume: the scores of volumes are absent for masks of two axes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from types import MappingProxyType

import numpy as np

from strokelens.arrays import Mask, Region
from strokelens.metrics import surface, volumes
from strokelens.metrics.lesions import Lesions
from strokelens.metrics.overlap import Counts
from strokelens.metrics.pairs import Pair
from strokelens.metrics.surface import Distances, Edges
from strokelens.metrics.volumes import Volumes


@dataclass(frozen=True)
class Scores:
    """The scores of one pair of masks by name, and its counts of voxels, which add up over patients.

    >>> mask = np.zeros((9, 9, 9), bool)
    >>> mask[2:6, 2:6, 2:6] = True
    >>> scores = evaluate(mask, np.roll(mask, 1, axis=0), (1.0, 1.0, 2.0))
    >>> scores["dice"], scores["hd_mm"], scores["volume_difference_ml"]
    (0.75, 1.0, 0.0)
    >>> scores.counts
    Counts(tp=48, fp=16, fn=16, tn=649)
    """

    values: Mapping[str, float]
    counts: Counts

    def __getitem__(self, name: str) -> float:
        return self.values[name]

    def __reduce__(self) -> tuple[object, ...]:
        """How it goes to another process: a mapping that only shows another one does not."""
        return _frozen, (dict(self.values), self.counts)


@dataclass(frozen=True)
class Summary:
    """One score over patients: mean, standard deviation (n − 1) and median of the `used` ones of `total` that have it.

    NaN where too few have it: none for the mean and the median, less than two for the deviation.

    >>> print(Summary.of([0.5, nan, 0.7]))
    0.600 ± 0.141 (2 of 3)
    """

    mean: float
    deviation: float
    median: float
    used: int
    total: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Summary":
        """Summarise one score of all patients, NaN where a patient has none."""
        every = np.array(values, np.float64)
        used = every[~np.isnan(every)]
        return cls(
            mean=float(used.mean()) if used.size else nan,
            deviation=float(used.std(ddof=1)) if used.size > 1 else nan,
            median=float(np.median(used)) if used.size else nan,
            used=used.size,
            total=every.size,
        )

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.deviation:.3f} ({self.used} of {self.total})"


def evaluate(
    truth: Region, prediction: Region, spacing_mm: Sequence[float], *, edges_mm: Edges | None = None
) -> Scores:
    """Every score of one pair of masks; `edges_mm` are the voxel's edges, one a column, if not at right angles.

    >>> nothing = np.zeros((8, 8), bool)
    >>> scores = evaluate(nothing, nothing, (1.0, 1.0))
    >>> scores["dice"], scores["dice_isles"], scores["hd_mm"], "volume_difference_ml" in scores.values
    (nan, 1.0, nan, False)
    """
    surface.validate(truth, prediction, spacing_mm)
    pair = Pair.of(truth, prediction)
    counts = Counts.of(pair)
    values = {
        **counts.evaluate(),
        **Distances.of(pair, spacing_mm, edges_mm).evaluate(),
        **Lesions.of(pair).evaluate(),
        **(volumes_of(counts, spacing_mm, edges_mm).evaluate() if truth.ndim == 3 else {}),
    }
    return _frozen(values, counts)


def volumes_of(counts: Counts, spacing_mm: Sequence[float], edges_mm: Edges | None = None) -> Volumes:
    """The volumes of counted voxels; by their edges, where these are not at right angles."""
    if edges_mm is None:
        return Volumes.of(counts, spacing_mm)
    return Volumes.of_voxels(counts, abs(float(np.linalg.det(edges_mm))) / 1000)


def isles22(truth: Mask, prediction: Mask, spacing_mm: Sequence[float]) -> dict[str, float]:
    """The four numbers that ISLES'22 ranks by, without the work for others.

    >>> mask = np.zeros((9, 9, 9), bool)
    >>> mask[2:6, 2:6, 2:6] = True
    >>> isles22(mask, np.roll(mask, 1, axis=0), (1.0, 1.0, 2.0))
    {'dice_isles': 0.75, 'absolute_volume_difference_ml': 0.0,
     'absolute_lesion_count_difference': 0, 'f1_isles22': 1.0}
    """
    volumes.validate(truth, prediction, spacing_mm)
    pair = Pair.of(truth, prediction)
    counts, lesions = Counts.of(pair), Lesions.of(pair)
    return {
        "dice_isles": counts.dice_isles,
        "absolute_volume_difference_ml": abs(Volumes.of(counts, spacing_mm).difference_ml),
        "absolute_lesion_count_difference": abs(lesions.count_difference),
        "f1_isles22": lesions.f1_isles22,
    }


def summary(patients: Iterable[Scores]) -> dict[str, Summary]:
    """Each score over patients, in the order in which they first come; who has none is counted and left out.

    F1 of all voxels together is `overlap.f1_pooled` of the patients' counts.

    >>> mask = np.zeros((4, 4, 4), bool)
    >>> mask[0] = True
    >>> patients = [evaluate(mask, mask, (1, 1, 1)), evaluate(mask & ~mask, mask & ~mask, (1, 1, 1))]
    >>> print(summary(patients)["dice"], summary(patients)["dice_isles"], sep=", ")
    1.000 ± nan (1 of 2), 1.000 ± 0.000 (2 of 2)
    """
    everyone = list(patients)
    names = dict.fromkeys(name for scores in everyone for name in scores.values)
    return {name: Summary.of([scores.values.get(name, nan) for scores in everyone]) for name in names}


def _frozen(values: dict[str, float], counts: Counts) -> Scores:
    return Scores(MappingProxyType(values), counts)
