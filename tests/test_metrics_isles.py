"""Real masks of ISLES'22: the challenge's own numbers, and the worked values of both editions."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from strokelens.arrays import Mask
from strokelens.grid import Grid
from strokelens.metrics import volumes
from strokelens.metrics.lesions import components
from strokelens.metrics.scores import evaluate, isles22
from tests.oracles.scores import isles22_official

CASE_1 = "isles22_case0001/sub-strokecase0001_ses-0001_msk.nii.gz"
MASKS = {
    CASE_1: "078446e3-21f5-437e-a579-5ebf8ce0bcb4.mha",
    "isles22_scores/sub-strokecase0002_ses-0001_dwi.nii.gz": "7d06e0a6-6704-4ea1-b931-7852a5e400ff.mha",
    "isles22_scores/sub-strokecase0003_ses-0001_dwi.nii.gz": "696d3908-138a-457b-9a87-7927b9151d20.mha",
}
"""Each mask, and the prediction that the challenge's example has for it, which is the same."""


def mask_of(path: Path) -> tuple[Mask, Grid]:
    image = nib.load(path)
    assert isinstance(image, nib.Nifti1Image)
    mask = np.asarray(image.dataobj) > 0.5
    i, j, k = mask.shape
    return mask, Grid((i, j, k), np.asarray(image.affine))


def changed(mask: Mask, change: str) -> Mask:
    match change:
        case "rolled":
            return np.roll(mask, (1, 2), axis=(0, 2))
        case "eroded":
            return np.asarray(ndimage.binary_erosion(mask))
        case "grown":
            return np.asarray(ndimage.binary_dilation(mask, iterations=2))
        case _:
            return mask & False


@pytest.mark.parametrize("change", ["rolled", "eroded", "grown", "missed"])
@pytest.mark.parametrize("name", MASKS)
def test_the_four_numbers_are_the_official_ones(name: str, change: str, shared_data: Path) -> None:
    mask, grid = mask_of(shared_data / name)
    prediction = changed(mask, change)
    official = isles22_official(mask, prediction, grid.voxel_volume_ml)
    assert isles22(mask, prediction, grid.spacing_mm) == pytest.approx(official, abs=1e-6)
    reverse = isles22_official(prediction, mask, grid.voxel_volume_ml)
    assert isles22(prediction, mask, grid.spacing_mm) == pytest.approx(reverse, abs=1e-6)


@pytest.mark.parametrize("name", MASKS)
def test_the_example_of_the_challenge_has_full_scores(name: str, shared_data: Path) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed; it is in the extra 'itk'")
    mask, grid = mask_of(shared_data / name)
    image = sitk.ReadImage(str(shared_data / "isles22_scores" / MASKS[name]))
    prediction = sitk.GetArrayFromImage(image).transpose() > 0.5
    assert isles22(mask, prediction, grid.spacing_mm) == {
        "dice_isles": 1.0,
        "absolute_volume_difference_ml": 0.0,
        "absolute_lesion_count_difference": 0,
        "f1_isles22": 1.0,
    }


def test_a_mask_against_itself_rolled_by_one_voxel(shared_data: Path) -> None:
    """The worked values: F1 0.9032 in the edition of 2022, 0.8387 in that of 2024, Dice 0.5988, 31 lesions each."""
    mask, grid = mask_of(shared_data / CASE_1)
    scores = evaluate(mask, np.roll(mask, 1, axis=0), grid.spacing_mm)
    assert components(mask).max() + 1 == 31
    assert scores["f1_isles22"] == pytest.approx(0.9032, abs=5e-5)
    assert scores["f1_isles24"] == pytest.approx(0.8387, abs=5e-5)
    assert scores["dice"] == pytest.approx(0.5988, abs=5e-5)
    assert scores["lesion_count_difference"] == 0
    assert scores["volume_difference_ml"] == 0.0
    assert scores["hd_mm"] == pytest.approx(2.0, abs=1e-6)


def test_a_mask_has_the_volume_that_its_readme_names(shared_data: Path) -> None:
    mask, grid = mask_of(shared_data / CASE_1)
    assert volumes.volume_difference_ml(mask & False, mask, grid.spacing_mm) == pytest.approx(6.68, abs=5e-3)


def test_the_order_in_memory_changes_no_score(shared_data: Path) -> None:
    mask, grid = mask_of(shared_data / CASE_1)
    rolled = np.roll(mask, 1, axis=0)
    fortran = evaluate(np.asfortranarray(mask), np.asfortranarray(rolled), grid.spacing_mm)
    assert dict(fortran.values) == dict(evaluate(mask.copy("C"), rolled.copy("C"), grid.spacing_mm).values)
