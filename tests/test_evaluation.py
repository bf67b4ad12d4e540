"""Scores of a cohort's predictions: recomputed by hand, one case at a time, and every failure a row."""

import dataclasses
from collections.abc import Callable
from math import isnan, log10
from pathlib import Path

import numpy as np
import pytest

from strokelens.case import Case, Segmentation
from strokelens.cohorts.cohort import Cohort, Entry
from strokelens.cohorts.encode import write_segmentation
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.predictions import find_predictions
from strokelens.cohorts.slice_writer import write_slices
from strokelens.cohorts.slices import write_picture
from strokelens.errors import GridError, LabelError
from strokelens.evaluation import people
from strokelens.evaluation.results import FAILURES, Evaluation
from strokelens.evaluation.scoring import evaluate, score
from strokelens.evaluation.summaries import agreements, cells, comparisons
from strokelens.grid import Grid
from strokelens.labels import CORE_ONLY, CORE_PENUMBRA, LESION_ONLY, LabelScheme
from tests.nifti_files import PLAIN, adc, save

SHAPE = (12, 10, 4)
GROUPS = {1: "LVO", 2: "LVO", 3: "Non-LVO", 4: "WIS"}


def labels(seed: int) -> np.ndarray:
    """Mostly background, some penumbra, and a core in all but case 3."""
    drawn = np.random.default_rng(seed).choice(3, SHAPE, p=[0.6, 0.3, 0.1]).astype(np.uint8)
    return np.where(drawn == 2, 1, drawn).astype(np.uint8) if seed in (3, 103) else drawn


def write(path: Path, values: np.ndarray, scheme: LabelScheme = CORE_PENUMBRA, affine: np.ndarray = PLAIN) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_segmentation(
        path, Segmentation(values, Grid((values.shape[0], values.shape[1], values.shape[2]), affine), scheme)
    )


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    for number, group in GROUPS.items():
        folder = tmp_path / f"cohort/case_{number}"
        adc(folder, seed=number)
        write(folder / "truth.nii.gz", labels(number))
        (folder / "patient.json").write_text(f'{{"software": "strokelens", "group": "{group}"}}')
        write(tmp_path / f"ours/case_{number}.nii.gz", labels(number + 100))
    return open_cohort(tmp_path / "cohort")


def scored(cohort: Cohort, *folders: Path) -> Evaluation:
    return evaluate([find_predictions(folder, cohort) for folder in folders], cohort)


def dice_by_hand(truth: np.ndarray, prediction: np.ndarray) -> float:
    marked, found = set(np.flatnonzero(truth).tolist()), set(np.flatnonzero(prediction).tolist())
    return 2 * len(marked & found) / (len(marked) + len(found))


def test_every_case_is_scored_by_class(cohort: Cohort, tmp_path: Path) -> None:
    evaluation = scored(cohort, tmp_path / "ours")
    assert evaluation.complete
    assert (evaluation.models, evaluation.classes) == (("ours",), ("penumbra", "core", "hypoperfused"))
    assert evaluation.groups == ("LVO", "Non-LVO", "WIS")
    row = evaluation.rows[1]
    truth, prediction = labels(2), labels(102)
    assert (row.case_id, row.group) == ("case_2", "LVO")
    assert row.scores["penumbra"]["dice"] == pytest.approx(dice_by_hand(truth == 1, prediction == 1), abs=1e-12)
    assert row.scores["core"]["dice"] == pytest.approx(dice_by_hand(truth == 2, prediction == 2), abs=1e-12)
    assert row.scores["hypoperfused"]["dice"] == pytest.approx(dice_by_hand(truth > 0, prediction > 0), abs=1e-12)
    assert row.volumes["core"].truth_ml == pytest.approx((truth == 2).sum() * 0.02)


def test_pooled_f1_is_of_all_voxels_of_a_group(cohort: Cohort, tmp_path: Path) -> None:
    (found,) = (cell for cell in cells(scored(cohort, tmp_path / "ours")) if (cell.group, cell.name) == ("LVO", "core"))
    truth = np.concatenate([labels(1), labels(2)]) == 2
    prediction = np.concatenate([labels(101), labels(102)]) == 2
    assert found.f1_pooled == pytest.approx(dice_by_hand(truth, prediction), abs=1e-12)
    assert found.cases == 2


