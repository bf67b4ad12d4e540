"""What is lost or odd in a DICOM cohort is told: damaged and blank files, equal numbers, grids, archives, folders."""

import errno
import os
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtyping import Integer
from pydicom.dataset import FileDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless
from typer.testing import CliRunner, Result

from strokelens.cli import app
from strokelens.cohorts import dicom_files, dicom_walk
from strokelens.cohorts.choosing import read_case
from strokelens.cohorts.dicom import study_id
from strokelens.cohorts.dicom_files import loose
from strokelens.cohorts.dicom_layout import DicomStudies
from strokelens.cohorts.dicom_survey import surveyed
from strokelens.cohorts.encode import write_image
from strokelens.cohorts.inspection import Row, by_voxels, inspect
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.nifti import Reading, read_study
from strokelens.errors import CaseError, FileError, SeriesError
from strokelens.grid import Grid
from tests.dicom_studies import STUDY, head, image, perfusion, planes_of, save, volume

BESIDE = "series 3: 1 file beside it is empty, damaged or not readable: slices may be lacking; copy or export it again"


def map_of(name: str, number: int = 3, *, low: int = 700, high: int = 900, up_mm: float = 0.0) -> list[FileDataset]:
    values: Integer[np.ndarray, "row column k"] = np.zeros((10, 12, 6), np.int16)
    values[2:-2, 2:-2] = np.random.default_rng(number).integers(low, high, (6, 8, 6))
    images = volume(values, ImageType=["DERIVED", "PRIMARY", name.upper()], SeriesNumber=number)
    for k, data in enumerate(images):
        data.SeriesInstanceUID, data.SOPInstanceUID = UID(f"{STUDY}.{number}"), UID(f"{STUDY}.{number}.{k}")
        data.ImagePositionPatient = [-9.0, -7.5, 20.0 + 5 * k + up_mm]
    return images


def study(folder: Path, number: int, *, seed: int = 0, **tags: Any) -> Path:
    own = {"PatientID": f"MRN{number}", "StudyInstanceUID": f"1.2.3.{number}", "SeriesInstanceUID": f"1.2.3.{number}.3"}
    return save(folder, perfusion(head(frames=5, slices=2, seed=seed), **(own | tags)))


def rows(folder: Path) -> tuple[Row, ...]:
    return inspect(open_cohort(folder)).rows


def told(row: Row) -> list[tuple[str, str, bool]]:
    return [(each.code, each.message, each.unusable) for each in row.problems]


# ── slices that are lost


@pytest.mark.parametrize("content", [b"", bytes(3000)], ids=["empty", "zeroed"])
def test_a_blank_file_beside_a_series_is_a_doubt(tmp_path: Path, content: bytes) -> None:
    folder = save(tmp_path / "x", map_of("ADC"))
    (folder / "IM00005").write_bytes(content)
    (row,) = rows(folder)
    assert told(row) == [("doubt", BESIDE, False)]
    for case in (read_study(folder), row.entry.read()):
        assert case.sources["ADC"].doubts == (BESIDE.removeprefix("series 3: "),)


@pytest.mark.parametrize("length", [200, 500, 1000, -1])
def test_a_file_cut_in_its_header_or_pixels_is_a_row_and_a_doubt(tmp_path: Path, length: int) -> None:
    folder = save(tmp_path / "x", map_of("ADC"))
    path = folder / "IM00005"
    path.write_bytes(path.read_bytes()[:length])
    case, file = rows(folder)
    assert told(case) == [("doubt", BESIDE, False)]
    assert [(each.code, each.unusable) for each in file.problems] == [("unreadable", True)]
    with pytest.raises(FileError, match=r"^IM00005 is (damaged|cut short)"):
        read_study(folder)


