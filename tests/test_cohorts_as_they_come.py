"""Cohorts as people leave them: folders with odd names, stray files, copies, and files that are no files."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import UID
from typer.testing import CliRunner

from strokelens.cli import app
from strokelens.cohorts.cohort import Cohort
from strokelens.cohorts.inspection import inspect
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.nifti import read_study
from strokelens.cohorts.slices import write_picture
from strokelens.cohorts.splits import checked, folds, split
from tests.dicom_studies import head, perfusion
from tests.dicom_studies import save as save_dicom
from tests.nifti_files import adc, adc_map, save

# ── folders whose names say mask


def test_a_dicom_study_in_a_folder_named_like_a_mask_is_a_case(tmp_path: Path) -> None:
    for number, name in enumerate(("GT", "Seg", "Lesion", "Mask", "ok")):
        uid = f"1.2.3.{number}"
        images = perfusion(head(seed=number), StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.3", PatientID=name)
        for at, image in enumerate(images):
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = UID(f"{uid}.3.{at}")
        save_dicom(tmp_path / name, images)
    cohort = open_cohort(tmp_path)
    assert (cohort.layout, len(cohort)) == ("dicom", 5)


def test_a_folder_of_masks_is_passed_over_only_beside_images(tmp_path: Path) -> None:
    save(tmp_path / "1/ROI/adc.nii", adc_map(seed=1))
    assert read_study(tmp_path / "1").channels.keys() == {"ADC"}
    adc(tmp_path / "1")
    assert read_study(tmp_path / "1")["ADC"].max() == adc_map().max()


# ── patients of the layout of slices


def patients(folder: Path, *names: str, slices: int = 2) -> Path:
    for number, name in enumerate(names):
        for at in range(1, slices + 1):
            picture = np.zeros((32, 32, 3), np.uint8)
            picture[8:24, 8:24] = np.random.default_rng(10 * number + at).integers(50, 255, (16, 16, 3))
            write_picture(folder / name / "day/CBF" / f"{at:02d}.png", picture)
    return folder


def remarks(cohort: Cohort, case_id: str) -> list[str]:
    """What is said of the clinical values of a case."""
    return [problem.message for problem in cohort[case_id].problems if problem.code == "clinical"]


def test_a_hundred_slices_are_in_order(tmp_path: Path) -> None:
    files = open_cohort(patients(tmp_path, "CTP_01_001", slices=100))["CTP_01_001"].files["CBF"]
    assert [file.name for file in files[-2:]] == ["99.png", "100.png"]


def test_a_broken_mirrored_copy_is_still_that_of_its_person(tmp_path: Path) -> None:
    cohort = open_cohort(patients(tmp_path, "CTP_01_001", "CTP_01_002", "CTP_01_003", "CTP_22_001", "CTP_21_001"))
    (tmp_path / "CTP_21_001/day/CBF/02.png").rename(tmp_path / "CTP_21_001/day/CBF/x.txt")
    (tmp_path / "CTP_21_001/day/CBF/01.png").unlink()
    cohort = open_cohort(tmp_path)
    twin = cohort["CTP_21_001"]
    assert not twin.usable
    assert (twin.person, twin.group, twin.mirrored) == ("CTP_01_001", "LVO", True)
    for drawn in (split(cohort, validation=0.3, test=0.3, seed=1), *folds(cohort, 3, seed=1)):
        assert "CTP_21_001" in checked(drawn, cohort).left_out
        assert all("CTP_21_001" not in ids for ids in drawn.parts.values())


def test_folders_that_are_nearly_patients_and_rows_of_nobody_are_noted(tmp_path: Path) -> None:
    patients(tmp_path, "CTP_01_001", "CTP_01_1", "ctp_01_002", "CTP_04_001", "CTP_01_003_old")
    (tmp_path / "nihss_score.csv").write_text("id;nihss\n01_001;5\nCTP_01_009;3\nSmith;2\n")
    cohort = open_cohort(tmp_path)
    assert [entry.id for entry in cohort] == ["CTP_01_001"]
    assert cohort["CTP_01_001"].clinical == {"nihss": 5}
    assert cohort.notes == (
        "left out, as no CTP_SS_NNN with SS of 00 to 03 or 20 to 23: "
        "CTP_01_003_old, CTP_01_1, CTP_04_001, ctp_01_002; rename them",
        "nihss_score.csv has rows of nobody here: CTP_01_009, Smith",
    )
    assert inspect(cohort).record()["notes"] == list(cohort.notes)
    printed = " ".join(CliRunner().invoke(app, ["inspect", str(tmp_path)]).output.split())
    assert f"note: {cohort.notes[1]}" in printed


@pytest.mark.parametrize(
    ("rows", "values", "remark"),
    [
        ("CTP_01_001;5\n01_001;5\n", {"nihss": 5}, None),
        (
            "CTP_01_001;5\n01_001;15\n",
            {},
            "nihss_score.csv has 2 rows of CTP_01_001 that differ; none is taken; correct the table",
        ),
        ("CTP_01_001;-3\n", {}, "nihss_score.csv: nihss is '-3', not 0 to 42, and left out"),
        ("CTP_01_001;-\n", {}, None),
        ("CTP_01_002;4\n", {}, "nihss_score.csv has no row of CTP_01_001"),
    ],
)
def test_what_a_table_says_of_a_patient_is_checked(tmp_path: Path, rows: str, values: object, remark: str) -> None:
    patients(tmp_path, "CTP_01_001")
    (tmp_path / "nihss_score.csv").write_text(f"id;nihss\n{rows}")
    cohort = open_cohort(tmp_path)
    assert cohort["CTP_01_001"].clinical == values
    assert remarks(cohort, "CTP_01_001") == ([remark] if remark else [])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-16-be"])
def test_a_table_saved_by_excel_as_unicode_text_is_read(tmp_path: Path, encoding: str) -> None:
    patients(tmp_path, "CTP_01_001")
    text = "id\tnihss\nCTP_01_001\t5\n"
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "nihss_score.csv").write_bytes((mark + text).encode(encoding))
    assert open_cohort(tmp_path)["CTP_01_001"].clinical == {"nihss": 5}
