"""The ancestors' measures: against slow, obvious ways to compute the same, and beside the right ones in the tables."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import directed_hausdorff

from strokelens.case import Segmentation
from strokelens.cohorts.cohort import Cohort
from strokelens.cohorts.predictions import find_predictions
from strokelens.evaluation import legacy
from strokelens.evaluation.ancestors import ROW_MM, measure, restricted, rowwise
from strokelens.evaluation.overview import Overview
from strokelens.evaluation.results import Evaluation
from strokelens.evaluation.scoring import Plan, cases, collected
from strokelens.evaluation.tables import tables
from strokelens.grid import Grid
from strokelens.labels import CORE_PENUMBRA_BRAIN
from strokelens.metrics.overlap import Counts
from tests.nifti_files import PLAIN
from tests.test_evaluation import GROUPS, cohort, labels

__all__ = ["cohort"]

MASKS = st.lists(st.booleans(), min_size=60, max_size=60).map(lambda bits: np.array(bits, bool).reshape(5, 4, 3))


def rows_of(picture: np.ndarray) -> np.ndarray:
    """A slice (i, j) as a picture of rows and columns: i runs along a row."""
    return picture.T.astype(np.float64)


@given(MASKS, MASKS)
def test_their_hausdorff_takes_rows_for_points(truth: np.ndarray, prediction: np.ndarray) -> None:
    found = []
    for k in range(truth.shape[2]):
        one, other = rows_of(truth[:, :, k]), rows_of(prediction[:, :, k])
        found.append(max(directed_hausdorff(one, other)[0], directed_hausdorff(other, one)[0]))
    assert rowwise(truth, prediction) == pytest.approx(0.43664551 * np.mean(found), abs=1e-6)


def test_their_hausdorff_does_not_see_how_far_a_lesion_was_moved_along_the_rows_order() -> None:
    truth = np.zeros((20, 20, 4), bool)
    truth[3:6, 2:5, 1] = True
    assert rowwise(truth, np.roll(truth, 12, axis=1)) == 0.0
    assert rowwise(truth, np.roll(truth, 12, axis=0)) == pytest.approx(ROW_MM * np.sqrt(3) / 4)  # to an empty row


@given(MASKS, MASKS, MASKS)
def test_restricted_counts_are_those_of_a_loop(truth: np.ndarray, prediction: np.ndarray, where: np.ndarray) -> None:
    found = {(True, True): 0, (False, True): 0, (True, False): 0, (False, False): 0}
    for at in product(*map(range, truth.shape)):
        if where[at]:
            found[bool(truth[at]), bool(prediction[at])] += 1
    tp, fp, fn, tn = found.values()
    assert restricted(truth, prediction, where) == Counts(tp, fp, fn, tn)


def test_voxels_outside_of_the_brain_are_not_in_their_counts() -> None:
    grid = Grid((4, 1, 1), PLAIN)
    truth, prediction = (
        Segmentation(np.array(values, np.uint8)[:, None, None], grid, CORE_PENUMBRA_BRAIN)
        for values in ((0, 1, 3, 1), (3, 3, 3, 0))
    )
    assert measure(truth.mask("core"), prediction.mask("core"), truth.labels != 0).counts == Counts(
        tp=1, fp=1, fn=0, tn=1
    )


def with_measures(cohort: Cohort, folder: Path) -> Evaluation:
    plan = Plan((find_predictions(folder, cohort),), measure=measure)
    return collected(plan, cases(plan, cohort))


def test_legacy_has_their_measures_of_masks(cohort: Cohort, tmp_path: Path) -> None:
    evaluation = with_measures(cohort, tmp_path / "ours")
    (found,) = (cell for cell in legacy.cells(evaluation) if (cell.group, cell.name) == ("all", "core"))
    masks = [(labels(number) == 2, labels(number + 100) == 2) for number in GROUPS]
    unions = [(truth | prediction).sum() for truth, prediction in masks]
    shares = [(a & b).sum() / union if union else 0.0 for (a, b), union in zip(masks, unions, strict=True)]
    assert found.iou_theirs == pytest.approx(np.mean(shares))
    assert found.iou == pytest.approx(np.sum(shares) / 3)  # nobody has a core in the third
    assert found.rowwise_theirs == pytest.approx(np.mean([rowwise(*pair) for pair in masks]))
    assert found.counts_theirs is not None
    assert found.counts_theirs.tp == sum(int((a & b).sum()) for a, b in masks)
    assert found.counts_theirs.tn == sum(
        int((labels(n) == 1).sum() - ((labels(n) == 1) & (labels(n + 100) == 2)).sum()) for n in GROUPS
    )


def test_the_table_says_that_their_hausdorff_is_no_distance(cohort: Cohort, tmp_path: Path) -> None:
    made = tables(Overview(with_measures(cohort, tmp_path / "ours")), with_legacy=True)
    (found,) = (each for each in made if each.title == "The ancestors' measures")
    assert found.header[8] == "'Hausdorff', theirs: no distance"
    assert "is no distance" in found.note
    assert all(row[8] != "–" for row in found.rows)


def test_without_measures_of_masks_their_columns_are_empty(cohort: Cohort, tmp_path: Path) -> None:
    plan = Plan((find_predictions(tmp_path / "ours", cohort),))
    (cell, *_) = legacy.cells(collected(plan, cases(plan, cohort)))
    assert np.isnan(cell.rowwise_theirs)
    assert cell.counts_theirs is None
