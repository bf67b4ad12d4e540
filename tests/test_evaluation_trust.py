"""Scores that could deceive: a truth scored against itself, sheared voxels, turned axes, cases that ended badly."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from strokelens.case import Case, Segmentation
from strokelens.cohorts.cohort import Cohort, Entry
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.predictions import find_predictions
from strokelens.cohorts.slice_writer import write_slices
from strokelens.evaluation import scoring
from strokelens.evaluation.results import Evaluation
from strokelens.evaluation.scoring import Scored, evaluate, score
from strokelens.evaluation.tables import headline
from strokelens.grid import Grid
from strokelens.labels import CORE_ONLY, CORE_PENUMBRA
from tests.nifti_files import OBLIQUE, adc
from tests.test_evaluation import GROUPS, SHAPE, cohort, labels, scored, told, write

__all__ = ["cohort"]


def test_a_cohort_is_not_scored_against_itself(cohort: Cohort, tmp_path: Path) -> None:
    evaluation = scored(cohort, tmp_path / "cohort")
    assert [failure.code for row in evaluation.failed for failure in row.failures] == ["is-truth"] * len(GROUPS)
    assert not any(row.scores for row in evaluation.rows)


@pytest.mark.parametrize("below", ["", "truth"])
def test_a_cohort_of_slices_is_not_scored_against_itself(below: str, tmp_path: Path) -> None:
    grid = Grid((16, 16, 2), np.diag([-2.0, -2.0, 5.0, 1.0]))
    drawn = np.zeros(grid.shape, np.uint8)
    drawn[4:8, 4:8] = 2
    maps = {"Tmax": np.full(grid.shape, 4.0, np.float32)}
    (tmp_path / "cohort").mkdir()
    write_slices(
        tmp_path / "cohort", [Case("sim-1", grid, maps, Segmentation(drawn, grid, CORE_PENUMBRA), group="LVO")]
    )
    cohort = open_cohort(tmp_path / "cohort")
    (row,) = scored(cohort, tmp_path / "cohort" / below).rows
    assert [failure.code for failure in row.failures] == ["is-truth"]


def test_a_copy_of_the_truth_is_remarked(cohort: Cohort, tmp_path: Path) -> None:
    for number in GROUPS:
        write(tmp_path / f"copy/case_{number}.nii.gz", labels(number))
    copied = scored(cohort, tmp_path / "copy", tmp_path / "ours")
    assert copied.copies == ("copy",)
    assert "copy agrees with the truth in every voxel of every case: is it a copy of it?" in headline(copied)
    write(tmp_path / "copy/case_1.nii.gz", labels(101))
    assert scored(cohort, tmp_path / "copy").remarks == ()


def two_truths(cohort: Cohort) -> Cohort:
    for name in ("truth_a", "truth_b"):
        write(cohort.folder / f"case_2/{name}.nii.gz", labels(2))
    return open_cohort(cohort.folder)


def test_an_ambiguous_truth_is_told_as_such(cohort: Cohort, tmp_path: Path) -> None:
    (failed,) = scored(two_truths(cohort), tmp_path / "ours").failed
    (failure,) = failed.failures
    assert failure.code == "truth"
    assert failure.message.startswith("case_2: 3 files could be the truth (truth.nii.gz, truth_a.nii.gz, ")
    assert failure.message.endswith("none is taken; keep one of them")


def test_a_case_with_an_ambiguous_truth_is_never_left_out(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "ours/case_2.nii.gz").unlink()
    evaluation = scored(two_truths(cohort), tmp_path / "ours")
    assert evaluation.left_out == ()
    assert [(row.case_id, row.failures[0].code) for row in evaluation.failed] == [("case_2", "truth")]


def test_sheared_voxels_are_measured_by_their_volume_and_in_the_world() -> None:
    affine = np.diag([0.5, 0.5, 5.0, 1.0])
    affine[1, 2] = 5.0 * np.tan(np.radians(20))
    grid = Grid((20, 20, 8), affine)
    truth, prediction = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.uint8)
    truth[5:9, 5:9, 2], prediction[5:9, 5:9, 4] = 1, 1
    found = score(Segmentation(truth, grid, CORE_ONLY), Segmentation(prediction, grid, CORE_ONLY))["core"]
    positions = [np.argwhere(each) @ affine[:3, :3].T for each in (truth, prediction)]
    apart = np.linalg.norm(positions[0][:, None] - positions[1], axis=2)
    assert found["hd_mm"] == pytest.approx(max(apart.min(axis=0).max(), apart.min(axis=1).max()))
    missed = score(Segmentation(truth, grid, CORE_ONLY), Segmentation(0 * truth, grid, CORE_ONLY))["core"]
    assert missed["volume_difference_ml"] == pytest.approx(-16 * 0.5 * 0.5 * 5 / 1000)  # not 5 / cos 20°


def test_sheared_volumes_of_a_row_are_those_of_its_scores(cohort: Cohort, tmp_path: Path) -> None:
    sheared = OBLIQUE.copy()
    sheared[:3, 2] += sheared[:3, 1]
    grid = Grid(SHAPE, sheared)
    write(tmp_path / "cohort/case_1/truth.nii.gz", labels(1), affine=sheared)
    write(tmp_path / "ours/case_1.nii.gz", labels(101), affine=sheared)
    row = scored(open_cohort(tmp_path / "cohort"), tmp_path / "ours").rows[0]
    assert row.volumes["core"].truth_ml == pytest.approx((labels(1) == 2).sum() * grid.voxel_volume_ml)
    assert row.volumes["core"].difference_ml == pytest.approx(row.scores["core"]["volume_difference_ml"])


@pytest.mark.parametrize("turned", ["LAS", "PSR"])
def test_the_same_voxels_in_another_order_of_axes_are_scored(turned: str, cohort: Cohort, tmp_path: Path) -> None:
    wanted = repr(told(scored(cohort, tmp_path / "ours")))
    drawn, affine = labels(102), np.diag([2.0, 2.0, 5.0, 1.0])
    if turned == "LAS":
        drawn, affine[0, 0], affine[0, 3] = drawn[::-1], -2.0, 2.0 * (SHAPE[0] - 1)
    else:
        drawn = np.transpose(drawn, (1, 2, 0))[::-1]
        affine = affine[:, [1, 2, 0, 3]]
        affine[:, 3] += affine[:, 0] * (SHAPE[1] - 1)
        affine[:, 0] *= -1
    assert Grid((drawn.shape[0], drawn.shape[1], drawn.shape[2]), affine).orientation == turned
    write(tmp_path / "ours/case_2.nii.gz", np.ascontiguousarray(drawn), affine=affine)
    assert repr(told(scored(cohort, tmp_path / "ours"))) == wanted


def test_axes_in_another_order_somewhere_else_are_another_grid(cohort: Cohort, tmp_path: Path) -> None:
    write(tmp_path / "ours/case_2.nii.gz", labels(102)[::-1], affine=np.diag([-2.0, 2.0, 5.0, 1.0]))
    (failed,) = scored(cohort, tmp_path / "ours").failed
    assert failed.failures[0].code == "other-grid"


def killed(job: scoring._Job) -> Scored:
    """One case ends its process, whoever else is at work."""
    if job.case.id == "case_2":
        os._exit(9)
    return SCORED(job)


SCORED = scoring._scored


def test_a_case_that_ends_its_process_is_a_row(cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = [find_predictions(tmp_path / "ours", cohort)]
    wanted = evaluate(models, cohort)
    monkeypatch.setattr(scoring, "_scored", killed)
    found = evaluate(models, cohort, workers=2)
    (failed,) = found.failed
    assert (failed.case_id, failed.group, failed.failures[0].code) == ("case_2", "LVO", "crashed")
    assert failed.failures[0].message == (
        "the process that scored case_2 was ended, alone too (BrokenProcessPool), perhaps for want of memory; "
        "score it on a machine with more, or take it out"
    )
    others = [at for at, row in enumerate(wanted.rows) if row.case_id != "case_2"]
    assert [repr(told(found)[at]) for at in others] == [repr(told(wanted)[at]) for at in others]


def in_the_truth(entry: Entry) -> bool:
    return "cohort" in str(entry.folder)


def in_the_prediction(entry: Entry) -> bool:
    return not in_the_truth(entry)


@pytest.mark.parametrize("where", [in_the_truth, in_the_prediction])
def test_an_error_of_ours_is_a_row_that_names_it(
    where: Callable[[Entry], bool], cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Entry.read_truth

    def broken(entry: Entry) -> Case:
        if entry.id == "case_2" and where(entry):
            raise ZeroDivisionError("by\nnought")
        return read(entry)

    monkeypatch.setattr(Entry, "read_truth", broken)
    crashed(scored(cohort, tmp_path / "ours"), "case_2 ended in ZeroDivisionError (by nought), which is our bug")


def test_an_error_in_the_scores_is_a_row_too(cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "_by_class", broken)
        evaluation = scored(cohort, tmp_path / "ours")
    assert [row.failures[0].code for row in evaluation.rows] == ["crashed"] * 4
    assert evaluation.rows[0].failures[0].message.startswith("case_1 ended in MemoryError, which is our bug or want")


def crashed(evaluation: Evaluation, message: str) -> None:
    (failed,) = evaluation.failed
    assert (failed.case_id, failed.failures[0].code) == ("case_2", "crashed")
    assert failed.failures[0].message.startswith(message)


def test_a_case_that_failed_is_still_a_simulated_one(cohort: Cohort, tmp_path: Path) -> None:
    for number in GROUPS:
        sidecar = tmp_path / f"cohort/case_{number}/truth.json"
        sidecar.write_text(sidecar.read_text().rstrip().removesuffix("}").rstrip() + ', "Simulated": true}')
    cohort = open_cohort(cohort.folder)
    assert scored(cohort, tmp_path / "ours").simulated == 4
    (tmp_path / "ours/case_1.nii.gz").unlink()
    (tmp_path / "cohort/case_2/truth.nii.gz").write_bytes(b"")
    evaluation = scored(cohort, tmp_path / "ours")
    assert len(evaluation.failed) == 2
    assert evaluation.simulated == 4


def test_a_simulated_case_without_truth_is_told_by_its_images(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "cohort/case_2/truth.nii.gz").unlink()
    adc(tmp_path / "cohort/case_2").with_suffix(".json").write_text('{"Simulated": true}')
    assert scored(open_cohort(cohort.folder), tmp_path / "ours").simulated == 1


def test_slices_that_failed_are_still_of_simulated_patients(tmp_path: Path) -> None:
    grid = Grid((16, 16, 2), np.diag([-2.0, -2.0, 5.0, 1.0]))
    maps = {"Tmax": np.full(grid.shape, 4.0, np.float32)}
    drawn = Segmentation(np.ones(grid.shape, np.uint8), grid, CORE_PENUMBRA)
    (tmp_path / "cohort").mkdir()
    write_slices(tmp_path / "cohort", [Case("sim-1", grid, maps, drawn, group="LVO", simulated=True)])
    cohort = open_cohort(tmp_path / "cohort")
    for file in next(iter(cohort)).truth.files:  # type: ignore[union-attr]
        file.write_bytes(b"")
    write(tmp_path / f"p/{next(iter(cohort)).id}.nii.gz", np.zeros((512, 512, 2), np.uint8))
    evaluation = scored(cohort, tmp_path / "p")
    assert [row.failures[0].code for row in evaluation.rows] == ["truth"]
    assert evaluation.simulated == 1


def test_a_prediction_that_is_nearly_called_like_its_case_is_named(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "ours/case_2.nii.gz").rename(tmp_path / "ours/case_2_pred.nii.gz")
    evaluation = scored(cohort, tmp_path / "ours")
    (failed,) = evaluation.failed
    wanted = "case_2 has no prediction; if case_2_pred is meant, call it case_2"
    assert (failed.failures[0].code, failed.failures[0].message) == ("no-prediction", wanted)
    assert evaluation.strangers == {"ours": ("case_2_pred",)}


def test_a_row_tells_who_says_what_integers_mean(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "ours/case_2.json").unlink()
    (tmp_path / "ours/case_3.nii.gz").unlink()
    rows = scored(cohort, tmp_path / "ours").rows
    table = "the table beside it"
    assert [row.labels for row in rows] == [table, "the truth's numbering", "", table]
