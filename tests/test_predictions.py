"""Which file of a folder is the prediction for which case, and what its integers mean."""

from collections.abc import Callable
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest

from strokelens.case import Case, Segmentation
from strokelens.cohorts.bids import write_derivative
from strokelens.cohorts.cohort import Cohort, Entry
from strokelens.cohorts.encode import write_segmentation
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.nnunet import write_raw
from strokelens.cohorts.predictions import Predictions, find_predictions
from strokelens.cohorts.slice_writer import write_slices
from strokelens.cohorts.slices import write_picture
from strokelens.errors import CaseError, CohortError, LabelError
from strokelens.grid import Grid
from strokelens.labels import CORE_PENUMBRA, CORE_PENUMBRA_BRAIN
from tests.nifti_files import PLAIN, adc, save

SHAPE = (12, 10, 4)
GRID = Grid(SHAPE, PLAIN)


def labels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, SHAPE).astype(np.uint8)


def tissue(seed: int = 0) -> Segmentation:
    return Segmentation(labels(seed), GRID, CORE_PENUMBRA)


def patient(case_id: str, seed: int) -> Case:
    maps = {"Tmax": np.full(SHAPE, 4.0, np.float32)}
    return Case(case_id, GRID, maps, tissue(seed), group="LVO", simulated=True)


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """Three cases with core and penumbra."""
    for number in (1, 2, 10):
        adc(tmp_path / f"cohort/case_{number}")
        write_segmentation(tmp_path / f"cohort/case_{number}/truth.nii.gz", tissue(number))
    return open_cohort(tmp_path / "cohort")


def plain_file(folder: Path) -> None:
    save(folder / "case_1.nii.gz", labels())


def of_segment(folder: Path) -> None:
    (folder / "case_1/maps").mkdir(parents=True)
    write_segmentation(folder / "case_1/segmentation.nii.gz", tissue())
    save(folder / "case_1/maps/Tmax.nii.gz", np.zeros(SHAPE, np.float32))


def of_segment_bids(folder: Path) -> None:
    (folder / "case_1").mkdir()
    write_derivative(folder / "case_1", "case_1", tissue(), {}, {}, version="0")


def derivatives(folder: Path) -> None:
    write_derivative(folder, "case_1", tissue(), {}, {}, version="0")


def annotator(folder: Path) -> None:
    adc(folder / "case_1")
    write_segmentation(folder / "case_1/truth.nii.gz", tissue())


@pytest.mark.parametrize("write", [plain_file, of_segment, of_segment_bids, derivatives, annotator])
def test_a_prediction_is_found(write: Callable[[Path], None], cohort: Cohort, tmp_path: Path) -> None:
    folder = tmp_path / "predictions"
    folder.mkdir()
    write(folder)
    found = find_predictions(folder, cohort)
    assert (found.name, list(found.entries), found.strangers) == ("predictions", ["case_1"], ())
    segmentation = found.entries["case_1"].read_truth().truth
    assert segmentation is not None
    assert np.array_equal(segmentation.labels, labels())


def slices_cohort(folder: Path) -> None:
    write_slices(folder, [patient("sim-1", 1), patient("sim-2", 2)])


def nnunet(folder: Path) -> None:
    write_raw(folder, [patient("sim-1", 1), patient("sim-2", 2)], number=1, name="x")
    for each in (folder / "Dataset001_x").iterdir():
        each.rename(folder / each.name)


def isles2022(folder: Path) -> None:
    for number in (1, 2):
        name = f"sub-strokecase{number:04d}"
        save(folder / f"{name}/ses-0001/dwi/{name}_ses-0001_adc.nii.gz", np.ones(SHAPE, np.float32))
        truth = folder / f"derivatives/{name}/ses-0001/{name}_ses-0001_msk.nii.gz"
        save(truth, (labels(number) > 0).astype(np.uint8))


def bids(folder: Path) -> None:
    for number in (1, 2):
        name = f"sub-{number:02d}"
        save(folder / f"{name}/perf/{name}_tmax.nii.gz", np.ones(SHAPE, np.float32))
        save(folder / f"derivatives/manual/{name}/{name}_dseg.nii.gz", labels(number))
        table = "index\tname\n0\tbackground\n1\tpenumbra\n2\tcore\n"
        (folder / f"derivatives/manual/{name}/{name}_dseg.tsv").write_text(table)
    (folder / "dataset_description.json").write_text("{}")


@pytest.mark.parametrize("write", [slices_cohort, nnunet, isles2022, bids])
def test_a_cohort_of_any_layout_gives_its_truth(write: Callable[[Path], None], tmp_path: Path) -> None:
    for name in ("truth", "second"):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
    cohort = open_cohort(tmp_path / "truth")
    assert cohort.layout == write.__name__.replace("slices_cohort", "ctp_slices")
    found = find_predictions(tmp_path / "second", cohort)
    assert (list(found.entries), found.strangers) == ([entry.id for entry in cohort], ())
    for entry in cohort:
        drawn, truth = found.entries[entry.id].read_truth().truth, entry.read_truth().truth
        assert drawn is not None
        assert truth is not None
        assert np.array_equal(drawn.labels, truth.labels)
        assert drawn.scheme == truth.scheme


