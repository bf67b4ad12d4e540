"""The exact text of the reader's messages on a folder: what, which value, and the cure, on one line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from strokelens.cohorts import study
from strokelens.cohorts.nifti import Reading, read_study
from strokelens.errors import CaseError, FileError, StrokelensError, UnitError
from tests.nifti_files import PLAIN, adc, adc_map, as_nobody, ctp, head_series, save

__all__ = ["as_nobody"]

KNOWN = (
    "adc, dwi, b1000, trace, b0, flair, cbf, rcbf, cbv, rcbv, mtt, ttp, tmax, mip, ctp, pwi, dsc, 4dpwi, ncct, cta, "
    "t1, t1w, t2, t2w"
)


def two_adc(folder: Path) -> None:
    adc(folder, "adc.nii")
    adc(folder, "adc.nii.gz")


def two_subjects(folder: Path) -> None:
    adc(folder, "sub-1/sub-1_adc.nii")
    adc(folder, "sub-2/sub-2_adc.nii")


def two_series(folder: Path) -> None:
    ctp(folder, "a.nii")
    ctp(folder, "b.nii")


def dicom(folder: Path) -> None:
    for number in range(3):
        (folder / f"{number}.dcm").write_bytes(b"DICM")
    adc(folder, "lesion_msk.nii")


FOLDERS: list[tuple[Callable[[Path], object], type[StrokelensError], str]] = [
    (
        lambda d: None,
        FileError,
        f"case holds no image with a known name; found: nothing; a name needs one of {KNOWN}",
    ),
    (
        dicom,
        FileError,
        "case holds no image with a known name; found: lesion_msk.nii, 3 × .dcm; "
        f"a name needs one of {KNOWN}; convert DICOM with dcm2niix first",
    ),
    (two_adc, CaseError, "two files hold ADC: adc.nii and adc.nii.gz; give a folder with only one of them"),
    (two_subjects, CaseError, "case holds 2 studies (sub-1, sub-2); give the folder of one"),
    (two_series, CaseError, "case holds 2 series (a.nii, b.nii); give one of them"),
    (
        lambda d: save(d / "dwi.nii", np.abs(head_series())),
        CaseError,
        "dwi.nii has 6 volumes (12×10×4×6), and DWI is one; give one volume",
    ),
    (
        lambda d: adc(d, "dwi_adc_2b.nii"),
        CaseError,
        "dwi_adc_2b names 2 channels (ADC, DWI); rename it to end with the right",
    ),
    (
        lambda d: save(d / "adc.nii", np.full((4, 4, 4), np.nan, np.float32)),
        CaseError,
        "adc.nii has no finite value: every voxel is NaN; export it again",
    ),
    (
        lambda d: save(d / "adc.nii", np.zeros((4, 4, 4), np.float32)),
        CaseError,
        "adc.nii is constant: every voxel is 0; export it again",
    ),
    (
        lambda d: save(d / "adc.nii", adc_map() / 20),
        UnitError,
        "adc.nii: ADC with a median of 41.1 fits neither 10⁻⁶ (200 to 4000) nor 10⁻³ (0.2 to 4) nor 1 mm²/s; "
        "is this an ADC map?",
    ),
    (
        lambda d: save(d / "tmax.nii", adc_map() / 10),
        UnitError,
        "tmax.nii: Tmax with a median of 82.3 fits neither s (at most 60) nor ms (200 to 60000); store it in s",
    ),
    (
        lambda d: (adc(d), save(d / "dwi.nii", adc_map(), PLAIN + 0.5 * np.eye(4, k=3))),
        CaseError,
        "DWI and ADC lie on different grids (corners up to 0.5 mm apart); use --resample to bring them together",
    ),
    (
        lambda d: (ctp(d), save(d / "pwi.nii", head_series(), interval=1.5)),
        CaseError,
        "case holds a CT and an MR series; give one of them",
    ),
]


@pytest.mark.parametrize(("make", "kind", "text"), FOLDERS, ids=[text[:60] for *_, text in FOLDERS])
def test_a_bad_folder_is_told_in_one_line(
    tmp_path: Path, make: Callable[[Path], object], kind: type[StrokelensError], text: str
) -> None:
    folder = tmp_path / "case"
    folder.mkdir()
    make(folder)
    with pytest.raises(kind) as caught:
        read_study(folder)
    assert str(caught.value) == text
    assert type(caught.value) is kind


def test_a_folder_without_permission_is_told(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder = tmp_path / "closed"
    adc(folder)
    folder.chmod(0)
    for parent in (tmp_path, *list(tmp_path.parents)[:3]):
        parent.chmod(0o755)
    request.getfixturevalue("as_nobody")
    with pytest.raises(FileError) as caught:
        read_study(folder)
    assert str(caught.value) == f"{folder} may not be read by this user; change its permissions"


def test_b_values_that_are_no_numbers_are_told(tmp_path: Path) -> None:
    adc(tmp_path, "dwi.nii")
    (tmp_path / "dwi.bval").write_text("0 high")
    with pytest.raises(FileError) as caught:
        read_study(tmp_path)
    assert str(caught.value) == "dwi.bval is not a list of b values; correct or remove it"


def test_a_folder_of_a_whole_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "_MOST_ENTRIES", 5)
    (tmp_path / "case").mkdir()
    for number in range(7):
        (tmp_path / f"case/{number}.txt").touch()
    with pytest.raises(CaseError) as caught:
        read_study(tmp_path / "case")
    assert str(caught.value) == "case holds too many files to be one study; give the folder of one"


def test_two_series_in_a_folder_are_refused_before_either_is_read(tmp_path: Path) -> None:
    for name in ("ctp.nii.gz", "pwi.nii.gz"):
        (tmp_path / name).write_text("no image")
    with pytest.raises(CaseError, match=r"holds a CT and an MR series; give one of them$"):
        read_study(tmp_path)


def shifted(along_j_mm: float) -> np.ndarray:
    """What is added to an affine to move it along the second axis, of 10 voxels of 2 mm."""
    move = np.zeros((4, 4))
    move[1, 3] = along_j_mm
    return move


@pytest.mark.parametrize(("shift_mm", "share"), [(12.0, 40), (200.0, 0)])
def test_a_channel_that_misses_most_of_the_grid_is_refused_with_its_share(
    tmp_path: Path, shift_mm: float, share: int
) -> None:
    adc(tmp_path)
    save(tmp_path / "flair.nii", adc_map(), PLAIN + shifted(shift_mm))
    with pytest.raises(CaseError) as caught:
        read_study(tmp_path, Reading(resample=True))
    assert str(caught.value) == (
        f"FLAIR covers only {share} % of the grid of ADC, and --resample needs half of it; "
        "check that both show one patient, or leave FLAIR out"
    )


def test_a_channel_that_covers_half_of_the_grid_is_brought_onto_it(tmp_path: Path) -> None:
    adc(tmp_path)
    save(tmp_path / "flair.nii", np.where(adc_map() > 0, adc_map(), np.nan), PLAIN + shifted(8.0))
    case = read_study(tmp_path, Reading(resample=True))
    assert 0 < np.isfinite(case["FLAIR"]).mean() < 0.5  # NaN in the file is no lack of cover
