"""What an evaluation tells people: tables with their counts, files made whole or not at all, and exit codes."""

import csv
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from strokelens.cli import app
from strokelens.cli.evaluate import _processes
from strokelens.cohorts.cohort import Cohort
from strokelens.errors import OutputError
from strokelens.evaluation.delivery import deliver
from strokelens.evaluation.overview import Overview
from strokelens.evaluation.pictures import against_rarity, agreement, pictures
from strokelens.evaluation.record import record_of
from strokelens.evaluation.results import Evaluation, Row
from strokelens.evaluation.tables import headline, tables
from strokelens.metrics.overlap import Counts
from strokelens.metrics.scores import Scores
from strokelens.metrics.volumes import Volumes
from strokelens.report.tabular import Table, html, markdown
from tests.test_evaluation import GROUPS, cohort, dice_by_hand, labels, scored, write

__all__ = ["cohort"]

runner = CliRunner()


def row(case_id: str, group: str, tp: int, fp: int, fn: int, *, model: str = "ours") -> Row:
    counts = Counts(tp, fp, fn, 1000)
    values = {**counts.evaluate(), "absolute_volume_difference_ml": abs(fp - fn) / 1000}
    volumes = Volumes.of(counts, (1.0, 1.0, 1.0))
    return Row(model, case_id, case_id, group, scores={"core": Scores(values, counts)}, volumes={"core": volumes})


def table(evaluation: Evaluation, title: str, *, with_legacy: bool = False) -> Table:
    made = tables(Overview(evaluation), with_legacy=with_legacy)
    return next(each for each in made if each.title == title)


EVALUATION = Evaluation(
    (
        row("a", "Non-LVO", 50, 50, 50),
        row("b", "LVO", 90, 10, 10),
        row("c", "LVO", 0, 0, 20),
        row("d", "LVO", 0, 0, 0),
    )
)


def test_the_ancestors_table_has_a_row_a_model_and_a_column_a_group_and_class() -> None:
    found = table(EVALUATION, "F1 by group")
    assert found.header == ("model", "LVO core,\nn = 3", "Non-LVO core,\nn = 1", "all core,\nn = 4")
    assert found.rows == (("ours", "0.818", "0.500", "0.667"),)  # 180/220, 100/200, 280/420


def test_a_mean_says_of_how_many_it_is() -> None:
    assert table(EVALUATION, "Dice by group").rows == (
        ("ours", "0.45 ± 0.64\n(2 of 3)", "0.50 ± –", "0.47 ± 0.45\n(3 of 4)"),
    )


def test_legacy_numbers_stand_beside_the_right_ones() -> None:
    lvo = table(EVALUATION, "The ancestors' conventions", with_legacy=True).rows[0]
    # Dice of b, c, d: 0.9, 0, none; theirs 0 for d. Similarity: 1, 0, none; theirs 1 for d and 1/21 for c.
    # With 1 added 181/201, 1/21 and 1; with 1e-7 below 0.9, 0 and 0.
    assert lvo[3:] == ("0.450", "0.300", "0.649", "0.300", "0.818", "0.818", "0.500", "0.683", "3 of 3", "3")


def test_without_legacy_there_is_no_such_table() -> None:
    assert all("conventions" not in each.title for each in tables(Overview(EVALUATION)))


def test_volumes_are_told_with_bias_and_limits() -> None:
    assert table(EVALUATION, "Volumes").rows[0][:2] == ("ours", "LVO")
    assert table(EVALUATION, "Volumes").rows[1] == ("ours", "Non-LVO", "core", "0.0", "–", "–", "1 of 1")


def test_two_models_are_compared() -> None:
    better = tuple(row(each.case_id, str(each.group), 60, 40, 40, model="new") for each in EVALUATION.rows[:2])
    found = table(Evaluation(EVALUATION.rows[:2] + better), "Models compared")
    assert found.rows[0] == ("ours", "new", "LVO", "core", "−0.300", "1.0000", "–", "1 of 1", "1", "1 of 1")


def test_one_group_alone_needs_no_column_for_all() -> None:
    assert table(Evaluation(EVALUATION.rows[1:]), "F1 by group").header == ("model", "LVO core,\nn = 3")