def test_the_truth_of_a_cohort_is_called_a_prediction_and_of_no_case_a_stranger(tmp_path: Path) -> None:
    for name in ("truth", "second"):
        (tmp_path / name).mkdir()
        isles2022(tmp_path / name)
    for part in ("sub-strokecase0002", "derivatives/sub-strokecase0002"):
        rmtree(tmp_path / "truth" / part)
    (damaged,) = (tmp_path / "second/derivatives").glob("*0001/*/*.nii.gz")
    save(damaged, np.full(SHAPE, 7, np.uint8))
    found = find_predictions(tmp_path / "second", open_cohort(tmp_path / "truth"))
    assert found.strangers == ("sub-strokecase0002_ses-0001",)
    with pytest.raises(LabelError, match=r"^the prediction sub-strokecase0001_ses-0001_msk\.nii\.gz holds 7; known"):
        found.entries["sub-strokecase0001_ses-0001"].read_truth()


def test_the_sidecar_tells_what_the_integers_mean(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    write_segmentation(tmp_path / "p/case_1.nii.gz", Segmentation(labels(), GRID, CORE_PENUMBRA_BRAIN))
    segmentation = find_predictions(tmp_path / "p", cohort).entries["case_1"].read_truth().truth
    assert segmentation is not None
    assert np.array_equal(segmentation.mask("penumbra"), labels() == 2)


def test_predictions_of_no_case_are_strangers(cohort: Cohort, tmp_path: Path) -> None:
    for name in ("case_1", "case_12", "case_3"):
        save(tmp_path / f"p/{name}.nii.gz", labels())
    assert find_predictions(tmp_path / "p", cohort).strangers == ("case_3", "case_12")


def prediction(folder: Path, cohort: Cohort) -> Entry:
    return find_predictions(folder, cohort).entries["case_1"]


def test_two_predictions_for_a_case_are_none(cohort: Cohort, tmp_path: Path) -> None:
    save(tmp_path / "p/case_1.nii", labels())
    save(tmp_path / "p/case_1.nii.gz", labels())
    message = r"^case_1: 2 files could be the prediction \(case_1\.nii, case_1\.nii\.gz\); remove all but one$"
    with pytest.raises(CaseError, match=message):
        prediction(tmp_path / "p", cohort).read_truth()


def test_a_strange_integer_is_told(cohort: Cohort, tmp_path: Path) -> None:
    save(tmp_path / "p/case_1.nii", np.full(SHAPE, 7, np.uint8))
    known, cure = "0 background, 1 penumbra, 2 core", "tell what they mean with --labels 1=penumbra,2=core"
    with pytest.raises(LabelError, match=rf"^the prediction case_1\.nii holds 7; known: {known}; {cure}$"):
        prediction(tmp_path / "p", cohort).read_truth()


def test_probabilities_are_no_labels(cohort: Cohort, tmp_path: Path) -> None:
    values = np.zeros(SHAPE, np.float32)
    values[0, 0, 0], values[1, 0, 0] = 0.25, np.nan
    save(tmp_path / "p/case_1.nii", values)
    with pytest.raises(LabelError, match=r"holds 0\.25, nan, which are probabilities; threshold them at 0\.5 and save"):
        prediction(tmp_path / "p", cohort).read_truth()


def test_pictures_for_volumes_are_told(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "p/case_1").mkdir(parents=True)
    write_picture(tmp_path / "p/case_1/01.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(CaseError, match=r"^case_1: case_1 has pictures, which tell no place; give NIfTI$"):
        prediction(tmp_path / "p", cohort).read_truth()


def test_a_folder_that_cannot_be_read_is_a_row(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "p/case_1").mkdir(parents=True)
    for name in ("1.png", "01.png"):
        write_picture(tmp_path / "p/case_1" / name, np.zeros((8, 8), np.uint8))
    with pytest.raises(CaseError, match=r"cannot be read, or has two files for one slice$"):
        prediction(tmp_path / "p", cohort).read_truth()


def test_a_folder_without_predictions_is_told(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    with pytest.raises(CohortError) as caught:
        find_predictions(tmp_path / "p", cohort)
    wanted = "looked for <case>.nii.gz and <case>/segmentation.nii.gz"
    assert str(caught.value) == f"{tmp_path / 'p'} holds no prediction; {wanted}"


def test_submissions_of_isles_are_found_by_their_number(tmp_path: Path) -> None:
    case = tmp_path / "cohort/training_1"
    for token, number in (("ADC", 1), ("MTT", 127015), ("OT", 3)):
        name = f"VSD.Brain.XX.O.{'MR_' if token != 'OT' else ''}{token}.{number}"
        save(case / name / f"{name}.nii", np.ones(SHAPE, np.float32))
    save(tmp_path / "p/SMIR.ours.127015.nii", np.ones(SHAPE, np.uint16))
    found: Predictions = find_predictions(tmp_path / "p", open_cohort(tmp_path / "cohort"))
    assert list(found.entries) == ["training_1"]
    assert found.strangers == ()
    assert found.entries["training_1"].read_truth().truth is not None


def test_a_truth_is_read_without_its_channels(cohort: Cohort) -> None:
    (cohort["case_1"].folder / "adc.nii").unlink()
    case = cohort["case_1"].read_truth()
    assert not case.channels
    assert case.truth is not None
    assert np.array_equal(case.truth.labels, labels(1))


def test_a_case_without_truth_is_told(tmp_path: Path) -> None:
    adc(tmp_path / "case_1")
    with pytest.raises(CaseError, match=r"^case_1 has no truth; add it, or take the case out$"):
        open_cohort(tmp_path)["case_1"].read_truth()
