"""Cohorts as people leave them: folders with odd names, stray files, copies, and files that are no files."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import UID
from typer.testing import CliRunner

from strokelens.cli import app
from strokelens.cohorts import volumes
from strokelens.cohorts.cohort import Cohort, Problem
from strokelens.cohorts.images import read_header
from strokelens.cohorts.inspection import by_headers, by_voxels, inspect
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.nifti import read_study
from strokelens.cohorts.sidecar import read_object, read_sidecar
from strokelens.cohorts.slices import read_picture, write_picture
from strokelens.cohorts.splits import checked, folds, read_split, split
from strokelens.cohorts.tables import read_table
from strokelens.errors import CohortError, FileError
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
        "nihss_score.csv has rows of nobody here: 1 without an id, CTP_01_009",
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
        ("CTP_01_002;4\n", {}, "nihss_score.csv has no row of CTP_01_001; add it"),
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


# ── nnU-Net


def raw(folder: Path, **about: object) -> Path:
    """One case to train and one to test, both called a."""
    labels = np.zeros((12, 10, 4), np.uint8)
    for seed, part in enumerate(("Tr", "Ts"), start=1):
        labels[seed : 2 * seed, 4, 1] = 1
        save(folder / f"images{part}/a_0000.nii.gz", adc_map(seed=seed))
        save(folder / f"labels{part}/a.nii.gz", labels)
    told = {"channel_names": {"0": "ADC"}, "labels": {"background": 0, "lesion": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(told | about))
    return folder


def test_a_case_to_test_is_not_mixed_with_one_to_train_of_its_name(tmp_path: Path) -> None:
    cohort = open_cohort(raw(tmp_path))
    places = {entry.id: (entry.files["ADC"][0].parent.name, entry.truth and entry.truth.files) for entry in cohort}
    assert places == {
        "a": ("imagesTr", (tmp_path / "labelsTr/a.nii.gz",)),
        "a~Ts": ("imagesTs", (tmp_path / "labelsTs/a.nii.gz",)),
    }
    assert {entry.person for entry in cohort} == {"a"}


@pytest.mark.parametrize("number", ["²", "9" * 5000])
def test_numbers_that_python_does_not_take_are_told(tmp_path: Path, number: str) -> None:
    with pytest.raises(CohortError, match=r"must name its channels by numbers; correct channel_names$"):
        open_cohort(raw(tmp_path, channel_names={number: "ADC"}))
    with pytest.raises(
        CohortError, match=r"^dataset\.json: the label '.*' is 'lesion', not an integer from 0 to 255; correct it$"
    ):
        open_cohort(raw(tmp_path, labels={number: "lesion"}))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("²\tcore\n", "sub-1_dseg.tsv: a label's index is '²', not a whole number from 0 to 65535; correct the table"),
        (f"{'9' * 5000}\tcore\n", "sub-1_dseg.tsv: a label's index is '99999999999999999999', not a whole number"),
        ("1\tcore\n1\tpenumbra\n", "sub-1_dseg.tsv: the label 1 is both core and penumbra; correct the table"),
    ],
)
def test_a_table_of_labels_is_checked(tmp_path: Path, rows: str, message: str) -> None:
    save(tmp_path / "sub-1/dwi/sub-1_adc.nii", adc_map())
    save(tmp_path / "derivatives/x/sub-1/anat/sub-1_dseg.nii", np.zeros((12, 10, 4), np.uint8))
    (tmp_path / "derivatives/x/sub-1/anat/sub-1_dseg.tsv").write_text(f"index\tname\n{rows}")
    (problem,) = open_cohort(tmp_path)["sub-1"].problems
    assert problem.message.startswith(message)


# ── names of persons, and of nobody


@pytest.mark.parametrize(
    ("image", "kept"),
    [
        ("sub-01/ses-2/dwi/sub-01_ses-2_adc.nii", "sub-01_ses-2"),
        ("sub-strokecase0001/dwi/sub-strokecase0001_adc.nii", "sub-strokecase0001"),
        ("patient_012/adc.nii", "patient_012"),
        ("sub-19560412/dwi/sub-19560412_adc.nii", None),
        ("sub-01/ses-20240131/dwi/sub-01_ses-20240131_adc.nii", None),
        ("19560412/adc.nii", None),
        ("case_1234567/adc.nii", None),
        ("Smith_John/adc.nii", None),
    ],
)
def test_an_id_holds_no_name_date_or_number_of_a_hospital(tmp_path: Path, image: str, kept: str | None) -> None:
    save(tmp_path / image, adc_map())
    (entry,) = open_cohort(tmp_path)
    told = [part for part in re.split("[/_]", image) if part not in ("dwi", "adc.nii", "sub-01", "case")]
    assert entry.id == kept if kept else not any(part in entry.id for part in told)
    assert entry.read().id == entry.id


@pytest.mark.parametrize(("name", "kept"), [("diffgen_7", True), ("Brain01", True), ("Smith_John_19560412", False)])
def test_nnunet_keeps_the_names_of_its_files_but_for_dates(tmp_path: Path, name: str, kept: bool) -> None:
    raw(tmp_path)
    (tmp_path / "imagesTr/a_0000.nii.gz").rename(tmp_path / f"imagesTr/{name}_0000.nii.gz")
    assert (name in {entry.id for entry in open_cohort(tmp_path)}) is kept


def test_a_folder_whose_name_is_no_utf_8_is_a_case(tmp_path: Path) -> None:
    adc(Path(os.fsdecode(os.fsencode(tmp_path) + b"/Ren\xe9")))
    (entry,) = open_cohort(tmp_path)
    assert re.fullmatch("case-[0-9a-f]{8}", entry.id)
    assert "latin-1" not in CliRunner().invoke(app, ["inspect", str(tmp_path)], catch_exceptions=False).output


def test_an_image_beside_the_folders_of_cases_is_noted(tmp_path: Path) -> None:
    for number in (1, 2):
        adc(tmp_path / f"case_{number}")
    save(tmp_path / "atlas_t1.nii", adc_map())
    cohort = open_cohort(tmp_path)
    assert [entry.id for entry in cohort] == ["case_1", "case_2"]
    assert cohort.notes == ("atlas_t1.nii beside the cases' folders is no case; put it into a folder if it is one",)


def test_a_case_may_have_folders_for_its_channels(tmp_path: Path) -> None:
    adc(tmp_path / "case_1")
    for name in ("dwi", "flair"):
        save(tmp_path / "case_1" / name / f"{name}.nii", adc_map())
    (entry,) = open_cohort(tmp_path / "case_1")
    assert (entry.channels, open_cohort(tmp_path / "case_1").notes) == (("ADC", "DWI", "FLAIR"), ())


def test_numbers_of_a_patient_that_are_none_are_absent(tmp_path: Path) -> None:
    adc(tmp_path / "sim-1")
    text = '{"clinical": {"age_years": NaN, "nihss": 1e999, "x": ' + "9" * 400 + ', "mrs": 2}}'
    (tmp_path / "sim-1/patient.json").write_text(text)
    (entry,) = open_cohort(tmp_path)
    assert entry.clinical == {"mrs": 2}


# ── what the system does


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(5, "Input/output error"), "the system cannot read it: Input/output error"),
        (MemoryError(), "the case needs more memory than this machine can give"),
    ],
)
def test_what_the_system_refuses_a_case_is_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    adc(tmp_path / "case_1")
    wanted = (Problem("unreadable", message, unusable=True),)

    def refuse(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(volumes.VolumeReader, "read", refuse)
        assert inspect(open_cohort(tmp_path), by_voxels).rows[0].problems == wanted
        patch.setattr(volumes.VolumeReader, "look", refuse)
        assert inspect(open_cohort(tmp_path), by_headers).rows[0].problems == wanted


def test_a_terminal_without_our_signs_gets_question_marks(tmp_path: Path) -> None:
    adc(tmp_path / "case_1")
    words = [sys.executable, "-m", "strokelens", "inspect", str(tmp_path)]
    ran = subprocess.run(words, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "latin-1"}, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"case_1 ? " in re.sub(rb"[ ?]+", b" ? ", ran.stdout)


@pytest.mark.parametrize("name", ["01.png", "A.csv", "truth.json", "split.json", "a.bval", "a.mha", "a.nii"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    readers: dict[str, Callable[[Path], object]] = {
        ".png": read_picture,
        ".csv": read_table,
        ".json": read_object,
        ".bval": lambda path: read_sidecar(path.with_suffix(".nii")),
        ".mha": read_header,
        ".nii": read_header,
    }
    os.mkfifo(tmp_path / name)
    with pytest.raises(FileError, match=rf"^{re.escape(name)} is (a pipe or|not a regular file)"):
        (read_split if name == "split.json" else readers[Path(name).suffix])(tmp_path / name)
