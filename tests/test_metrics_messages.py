"""The exact text of the scores' messages: what, which value, and the cure, on one line."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest

from strokelens.errors import GridError, LabelError, StrokelensError, UnitError
from strokelens.metrics import calibration, lesions, overlap, scores, surface, volumes

MASK = np.zeros((4, 4, 4), bool)
SLICE = np.zeros((4, 4), bool)
GAPS = np.array([[0.0, np.nan, np.nan, 1.0]])

PAIRS: list[tuple[Any, Any, type[StrokelensError], str]] = [
    (
        MASK,
        np.zeros((4, 4, 5), bool),
        GridError,
        "truth has shape (4, 4, 4) but prediction has (4, 4, 5); "
        "bring one onto the other's grid with Segmentation.onto(grid)",
    ),
    (
        np.zeros((1, 1, 4, 4, 4), bool),
        np.zeros((1, 1, 4, 4, 4), bool),
        GridError,
        "masks have 2 or 3 axes, not shape (1, 1, 4, 4, 4); give one case and one class at a time",
    ),
    (
        np.zeros(4, bool),
        np.zeros(4, bool),
        GridError,
        "masks have 2 or 3 axes, not shape (4,); give one case and one class at a time",
    ),
    (
        MASK.astype(np.uint8),
        MASK,
        LabelError,
        "truth has dtype uint8, and a mask is boolean; give truth.astype(bool)",
    ),
    (
        SLICE,
        np.array([[0, 1, 2, 2]]),
        LabelError,
        "prediction has dtype int64, and a mask is boolean; give prediction == n for one of its classes [0, 1, 2]",
    ),
    (
        SLICE,
        np.full((4, 4), 0.7, np.float32),
        LabelError,
        "prediction has dtype float32, and a mask is boolean; give prediction > 0.5",
    ),
    (
        GAPS,
        SLICE,
        LabelError,
        "truth has dtype float64, and a mask is boolean; decide what its 2 NaN are, then give truth > 0.5",
    ),
]


@pytest.mark.parametrize(
    "evaluate",
    [
        overlap.evaluate,
        lesions.evaluate,
        lambda truth, prediction: surface.evaluate(truth, prediction, (1.0,) * truth.ndim),
        lambda truth, prediction: scores.evaluate(truth, prediction, (1.0,) * truth.ndim),
        lambda truth, prediction: scores.isles22(truth, prediction, (1.0,) * truth.ndim),
        lambda truth, prediction: volumes.evaluate(truth, prediction, (1.0,) * truth.ndim),
    ],
    ids=["overlap", "lesions", "surface", "scores", "isles22", "volumes"],
)
@pytest.mark.parametrize(("truth", "prediction", "kind", "text"), PAIRS)
def test_what_is_no_pair_of_masks_is_told(
    evaluate: Callable[[Any, Any], object],
    truth: Any,
    prediction: Any,
    kind: type[StrokelensError],
    text: str,
    as_a_user: Callable[[], AbstractContextManager[None]],
) -> None:
    with as_a_user(), pytest.raises(kind) as caught:
        evaluate(truth, prediction)
    assert str(caught.value) == text


@pytest.mark.parametrize("evaluate", [surface.evaluate, volumes.evaluate, scores.evaluate, scores.isles22])
@pytest.mark.parametrize(
    ("spacing_mm", "told"),
    [
        ((1.0, 1.0), "[1.0, 1.0]"),
        ((1.0, 0.0, 1.0), "[1.0, 0.0, 1.0]"),
        ((1.0, -1.0, 1.0), "[1.0, -1.0, 1.0]"),
        ((1.0, float("nan"), 1.0), "[1.0, nan, 1.0]"),
        ((1.0, float("inf"), 1.0), "[1.0, inf, 1.0]"),
    ],
)
def test_a_wrong_spacing_is_told(evaluate: Callable[..., object], spacing_mm: tuple[float, ...], told: str) -> None:
    with pytest.raises(GridError) as caught:
        evaluate(MASK, MASK, spacing_mm)
    assert str(caught.value) == f"spacing_mm needs 3 positive lengths, one an axis, not {told}; give grid.spacing_mm"


def test_the_volume_of_a_slice_is_refused(as_a_user: Callable[[], AbstractContextManager[None]]) -> None:
    with as_a_user(), pytest.raises(GridError) as caught:
        volumes.volume_difference_ml(SLICE, SLICE, (1.0, 1.0))
    assert str(caught.value) == ("a mask of shape (4, 4) has no volume; give (i, j, 1) and the slice's thickness")


@pytest.mark.parametrize(("tolerance_mm", "told"), [(-1.0, "-1"), (float("nan"), "nan")])
def test_a_tolerance_below_0_is_told(tolerance_mm: float, told: str) -> None:
    with pytest.raises(UnitError) as caught:
        surface.surface_dice(MASK, MASK, (1.0, 1.0, 1.0), tolerance_mm=tolerance_mm)
    assert str(caught.value) == f"tolerance_mm is {told}, and a distance is 0 or more; give mm"


@pytest.mark.parametrize(
    "score", [calibration.auc, calibration.brier, calibration.expected_calibration_error, calibration.evaluate]
)
@pytest.mark.parametrize(
    ("truth", "probability", "kind", "text"),
    [
        (
            np.array([0, 1, 2]),
            np.array([0.1, 0.5, 0.9]),
            LabelError,
            "truth has dtype int64, and a mask is boolean; compare it with its class, truth == n",
        ),
        (
            np.array([True, False]),
            np.array([0.1, 0.5, 0.9]),
            GridError,
            "truth has shape (2,) but probability has (3,); "
            "give the probability of the one class that truth marks, on the same voxels",
        ),
        (
            np.array([True, False]),
            np.array([0, 1]),
            UnitError,
            "probability has dtype int64, as labels have; give the network's softmax as floats",
        ),
        (
            np.array([True, False]),
            np.array([0.1, np.nan]),
            UnitError,
            "probability is NaN in 1 voxels; leave them out: truth[known], probability[known]",
        ),
        (
            np.array([True, False]),
            np.array([12.5, 70.0]),
            UnitError,
            "probabilities lie in 0 to 1, not 12.5 to 70; divide percents by 100, or apply the softmax",
        ),
        (
            np.array([True, False]),
            np.array([-0.5, 0.5]),
            UnitError,
            "probabilities lie in 0 to 1, not -0.5 to 0.5; divide percents by 100, or apply the softmax",
        ),
    ],
)
def test_what_are_no_probabilities_is_told(
    score: Callable[[Any, Any], object],
    truth: Any,
    probability: Any,
    kind: type[StrokelensError],
    text: str,
    as_a_user: Callable[[], AbstractContextManager[None]],
) -> None:
    with as_a_user(), pytest.raises(kind) as caught:
        score(truth, probability)
    assert str(caught.value) == text
