"""What `strokelens inspect` finds: in each case, between cases, and what it says and returns."""

import ast
import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from strokelens.cli import app
from strokelens.cohorts import copies, decode, inspection
from strokelens.cohorts.cohort import PROBLEMS, Problem
from strokelens.cohorts.inspection import by_headers, by_voxels, inspect
from strokelens.cohorts.layouts import LAYOUTS, open_cohort
from strokelens.cohorts.slices import write_picture
from tests.nifti_files import PLAIN, adc, adc_map, change_header, save

ROOT = Path(__file__).parents[1]
AsAUser = Callable[[], AbstractContextManager[None]]


def lesion(path: Path, value: int = 1) -> Path:
    labels = np.zeros((12, 10, 4), np.uint8)
    labels[4:6, 4:6, 1] = value
    return save(path, labels)


def good(folder: Path, seed: int) -> Path:
    """A case with ADC, DWI and truth."""
    save(folder / "adc.nii", adc_map(seed=seed))
    save(folder / "dwi.nii", adc_map(seed=seed + 1000))
    lesion(folder / "lesion.nii")
    return folder


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    for number in range(1, 5):
        good(tmp_path / f"case_{number}", number)
    return tmp_path


def problems(folder: Path, case_id: str, look: inspection.Look = by_headers) -> list[tuple[str, str, bool]]:
    found = inspect(open_cohort(folder), look)
    (row,) = (row for row in found.rows if row.entry.id == case_id)
    return [(problem.code, problem.message, problem.unusable) for problem in row.problems]


def test_a_good_cohort_has_no_problem(cohort: Path) -> None:
    found = inspect(open_cohort(cohort), by_voxels)
    assert found.summary == {
        "cases": 4,
        "persons": 4,
        "usable": 4,
        "unusable": 0,
        "with_truth": 4,
        "with_remarks": 0,
    }


def cut(folder: Path) -> None:
    (folder / "adc.nii").write_bytes((folder / "adc.nii").read_bytes()[:400])


def other_grid(folder: Path) -> None:
    save(folder / "dwi.nii", adc_map(), PLAIN + np.eye(4, k=3))


def empty_truth(folder: Path) -> None:
    lesion(folder / "lesion.nii", 0)


def strange_labels(folder: Path) -> None:
    lesion(folder / "lesion.nii", 9)


def odd_units(folder: Path) -> None:
    save(folder / "adc.nii", adc_map() / 20)


def odd_flow(folder: Path) -> None:
    save(folder / "cbf.nii", adc_map())


def no_dwi(folder: Path) -> None:
    (folder / "dwi.nii").unlink()


def no_truth(folder: Path) -> None:
    (folder / "lesion.nii").unlink()


def all_nan(folder: Path) -> None:
    save(folder / "dwi.nii", np.full((12, 10, 4), np.nan, np.float32))


BY_HEADERS: list[tuple[Callable[[Path], None], tuple[str, str, bool]]] = [
    (
        cut,
        (
            "unreadable",
            "adc.nii is cut short: its header declares 2272 bytes and the file has 400; copy it again",
            True,
        ),
    ),
    (
        other_grid,
        ("other-grid", "DWI and ADC lie on different grids (corners up to 1 mm apart); resample one", True),
    ),
    (no_dwi, ("fewer-channels", "no DWI, which most cases have", False)),
    (no_truth, ("no-truth", "no truth, which 3 of 4 cases have", False)),
]


@pytest.mark.parametrize(("damage", "problem"), BY_HEADERS, ids=[each.__name__ for each, _ in BY_HEADERS])
def test_headers_tell_what_is_wrong(
    cohort: Path, damage: Callable[[Path], None], problem: tuple[str, str, bool]
) -> None:
    damage(cohort / "case_3")
    assert problems(cohort, "case_3") == [problem]


BY_VOXELS: list[tuple[Callable[[Path], None], tuple[str, str, bool]]] = [
    (empty_truth, ("empty-truth", "nothing is marked in the truth (lesion)", False)),
    (strange_labels, ("labels", "the truth lesion.nii holds 9; known: 0 background, 1 lesion", True)),
    (
        odd_units,
        (
            "units",
            "adc.nii: ADC with a median of 41.1 fits neither 10⁻⁶ (200 to 4000) nor 10⁻³ (0.2 to 4) nor 1 mm²/s; "
            "is this an ADC map?",
            True,
        ),
    ),
    (
        odd_flow,
        (
            "units",
            "CBF with a median of 823 is not in ml/100 g/min: only ratios within it mean something",
            False,
        ),
    ),
    (all_nan, ("unreadable", "dwi.nii has no finite value: every voxel is NaN; export it again", True)),
]


