"""Numbers of persons from numbers of scans: each person counts once, with the mean over their scans.

Conventions: scans and mirrored copies of one person are averaged. Where numbers are compared, a scan counts only if it
has all of them, so that both sides speak of the same scans.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log10, nan

import numpy as np
from jaxtyping import Float

from strokelens.evaluation.results import Row
from strokelens.metrics.overlap import f1

Value = Callable[[Row, str], float]
"""One number of a row's class; NaN where it has none."""


@dataclass(frozen=True, eq=False)
class Joint:
    """Several numbers of the same scans, averaged within each person, a column each; NaN without a scan that has all.

    `scans` of `all_scans` have all of them.
    """

    values: Float[np.ndarray, "persons columns"]
    scans: int
    all_scans: int

    def __getitem__(self, column: int) -> Float[np.ndarray, "persons"]:
        return self.values[:, column]


def averaged(values: Float[np.ndarray, "scans measures"], persons: Sequence[str]) -> Float[np.ndarray, "n measures"]:
    """The mean of each measure over each person's scans that have it, persons in the order in which they first come.

    >>> averaged(np.array([[1.0, nan], [nan, nan], [3.0, nan]]), ["a", "b", "a"])
    array([[ 2., nan],
           [nan, nan]])
    """
    place = {person: at for at, person in enumerate(dict.fromkeys(persons))}
    at = np.array([place[person] for person in persons], np.intp)
    known = ~np.isnan(values)
    sums, counts = np.zeros((2, len(place), values.shape[1]))
    np.add.at(sums, at, np.where(known, values, 0.0))
    np.add.at(counts, at, known.astype(np.float64))
    means: np.ndarray = np.divide(sums, counts, out=np.full(sums.shape, nan), where=counts > 0)
    return means


def by_person(rows: Sequence[Row], name: str, value: Value) -> Float[np.ndarray, "persons"]:
    """A number of each person: the mean over a person's rows that have it."""
    values = np.array([value(row, name) for row in rows], np.float64)[:, None]
    return averaged(values, [row.person for row in rows])[:, 0]


def jointly(name: str, *columns: tuple[Sequence[Row], Value]) -> Joint:
    """Numbers of the same scans, found by the scan's name among the rows of each column."""
    found = [{row.case_id: value(row, name) for row in rows} for rows, value in columns]
    person_of = {row.case_id: row.person for rows, _ in columns for row in rows}
    listed = [[each.get(case_id, nan) for each in found] for case_id in person_of]
    table = np.array(listed, np.float64).reshape(len(listed), len(columns))
    lacking = np.isnan(table).any(axis=1)
    table[lacking] = nan
    return Joint(averaged(table, list(person_of.values())), int((~lacking).sum()), lacking.size)


def pooled_f1(rows: Sequence[Row], name: str) -> float:
    """F1 of the voxels of all persons together, of whose scans the counts are averaged first; NaN without a voxel."""
    scored = [row for row in rows if name in row.scores]
    counts = [row.scores[name].counts for row in scored]
    table = np.array([(each.tp, each.fp, each.fn) for each in counts], np.float64).reshape(len(scored), 3)
    return f1(*averaged(table, [row.person for row in scored]).sum(axis=0).tolist())


def score(called: str) -> Value:
    """A score of a row's class, by its name in `metrics.scores`."""
    return lambda row, name: row.scores[name].values.get(called, nan) if name in row.scores else nan


def dice(row: Row, name: str) -> float:
    """The Dice of a row's class."""
    return row.scores[name]["dice"] if name in row.scores else nan


def truth_ml(row: Row, name: str) -> float:
    """The volume of the class in the truth."""
    return row.volumes[name].truth_ml if name in row.volumes else nan


def prediction_ml(row: Row, name: str) -> float:
    """The volume of the class in the prediction."""
    return row.volumes[name].prediction_ml if name in row.volumes else nan


def rarity(row: Row, name: str) -> float:
    """−log10 of the share of the image's voxels that the truth marks; NaN where it marks none."""
    if name not in row.scores:
        return nan
    counts = row.scores[name].counts
    marked = counts.tp + counts.fn
    return -log10(marked / (marked + counts.fp + counts.tn)) if marked else nan
