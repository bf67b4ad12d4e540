"""`strokelens evaluate`: what integers mean, classes that count as others, and a part of a split."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from strokelens.cli import app
from strokelens.cohorts.cohort import Cohort
from strokelens.cohorts.splits import Split, write_split
from strokelens.labels import CORE_PENUMBRA
from tests.nifti_files import adc, save
from tests.test_evaluation import cohort, labels, write

__all__ = ["cohort"]

runner = CliRunner()


def run(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    command = ["evaluate", str(tmp_path / "ours"), str(tmp_path / "cohort"), "-o", str(tmp_path / "out"), *arguments]
    finished = runner.invoke(app, command)
    return finished.exit_code, finished.output


def record(tmp_path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((tmp_path / "out/evaluation.json").read_text())
    return found


def by_case(tmp_path: Path) -> dict[tuple[str, str], dict[str, object]]:
    cases = record(tmp_path)["cases"]
    assert isinstance(cases, list)
    return {(case["model"], case["case"]): case for case in cases}


def swapped(tmp_path: Path, name: str = "swapped") -> None:
    """Predictions whose 1 is core and whose 2 is penumbra, without a word about it."""
    for number in (1, 2, 3, 4):
        save(tmp_path / name / f"case_{number}.nii.gz", np.take(np.array([0, 2, 1], np.uint8), labels(number + 100)))


def test_labels_tell_what_integers_mean_and_the_record_who_said_so(cohort: Cohort, tmp_path: Path) -> None:
    swapped(tmp_path)
    folder = f"swapped={tmp_path / 'swapped'}"
    code, _ = run(tmp_path, "--model", folder, "--labels", "swapped:1=core,2=penumbra")
    assert code == 0
    cases = by_case(tmp_path)
    assert cases["swapped", "case_1"]["classes"] == cases["ours", "case_1"]["classes"]
    assert cases["swapped", "case_1"]["labels"] == "--labels"
    assert cases["ours", "case_1"]["labels"] == "the table beside it"


def test_labels_without_a_name_are_of_every_model(cohort: Cohort, tmp_path: Path) -> None:
    swapped(tmp_path, "ours")
    assert run(tmp_path, "--labels", "1=core,2=penumbra")[0] == 0
    assert by_case(tmp_path)["ours", "case_1"]["labels"] == "--labels"


@pytest.mark.parametrize("model", ["", "ours:"])
def test_labels_can_be_told_one_by_one(model: str, cohort: Cohort, tmp_path: Path) -> None:
    swapped(tmp_path, "ours")
    assert run(tmp_path, "--labels", f"{model}1=core", "--labels", f"{model}2=penumbra")[0] == 0
    assert by_case(tmp_path)["ours", "case_1"]["labels"] == "--labels"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--labels", "1=core", "--labels", "1=penumbra"), "--labels: the label 1 is both core and penumbra; "),
        (("--as", "core=lesion", "--as", "core=penumbra"), "--as counts core as both lesion and penumbra; give one"),
        (
            ("--as", "lesion=core"),
            "--as lesion=core counts nothing: no prediction has a class lesion; they have penumbra, core",
        ),
    ],
)
def test_options_that_contradict_or_change_nothing_are_told(
    arguments: tuple[str, ...], message: str, cohort: Cohort, tmp_path: Path
) -> None:
    code, output = run(tmp_path, *arguments)
    assert code == 2
    assert message in output


def test_labels_of_no_model_are_told(cohort: Cohort, tmp_path: Path) -> None:
    code, output = run(tmp_path, "--labels", "our:1=core")
    assert code == 2
    assert "--labels names 'our', which is no model; did you mean 'ours'?" in output


@pytest.fixture
def lesions(tmp_path: Path) -> None:
    """Two patients with a lesion, and predictions of penumbra and core."""
    for number in (1, 2):
        adc(tmp_path / f"cohort/case_{number}", seed=number)
        save(tmp_path / f"cohort/case_{number}/lesion.nii.gz", (labels(number) == 2).astype(np.uint8))
        write(tmp_path / f"ours/case_{number}.nii.gz", labels(number + 100), CORE_PENUMBRA)


def test_the_core_can_be_scored_as_the_lesion(lesions: None, tmp_path: Path) -> None:
    code, output = run(tmp_path)
    assert code == 1
    assert "has no lesion; it has penumbra, core, hypoperfused; count one as the other with --as core=lesion" in output
    code, output = run(tmp_path, "--as", "core=lesion", "--overwrite")
    assert code == 0
    case = by_case(tmp_path)["ours", "case_1"]
    assert case["labels"] == "the table beside it; core as lesion"
    truth, found = labels(1) == 2, labels(101) == 2
    classes = case["classes"]
    assert isinstance(classes, dict)
    assert list(classes) == ["lesion"]
    assert classes["lesion"]["counts"]["tp"] == int((truth & found).sum())


def drawn(tmp_path: Path) -> Path:
    write_split(tmp_path / "split.json", Split({"train": ("case_1", "case_2"), "test": ("case_3", "case_4")}))
    return tmp_path / "split.json"


def test_a_part_of_a_split_is_scored_and_the_others_are_no_strangers(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "ours/case_2.nii.gz").unlink()
    code, output = run(tmp_path, "--split", str(drawn(tmp_path)), "--part", "test")
    assert code == 0
    assert (
        "2 cases; scored in full: ours 2 of 2. Only a part of the cohort was asked for: test of split.json, " in output
    )
    assert [case for _, case in by_case(tmp_path)] == ["case_3", "case_4"]
    assert str(record(tmp_path)["part"]).startswith("test of split.json, ")


def test_the_whole_cohort_is_no_part(cohort: Cohort, tmp_path: Path) -> None:
    assert run(tmp_path)[0] == 0
    assert record(tmp_path)["part"] == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--part", "test"), "--split is missing; give both, as --split split.json --part test"),
        (("--split", "split.json"), "--part is missing; give both, as --split split.json --part test"),
        (("--split", "split.json", "--part", "tset"), "the split has no part 'tset'; it has train, test"),
        (("--split", "nothing.json", "--part", "test"), "nothing.json cannot be read: "),
        (
            ("--split", "stavanger", "--part", "test"),
            "33 of 33 cases of the part test are not in cohort (CTP_01_001, ",
        ),
    ],
)
def test_a_part_that_cannot_be_scored_is_told(
    arguments: tuple[str, ...], message: str, cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn(tmp_path)
    monkeypatch.chdir(tmp_path)
    finished = runner.invoke(app, ["evaluate", "ours", "cohort", "-o", "out", *arguments])
    assert finished.exit_code == 2
    assert message in finished.output