@pytest.mark.parametrize(("damage", "problem"), BY_VOXELS, ids=[each.__name__ for each, _ in BY_VOXELS])
def test_voxels_tell_more_than_headers(
    cohort: Path, damage: Callable[[Path], None], problem: tuple[str, str, bool]
) -> None:
    damage(cohort / "case_3")
    assert problems(cohort, "case_3") == []
    assert problems(cohort, "case_3", by_voxels) == [problem]


def test_what_headers_condemn_is_not_read(cohort: Path) -> None:
    other_grid(cohort / "case_3")
    strange_labels(cohort / "case_3")
    assert [code for code, _, _ in problems(cohort, "case_3", by_voxels)] == ["other-grid"]


def test_headers_are_looked_at_without_their_voxels(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("voxels were read")

    monkeypatch.setattr(decode, "_fill", refuse)
    assert inspect(open_cohort(cohort)).summary["usable"] == 4


def test_a_copy_under_another_name_is_found(cohort: Path) -> None:
    shutil.copytree(cohort / "case_2", cohort / "case_9")
    assert problems(cohort, "case_9") == [
        ("copy", "its ADC is that of case_2, byte for byte: one case under two names?", False)
    ]
    assert problems(cohort, "case_2") == []


def test_who_is_there_under_two_names_is_one_person(cohort: Path) -> None:
    """As `split` has it."""
    before = inspect(open_cohort(cohort)).summary
    shutil.copytree(cohort / "case_2", cohort / "case_9")
    found = inspect(open_cohort(cohort))
    assert found.summary["cases"] == before["cases"] + 1
    assert found.summary["persons"] == before["persons"]
    cases = found.record()["cases"]
    assert isinstance(cases, list)
    assert {each["person"] for each in cases if each["id"] in ("case_2", "case_9")} == {"case_2"}


def test_files_that_cannot_be_compared_are_no_copies(cohort: Path) -> None:
    for number in (2, 3):
        (cohort / f"case_{number}/adc.nii").unlink()
        (cohort / f"case_{number}/adc.nii").symlink_to("nowhere")
    assert [code for code, _, _ in problems(cohort, "case_3")] == ["unreadable"]


def test_a_file_that_vanishes_while_it_is_compared_is_no_copy(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_size", lambda path: 9)
    opened = open_cohort(cohort)
    for file in cohort.rglob("adc.nii"):
        file.unlink()
    assert {problem.code for row in inspect(opened).rows for problem in row.problems} == {"unreadable"}


def test_persons_who_are_there_twice_and_mirrored_are_told(tmp_path: Path) -> None:
    for name in ("CTP_01_001", "CTP_21_001", "CTP_22_005"):
        seed = int(name.replace("CTP_", "").replace("_", ""))
        pixels = np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        write_picture(tmp_path / name / "day/CBF/01.png", pixels)
    assert problems(tmp_path, "CTP_01_001") == []
    assert problems(tmp_path, "CTP_21_001") == [
        ("mirrored", "a mirrored copy of CTP_01_001: never train on one and test on the other", False)
    ]
    assert problems(tmp_path, "CTP_22_005") == [
        (
            "mirrored",
            "a mirrored copy whose original is not here: never train on one and test on the other",
            False,
        )
    ]


def test_a_second_scan_of_a_person_is_told(tmp_path: Path) -> None:
    for session in ("a", "b"):
        save(tmp_path / f"sub-1/ses-{session}/dwi/sub-1_ses-{session}_adc.nii", adc_map(seed=ord(session)))
    assert problems(tmp_path, "sub-1_ses-b") == [
        ("repeat", "the same person as sub-1_ses-a: keep both in one part of a split", False)
    ]


def test_every_code_is_in_the_table_and_every_one_of_the_table_is_used() -> None:
    trees = [ast.parse(path.read_text()) for path in (ROOT / "src/strokelens/cohorts").glob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    codes = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Problem"]
    used = {code.value for code in codes if isinstance(code, ast.Constant)}
    used |= {code for _, code in inspection._CODE_OF}
    assert used == set(PROBLEMS)


def test_every_code_and_layout_is_in_the_how_to() -> None:
    page = (ROOT / "docs/how-to/inspect.md").read_text()
    assert [code for code in PROBLEMS if f"| `{code}` |" not in page] == []
    assert [layout.name for layout in LAYOUTS if f"| `{layout.name}` |" not in page] == []


@pytest.fixture
def run(as_a_user: AsAUser, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("COLUMNS", "200")

    def command(*arguments: object) -> tuple[int, str, str]:
        with as_a_user():
            result = CliRunner().invoke(app, ["inspect", *(str(argument) for argument in arguments)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return command


def test_a_good_cohort_is_told_with_exit_code_0(run: Callable[..., tuple[int, str, str]], cohort: Path) -> None:
    code, out, _ = run(cohort)
    assert code == 0
    assert out.splitlines()[-1] == (
        "4 cases of 4 persons: 4 usable, 0 unusable, 0 with remarks; 4 with truth. "
        "Research use only; not a medical device."
    )
    assert "case_3" in out
    assert "ADC, DWI" in out


def test_an_unusable_case_gives_exit_code_1_and_its_reason(
    run: Callable[..., tuple[int, str, str]], cohort: Path
) -> None:
    cut(cohort / "case_3")
    code, out, _ = run(cohort)
    assert code == 1
    assert "unreadable: adc.nii is cut short" in out
    assert "3 usable, 1 unusable" in out


def test_remarks_are_no_failure(run: Callable[..., tuple[int, str, str]], cohort: Path) -> None:
    no_dwi(cohort / "case_3")
    code, out, _ = run(cohort)
    assert code == 0
    assert "fewer-channels: no DWI, which most cases have" in out


def test_json_has_a_row_for_each_case_and_nothing_else_is_printed(
    run: Callable[..., tuple[int, str, str]], cohort: Path
) -> None:
    strange_labels(cohort / "case_3")
    code, out, err = run(cohort, "--json", "--voxels")
    told = json.loads(out)
    assert (code, err) == (1, "")
    assert (told["layout"], told["summary"]["unusable"]) == ("nifti", 1)
    assert told["cases"][2] == {
        "id": "case_3",
        "person": "case_3",
        "group": None,
        "folder": "case_3",
        "channels": ["ADC", "DWI"],
        "truth": ["background", "lesion"],
        "clinical": {},
        "mirrored": False,
        "usable": False,
        "problems": [
            {
                "code": "labels",
                "message": "the truth lesion.nii holds 9; known: 0 background, 1 lesion",
                "unusable": True,
            }
        ],
    }
    assert str(cohort) not in out


def test_quiet_tells_by_the_exit_code_alone(run: Callable[..., tuple[int, str, str]], cohort: Path) -> None:
    cut(cohort / "case_3")
    assert run(cohort, "-q") == (1, "", "")


def test_a_folder_named_like_a_person_is_shown_beside_the_id(
    run: Callable[..., tuple[int, str, str]], cohort: Path
) -> None:
    good(cohort / "[red]Jane Doe", 7)
    assert "([red]Jane Doe)" in run(cohort)[1]


def test_one_case_is_told_in_the_singular(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    adc(tmp_path)
    assert "1 case of 1 person: 1 usable" in run(tmp_path)[1]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("nothing",), "strokelens: nothing does not exist; check the path\n"),
        ((".", "--layout", "bidz"), "strokelens: no layout 'bidz'; did you mean 'bids'?\n"),
    ],
)
def test_what_is_no_cohort_is_one_line_and_exit_code_2(
    run: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == (2, "", text)


def test_nothing_is_changed(run: Callable[..., tuple[int, str, str]], cohort: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in cohort.rglob("*")}
    run(cohort, "--voxels")
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in cohort.rglob("*")} == before


def test_a_header_that_claims_the_whole_disk_is_one_row(cohort: Path) -> None:
    change_header(cohort / "case_3/adc.nii", dim__1=30000, dim__2=30000)
    (problem,) = problems(cohort, "case_3")
    assert problem[0] == "unreadable"
    assert problem[1].startswith("adc.nii is cut short: its header declares")


def test_a_problem_is_a_value() -> None:
    assert Problem("copy", "x") == Problem("copy", "x", False)
