"""Scores of volume, by hand."""

from math import isnan

import numpy as np
import pytest
from hypothesis import given

from strokelens.metrics import volumes
from strokelens.metrics.overlap import Counts, dice
from strokelens.metrics.volumes import Volumes
from tests.mask_strategies import Drawn, mask_pairs

TRUTH = np.zeros((10, 10, 10), bool)
TRUTH[:4] = True  # 400 voxels
PREDICTION = np.zeros((10, 10, 10), bool)
PREDICTION[:, :1] = True  # 100 voxels
EMPTY = np.zeros((10, 10, 10), bool)
SPACING_MM = (1.0, 2.0, 2.5)  # 0.005 ml


def test_scores_by_hand() -> None:
    assert volumes.evaluate(TRUTH, PREDICTION, SPACING_MM) == pytest.approx(
        {
            "volume_difference_ml": -1.5,
            "absolute_volume_difference_ml": 1.5,
            "volume_similarity": 1 - 300 / 500,
        }
    )


def test_a_difference_is_positive_where_too_much_was_found() -> None:
    assert volumes.volume_difference_ml(PREDICTION, TRUTH, SPACING_MM) == pytest.approx(1.5)


def test_two_empty_masks_have_no_difference_and_no_similarity() -> None:
    assert volumes.volume_difference_ml(EMPTY, EMPTY, SPACING_MM) == 0.0
    assert volumes.absolute_volume_difference_ml(EMPTY, EMPTY, SPACING_MM) == 0.0
    assert isnan(volumes.volume_similarity(EMPTY, EMPTY))


def test_with_one_empty_mask_the_difference_is_the_other_one() -> None:
    assert volumes.volume_difference_ml(TRUTH, EMPTY, SPACING_MM) == pytest.approx(-2.0)
    assert volumes.volume_difference_ml(EMPTY, TRUTH, SPACING_MM) == pytest.approx(2.0)
    assert volumes.volume_similarity(TRUTH, EMPTY) == volumes.volume_similarity(EMPTY, TRUTH) == 0.0


def test_evaluate_gives_every_score_under_its_function_s_name() -> None:
    values = volumes.evaluate(TRUTH, PREDICTION, SPACING_MM)
    assert values["volume_difference_ml"] == volumes.volume_difference_ml(TRUTH, PREDICTION, SPACING_MM)
    assert values["absolute_volume_difference_ml"] == volumes.absolute_volume_difference_ml(
        TRUTH, PREDICTION, SPACING_MM
    )
    assert values["volume_similarity"] == pytest.approx(volumes.volume_similarity(TRUTH, PREDICTION))


@given(mask_pairs(axes=(3,), empty=False))
def test_similarity_is_the_most_that_dice_can_be(drawn: Drawn) -> None:
    truth, prediction, _ = drawn
    assert dice(truth, prediction) <= volumes.volume_similarity(truth, prediction) + 1e-12


def test_volumes_come_from_the_counts() -> None:
    assert Volumes.of(Counts(tp=1, fp=2, fn=4, tn=9), (10.0, 10.0, 10.0)) == Volumes(truth_ml=5.0, prediction_ml=3.0)