def test_a_class_that_is_empty_on_both_sides_is_not_in_the_mean(cohort: Cohort, tmp_path: Path) -> None:
    (found,) = (cell for cell in cells(scored(cohort, tmp_path / "ours")) if (cell.group, cell.name) == ("all", "core"))
    summary = found.summaries["dice"]
    wanted = [dice_by_hand(labels(number) == 2, labels(number + 100) == 2) for number in (1, 2, 4)]
    assert (summary.used, summary.total) == (3, 4)
    assert summary.mean == pytest.approx(np.mean(wanted))
    assert summary.deviation == pytest.approx(np.std(wanted, ddof=1))
    assert found.intervals["dice"].mean == pytest.approx(summary.mean)
    assert isnan(found.intervals["dice"].low)  # three patients are too few


def test_the_agreement_of_volumes_is_bland_and_altmans(cohort: Cohort, tmp_path: Path) -> None:
    (found,) = (
        each for each in agreements(scored(cohort, tmp_path / "ours")) if (each.group, each.name) == ("all", "penumbra")
    )
    differences = [0.02 * (int((labels(n + 100) == 1).sum()) - int((labels(n) == 1).sum())) for n in GROUPS]
    assert found.limits.bias == pytest.approx(np.mean(differences))
    assert np.isnan(found.limits.upper)  # four patients are too few


def test_two_models_are_compared_on_the_same_cases(cohort: Cohort, tmp_path: Path) -> None:
    for number in GROUPS:
        write(tmp_path / f"exact/case_{number}.nii.gz", labels(number))
    found = comparisons(scored(cohort, tmp_path / "ours", tmp_path / "exact"))
    (one,) = (each for each in found if (each.group, each.name) == ("all", "penumbra"))
    gains = [1 - dice_by_hand(labels(n) == 1, labels(n + 100) == 1) for n in GROUPS]
    assert (one.first, one.second) == ("ours", "exact")
    assert one.interval.mean == pytest.approx(np.mean(gains))
    assert one.test.p == pytest.approx(2 / 2**4)  # all four signs alike
    assert one.p_holm == 2 * one.test.p  # penumbra and core of all cases are the family
    corrected = {(each.group, each.name) for each in found if not isnan(each.p_holm)}
    assert corrected == {("all", "penumbra"), ("all", "core")}


def test_a_person_counts_once(cohort: Cohort, tmp_path: Path) -> None:
    evaluation = scored(cohort, tmp_path / "ours")
    rows = [dataclasses.replace(row, person="one") if row.group == "LVO" else row for row in evaluation.rows]
    dices = [row.scores["penumbra"]["dice"] for row in evaluation.rows]
    assert people.by_person(rows, "penumbra", people.dice) == pytest.approx(
        [(dices[0] + dices[1]) / 2, dices[2], dices[3]]
    )


def test_rarity_is_minus_the_logarithm_of_the_share_of_the_truth(cohort: Cohort, tmp_path: Path) -> None:
    rows = scored(cohort, tmp_path / "ours").rows
    assert people.rarity(rows[0], "core") == pytest.approx(-log10((labels(1) == 2).mean()))
    assert isnan(people.rarity(rows[2], "core"))


