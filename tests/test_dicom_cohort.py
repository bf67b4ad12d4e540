"""Simulated cohorts as DICOM, and the truth and table beside the studies of any DICOM cohort."""

from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from typer.testing import CliRunner

from strokelens.case import Segmentation
from strokelens.cli import app
from strokelens.cohorts.dicom_layout import write_truth
from strokelens.cohorts.inspection import by_headers, by_voxels, inspect
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.nifti import read_study
from strokelens.errors import GridError
from strokelens.grid import Grid
from strokelens.labels import LESION_ONLY
from strokelens.phantom.batch import Plan, write_cohort
from strokelens.phantom.groups import Shares
from strokelens.phantom.kinds import DicomSeries, Job
from strokelens.phantom.scanner import CtProtocol, DscProtocol
from tests.dicom_studies import head, perfusion, save
from tests.nifti_files import nib
from tests.test_cohorts_as_they_come import remarks

KIND = DicomSeries(CtProtocol(matrix=32, slices=3, frames=6))
EVENLY: Shares = {"LVO": 1, "Non-LVO": 1, "WIS": 1}


def made(out: Path, kind: DicomSeries = KIND, *, workers: int = 1) -> Path:
    with closing(write_cohort(out, Plan(kind, 3, 7, EVENLY), workers=workers)) as cases:
        assert [one.failure for one in cases] == [None] * 3
    return out


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("simulated") / "cohort")


# ── simulated


def test_each_patient_has_a_folder_of_files_and_the_truth_lies_beside_them(cohort: Path) -> None:
    names = {path.relative_to(cohort).as_posix() for path in cohort.rglob("*") if path.is_file()}
    wanted = {"participants.tsv", "phantom.json"}
    for name in ("sim-7", "sim-8", "sim-9"):
        wanted |= {f"{name}/ctp/{number:06d}.dcm" for number in range(1, 19)}
        wanted |= {f"truth/{name}_dseg.nii.gz", f"truth/{name}_dseg.json"}
    assert names == wanted


def test_the_cohort_opens_with_groups_values_and_truth_and_without_problems(cohort: Path) -> None:
    opened = open_cohort(cohort)
    assert opened.layout == "dicom"
    assert [entry.id for entry in opened] == [entry.person for entry in opened] == ["sim-7", "sim-8", "sim-9"]
    assert sorted(str(entry.group) for entry in opened) == ["LVO", "Non-LVO", "WIS"]
    assert [row.problems for look in (by_headers, by_voxels) for row in inspect(opened, look).rows] == [()] * 6


def test_a_case_comes_back_as_it_was_simulated(cohort: Path) -> None:
    back = open_cohort(cohort)["sim-9"].read()
    case = KIND.case(Job("sim-9", 9, back.group))  # type: ignore[arg-type]
    assert case.truth is not None
    assert back.truth is not None
    np.testing.assert_array_equal(back["CTP"], case["CTP"])
    np.testing.assert_array_equal(back.truth.labels, case.truth.labels)
    assert case.truth.labels.any()
    assert back.grid.agrees(case.grid)
    assert back.simulated
    assert (back.id, dict(back.clinical)) == ("sim-9", dict(case.clinical))
    assert back.time_s == pytest.approx(case.time_s)


def test_the_same_plan_gives_the_same_bytes_whatever_the_workers(cohort: Path, tmp_path: Path) -> None:
    hashes = [
        {path.relative_to(place): sha256(path.read_bytes()).digest() for path in place.rglob("*") if path.is_file()}
        for place in (cohort, made(tmp_path / "again", workers=2))
    ]
    assert hashes[0] == hashes[1]


def test_patients_are_told_apart_and_nobody_is_named(cohort: Path) -> None:
    files = sorted(cohort.rglob("*.dcm"))
    headers = [dcmread(path, stop_before_pixels=True) for path in files]
    assert len({data.SOPInstanceUID for data in headers}) == len(files)
    assert len({(data.StudyInstanceUID, data.SeriesInstanceUID, data.PatientID) for data in headers}) == 3
    for data in headers:
        assert data.PatientName == f"Simulated^{data.PatientID}"
        assert (data.PatientBirthDate, data.PatientSex, data.AccessionNumber, data.ReferringPhysicianName) == ("",) * 4
        assert (data.PatientIdentityRemoved, data.StudyDate) == ("YES", "20000101")
        assert {element.keyword for element in data if element.VR == "PN"} == {"PatientName", "ReferringPhysicianName"}


def test_a_cohort_of_mr_comes_back_too(tmp_path: Path) -> None:
    kind = DicomSeries(DscProtocol(matrix=32, slices=3, frames=6), vary=True)
    opened = open_cohort(made(tmp_path / "mr", kind))
    assert opened.channels == ("PWI",)
    assert [row.problems for row in inspect(opened).rows] == [()] * 3
    case = kind.case(Job("sim-9", 9, opened["sim-9"].group))  # type: ignore[arg-type]
    np.testing.assert_array_equal(opened["sim-9"].read()["PWI"], case["PWI"])


