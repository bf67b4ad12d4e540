"""The same numbers as MedPy and MONAI where the definitions agree; skipped where they are not installed.

They are in the extra `peers`: `.venv/bin/python -m pip install -c constraints.txt -e '.[peers]'`.
"""

from math import isnan
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from strokelens.arrays import Region
from strokelens.metrics import calibration
from strokelens.metrics.scores import evaluate

pytestmark = pytest.mark.filterwarnings("ignore")  # a peer's warnings are its own

TOLERANCE = 1e-6


def peer(module: str) -> Any:
    """A module of a peer, or a skip."""
    return pytest.importorskip(module, reason=f"{module} is not installed; it is in the extra 'peers'")


def blobs(seed: int, shape: tuple[int, ...], level: float) -> Region:
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    mask: np.ndarray = smooth > level * smooth.std()
    return mask


CASES = {
    "slice": (blobs(0, (40, 50), 1.0), blobs(1, (40, 50), 0.8), (0.9, 0.7)),
    "volume": (blobs(2, (30, 28, 20), 1.2), blobs(3, (30, 28, 20), 1.0), (0.9, 0.9, 2.0)),
    "at the border": (blobs(4, (16, 16, 9), -0.5), blobs(5, (16, 16, 9), 0.0), (1.0, 1.1, 5.0)),
    "similar": (blobs(6, (30, 28, 20), 1.2), blobs(6, (30, 28, 20), 1.1), (2.0, 2.0, 2.0)),
    "one voxel": (blobs(7, (20, 20, 20), 1.0), np.arange(8000).reshape(20, 20, 20) == 4210, (0.5, 0.5, 0.8)),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Region, Region, tuple[float, ...]]:
    return CASES[request.param]


def test_medpy_has_the_same_scores_of_overlap(case: tuple[Region, Region, tuple[float, ...]]) -> None:
    binary = peer("medpy.metric.binary")
    truth, prediction, spacing_mm = case
    ours = evaluate(truth, prediction, spacing_mm)
    for name in ("dc", "jc", "precision", "recall", "specificity"):
        own_name = {"dc": "dice", "jc": "jaccard"}.get(name, name)
        assert ours[own_name] == pytest.approx(getattr(binary, name)(prediction, truth), abs=TOLERANCE), name


def test_medpy_has_the_same_distances(case: tuple[Region, Region, tuple[float, ...]]) -> None:
    binary = peer("medpy.metric.binary")
    truth, prediction, spacing_mm = case
    ours = evaluate(truth, prediction, spacing_mm)
    assert ours["hd_mm"] == pytest.approx(binary.hd(prediction, truth, spacing_mm), abs=TOLERANCE)
    assert ours["hd95_pooled_mm"] == pytest.approx(binary.hd95(prediction, truth, spacing_mm), abs=TOLERANCE)
    assert ours["assd_pooled_mm"] == pytest.approx(binary.assd(prediction, truth, spacing_mm), abs=TOLERANCE)
    directed = [binary.asd(prediction, truth, spacing_mm), binary.asd(truth, prediction, spacing_mm)]
    assert ours["assd_isles_mm"] == pytest.approx(sum(directed) / 2, abs=TOLERANCE)


def test_monai_has_the_same_distances(case: tuple[Region, Region, tuple[float, ...]]) -> None:
    metrics, torch = peer("monai.metrics"), peer("torch")
    truth, prediction, spacing_mm = case
    ours = evaluate(truth, prediction, spacing_mm)
    pair = [torch.tensor(mask[None, None].astype(np.uint8)) for mask in (prediction, truth)]
    options = {"include_background": True, "spacing": spacing_mm}
    theirs = {
        "hd_mm": metrics.compute_hausdorff_distance(*pair, **options),
        "hd95_max_mm": metrics.compute_hausdorff_distance(*pair, percentile=95, **options),
        "assd_pooled_mm": metrics.compute_average_surface_distance(*pair, symmetric=True, **options),
        "surface_dice_1mm": metrics.compute_surface_dice(*pair, [1.0], **options),
        "surface_dice_2mm": metrics.compute_surface_dice(*pair, [2.0], **options),
    }
    for name, value in theirs.items():  # in float32, so that the tolerance is also a relative one
        assert ours[name] == pytest.approx(value.item(), abs=TOLERANCE, rel=TOLERANCE), name


def test_monai_has_the_same_dice(case: tuple[Region, Region, tuple[float, ...]]) -> None:
    metrics, torch = peer("monai.metrics"), peer("torch")
    truth, prediction, spacing_mm = case
    pair = [torch.tensor(mask[None, None].astype(np.uint8)) for mask in (prediction, truth)]
    theirs = metrics.compute_dice(*pair, include_background=True).item()
    assert evaluate(truth, prediction, spacing_mm)["dice"] == pytest.approx(theirs, abs=TOLERANCE)


def test_monai_has_the_same_empty_cases_of_dice_and_surface_dice() -> None:
    metrics, torch = peer("monai.metrics"), peer("torch")
    lesion = CASES["volume"][0]
    for truth, prediction in ((lesion, lesion ^ lesion), (lesion ^ lesion, lesion ^ lesion)):
        tensors = [torch.tensor(mask[None, None].astype(np.uint8)) for mask in (prediction, truth)]
        ours = evaluate(truth, prediction, (1.0, 1.0, 1.0))
        surface_dice = metrics.compute_surface_dice(*tensors, [1.0], include_background=True).item()
        dice = metrics.compute_dice(*tensors, include_background=True).item()
        assert ours["dice"] == dice or (isnan(ours["dice"]) and isnan(dice))
        assert ours["surface_dice_1mm"] == surface_dice or (isnan(ours["surface_dice_1mm"]) and isnan(surface_dice))


def test_monai_has_the_same_area_under_the_curve() -> None:
    metrics, torch = peer("monai.metrics"), peer("torch")
    rng = np.random.default_rng(0)
    probability = rng.integers(0, 30, 500) / 30
    truth = rng.random(500) < probability
    theirs = metrics.compute_roc_auc(torch.tensor(probability), torch.tensor(truth.astype(np.int64)))
    assert calibration.auc(truth, probability) == pytest.approx(theirs, abs=TOLERANCE)


def test_monai_has_the_same_reliability_table() -> None:
    binning, torch = peer("monai.metrics.calibration").calibration_binning, peer("torch")
    rng = np.random.default_rng(1)
    probability = rng.random(500)
    truth = rng.random(500) < probability
    tensors = [torch.tensor(array[None, None].astype(np.float64)) for array in (probability, truth)]
    means, shares, voxels = binning(*tensors, num_bins=15)
    table = calibration.reliability(truth, probability)
    np.testing.assert_allclose(table.voxels, voxels.ravel())
    np.testing.assert_allclose(table.mean_probability, means.ravel(), atol=TOLERANCE)
    np.testing.assert_allclose(table.frequency, shares.ravel(), atol=TOLERANCE)