def test_one_case_is_in_memory_at_a_time(cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[str] = []
    most = 0
    read = Entry.read_truth

    class Watched(Segmentation):
        def __del__(self) -> None:
            alive.pop()

    def spy(entry: Entry) -> Case:
        nonlocal most
        case = read(entry)
        assert case.truth is not None
        alive.append(entry.id)
        most = max(most, len(alive))
        truth = Watched(case.truth.labels, case.truth.grid, case.truth.scheme)
        return dataclasses.replace(case, truth=truth)

    monkeypatch.setattr(Entry, "read_truth", spy)
    evaluation = scored(cohort, tmp_path / "ours")
    assert len(evaluation.rows) == 4
    assert most <= 3  # a truth and its prediction, and the next truth before the last one is let go


def told(evaluation: Evaluation) -> list[object]:
    """All that the rows hold, bit by bit."""
    return [
        (
            row.model,
            row.case_id,
            row.failures,
            {name: (dict(each.values), each.counts) for name, each in row.scores.items()},
        )
        for row in evaluation.rows
    ]


def test_rows_do_not_depend_on_the_number_of_processes(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "ours/case_3.nii.gz").unlink()
    models = [find_predictions(tmp_path / "ours", cohort)]
    assert repr(told(evaluate(models, cohort, workers=2))) == repr(told(evaluate(models, cohort)))


def test_two_segmentations_are_scored_by_class() -> None:
    grid = Grid(SHAPE, PLAIN)
    found = score(Segmentation(labels(1), grid, CORE_PENUMBRA), Segmentation(labels(101), grid, CORE_PENUMBRA))
    assert list(found) == ["penumbra", "core", "hypoperfused"]
    assert found["core"]["dice"] == pytest.approx(dice_by_hand(labels(1) == 2, labels(101) == 2))


def test_two_segmentations_that_do_not_fit_are_told() -> None:
    truth = Segmentation(labels(1), Grid(SHAPE, PLAIN), CORE_PENUMBRA)
    moved = Segmentation(labels(1), Grid(SHAPE, PLAIN + np.eye(4, k=3)), CORE_PENUMBRA)
    other = Segmentation((labels(1) > 0).astype(np.uint8), truth.grid, LESION_ONLY)
    message = r"^the prediction lies elsewhere than the truth \(corners .*\); bring it there with onto\(truth\.grid\)$"
    with pytest.raises(GridError, match=message):
        score(truth, moved)
    with pytest.raises(LabelError, match=r"^truth and prediction have no class in common .*; name them alike$"):
        score(truth, other)


def no_prediction(folder: Path, _: Path) -> None:
    (folder / "case_2.nii.gz").unlink()


def damaged(folder: Path, _: Path) -> None:
    (folder / "case_2.nii.gz").write_bytes(b"")


def elsewhere(folder: Path, _: Path) -> None:
    write(folder / "case_2.nii.gz", labels(2), affine=PLAIN + np.eye(4, k=3))


def other_shape(folder: Path, _: Path) -> None:
    write(folder / "case_2.nii.gz", labels(2)[:-1])


def core_alone(folder: Path, _: Path) -> None:
    write(folder / "case_2.nii.gz", (labels(2) == 2).astype(np.uint8), CORE_ONLY)


def lesion(folder: Path, _: Path) -> None:
    write(folder / "case_2.nii.gz", (labels(2) > 0).astype(np.uint8), LESION_ONLY)


def strange(folder: Path, _: Path) -> None:
    (folder / "case_2.json").unlink()
    save(folder / "case_2.nii.gz", labels(2) * 5)


def the_truth(folder: Path, cohort: Path) -> None:
    (folder / "case_2.nii.gz").unlink()
    (folder / "case_2.nii.gz").symlink_to(cohort / "case_2/truth.nii.gz")


def truth_damaged(_: Path, cohort: Path) -> None:
    (cohort / "case_2/truth.nii.gz").write_bytes(b"")


def truth_gone(_: Path, cohort: Path) -> None:
    (cohort / "case_2/truth.nii.gz").unlink()


FAILING: list[tuple[Callable[[Path, Path], None], str, str]] = [
    (no_prediction, "no-prediction", "case_2 has no prediction; add it, or take the case out"),
    (damaged, "prediction", "case_2.nii.gz is empty (0 bytes); copy or download it again"),
    (
        elsewhere,
        "other-grid",
        "the prediction of case_2 lies elsewhere than the truth (corners up to 1 mm apart); "
        "bring it onto the truth's grid",
    ),
    (
        other_shape,
        "other-grid",
        "the prediction of case_2 lies elsewhere than the truth (shape 11×10×4 against 12×10×4); "
        "bring it onto the truth's grid",
    ),
    (
        core_alone,
        "labels",
        "the prediction of case_2 has no penumbra, hypoperfused; it has core; "
        "name its classes in a sidecar, or with --labels 1=penumbra,2=core",
    ),
    (
        lesion,
        "labels",
        "the prediction of case_2 has no penumbra, core, hypoperfused; it has lesion; "
        "count one as the other with --as lesion=core",
    ),
    (
        strange,
        "labels",
        "the prediction case_2.nii.gz holds 5, 10; known: 0 background, 1 penumbra, 2 core; "
        "tell what they mean with --labels 1=penumbra,2=core",
    ),
    (
        the_truth,
        "is-truth",
        "the prediction of case_2 is the file of its truth; give the folder of the predictions",
    ),
    (truth_damaged, "truth", "truth.nii.gz is empty (0 bytes); copy or download it again"),
    (truth_gone, "no-truth", "case_2 has no truth; add it, or take the case out"),
]


@pytest.mark.parametrize(("change", "code", "message"), FAILING, ids=[change.__name__ for change, *_ in FAILING])
def test_a_broken_case_is_one_row(
    change: Callable[[Path, Path], None], code: str, message: str, cohort: Cohort, tmp_path: Path
) -> None:
    change(tmp_path / "ours", tmp_path / "cohort")
    evaluation = scored(open_cohort(tmp_path / "cohort"), tmp_path / "ours")
    (failed,) = evaluation.failed
    assert (failed.case_id, failed.failures[0].code, failed.failures[0].message) == ("case_2", code, message)
    assert sum("hypoperfused" in row.scores for row in evaluation.rows) == 3
    assert not evaluation.complete


def test_every_code_of_a_failure_has_a_test() -> None:
    assert {code for _, code, _ in FAILING} | {"crashed"} == set(FAILURES)  # tests/test_evaluation_trust.py


def test_a_class_that_a_prediction_knows_is_scored_though_it_lacks_others(cohort: Cohort, tmp_path: Path) -> None:
    core_alone(tmp_path / "ours", tmp_path)
    row = scored(cohort, tmp_path / "ours").rows[1]
    assert list(row.scores) == ["core"]
    assert row.scores["core"]["dice"] == 1.0


def test_a_prediction_of_no_case_is_counted(cohort: Cohort, tmp_path: Path) -> None:
    write(tmp_path / "ours/case_9.nii.gz", labels(9))
    evaluation = scored(cohort, tmp_path / "ours")
    assert evaluation.strangers == {"ours": ("case_9",)}
    assert not evaluation.failed
    assert not evaluation.complete


def test_grey_slices_as_the_first_ancestor_wrote_them_are_scored(tmp_path: Path) -> None:
    truth = np.zeros((16, 16, 2), np.uint8)
    truth[4:8, 4:8] = 1
    truth[5:7, 5:7, 0] = 2
    grid = Grid((16, 16, 2), np.diag([-2.0, -2.0, 5.0, 1.0]))
    maps = {"Tmax": np.full(grid.shape, 4.0, np.float32)}
    case = Case("sim-1", grid, maps, Segmentation(truth, grid, CORE_PENUMBRA), group="LVO", simulated=True)
    (tmp_path / "cohort").mkdir()
    (name,) = write_slices(tmp_path / "cohort", [case])
    cohort = open_cohort(tmp_path / "cohort")
    (entry,) = cohort
    segmentation = entry.read_truth().truth
    assert segmentation is not None
    place = tmp_path / "grey" / name
    place.mkdir(parents=True)
    grey = segmentation.scheme.to_grey(segmentation.labels)
    for index in range(2):
        write_picture(place / f"{index + 1:02}.png", np.ascontiguousarray(grey[:, :, index].T))
    (row,) = evaluate([find_predictions(tmp_path / "grey", cohort)], cohort, workers=2).rows
    assert row.failures == ()
    assert row.simulated
    assert {name: scores["dice"] for name, scores in row.scores.items()} == {
        "penumbra": 1.0,
        "core": 1.0,
        "hypoperfused": 1.0,
    }
