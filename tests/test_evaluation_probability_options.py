"""`strokelens evaluate --probabilities`: where they lie, what is wrong with them, and that every table tells them."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from strokelens.cli import app
from strokelens.cli.evaluate import _folder_of
from strokelens.cohorts.cohort import Cohort
from strokelens.cohorts.splits import Split, write_split
from strokelens.evaluation import scoring
from tests.nifti_files import save
from tests.test_evaluation import cohort
from tests.test_evaluation_probabilities import softmax, whole

__all__ = ["cohort"]

runner = CliRunner()


def run(tmp_path: Path, *words: str) -> tuple[int, str]:
    command = ["evaluate", str(tmp_path / "ours"), str(tmp_path / "cohort"), "-o", str(tmp_path / "out"), *words]
    done = runner.invoke(app, command)
    return done.exit_code, done.output


def test_the_command_tells_probabilities_everywhere(cohort: Cohort, tmp_path: Path) -> None:
    code, _ = run(tmp_path, "--probabilities", str(whole(tmp_path / "likely")), "--workers", "1")
    assert code == 0
    page = (tmp_path / "out/tables.html").read_text()
    assert page.count('src="data:image/png;base64,') == 3
    assert "Brier score" in page
    text = (tmp_path / "out/evaluation.json").read_bytes()
    told = json.loads(text)
    assert len(told["probabilities"]) == 4 * 3
    assert len(told["probabilities"][0]["bins"]) == 10
    assert told["calibrations"][1]["classes"]["core"]["auc"] > 0.8
    with (tmp_path / "out/cases.csv").open(newline="") as file:
        assert {bool(line["brier"]) for line in csv.DictReader(file)} == {True}
    run(tmp_path, "--probabilities", f"ours={tmp_path / 'likely'}", "--workers", "2", "--overwrite")
    assert (tmp_path / "out/evaluation.json").read_bytes() == text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--probabilities", "theirs=x"), "strokelens: --probabilities names no model 'theirs'; known: ours"),
        (
            ("--probabilities", "x", "--probabilities", "ours=y"),
            "strokelens: --probabilities gives two folders for 'ours'; give one",
        ),
    ],
)
def test_probabilities_are_of_one_model(words: tuple[str, ...], message: str, cohort: Cohort, tmp_path: Path) -> None:
    assert run(tmp_path, *words) == (2, f"{message}\n")


def never(*_: object, **__: object) -> None:
    raise AssertionError("a case was scored")


@pytest.mark.parametrize("name", ["likely", "ours=likely"])
def test_a_wrong_folder_is_told_before_anything_is_scored(
    name: str, cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("likely").mkdir()
    monkeypatch.setattr(scoring, "cases", never)
    code, output = run(tmp_path, "--probabilities", name)
    assert (code, output.startswith("strokelens: likely holds no probabilities of a case; ")) == (2, True)


def test_a_folder_of_another_part_is_told_before_anything_is_scored(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = whole(tmp_path / "likely")
    for number in (3, 4):
        (folder / f"case_{number}.nii.gz").unlink()
    write_split(tmp_path / "split.json", Split({"train": ("case_1", "case_2"), "test": ("case_3", "case_4")}))
    monkeypatch.setattr(scoring, "cases", never)
    words = ("--probabilities", str(folder), "--split", str(tmp_path / "split.json"), "--part", "test")
    message = f"strokelens: {folder} holds no probabilities of the part that is scored; give another folder\n"
    assert run(tmp_path, *words) == (2, message)


def test_what_leaves_probabilities_incomplete_is_named_and_counted(cohort: Cohort, tmp_path: Path) -> None:
    folder = whole(tmp_path / "likely")
    save(folder / "case_2.nii.gz", softmax(2)[..., :2])
    save(folder / "zzz.nii.gz", softmax(2))
    code, output = run(tmp_path, "--probabilities", str(folder), "--workers", "1")
    assert code == 1
    assert "ours, case_2: probabilities: case_2.nii.gz has 2 volumes, and " in output
    assert "ours, zzz.nii.gz: no-case: the prediction belongs to no case of the cohort\n" in output
    assert " 1 prediction belongs to no case. The probabilities of 1 case could not be scored." in output


@pytest.mark.parametrize("name", ["a=b", "ours=b"])
def test_a_folder_that_exists_is_taken_whole(
    name: str, cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole(tmp_path / name)
    assert _folder_of(name) == (None, Path(name))
    assert _folder_of(f"ours={name}") == ("ours", Path(name))
    assert run(tmp_path, "--probabilities", name, "--workers", "1")[0] == 0
