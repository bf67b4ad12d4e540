"""Two annotators: their agreement by hand, and each model beside them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from strokelens.cli import app
from strokelens.cohorts.cohort import Cohort
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.predictions import find_predictions
from strokelens.evaluation.interrater import Interrater
from strokelens.evaluation.results import Evaluation
from strokelens.evaluation.scoring import evaluate
from strokelens.evaluation.tables import headline
from strokelens.labels import CORE_ONLY
from tests.test_evaluation import GROUPS, cohort, dice_by_hand, labels, write

__all__ = ["cohort"]

runner = CliRunner()


def drawn(seed: int) -> np.ndarray:
    """The second annotator: the first one's tissue, moved by a voxel."""
    return np.roll(labels(seed), 1, axis=0)


@pytest.fixture
def second(tmp_path: Path) -> Path:
    for number in GROUPS:
        write(tmp_path / f"second/case_{number}.nii.gz", drawn(number))
    return tmp_path / "second"


def scored(cohort: Cohort, tmp_path: Path) -> Evaluation:
    models = [find_predictions(tmp_path / "ours", cohort)]
    return evaluate(models, cohort, annotator=find_predictions(tmp_path / "second", cohort, name="Ann"))


def interrater(cohort: Cohort, tmp_path: Path) -> Interrater:
    found = Interrater.of(scored(cohort, tmp_path))
    assert found is not None
    return found


def test_annotators_are_compared_as_a_prediction_is(cohort: Cohort, second: Path, tmp_path: Path) -> None:
    found = interrater(cohort, tmp_path)
    (each,) = (each for each in found.spreads if (each.group, each.name) == ("all", "penumbra"))
    dices = [dice_by_hand(labels(n) == 1, drawn(n) == 1) for n in GROUPS]
    differences = [0.02 * (int((drawn(n) == 1).sum()) - int((labels(n) == 1).sum())) for n in GROUPS]
    assert each.summaries["dice"].mean == pytest.approx(np.mean(dices))
    assert each.limits.bias == pytest.approx(np.mean(differences), abs=1e-12)
    assert each.cases == 4


def test_a_model_is_told_against_each_annotator(cohort: Cohort, second: Path, tmp_path: Path) -> None:
    found = interrater(cohort, tmp_path)
    (each,) = (each for each in found.models if (each.group, each.name) == ("all", "penumbra"))
    first = [dice_by_hand(labels(n) == 1, labels(n + 100) == 1) for n in GROUPS]
    other = [dice_by_hand(drawn(n) == 1, labels(n + 100) == 1) for n in GROUPS]
    between = [dice_by_hand(labels(n) == 1, drawn(n) == 1) for n in GROUPS]
    assert each.against_first.mean == pytest.approx(np.mean(first))
    assert each.against_second.mean == pytest.approx(np.mean(other))
    assert each.between.mean == pytest.approx(np.mean(between))
    halves = np.add(first, other) / 2
    assert each.difference.mean == pytest.approx(np.mean(halves - np.array(between)))


def test_a_case_that_the_second_did_not_see_is_left_out_and_no_failure(
    cohort: Cohort, second: Path, tmp_path: Path
) -> None:
    (second / "case_2.nii.gz").unlink()
    evaluation = scored(cohort, tmp_path)
    assert evaluation.complete
    found = Interrater.of(evaluation)
    assert found is not None
    (each,) = (each for each in found.models if (each.group, each.name) == ("all", "penumbra"))
    assert (each.difference.used, each.difference.total, each.against_first.used) == (3, 4, 3)
    assert (each.scans, each.all_scans) == (3, 4)


def test_masks_of_the_second_that_cannot_be_read_are_a_failure(cohort: Cohort, second: Path, tmp_path: Path) -> None:
    (second / "case_2.nii.gz").write_bytes(b"")
    write(second / "case_3.nii.gz", (labels(3) == 2).astype(np.uint8), CORE_ONLY)
    evaluation = scored(cohort, tmp_path)
    assert [(row.model, row.case_id, row.failures[0].code) for row in evaluation.failed] == [
        ("Ann", "case_2", "prediction"),
        ("Ann", "case_3", "labels"),
    ]
    assert "2 masks of Ann could not be scored in full." in headline(evaluation)