def test_the_headline_says_that_patients_are_simulated() -> None:
    rows = tuple(replace(each, simulated=True) for each in EVALUATION.rows)
    assert headline(Evaluation(rows, {"ours": ("x",)})) == (
        "4 cases; scored in full: ours 4 of 4. 1 prediction belongs to no case. "
        "4 of 4 cases are simulated: no evidence about real patients."
    )


def test_the_record_calls_the_scored_cases_of_the_ancestors_other_than_all_cases() -> None:
    evaluation = Evaluation((*EVALUATION.rows, Row("ours", "e", "e", "LVO")))
    record = record_of(Overview(evaluation), with_legacy=True)
    assert record.legacy is not None
    (scored,) = (each.scored_cases for each in record.legacy if each.group == "all")
    (every,) = (each.cases for each in record.summaries if each.group == "all")
    assert (scored, every) == (4, 5)


def test_names_cannot_break_the_pages() -> None:
    made = [Table("T", "N", ("a",), (("<script>|",),))]
    assert "<script>" not in html("lead", made)
    assert "| <script>\\| |" in markdown("lead", made)


class Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_folder_has_every_case_and_says_what_it_is(cohort: Cohort, tmp_path: Path) -> None:
    evaluation = scored(cohort, tmp_path / "ours")
    told = json.loads(deliver(evaluation, tmp_path / "out", with_legacy=True))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "agreement-of-volumes.png",
        "cases.csv",
        "dice-against-the-lesions-size.png",
        "evaluation.json",
        "tables.html",
        "tables.md",
    ]
    assert told == json.loads((tmp_path / "out/evaluation.json").read_text())
    assert told["cases"][2]["classes"]["core"]["scores"]["dice"] is None
    assert len(told["summaries"]) == len(told["legacy"]) == 4 * 3
    with (tmp_path / "out/cases.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 4 * 3
    assert float(lines[0]["dice"]) == pytest.approx(dice_by_hand(labels(1) == 1, labels(101) == 1), abs=1e-5)
    assert (lines[7]["case"], lines[7]["class"], lines[7]["dice"]) == ("case_3", "core", "")
    for name in ("tables.md", "tables.html"):
        page = Text()
        page.feed((tmp_path / "out" / name).read_text())
        assert "Research use only; not a medical device." in page.text
        assert "F1 by group" in page.text


def test_the_same_evaluation_has_the_same_bytes(cohort: Cohort, tmp_path: Path) -> None:
    for name in ("one", "two"):
        deliver(scored(cohort, tmp_path / "ours"), tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_a_folder_that_is_there_stays_unless_it_is_ours(cohort: Cohort, tmp_path: Path) -> None:
    evaluation = scored(cohort, tmp_path / "ours")
    deliver(evaluation, tmp_path / "out")
    with pytest.raises(OutputError, match=r"exists; give another folder, or --overwrite to replace it$"):
        deliver(evaluation, tmp_path / "out")
    deliver(evaluation, tmp_path / "out", overwrite=True)
    with pytest.raises(OutputError, match=r"has no evaluation\.json by strokelens and is not replaced"):
        deliver(evaluation, tmp_path / "cohort", overwrite=True)


def run(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    command = ["evaluate", str(tmp_path / "ours"), str(tmp_path / "cohort"), "-o", str(tmp_path / "out"), *arguments]
    finished = runner.invoke(app, command)
    return finished.exit_code, finished.output


def test_all_cases_scored_is_exit_code_0(cohort: Cohort, tmp_path: Path) -> None:
    code, output = run(tmp_path)
    assert code == 0
    assert output == (
        f"{tmp_path / 'out' / 'tables.md'}: 4 cases; scored in full: ours 4 of 4. "
        "Research use only; not a medical device.\n"
    )


@pytest.mark.parametrize(("arguments", "code"), [((), 1), (("--strict",), 2)])
def test_a_case_without_prediction_is_told_and_is_the_exit_code(
    arguments: tuple[str, ...], code: int, cohort: Cohort, tmp_path: Path
) -> None:
    (tmp_path / "ours/case_2.nii.gz").unlink()
    found, output = run(tmp_path, *arguments)
    assert found == code
    assert "ours, case_2: no-prediction: case_2 has no prediction; add it, or take the case out\n" in output
    assert "ours 3 of 4" in output
    assert "case_2,case_2,LVO" in (tmp_path / "out/cases.csv").read_text()
    assert "| ours | case_2 | no-prediction |" in (tmp_path / "out/tables.md").read_text()


def test_a_prediction_without_a_case_is_exit_code_1(cohort: Cohort, tmp_path: Path) -> None:
    write(tmp_path / "ours/case_9.nii.gz", labels(9))
    code, output = run(tmp_path)
    assert code == 1
    assert "1 prediction belongs to no case." in output
    assert "| ours | case_9 | no-case |" in (tmp_path / "out/tables.md").read_text()


def test_json_is_all_of_standard_output(cohort: Cohort, tmp_path: Path) -> None:
    code, output = run(tmp_path, "--json")
    assert code == 0
    assert json.loads(output)["models"] == ["ours"]


def test_models_are_named_and_compared(cohort: Cohort, tmp_path: Path) -> None:
    for number in GROUPS:
        write(tmp_path / f"exact/case_{number}.nii.gz", labels(number))
    code, _ = run(tmp_path, "--name", "old", "--model", f"exact={tmp_path / 'exact'}")
    assert code == 0
    told = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert told["models"] == ["old", "exact"]
    assert {(each["first"], each["second"]) for each in told["comparisons"]} == {("old", "exact")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "exact"), "strokelens: --model takes NAME=FOLDER, not 'exact'"),
        (
            ("--model", "ours={ours}"),
            "strokelens: two models are called 'ours'; give each a name with --name and --model NAME=FOLDER",
        ),
    ],
)
def test_models_that_cannot_be_told_apart_are_refused(
    arguments: tuple[str, ...], message: str, cohort: Cohort, tmp_path: Path
) -> None:
    code, output = run(tmp_path, *(each.format(ours=tmp_path / "ours") for each in arguments))
    assert (code, output) == (2, f"{message}\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("workers", "cases", "count"), [(None, 9, 1), (2, 4, 2), (3, 2, 2), (1, 99, 1)])
def test_a_few_cases_need_no_other_process_unless_it_is_asked_for(workers: int | None, cases: int, count: int) -> None:
    assert _processes(workers, cases) == count


def test_the_output_may_not_be_the_input(cohort: Cohort, tmp_path: Path) -> None:
    finished = runner.invoke(
        app, ["evaluate", str(tmp_path / "ours"), str(tmp_path / "cohort"), "-o", str(tmp_path / "ours"), "--overwrite"]
    )
    assert finished.exit_code == 2
    assert "is or holds the input" in finished.output


def test_the_spread_of_numbers_is_that_of_numpy() -> None:
    dices = [2 * 90 / 200, 0.0]
    summary = Overview(EVALUATION).cells[0].summaries["dice"]
    assert (summary.mean, summary.deviation) == pytest.approx((np.mean(dices), np.std(dices, ddof=1)))


def test_the_pictures_show_each_patient_once() -> None:
    (volumes,), (rare,) = agreement(EVALUATION), against_rarity(EVALUATION)
    assert volumes.x.tolist() == pytest.approx([0.1, 0.1, 0.01, 0.0])
    assert volumes.y.tolist() == pytest.approx([0.0, 0.0, -0.02, 0.0])
    assert volumes.lines[0] == pytest.approx(-0.005)
    assert rare.y.tolist() == pytest.approx([0.5, 0.9, 0.0])  # d has no lesion
    assert rare.x[2] == pytest.approx(-np.log10(20 / 1020))


def test_the_page_has_both_pictures_and_refers_to_nothing_outside(cohort: Cohort, tmp_path: Path) -> None:
    deliver(scored(cohort, tmp_path / "ours"), tmp_path / "out")
    page = (tmp_path / "out/tables.html").read_text()
    assert page.count('src="data:image/png;base64,') == 2
    assert "http" not in page.replace('http-equiv="Content', "")


def test_without_scores_there_is_no_picture() -> None:
    assert pictures(Overview(Evaluation(()))) == ()
