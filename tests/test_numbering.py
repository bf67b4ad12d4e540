"""What a prediction's integers and pictures mean is told by somebody, or the prediction is refused: never guessed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from strokelens.case import Case, Segmentation
from strokelens.cohorts.cohort import Cohort, Entry
from strokelens.cohorts.encode import write_segmentation
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.numbering import AS_FOUND, Numbering, of_cohort
from strokelens.cohorts.predictions import Predictions, find_predictions
from strokelens.cohorts.slice_writer import write_slices
from strokelens.cohorts.slices import write_picture
from strokelens.errors import CaseError, CohortError, FileError, LabelError
from strokelens.grid import Grid
from strokelens.labels import CORE_PENUMBRA
from tests.nifti_files import PLAIN, adc, save

SHAPE = (16, 16, 3)
GRID = Grid(SHAPE, np.diag([-2.0, -2.0, 5.0, 1.0]))


def labels() -> np.ndarray:
    """Penumbra 1 with a core 2 in it."""
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[4:8, 4:8], drawn[5:7, 5:7] = 1, 2
    return drawn


@pytest.fixture
def pictures(tmp_path: Path) -> Cohort:
    """One patient in slices 1 to 3, whose truth is in grey levels."""
    maps = {"Tmax": np.full(SHAPE, 4.0, np.float32)}
    case = Case("sim-1", GRID, maps, Segmentation(labels(), GRID, CORE_PENUMBRA), group="LVO", simulated=True)
    (tmp_path / "cohort").mkdir()
    write_slices(tmp_path / "cohort", [case])
    return open_cohort(tmp_path / "cohort")


def drawn_of(cohort: Cohort) -> Segmentation:
    truth = next(iter(cohort)).read_truth().truth
    assert truth is not None
    return truth


def prediction(folder: Path, cohort: Cohort, numbering: Numbering = AS_FOUND) -> Entry:
    (entry,) = find_predictions(folder, cohort, numbering=numbering).entries.values()
    return entry


def read(entry: Entry) -> Segmentation:
    segmentation = entry.read_truth().truth
    assert segmentation is not None
    return segmentation


@pytest.fixture
def numbers(pictures: Cohort, tmp_path: Path) -> Path:
    """The truth as nnU-Net would predict it: 1 penumbra, 2 core, on the grid of the pictures."""
    truth = drawn_of(pictures)
    own = truth.mask("penumbra").astype(np.uint8) + np.uint8(2) * truth.mask("core").astype(np.uint8)
    return save(tmp_path / f"p/{next(iter(pictures)).id}.nii.gz", own, truth.grid.affine).parent


def same(found: Segmentation, truth: Segmentation) -> bool:
    return all(np.array_equal(found.mask(name), truth.mask(name)) for name in ("penumbra", "core"))


def test_integers_are_not_guessed_where_the_truth_has_grey_levels(pictures: Cohort, numbers: Path) -> None:
    known = "0 background, 85 brain, 170 penumbra, 255 core"
    message = rf"holds 1, 2; known: {known}; tell what they mean with --labels 1=penumbra,2=core$"
    with pytest.raises(LabelError, match=message):
        prediction(numbers, pictures).read_truth()


def test_the_dataset_json_of_nnunet_tells_what_integers_mean(pictures: Cohort, numbers: Path) -> None:
    (numbers / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "penumbra": 1, "core": 2}}))
    found = prediction(numbers, pictures)
    assert same(read(found), drawn_of(pictures))
    assert found.truth is not None
    assert found.truth.by == "dataset.json"


def test_the_user_tells_what_integers_mean_and_goes_before_every_table(pictures: Cohort, numbers: Path) -> None:
    (numbers / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "core": 1, "penumbra": 2}}))
    found = prediction(numbers, pictures, Numbering.told("1=penumbra,2=core"))
    assert same(read(found), drawn_of(pictures))
    assert found.truth is not None
    assert found.truth.by == "--labels"


def test_a_class_that_nobody_knows_is_a_row_and_names_the_file(pictures: Cohort, numbers: Path) -> None:
    (numbers / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "penumbra": 1, "tumour": 2}}))
    found = prediction(numbers, pictures)
    assert [problem.code for problem in found.problems] == ["labels"]
    with pytest.raises(CaseError, match=r"dataset\.json names a class 'tumour'"):
        found.read_truth()


def test_grey_levels_in_a_volume_are_the_truths_own(pictures: Cohort, tmp_path: Path) -> None:
    truth = drawn_of(pictures)
    save(tmp_path / f"p/{next(iter(pictures)).id}.nii.gz", truth.scheme.to_grey(truth.labels), truth.grid.affine)
    found = prediction(tmp_path / "p", pictures)
    assert same(read(found), truth)
    assert found.truth is not None
    assert found.truth.by == "the truth's numbering"


def write_pictures(folder: Path, cohort: Cohort, numbers: tuple[int, ...] = (1, 2, 3), *, grey: bool = True) -> Path:
    truth = drawn_of(cohort)
    values = truth.scheme.to_grey(truth.labels) if grey else truth.labels
    for index, number in enumerate(numbers):
        pixels = np.ascontiguousarray(values[:, :, index].T)
        write_picture(folder / next(iter(cohort)).id / f"{number:02}.png", pixels)
    return folder


def test_pictures_of_class_numbers_are_read_by_a_table_alone(pictures: Cohort, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "p", pictures, grey=False)
    with pytest.raises(LabelError, match=r"grey levels 1, 2, 3 are none of 0, 85, 170, 255; tell what they mean"):
        prediction(folder, pictures).read_truth()
    assert same(read(prediction(folder, pictures, Numbering.told("1=brain,2=penumbra,3=core"))), drawn_of(pictures))
    names = {"background": 0, "brain": 1, "penumbra": 2, "core": 3}
    (folder / "dataset.json").write_text(json.dumps({"labels": names}))
    assert same(read(prediction(folder, pictures)), drawn_of(pictures))


def test_the_user_goes_first_where_the_predictions_are_a_cohort_of_pictures(pictures: Cohort) -> None:
    entry = next(iter(pictures))
    assert entry.truth is not None
    found = replace(entry, truth=of_cohort(entry.truth, Numbering.told("85=brain,170=core,255=penumbra")))
    assert np.array_equal(read(found).mask("penumbra"), drawn_of(pictures).mask("core"))
    found = replace(entry, truth=of_cohort(entry.truth, Numbering.told("1=penumbra,2=core")))
    with pytest.raises(LabelError, match=r"known: 0 background, 1 penumbra, 2 core; "):
        found.read_truth()


def test_slices_are_matched_by_their_numbers(pictures: Cohort, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "p", pictures, (1, 2, 9))
    message = r"the prediction of \w+ lacks slices 3 and has slices 9, which the truth lacks; give a picture of each"
    with pytest.raises(CaseError, match=message):
        prediction(folder, pictures).read_truth()


def test_slices_that_are_too_few_are_told(pictures: Cohort, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "p", pictures, (1, 3))
    with pytest.raises(CaseError, match=r"the prediction of \w+ lacks slices 2; give a picture of each, by its number"):
        prediction(folder, pictures).read_truth()


def test_slices_may_be_counted_from_nought(pictures: Cohort, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "p", pictures, (0, 1, 2))
    assert same(read(prediction(folder, pictures)), drawn_of(pictures))


@pytest.fixture
def lesions(tmp_path: Path) -> Cohort:
    """Two patients with a lesion."""
    for number in (1, 2):
        adc(tmp_path / f"lesions/case_{number}")
        save(tmp_path / f"lesions/case_{number}/lesion.nii.gz", lesion())
    return open_cohort(tmp_path / "lesions")


def lesion() -> np.ndarray:
    drawn = np.zeros((12, 10, 4), np.uint8)
    drawn[4:8, 4:8, 1] = 1
    return drawn


def one(folder: Path, cohort: Cohort, numbering: Numbering = AS_FOUND) -> Entry:
    return find_predictions(folder, cohort, numbering=numbering).entries["case_1"]


def test_a_core_counts_as_the_lesion_if_the_user_says_so(lesions: Cohort, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    drawn = np.where(lesion() > 0, 2, 0).astype(np.uint8)
    drawn[0, 0, 0] = 1
    write_segmentation(tmp_path / "p/case_1.nii.gz", Segmentation(drawn, Grid((12, 10, 4), PLAIN), CORE_PENUMBRA))
    found = one(tmp_path / "p", lesions, Numbering.told(counted_as=["core=lesion"]))
    assert np.array_equal(read(found).mask("lesion"), lesion() > 0)
    assert found.truth is not None
    assert found.truth.by == "the table beside it; core as lesion"


def test_a_core_in_pictures_counts_as_the_lesion_too(pictures: Cohort, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "p", pictures)
    found = read(prediction(folder, pictures, Numbering.told(counted_as=["core=lesion"])))
    assert found.scheme.names == ("background", "brain", "penumbra", "lesion")
    assert np.array_equal(found.mask("lesion"), drawn_of(pictures).mask("core"))


def test_a_mask_of_255_is_the_lesion_and_beside_1_it_is_not(lesions: Cohort, tmp_path: Path) -> None:
    path = save(tmp_path / "p/case_1.nii.gz", lesion() * np.uint8(255))
    assert np.array_equal(read(one(path.parent, lesions)).mask("lesion"), lesion() > 0)
    mixed = lesion() * np.uint8(255)
    mixed[0, 0, 0] = 1
    save(path, mixed)
    with pytest.raises(LabelError, match=r"holds 1; known: 0 background, 255 lesion; tell what"):
        one(path.parent, lesions).read_truth()


def test_probabilities_are_told_how_to_become_labels(lesions: Cohort, tmp_path: Path) -> None:
    path = save(tmp_path / "p/case_1.nii.gz", np.linspace(0, 1, lesion().size).reshape(lesion().shape))
    cure = r"and \d+ more, which are probabilities; threshold them at 0\.5 and save whole numbers$"
    with pytest.raises(LabelError, match=cure):
        one(path.parent, lesions).read_truth()


def test_a_folder_that_is_called_like_a_file_is_told(lesions: Cohort, tmp_path: Path) -> None:
    save(tmp_path / "p/case_1.nii.gz/case_1.nii", lesion())
    found = find_predictions(tmp_path / "p", lesions)
    assert found.strangers == ()
    with pytest.raises(FileError, match=r"^case_1\.nii\.gz is a folder, though its name says NIfTI; give the file in"):
        found.entries["case_1"].read_truth()


def test_a_name_that_is_nearly_a_case_is_a_hint(lesions: Cohort, tmp_path: Path) -> None:
    for name in ("case_1_pred", "case_12"):
        save(tmp_path / f"p/{name}.nii.gz", lesion())
    found: Predictions = find_predictions(tmp_path / "p", lesions)
    assert found.strangers == ("case_1_pred", "case_12")
    assert found.hints == {"case_1": "case_1_pred"}


@pytest.mark.parametrize("below", ["fold_0", "fold_0/validation"])
def test_predictions_further_down_are_told(below: str, lesions: Cohort, tmp_path: Path) -> None:
    save(tmp_path / f"p/{below}/case_1.nii.gz", lesion())
    with pytest.raises(CohortError) as caught:
        find_predictions(tmp_path / "p", lesions)
    assert str(caught.value) == f"{tmp_path}/p holds no prediction; {below} in it does; give {tmp_path}/p/{below}"


@pytest.mark.parametrize(
    ("labels", "pairs", "message"),
    [
        ("penumbra", (), "--labels takes NUMBER=CLASS, such as 1=penumbra,2=core, not 'penumbra'"),
        ("1=tumour", (), "--labels names a class 'tumour'; known: "),
        ("0=core", (), "--labels: 0 is the background, not core"),
        (None, ("core",), "--as takes CLASS=CLASS, such as core=lesion, not 'core'"),
        (None, ("cor=lesion",), "--as names a class 'cor'; did you mean 'core'?"),
    ],
)
def test_what_cannot_be_meant_is_told(labels: str | None, pairs: tuple[str, ...], message: str) -> None:
    with pytest.raises((CohortError, LabelError)) as caught:
        Numbering.told(labels, pairs)
    assert str(caught.value).startswith(message)
