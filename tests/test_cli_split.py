"""`strokelens split`: drawn by person, kept as a file, and never replaced unasked."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from strokelens.cli import app
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.splits import Split, read_split, split, write_split
from tests.nifti_files import adc

runner = CliRunner()


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Ten patients in two groups."""
    for number in range(1, 11):
        adc(tmp_path / f"cohort/case_{number}", seed=number)
        group = "LVO" if number < 6 else "WIS"
        (tmp_path / f"cohort/case_{number}/patient.json").write_text(
            f'{{"software": "strokelens", "group": "{group}"}}'
        )
    return tmp_path / "cohort"


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    finished = runner.invoke(app, ["split", str(folder), *arguments])
    return finished.exit_code, finished.output


def test_a_split_is_drawn_and_kept(cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "splits/split.json"
    code, output = run(cohort, "-o", str(out), "--seed", "3")
    found = read_split(out)
    assert (code, output) == (0, f"{out}: train 6, validation 2, test 2; sha256 {found.sha256[:12]}.\n")
    assert found.parts == split(open_cohort(cohort), validation=0.2, test=0.2, seed=3).parts


def test_shares_are_given_in_percent(cohort: Path, tmp_path: Path) -> None:
    assert run(cohort, "-o", str(tmp_path / "s.json"), "--parts", "50:0:50")[0] == 0
    assert {name: len(ids) for name, ids in read_split(tmp_path / "s.json").parts.items()} == {"train": 5, "test": 5}


def test_folds_are_files_of_their_own(cohort: Path, tmp_path: Path) -> None:
    code, output = run(cohort, "-o", str(tmp_path / "f.json"), "--folds", "5")
    assert code == 0
    found = [read_split(tmp_path / f"f-{at}.json") for at in range(1, 6)]
    assert sorted(case for each in found for case in each["validation"]) == sorted(e.id for e in open_cohort(cohort))
    assert output.count("train 8, validation 2") == 5


def test_a_split_that_is_there_stays(cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "split.json"
    assert run(cohort, "-o", str(out))[0] == 0
    before = out.read_bytes()
    code, output = run(cohort, "-o", str(out), "--seed", "9")
    assert (code, out.read_bytes()) == (2, before)
    assert output.endswith("exists; a split is never drawn anew unasked: give another file, or --overwrite\n")
    assert run(cohort, "-o", str(out), "--seed", "9", "--overwrite")[0] == 0
    assert out.read_bytes() != before


def test_of_folds_one_of_which_is_there_none_is_written(cohort: Path, tmp_path: Path) -> None:
    write_split(tmp_path / "f-2.json", Split({"train": ("a",)}))
    code, output = run(cohort, "-o", str(tmp_path / "f.json"), "--folds", "2")
    assert code == 2
    assert "f-2.json exists" in output
    assert not (tmp_path / "f-1.json").exists()


def test_a_split_is_told_as_json(cohort: Path, tmp_path: Path) -> None:
    code, output = run(cohort, "-o", str(tmp_path / "f.json"), "--folds", "2", "--json")
    assert code == 0
    first, second = json.loads(output)
    assert first == {"file": str(tmp_path / "f-1.json"), **json.loads((tmp_path / "f-1.json").read_text())}
    assert second["file"] == str(tmp_path / "f-2.json")
    _, checked = run(cohort, "--check", str(tmp_path / "f-1.json"), "--json")
    assert json.loads(checked) == [first]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "s.json", "--folds", "2", "--parts", "60:20:20"), "--folds has no use for --parts 60:20:20"),
        (("--check", "s.json", "--folds", "2"), "--check has no use for --folds 2"),
        (("--check", "s.json", "--seed", "0"), "--check has no use for --seed 0"),
        (("--check", "s.json", "--parts", "60:20:20"), "--check has no use for --parts 60:20:20"),
        (("--check", "s.json", "--overwrite"), "--check has no use for --overwrite"),
    ],
)
def test_what_has_no_use_is_refused(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    assert run(tmp_path, *arguments) == (2, f"strokelens: {message}; leave it out\n")


def test_a_file_that_is_no_split_is_not_replaced(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("{}")
    code, output = run(cohort, "-o", str(tmp_path / "notes.json"), "--overwrite")
    assert code == 2
    assert "notes.json is no split by strokelens" in output
    assert (tmp_path / "notes.json").read_text() == "{}"


def test_a_split_is_checked(cohort: Path, tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    train = tuple(f"case_{number}" for number in range(2, 11))
    write_split(path, Split({"train": train, "test": ("case_1",)}))
    assert run(cohort, "--check", str(path))[1].startswith(f"{path}: train 9, test 1; sha256 ")
    write_split(path, Split({"train": train, "test": ("case_1", "case_99")}))
    code, output = run(cohort, "--check", str(path))
    assert code == 2
    assert "the split does not fit: case_99 (test) is not in" in output


def test_a_person_in_two_parts_is_found(tmp_path: Path) -> None:
    for session in (1, 2):
        adc(tmp_path / f"bids/sub-01/ses-{session}/dwi", f"sub-01_ses-{session}_adc.nii", seed=session)
    adc(tmp_path / "bids/sub-02/dwi", "sub-02_adc.nii")
    (tmp_path / "bids/dataset_description.json").write_text("{}")
    write_split(tmp_path / "s.json", Split({"train": ("sub-01_ses-1",), "test": ("sub-01_ses-2", "sub-02")}))
    code, output = run(tmp_path / "bids", "--check", str(tmp_path / "s.json"))
    assert code == 2
    assert (
        "the split does not fit: sub-01_ses-2 (test) is the same person as sub-01_ses-1 (train); draw it by person"
        in output
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either --out FILE, to draw a split, or --check FILE, to check one"),
        (("-o", "s.json", "--parts", "60:20"), "--parts takes the percent to train, validate and test, such as"),
        (("-o", "s.json", "--parts", "60:30:20"), "such as 60:20:20, not '60:30:20'"),
        (("-o", "s.json", "--parts", "0:50:50"), "shares of 0.5 and 0.5 leave nobody to train"),
        (("-o", "s.json", "--folds", "11"), "11 folds of 10 persons are not possible; give 2 to 10"),
        (
            (
                "-o",
                "cohort/case_1/adc.nii/s.json",
            ),
            "adc.nii/s.json cannot be written: ",
        ),
    ],
)
def test_what_cannot_be_drawn_is_told(
    arguments: tuple[str, ...], message: str, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = run(Path("cohort"), *arguments)
    assert code == 2
    assert message in output
    assert not (tmp_path / "s.json").exists()
