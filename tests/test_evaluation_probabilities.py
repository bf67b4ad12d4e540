"""Probabilities beside the masks or in a folder of their own: found by name, scored within the brain, added up."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from strokelens.case import Segmentation
from strokelens.cohorts.bids import write_labels
from strokelens.cohorts.case_names import case_names, submitted
from strokelens.cohorts.cohort import Cohort
from strokelens.cohorts.encode import write_image
from strokelens.cohorts.predictions import find_predictions
from strokelens.cohorts.probabilities import beside, find_probabilities
from strokelens.errors import CohortError
from strokelens.evaluation import probabilities
from strokelens.evaluation.calibrated import CalibratedRow, pooled
from strokelens.evaluation.overview import Overview
from strokelens.evaluation.pictures import pictures, reliability
from strokelens.evaluation.probabilities import calibrated, probabilities_of, with_probabilities
from strokelens.evaluation.scoring import evaluate
from strokelens.evaluation.tables import tables
from strokelens.grid import Grid
from strokelens.labels import CORE_PENUMBRA, CORE_PENUMBRA_BRAIN
from strokelens.metrics import calibration
from tests.nifti_files import PLAIN, save
from tests.oracles import scores as oracle
from tests.test_evaluation import GROUPS, SHAPE, cohort, labels

__all__ = ["cohort"]

GRID = Grid(SHAPE, PLAIN)


def softmax(seed: int) -> np.ndarray:
    """Probabilities of background, penumbra and core, of a network that is right more often than not."""
    logits = np.random.default_rng(seed).normal(size=(*SHAPE, 3))
    logits += 2.0 * np.eye(3)[labels(seed)]
    likely = np.exp(logits)
    shares: np.ndarray = (likely / likely.sum(axis=-1, keepdims=True)).astype(np.float32)
    return shares


def whole(folder: Path) -> Path:
    """A file of four axes for each case."""
    for number in GROUPS:
        save(folder / f"case_{number}.nii.gz", softmax(number))
    return folder


def by_class(folder: Path) -> None:
    """A file a class, beside the masks."""
    for number in GROUPS:
        for at, name in enumerate(("penumbra", "core"), start=1):
            write_image(folder / f"case_{number}_prob_{name}.nii.gz", softmax(number)[..., at], GRID, description=name)


def in_folders(folder: Path) -> None:
    for number in GROUPS:
        place = folder / f"case_{number}"
        place.mkdir(exist_ok=True)
        for at, name in enumerate(("penumbra", "core"), start=1):
            write_image(place / f"prob_{name}.nii.gz", softmax(number)[..., at], GRID, description=name)
        (folder / f"case_{number}.nii.gz").rename(place / "segmentation.nii.gz")
        (folder / f"case_{number}.json").rename(place / "segmentation.json")


def derivatives(folder: Path) -> None:
    """As our own writer writes them."""
    for number in GROUPS:
        likely = {name: softmax(number)[..., at] for at, name in enumerate(("penumbra", "core"), start=1)}
        (folder / f"case_{number}.nii.gz").unlink()
        segmentation = Segmentation(labels(number + 100), GRID, CORE_PENUMBRA, likely)
        write_labels(folder, f"sub-case{number}", segmentation, "net", {})


def by_hand(number: int, label: int) -> tuple[list[bool], list[float]]:
    truth, likely = labels(number) == label, softmax(number)[..., label]
    return truth.ravel().tolist(), likely.ravel().astype(float).tolist()


@pytest.mark.parametrize("place", [by_class, in_folders, derivatives])
def test_probabilities_beside_the_masks_are_found(
    place: Callable[[Path], None], cohort: Cohort, tmp_path: Path
) -> None:
    place(tmp_path / "ours")
    models = [find_predictions(tmp_path / "ours", cohort)]
    assert models[0].strangers == ()
    evaluation = with_probabilities(evaluate(models, cohort), probabilities_of(models, cohort), cohort)
    assert evaluation.complete
    assert [sorted(row.classes) for row in evaluation.calibrations] == [["core", "hypoperfused", "penumbra"]] * 4
    row = next(each for each in evaluation.calibrations if each.case_id == "case_2")
    truth, likely = by_hand(2, 2)
    assert row.classes["core"].values["auc"] == pytest.approx(oracle.auc(truth, likely), abs=1e-6)


def test_a_file_of_all_classes_is_scored_as_by_hand(cohort: Cohort, tmp_path: Path) -> None:
    models = [find_predictions(tmp_path / "ours", cohort)]
    given = {"ours": whole(tmp_path / "likely")}
    (_, row, *_) = with_probabilities(
        evaluate(models, cohort), probabilities_of(models, cohort, given=given), cohort
    ).calibrations
    for label, name in ((1, "penumbra"), (2, "core")):
        truth, likely = by_hand(2, label)
        values = row.classes[name].values
        assert values["auc"] == pytest.approx(oracle.auc(truth, likely), abs=1e-6)
        assert values["brier"] == pytest.approx(np.mean((np.array(likely) - truth) ** 2), abs=1e-6)
        slow = oracle.expected_calibration_error(truth, likely, 10)
        assert values["expected_calibration_error"] == pytest.approx(slow, abs=1e-6)
    together = softmax(2)[..., 1] + softmax(2)[..., 2]
    slow = oracle.auc((labels(2) > 0).ravel().tolist(), together.ravel().astype(float).tolist())
    assert row.classes["hypoperfused"].values["auc"] == pytest.approx(slow, abs=1e-6)


def test_only_the_brain_is_scored_where_the_truth_tells_it() -> None:
    truth = Segmentation(np.array([[[0, 0, 1, 2, 3]]], np.uint8), Grid((1, 1, 5), PLAIN), CORE_PENUMBRA_BRAIN)
    name = truth.scheme.names[3]
    likely = np.array([[[1.0, 1.0, 0.1, 0.2, 0.9]]], np.float32)
    found = calibrated(truth, {name: likely})[name]
    assert found.table.voxels.sum() == 3
    assert found.values["auc"] == 1.0


def test_a_persons_copies_weigh_as_one_scan_in_the_bins() -> None:
    one = calibration.reliability(np.array([True, False]), np.array([0.95, 0.05]), bins=10)
    other = calibration.reliability(np.array([False, False]), np.array([0.95, 0.05]), bins=10)
    bins, error = pooled([one, one, other], ["a", "a", "b"])
    assert (bins[9].voxels, bins[9].frequency, bins[0].frequency) == (2.0, 0.5, 0.0)
    assert bins[9].mean_probability == pytest.approx(0.95)
    assert error == pytest.approx((0.45 * 2 + 0.05 * 2) / 4)
    assert np.isnan(bins[4].frequency)


def test_cases_without_probabilities_are_counted_and_no_failure(cohort: Cohort, tmp_path: Path) -> None:
    folder = whole(tmp_path / "likely")
    (folder / "case_1.nii.gz").unlink()
    models = [find_predictions(tmp_path / "ours", cohort)]
    evaluation = with_probabilities(
        evaluate(models, cohort), probabilities_of(models, cohort, given={"ours": folder}), cohort
    )
    assert evaluation.complete
    overview = Overview(evaluation)
    found = next(each for each in tables(overview) if each.title == "Probabilities")
    rows = {row[1:3]: row for row in found.rows}
    assert rows["LVO", "core"][4].endswith("\n(1 of 2)")
    assert rows["all", "penumbra"][4].endswith("\n(3 of 4)")
    assert [cloud.count for cloud in reliability(overview)] == [3, 3, 3]
    assert [each.title for each in pictures(overview)][2] == "Reliability of probabilities"


def elsewhere(folder: Path) -> None:
    save(folder / "case_2.nii.gz", softmax(2), affine=PLAIN + np.eye(4, k=3))


def two_volumes(folder: Path) -> None:
    save(folder / "case_2.nii.gz", softmax(2)[..., :2])


def logits(folder: Path) -> None:
    save(folder / "case_2.nii.gz", softmax(2) * 9)


def missing(folder: Path) -> None:
    save(folder / "case_2.nii.gz", np.where(np.arange(3) == 1, np.float32(np.nan), softmax(2)))


def twice(folder: Path) -> None:
    save(folder / "case_2.nii", softmax(2))


def four_axes(folder: Path) -> None:
    (folder / "case_2.nii.gz").unlink()
    save(folder / "case_2_prob_core.nii.gz", softmax(2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            elsewhere,
            "case_2.nii.gz lies elsewhere than the truth (corners up to 1 mm apart); bring it onto the truth's grid",
        ),
        (
            two_volumes,
            "case_2.nii.gz has 2 volumes, and the truth's classes are background, penumbra, core; "
            "give a volume for each, in this order",
        ),
        (missing, "case_2.nii.gz has no number in 480 voxels; give 0 where nothing is expected"),
        (twice, "case_2.nii and case_2.nii.gz could be one probability; remove all but one"),
        (four_axes, "case_2_prob_core.nii.gz has 3 volumes; the probability of core has one"),
    ],
)
def test_what_are_no_probabilities_of_a_case_is_one_line(
    change: Callable[[Path], None], message: str, cohort: Cohort, tmp_path: Path
) -> None:
    folder = whole(tmp_path / "likely")
    change(folder)
    models = [find_predictions(tmp_path / "ours", cohort)]
    evaluation = with_probabilities(
        evaluate(models, cohort), probabilities_of(models, cohort, given={"ours": folder}), cohort
    )
    assert [(row.case_id, row.failure) for row in evaluation.calibrations if row.failure] == [("case_2", message)]
    assert not evaluation.complete
    first, *_ = tables(Overview(evaluation))
    assert first.rows[0][:3] == ("ours", "probabilities", "1")


def test_logits_are_no_probabilities(cohort: Cohort, tmp_path: Path) -> None:
    folder = whole(tmp_path / "likely")
    logits(folder)
    models = [find_predictions(tmp_path / "ours", cohort)]
    evaluation = with_probabilities(
        evaluate(models, cohort), probabilities_of(models, cohort, given={"ours": folder}), cohort
    )
    (failed,) = (row.failure for row in evaluation.calibrations if row.failure)
    assert failed.startswith("case_2.nii.gz holds ")
    assert failed.endswith(", no probabilities; apply the softmax")


def ended(job: probabilities._Job) -> CalibratedRow:
    """One case ends its process, whoever else is at work."""
    if job.case.id == "case_2":
        os._exit(9)
    return ROW(job)


ROW = probabilities._row


def test_probabilities_that_end_their_process_are_a_row(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [find_predictions(tmp_path / "ours", cohort)]
    found = probabilities_of(models, cohort, given={"ours": whole(tmp_path / "likely")})
    monkeypatch.setattr(probabilities, "_row", ended)
    rows = with_probabilities(evaluate(models, cohort), found, cohort, workers=2).calibrations
    assert [(row.case_id, bool(row.classes)) for row in rows] == [(f"case_{n}", n != 2) for n in GROUPS]
    assert rows[1].failure.startswith("the process that scored case_2 was ended, alone too (BrokenProcessPool)")


@pytest.mark.parametrize("error", [MemoryError(), ZeroDivisionError("by nought")])
def test_an_error_of_ours_ends_no_batch_of_probabilities(
    error: Exception, cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise error

    models = [find_predictions(tmp_path / "ours", cohort)]
    found = probabilities_of(models, cohort, given={"ours": whole(tmp_path / "likely")})
    scored = evaluate(models, cohort)
    monkeypatch.setattr(probabilities, "calibrated", broken)
    evaluation = with_probabilities(scored, found, cohort)
    assert evaluation.calibrations[0].failure.startswith(f"case_1 ended in {type(error).__name__}")
    assert len(evaluation.calibrations) == len(evaluation.rows) == 4


@pytest.mark.parametrize("four_axes", [True, False])
def test_probabilities_in_another_order_of_axes_are_those_of_the_truth(
    four_axes: bool, cohort: Cohort, tmp_path: Path
) -> None:
    entry = next(each for each in cohort if each.id == "case_2")
    truth = entry.read_truth().truth
    assert truth is not None
    affine = PLAIN[:, [1, 2, 0, 3]]
    affine[:, 3] += affine[:, 0] * (SHAPE[1] - 1)
    affine[:, 0] *= -1
    turned = np.transpose(softmax(2), (1, 2, 0, 3))[::-1]
    place = tmp_path / "likely"
    if four_axes:
        save(place / "case_2.nii.gz", np.ascontiguousarray(turned), affine=affine)
    else:
        save(place / "case_2_prob_core.nii.gz", np.ascontiguousarray(turned[..., 2]), affine=affine)
    found = find_probabilities(place, cohort).cases["case_2"].read(truth.scheme, truth.grid)
    np.testing.assert_allclose(found["core"], softmax(2)[..., 2], rtol=1e-6)


def test_probabilities_of_no_case_are_strangers(cohort: Cohort, tmp_path: Path) -> None:
    by_class(tmp_path / "ours")
    for name in ("penumbra", "core"):
        save(tmp_path / f"ours/zzz_prob_{name}.nii.gz", softmax(1)[..., 1])
    models = [find_predictions(tmp_path / "ours", cohort)]
    evaluation = with_probabilities(evaluate(models, cohort), probabilities_of(models, cohort), cohort)
    assert evaluation.strangers == {"ours": ("zzz_prob_core.nii.gz",)}
    assert not evaluation.complete


def test_masks_and_probabilities_are_called_by_one_rule(cohort: Cohort, tmp_path: Path) -> None:
    first, second, *_ = cohort
    other = replace(second, person="case_1", folder=tmp_path / "other")  # its person is the first one's id
    third = replace(second, id="case_8", person="someone", folder=tmp_path / "other")  # two cases lie in one folder
    names = {entry.id: set(called) for entry, called in case_names([first, other, third])}
    assert names == {
        "case_1": {"case_1", "sub-case1"},
        "case_2": {"case_2", "sub-case2"},
        "case_8": {"case_8", "sub-case8", "someone"},
    }
    save(tmp_path / "likely/other_prob_core.nii.gz", softmax(1)[..., 1])
    save(tmp_path / "likely/someone_prob_core.nii.gz", softmax(1)[..., 1])
    found = find_probabilities(tmp_path / "likely", [first, other, third])
    assert (list(found.cases), found.strangers) == (["case_8"], ("other_prob_core.nii.gz",))


def test_probabilities_have_the_numbers_of_a_submission_too(cohort: Cohort, tmp_path: Path) -> None:
    save(tmp_path / "likely/SMIR.ours.7_prob_core.nii.gz", softmax(1)[..., 1])
    assert beside(tmp_path / "likely", cohort).strangers == ("SMIR.ours.7_prob_core.nii.gz",)
    assert submitted("SMIR.ours.7") == "SMIR number 7"


def test_a_folder_without_any_is_told(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CohortError, match=r"holds no probabilities of a case; looked for <case>\.nii\.gz with"):
        find_probabilities(tmp_path / "empty", cohort)
    assert beside(tmp_path / "nowhere", cohort).cases == {}