def test_what_the_second_lacks_is_no_fault_of_the_model(cohort: Cohort, second: Path, tmp_path: Path) -> None:
    (second / "case_1.nii.gz").unlink()
    (second / "case_2.nii.gz").write_bytes(b"")
    annotator = scored(cohort, tmp_path).annotator
    assert annotator is not None
    first, other, *_ = ([failure.message for failure in row.failures] for row in annotator.against)
    assert first == ["annotator Ann: case_1 has no mask; add it, or take the case out"]
    assert other[0].startswith("annotator Ann: case_2.nii.gz ")


def test_without_a_second_annotator_there_is_nothing_to_tell(cohort: Cohort, tmp_path: Path) -> None:
    assert Interrater.of(evaluate([find_predictions(tmp_path / "ours", cohort)], cohort)) is None


def run(tmp_path: Path, *words: str) -> tuple[int, str]:
    command = ["evaluate", str(tmp_path / "ours"), str(tmp_path / "cohort"), "-o", str(tmp_path / "out"), *words]
    done = runner.invoke(app, command)
    return done.exit_code, done.output


def test_the_command_writes_both_tables_and_every_pair(cohort: Cohort, second: Path, tmp_path: Path) -> None:
    code, output = run(tmp_path, "--annotator", f"Ann={second}")
    assert (code, output.count("\n")) == (0, 1)
    page = (tmp_path / "out/tables.md").read_text()
    assert "## Two annotators" in page
    assert (
        "| model | group | class | against truth | against Ann | between both | difference | patients | scans |" in page
    )
    told = json.loads((tmp_path / "out/evaluation.json").read_text())["annotator"]
    assert (told["name"], len(told["agreement"]), len(told["models"])) == ("Ann", 12, 12)
    with (tmp_path / "out/cases.csv").open(newline="") as file:
        pairs = [(line["model"], line["against"]) for line in csv.DictReader(file)]
    assert {pair: pairs.count(pair) for pair in pairs} == {
        ("ours", "truth"): 12,
        ("Ann", "truth"): 12,
        ("ours", "Ann"): 12,
    }


def test_rows_with_an_annotator_do_not_depend_on_the_number_of_processes(
    cohort: Cohort, second: Path, tmp_path: Path
) -> None:
    run(tmp_path, "--annotator", f"Ann={second}", "--legacy", "--workers", "1")
    one = (tmp_path / "out/evaluation.json").read_bytes()
    run(tmp_path, "--annotator", f"Ann={second}", "--legacy", "--workers", "2", "--overwrite")
    assert (tmp_path / "out/evaluation.json").read_bytes() == one


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{second}", "strokelens: --annotator takes NAME=FOLDER, not '{second}'"),
        (
            "ours={second}",
            "strokelens: two models are called 'ours'; give each a name with --name and --model NAME=FOLDER",
        ),
        ("truth={second}", "strokelens: no annotator can be called 'truth', which the cohort's is; give another name"),
    ],
)
def test_an_annotator_has_a_name_of_their_own(
    given: str, message: str, cohort: Cohort, second: Path, tmp_path: Path
) -> None:
    code, output = run(tmp_path, "--annotator", given.format(second=second))
    assert (code, output) == (2, f"{message.format(second=second)}\n")


def test_the_output_may_not_be_the_annotators_folder(cohort: Cohort, second: Path, tmp_path: Path) -> None:
    (second / "evaluation.json").write_text('{"software": "strokelens 0"}')
    words = ["evaluate", str(tmp_path / "ours"), str(tmp_path / "cohort"), "-o", str(second), "--overwrite"]
    done = runner.invoke(app, [*words, "--annotator", f"Ann={second}"])
    assert done.exit_code == 2
    assert "is or holds the input" in done.output


def test_a_case_without_truth_and_without_predictions_is_left_out(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "cohort/case_2/truth.nii.gz").unlink()
    (tmp_path / "ours/case_2.nii.gz").unlink()
    code, output = run(tmp_path)
    assert code == 0
    assert "3 cases; scored in full: ours 3 of 3. 1 case has no truth and was left out." in output
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["cases_without_truth"] == ["case_2"]
    assert evaluate([find_predictions(tmp_path / "ours", cohort)], open_cohort(tmp_path / "cohort")).complete
