"""Submissions to ISLES 2017: names, grids and voxels as the challenge wants them, and what cannot be submitted."""

import json
from pathlib import Path

import numpy as np
import pytest

from strokelens import submission
from strokelens.case import Case, Segmentation
from strokelens.cohorts.cohort import Cohort
from strokelens.cohorts.encode import write_segmentation
from strokelens.cohorts.isles2017 import write_case, write_submission, write_tables
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.splits import Split, write_split
from strokelens.errors import CohortError, OutputError, SettingsError
from strokelens.grid import Grid
from strokelens.labels import LESION_ONLY
from strokelens.submission import Submitted, submit
from tests.commands import Run
from tests.nifti_files import nib

GRID = Grid((12, 10, 4), np.array([[-2.0, 0, 0, 20], [0, 2, 0, -9], [0, 0, 6, -12], [0, 0, 0, 1.0]]))
NAMES = ("training_1", "training_2", "test_1")


def lesion(i: slice) -> Segmentation:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[i, 3:6, 1] = 1
    return Segmentation(labels, GRID, LESION_ONLY)


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    for seed, name in enumerate(NAMES):
        rng = np.random.default_rng(seed)
        maps = {each: rng.uniform(1, 9, GRID.shape).astype(np.float32) for each in ("MTT", "Tmax")}
        maps["ADC"] = rng.uniform(600, 900, GRID.shape).astype(np.float32)
        write_case(tmp_path / "isles", name, Case(name, GRID, maps, lesion(slice(2, 6))))
    write_tables(tmp_path / "isles", [])
    return open_cohort(tmp_path / "isles")


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / "found" / name).mkdir(parents=True)
        write_segmentation(tmp_path / "found" / name / "segmentation.nii.gz", lesion(slice(3, 7)))
    return tmp_path / "found"


def by_id(done: list[Submitted]) -> dict[str, Submitted]:
    return {one.case_id: one for one in done}


def test_files_are_named_by_mtt_and_say_what_was_predicted_on_the_grid_of_the_adc(
    cohort: Cohort, predictions: Path, tmp_path: Path
) -> None:
    done = by_id(list(submit(predictions, cohort, tmp_path / "out", description="team_{case}")))
    for name in NAMES:
        entry = cohort[name]
        number = entry.files["MTT"][0].name.split(".")[-2]
        assert done[name].name == f"SMIR.team_{name}.{number}.nii"
        image, adc = nib.load(tmp_path / "out" / done[name].name), nib.load(entry.files["ADC"][0])
        np.testing.assert_array_equal(image.affine, adc.affine)
        assert image.shape == adc.shape
        assert image.get_data_dtype() == np.uint16
        np.testing.assert_array_equal(np.asarray(image.dataobj), lesion(slice(3, 7)).labels)
        assert done[name].volume_ml == pytest.approx(4 * 3 * 24 / 1000)
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_where_the_truth_is_there_dice_has_three_definitions(cohort: Cohort, predictions: Path, tmp_path: Path) -> None:
    """Both have 12 voxels, 9 of them in common."""
    done = by_id(list(submit(predictions, cohort, tmp_path / "out")))
    one = done["training_1"]
    assert one.dice == pytest.approx(18 / 24)
    assert one.dice_smoothed == pytest.approx(19 / 25)
    assert one.dice_epsilon == pytest.approx(18 / (24 + 1e-7))
    assert done["test_1"].dice is None
    told = {each["id"]: each for each in json.loads((tmp_path / "out/submission.json").read_text())["cases"]}
    assert told["training_1"]["dice_smoothed"] == pytest.approx(0.76)
    assert "dice" not in told["test_1"]


def test_a_file_that_is_not_what_was_predicted_is_told(
    cohort: Cohort, predictions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_submission

    def damaged(folder: Path, entry: object, found: Segmentation, **told: str) -> Path:
        other = lesion(slice(0, 2)) if getattr(entry, "id", "") == "test_1" else found
        return whole(folder, entry, other, **told)  # type: ignore[arg-type]

    monkeypatch.setattr(submission, "write_submission", damaged)
    done = by_id(list(submit(predictions, cohort, tmp_path / "out")))
    assert "is not what was predicted" in str(done["test_1"].failure)
    assert done["training_1"].failure is None


def test_a_case_without_prediction_is_told_and_the_others_are_written(
    run: Run, cohort: Cohort, predictions: Path, tmp_path: Path
) -> None:
    (predictions / "test_1" / "segmentation.nii.gz").unlink()
    answer = run("submit", predictions, cohort.folder, "-o", tmp_path / "out")
    assert answer.code == 1
    assert "test_1: test_1 has no prediction" in answer.out
    assert "2 of 3 cases written; mean Dice 0.750 of 2 with truth" in answer.out
    split = tmp_path / "split.json"
    write_split(split, Split({"train": NAMES[:2], "test": NAMES[2:]}))
    chosen = run("submit", predictions, cohort.folder, "-o", tmp_path / "some", "--split", split, "--part", "train")
    assert chosen.code == 0
    assert "2 of 2 cases written" in chosen.out


@pytest.mark.parametrize(
    ("description", "message"),
    [("a{", "is no description"), ("{who}", r"knows \{case\} and nothing else, not \{who\}"),
     ("{case!r}", "nothing else"), ("{case:d}", "nothing else")],
)  # fmt: skip
def test_a_description_knows_the_case_alone(
    cohort: Cohort, predictions: Path, tmp_path: Path, description: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        list(submit(predictions, cohort, tmp_path / "out", description=description))
    assert not (tmp_path / "out").exists()


def test_where_nothing_can_be_written_nothing_is_there(cohort: Cohort, predictions: Path, tmp_path: Path) -> None:
    with pytest.raises(
        CohortError, match=r"no case of .* could be submitted; the first reason is: .*described by 'a b'"
    ):
        list(submit(predictions, cohort, tmp_path / "out", description="a b"))
    cases = submit(predictions, cohort, tmp_path / "out")
    next(cases)
    cases.close()  # type: ignore[attr-defined]
    assert not [path for path in tmp_path.iterdir() if path.name not in ("isles", "found")]


def test_another_layout_and_a_folder_that_is_there_are_refused(
    cohort: Cohort, predictions: Path, tmp_path: Path
) -> None:
    with pytest.raises(OutputError):
        list(submit(predictions, cohort, predictions))
    other = Cohort(cohort.folder, "nifti", cohort.entries, ())
    with pytest.raises(CohortError, match="of layout nifti; the challenge's names are of isles2017"):
        list(submit(predictions, other, tmp_path / "out"))