def test_verbs_take_the_cohort(tmp_path: Path, as_a_user: Callable[[], AbstractContextManager[None]]) -> None:
    scan = ("--matrix", "64", "--slices", "4")
    words = [
        ("phantom", "sim", "--layout", "dicom", "--cases", "1", "--group", "LVO", "--workers", "1", *scan),
        ("inspect", "sim"),
        ("segment", "sim/sim-0", "-o", "found/sim-0"),
        ("evaluate", "found", "sim", "-o", "scores"),
    ]
    with as_a_user(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        answers = [CliRunner().invoke(app, list(each)) for each in words]
    assert [answer.exit_code for answer in answers] == [0] * 4, [answer.output for answer in answers]
    assert answers[0].output.startswith("sim-0: LVO, penumbra ")
    assert "1 case of 1 person: 1 usable, 0 unusable, 0 with remarks; 1 with truth." in answers[1].output
    assert answers[2].output.startswith("sim-0: core ")
    assert "scored in full: found 1 of 1" in answers[3].output


# ── of anybody


@pytest.fixture
def study(tmp_path: Path) -> Path:
    save(tmp_path / "c/Doe_Jane", perfusion(head()))
    return tmp_path / "c"


def marked(grid: Grid, value: int = 1) -> Segmentation:
    labels = np.zeros(grid.shape, np.uint8)
    labels[4:6, 4:6, 1] = value
    return Segmentation(labels, grid, LESION_ONLY)


def test_a_truth_and_a_table_may_lie_beside_any_studies(study: Path) -> None:
    known = read_study(study)
    write_truth(study, known.id, marked(known.grid), {})
    (study / "participants.tsv").write_text(f"participant_id\tgroup\tage\n{known.id}\tLVO\t71\n")
    opened = open_cohort(study)
    case = opened[known.id].read()
    assert opened.layout == "dicom"
    assert case.truth is not None
    assert case.truth.mask("lesion").sum() == 4
    assert (case.group, dict(case.clinical)) == ("LVO", {"age_years": 71.0})
    alone = opened[known.id].read_truth().truth
    assert alone is not None
    assert alone.volume_ml("lesion") == case.truth.volume_ml("lesion")


@pytest.mark.parametrize(
    ("rows", "group", "clinical", "remark"),
    [
        (["lvo\t64\t5"], "LVO", {"age_years": 64, "nihss": 5}, []),
        (["unknown\t64\t-3"], None, {"age_years": 64}, [": nihss is '-3', not 0 to 42, and left out"]),
        (["LVO\t1\t1", "WIS\t1\t1"], None, {}, [" has 2 rows of {} that differ; none is taken; correct the table"]),
        ([], None, {}, [" has no row of {}; add it"]),
    ],
)
def test_the_table_is_read_by_the_rules_of_bids(
    study: Path, rows: list[str], group: str | None, clinical: dict[str, float], remark: list[str]
) -> None:
    name = open_cohort(study).entries[0].id
    lines = ["participant_id\tgroup\tage\tnihss", *(f"{name}\t{row}" for row in rows), "sub-9\tLVO\t1\t1"]
    (study / "participants.tsv").write_text("\n".join(lines))
    cohort = open_cohort(study)
    told = [f"participants.tsv{text.format(name)}" for text in remark]
    assert (cohort[name].group, dict(cohort[name].clinical), remarks(cohort, name)) == (group, clinical, told)
    assert cohort.notes == ("participants.tsv has rows of nobody here: sub-9",)


def test_a_truth_that_lies_elsewhere_is_a_row_and_an_error(study: Path) -> None:
    known = read_study(study)
    moved = Grid(known.grid.shape, known.grid.affine + np.eye(4)[:, [3, 3, 3, 0]] * [0, 0, 0, 3.0])
    write_truth(study, known.id, marked(moved), {})
    (row,) = inspect(open_cohort(study)).rows
    assert [(each.code, each.unusable) for each in row.problems] == [("other-grid", True)]
    assert row.problems[0].message == "the truth lies elsewhere than CTP (corners up to 3 mm apart)"
    with pytest.raises(GridError, match=r"^the truth case-\w{8}_dseg.nii.gz lies elsewhere than the images"):
        open_cohort(study)[known.id].read()


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "LAS", "PSL", "IRP"])
def test_a_truth_in_another_order_of_axes_is_turned(study: Path, orientation: str) -> None:
    known = read_study(study)
    truth = marked(known.grid)
    turned = nib.as_closest_canonical(nib.Nifti1Image(truth.labels, known.grid.affine))
    turns = nib.orientations
    way = turns.ornt_transform(turns.io_orientation(turned.affine), turns.axcodes2ornt(tuple(orientation)))
    turned = turned.as_reoriented(way)
    grid = Grid(turned.shape, turned.affine)
    write_truth(study, known.id, Segmentation(np.asarray(turned.dataobj), grid, LESION_ONLY), {})
    (row,) = inspect(open_cohort(study), by_voxels).rows
    assert row.problems == ()
    back = row.entry.read().truth
    assert back is not None
    assert back.grid.agrees(known.grid)
    np.testing.assert_array_equal(back.labels, truth.labels)


def test_a_truth_whose_table_is_broken_is_a_row(study: Path) -> None:
    known = read_study(study)
    path = write_truth(study, known.id, marked(known.grid), {})
    path.with_name(f"{known.id}_dseg.json").write_text('{"Labels": 3}')
    (row,) = inspect(open_cohort(study)).rows
    assert [(each.code, each.unusable) for each in row.problems] == [("truth", True)]