def test_what_is_no_image_is_no_damage(tmp_path: Path) -> None:
    folder = save(tmp_path / "x", map_of("ADC"))
    report = image(np.zeros((4, 4), np.uint8), modality="SR", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
    for name in ("Rows", "Columns", "PixelData"):
        delattr(report, name)
    save(folder, [report], prefix="SR")
    (folder / "readme.txt").write_text("Dear doctor")
    (row,) = rows(folder)
    assert told(row) == []


def test_images_that_carry_one_number_are_no_copies(tmp_path: Path) -> None:
    images, series = map_of("ADC"), perfusion(head())
    for data in (*images, *series):
        data.SOPInstanceUID = UID("1.2.3")
    assert read_study(save(tmp_path / "adc", images)).grid.shape == (12, 10, 6)
    assert read_study(save(tmp_path / "ctp", series))["CTP"].shape == (12, 10, 4, 6)
    for data in series[4:8]:  # the second frame once more
        data.SOPInstanceUID = UID("1.2.4")
    case = read_study(save(tmp_path / "ctp", series[4:8], prefix="copy"))
    assert case["CTP"].shape == (12, 10, 4, 6)
    assert case.sources["CTP"].doubts == ("4 of its images are there twice: one of each was taken",)


def test_a_series_of_one_frame_is_one_line(tmp_path: Path) -> None:
    images = perfusion(head(frames=6, slices=2))
    for data in images:
        data.AcquisitionTime = data.ContentTime = "100000"
        data.InstanceNumber = 1
    with pytest.raises(SeriesError, match=r"^series 3 has one frame, and a perfusion series has many; copy or export"):
        read_study(save(tmp_path / "x", images))


# ── grids


def test_maps_on_other_grids_are_told_by_headers(tmp_path: Path) -> None:
    save(tmp_path / "x/1", map_of("Tmax", 5, low=2, high=9))
    save(tmp_path / "x/2", map_of("CBF", 6, low=20, high=60, up_mm=2))
    (row,) = rows(tmp_path / "x")
    gap = "corners up to 2 mm apart"
    text = f"CBF and Tmax lie on different grids ({gap}); use --resample to bring them together"
    assert told(row) == [("other-grid", text, True)]
    (row,) = inspect(open_cohort(tmp_path / "x", DicomStudies(Reading(resample=True))), by_voxels).rows
    assert told(row) == [("other-grid", f"CBF is brought onto the grid of Tmax ({gap})", False)]
    assert sorted(row.entry.read().channels) == ["CBF", "Tmax"]


def test_diffusion_on_another_grid_is_left_out_aloud(tmp_path: Path) -> None:
    save(tmp_path / "x/1", map_of("Tmax", 5, low=2, high=9))
    save(tmp_path / "x/2", map_of("ADC", 6, up_mm=2))
    (row,) = rows(tmp_path / "x")
    text = "ADC lies on another grid than Tmax (corners up to 2 mm apart) and is left out; use --resample to keep it"
    assert told(row) == [("other-grid", text, False)]
    assert row.entry.channels == tuple(row.entry.read().channels) == ("Tmax",)
    (row,) = rows_resampled(tmp_path / "x")
    assert row.entry.channels == tuple(row.entry.read().channels) == ("Tmax", "ADC")
    with pytest.raises(CaseError, match=r"^case-\w{8} has no channel 'ADC'"):
        open_cohort(tmp_path / "x").entries[0].read(channels=["ADC"])


def rows_resampled(folder: Path) -> tuple[Row, ...]:
    return inspect(open_cohort(folder, resample=True)).rows


def test_a_tilt_is_a_row_that_resampling_cures(tmp_path: Path) -> None:
    images = perfusion(head())
    for at, data in enumerate(images):
        data.ImagePositionPatient = [-9.0, -7.5 + 2.0 * (at % 4), 20.0 + 5 * (at % 4)]
    save(tmp_path / "x", images)
    (row,) = rows(tmp_path / "x")
    assert [(each.code, each.unusable) for each in row.problems] == [("slices", True)]
    (row,) = rows_resampled(tmp_path / "x")
    assert [(each.code, each.unusable) for each in row.problems] == [("doubt", False)]
    assert row.entry.read()["CTP"].ndim == 4


# ── archives


def packed(path: Path, *folders: Path, more: dict[str, bytes] | None = None) -> Path:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in folders:
            for file in sorted(folder.iterdir()):
                archive.write(file, f"{folder.name}/{file.name}")
        for name, content in (more or {}).items():
            archive.writestr(name, content)
    return path


def test_strange_and_damaged_members_are_no_end_of_an_archive(tmp_path: Path) -> None:
    places = study(tmp_path / "a", 1), study(tmp_path / "b", 2, seed=4)
    bad = bytes(128) + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00\xff\xff\xff\xff\x08\x00\x05\x00CS" + b"\xff" * 30
    packed(tmp_path / "c/all.zip", *places, more={"report.docx": b"PK\x03\x04" + bytes(50), "a/bad": bad})
    first, second, file = rows(tmp_path / "c")
    assert sorted([told(first), told(second)]) == [[], [("doubt", BESIDE, False)]]
    assert told(file) == [
        ("unreadable", "a file in all.zip is a damaged DICOM file; copy or export it again", True),
    ] or told(file)[0][1].startswith("a file in all.zip is damaged")


def test_a_member_that_unpacks_too_far_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = study(tmp_path / "a", 1)
    bomb = packed(tmp_path / "c/x.zip", place, more={"a/big": bytes(65 << 20)})
    with pytest.raises(FileError, match=r"^x\.zip has a file of 0\.1 GiB in 0\.1 MiB, which no image is; do not trust"):
        read_study(bomb)
    monkeypatch.setattr(dicom_files, "MOST_MEMBER_BYTES", 100)
    with pytest.raises(FileError, match="which no image is"):
        read_study(packed(tmp_path / "c/x.zip", place))


def test_memory_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    def refuse() -> None:
        raise MemoryError

    path = next(study(tmp_path / "a", 1).iterdir())
    with pytest.raises(FileError, match="needs more memory than this machine can give"), loose(path).opened():
        refuse()


def test_frames_that_a_file_cannot_hold_are_refused_at_once(tmp_path: Path) -> None:
    data = perfusion(head())[0]
    data.NumberOfFrames = 100_000
    (path,) = save(tmp_path, [data]).iterdir()
    with pytest.raises(FileError, match=r"^IM00000 is cut short: pixels are missing; copy or export it again$"):
        planes_of(loose(path))


# ── folders


def test_a_folder_that_may_not_be_read_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study(tmp_path / "c/a", 1)
    locked = study(tmp_path / "c/b", 2, seed=4)
    listed = dicom_walk._listed

    def refused(where: str) -> tuple[list[str], list[str]]:
        if where == str(locked):
            raise PermissionError(errno.EACCES, "Permission denied", where)
        return listed(where)

    monkeypatch.setattr(dicom_walk, "_listed", refused)
    case, folder = rows(tmp_path / "c")
    assert told(case) == []
    assert told(folder) == [("unreadable", "b cannot be read: Permission denied", True)]


def test_links_to_studies_are_followed_and_loops_end(tmp_path: Path) -> None:
    for number, name in ((1, "a"), (2, "b")):
        study(tmp_path / "archive" / name, number, seed=number)
    (tmp_path / "c").mkdir()
    for name in "ab":
        (tmp_path / "c" / name).symlink_to(tmp_path / "archive" / name)
    (tmp_path / "archive/a/loop").symlink_to(tmp_path / "c")
    (tmp_path / "c/again").symlink_to(tmp_path / "archive/b")
    assert [told(row) for row in rows(tmp_path / "c")] == [[], []]


def test_a_link_that_leads_nowhere_is_a_doubt(tmp_path: Path) -> None:
    folder = save(tmp_path / "x", map_of("ADC"))
    (folder / "IM00006").symlink_to(tmp_path / "gone")
    (row,) = rows(folder)
    assert told(row) == [("doubt", BESIDE, False)]


def test_many_other_files_before_the_studies_do_not_hide_them(tmp_path: Path) -> None:
    (tmp_path / "c/0notes").mkdir(parents=True)
    for number in range(250):
        (tmp_path / f"c/0notes/{number:04d}").write_text("Dear doctor")
    study(tmp_path / "c/a", 1)
    assert open_cohort(tmp_path / "c").layout == "dicom"


# ── persons


PERSONS = [
    ("ANON", "ANON", 2),
    ("anonymous", "Anonymous ", 2),
    ("0", "000", 2),
    ("UNKNOWN", "UNKNOWN", 2),
    ("", "", 2),
    ("MRN1", "MRN2", 2),
    ("MRN1", "MRN1", 1),
    ("0042", "42", 1),
]


@pytest.mark.parametrize(("one", "other", "count"), PERSONS)
def test_persons_are_told_apart_by_numbers_that_are_some(tmp_path: Path, one: str, other: str, count: int) -> None:
    study(tmp_path / "a", 1, PatientID=one)
    study(tmp_path / "b", 2, seed=3, PatientID=other)
    assert len({entry.person for entry in open_cohort(tmp_path)}) == count


@pytest.mark.parametrize(("issuers", "count"), [(("A", "B"), 2), (("A", "a"), 1), (("A", None), 1), ((None, None), 1)])
def test_a_number_is_that_of_its_issuer(tmp_path: Path, issuers: tuple[str | None, str | None], count: int) -> None:
    for at, issuer in enumerate(issuers):
        study(tmp_path / str(at), at, seed=at, PatientID="7", IssuerOfPatientID=issuer)
    assert len({entry.person for entry in open_cohort(tmp_path)}) == count


def test_many_headers_take_little_memory(tmp_path: Path) -> None:
    files = [loose(path) for path in sorted(save(tmp_path, perfusion(head(frames=20, slices=8))).iterdir())]
    surveyed(files)
    tracemalloc.start()
    survey = surveyed(files)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(survey.planes) == 160
    assert held / len(survey.planes) < 1500
    assert os.fspath(survey.planes[0].member.path) == files[0].place


# ── copies


def test_studies_in_one_archive_are_no_copies(tmp_path: Path) -> None:
    packed(tmp_path / "c/all.zip", study(tmp_path / "a", 1), study(tmp_path / "b", 2, seed=4))
    assert [told(row) for row in rows(tmp_path / "c")] == [[], []]


def test_images_that_are_alike_in_their_middle_only_are_no_copies(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        (tmp_path / f"case_{number}").mkdir()
        values = np.random.default_rng(0).integers(700, 900, (12, 10, 4000)).astype(np.int16)
        values[0, 0, 0] = number % 2
        write_image(tmp_path / f"case_{number}/adc.nii", values, Grid((12, 10, 4000), np.diag([2, 2, 0.5, 1])))
    found = [[code for code, *_ in told(row)] for row in rows(tmp_path)]
    assert found == [[], [], ["copy"]]


# ── from the command line


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_verbs_take_what_resampling_cures(
    tmp_path: Path, as_a_user: Callable[[], AbstractContextManager[None]]
) -> None:
    values = head(frames=10)
    for number, name in ((1, "a"), (2, "b")):
        images = perfusion(values + np.int16(number), StudyInstanceUID=f"1.2.{number}", PatientID=name)
        for at, data in enumerate(images):
            data.ImagePositionPatient = [-9.0, -7.5 + 2.0 * (at % 4), 20.0 + 5 * (at % 4)]
        save(tmp_path / "c" / name, images)
    case_id = study_id("1.2.1")
    with as_a_user():
        assert run("inspect", tmp_path / "c").exit_code == 1
        assert run("inspect", tmp_path / "c", "--resample", "--voxels").exit_code == 0
    assert read_case(tmp_path / "c", Reading(resample=True), name=case_id)["CTP"].shape[3] == 10
    with pytest.raises(CaseError, match=r"use --resample to bring it onto a straight grid"):
        read_case(tmp_path / "c", name=case_id)


def test_a_truth_of_no_study_is_a_remark(tmp_path: Path) -> None:
    folder = save(tmp_path / "x", map_of("ADC"))
    (folder / "truth").mkdir()
    (folder / "truth/case-12345678_dseg.nii.gz").write_bytes(b"x")
    assert open_cohort(folder).notes == (
        "truth/case-12345678_dseg.nii.gz is the truth of no study here: a truth is called by the id that `inspect` "
        "shows, <id>_dseg.nii.gz",
    )


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_nothing_of_a_header_reaches_standard_error(tmp_path: Path, syntax: UID) -> None:
    images = perfusion(head(), SpecificCharacterSet="ISO_IR 100")
    if syntax == RLELossless:
        for data in images:
            data.compress(RLELossless)
    folder = save(tmp_path / "Doe_Jane", images)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"Doe^Jane  "))
    whole = (folder / "IM00003").read_bytes()
    (folder / "IM00003").write_bytes(whole[:900])
    (folder / "Jane").write_bytes(whole.replace(b"\x08\x00\x16\x00UI", b"\x08\x00\x16\x00SQ"))
    words = [sys.executable, "-c", "from strokelens.cli import app; app()", "inspect", str(folder), "--voxels", "-q"]
    answer = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout, answer.stderr) == (1, "", "")
