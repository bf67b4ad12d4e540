"""Every snapshot of a training on the same cases: the means by hand, and the same scores in any order of the cases."""

import csv
from pathlib import Path

import pytest

from strokelens.cohorts.cohort import Cohort
from strokelens.epochs import by_epoch, of_epochs
from strokelens.errors import FileError
from strokelens.evaluation.results import Evaluation, Row
from strokelens.metrics.overlap import Counts
from strokelens.metrics.scores import Scores
from tests.commands import Run
from tests.tiny_volumes import trained, write_tiny_volumes


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return write_tiny_volumes(tmp_path_factory.mktemp("cohort") / "isles", cases=3)


@pytest.fixture(scope="module")
def run_folder(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(cohort, tmp_path_factory.mktemp("trained") / "run", snapshots=1, keep_snapshots=None)


def row(model: str, case: str, tp: int, fp: int, fn: int) -> Row:
    counts = Counts(tp, fp, fn, 100)
    return Row(model, case, case, None, scores={"lesion": Scores(counts.evaluate(), counts)})


def test_means_are_over_cases_and_an_empty_pair_has_no_dice_of_ours() -> None:
    rows = (row("epoch-0002", "a", 3, 1, 1), row("epoch-0002", "b", 0, 0, 0), row("kept", "a", 0, 0, 10))
    found = of_epochs(Evaluation(rows))
    assert [(each.epoch, each.cases) for each in found] == [(2, 2), (None, 1)]
    numbers = [(each.dice, each.dice_smoothed, each.dice_epsilon) for each in found]
    assert numbers[0] == pytest.approx((0.75, (7 / 9 + 1) / 2, 0.375))
    assert numbers[1] == pytest.approx((0, 1 / 11, 0))


def dice(evaluation: Evaluation) -> dict[tuple[str, str], float]:
    return {(row.model, row.case_id): row.scores["lesion"]["dice"] for row in evaluation.rows}


def test_scores_do_not_depend_on_the_order_of_the_cases_and_what_is_there_is_kept(
    cohort: Cohort, run_folder: Path, tmp_path: Path
) -> None:
    """The ancestor's networks learned between the cases that they were scored on."""
    forth, rows = by_epoch(run_folder, cohort, list(cohort), tmp_path / "forth")
    back, _ = by_epoch(run_folder, cohort, list(cohort)[::-1], tmp_path / "back")
    assert dice(forth) == dice(back)
    assert len(dice(forth)) == 3 * 3
    assert [each.epoch for each in rows] == [1, 2, None]
    with (tmp_path / "forth/by_epoch.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [line["epoch"] for line in table] == ["1", "2", "kept"]
    assert float(table[0]["dice"]) == pytest.approx(rows[0].dice, abs=1e-6)
    assert (tmp_path / "forth/by_epoch.png").read_bytes().startswith(b"\x89PNG")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "forth").glob("epoch-*/*/*.nii.gz")}
    by_epoch(run_folder, cohort, list(cohort), tmp_path / "forth")
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert len(kept) == 2 * 3


def test_the_verb_tells_each_epoch_and_why_a_case_failed(
    run: Run, cohort: Cohort, run_folder: Path, tmp_path: Path
) -> None:
    answer = run("epochs", run_folder, cohort.folder, "-o", tmp_path / "out", "--device", "cpu")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert [line.split(": ")[0] for line in lines[:3]] == ["epoch 1", "epoch 2", "kept model"]
    assert lines[0].endswith("3 cases")


def test_a_folder_without_a_model_is_told(cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="holds no model; give the folder of a run"):
        by_epoch(tmp_path, cohort, list(cohort), tmp_path / "out")
