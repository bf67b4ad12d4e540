"""The exact text of the reader's messages on a file: what, which value, and the cure, on one line."""

import errno
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from strokelens.cohorts import decode
from strokelens.cohorts.nifti import Reading, read_study
from strokelens.errors import CaseError, FileError, GridError, SeriesError, StrokelensError, UnitError
from tests.nifti_files import PLAIN, adc, adc_map, as_nobody, ctp, head_series, nib, save

__all__ = ["as_nobody"]


def cut(path: Path, count: int) -> Path:
    path.write_bytes(path.read_bytes()[:count])
    return path


def holding(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def packed(folder: Path) -> Path:
    return ctp(folder, "x_ctp.nii.gz")


def flipped(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # in the checksum
    return holding(path, bytes(content))


def pair(folder: Path) -> Path:
    nib.save(nib.Nifti1Pair(adc_map(), PLAIN), folder / "half.img")
    return (folder / "half.hdr").rename(folder / "half.nii")


def folder_as_nii(folder: Path) -> Path:
    (folder / "x.nii").mkdir()
    return folder / "x.nii"


def with_sidecar(path: Path, text: str) -> Path:
    path.with_name(path.name.split(".")[0] + ".json").write_text(text)
    return path


FILES: list[tuple[Callable[[Path], Path], type[StrokelensError], str]] = [
    (lambda d: d / "no.nii", FileError, "{d}/no.nii does not exist; check the path"),
    (lambda d: holding(d / "x.nii", b""), FileError, "x.nii is empty (0 bytes); copy or download it again"),
    (
        lambda d: holding(d / "x.nii", b"Dear doctor" * 99),
        FileError,
        "x.nii is not a NIfTI image (no NIfTI header); convert it with dcm2niix or save it as .nii.gz",
    ),
    (
        lambda d: holding(d / "x.nii.gz", gzip.compress(b"Dear doctor" * 99)),
        FileError,
        "x.nii.gz is not a NIfTI image (no NIfTI header); convert it with dcm2niix or save it as .nii.gz",
    ),
    (
        lambda d: holding(d / "x.mha", b"ObjectType = Image"),
        FileError,
        "x.mha is not a .nii or .nii.gz file; give one, or a folder of them",
    ),
    (folder_as_nii, FileError, "x.nii is a folder, though its name says NIfTI; give the file in it"),
    (
        lambda d: ctp(d).rename(d / "x.nii.gz"),
        FileError,
        "x.nii.gz is not gzip, though its name says so; rename or compress it",
    ),
    (
        lambda d: packed(d).rename(d / "x.nii"),
        FileError,
        "x.nii is gzip, though its name does not say so; rename it to .nii.gz",
    ),
    (
        lambda d: cut(packed(d), 1000),
        FileError,
        "x_ctp.nii.gz: its gzip data end too early; copy or download it again",
    ),
    (
        lambda d: flipped(packed(d)),
        FileError,
        "x_ctp.nii.gz: its gzip data are damaged (incorrect data check); copy or download it again",
    ),
    (
        lambda d: cut(ctp(d), 3000),
        FileError,
        "x_ctp.nii is cut short: its header declares 6112 bytes and the file has 3000; copy it again",
    ),
    (
        lambda d: cut(ctp(d), 300),
        FileError,
        "x_ctp.nii is not a NIfTI image (no NIfTI header); convert it with dcm2niix or save it as .nii.gz",
    ),
    (pair, FileError, "half.nii is half of a .hdr/.img pair; save the image as one .nii file"),
    (
        lambda d: ctp(d, magic=b""),
        FileError,
        "x_ctp.nii is not a NIfTI image (Analyze 7.5 or damaged header); save it as .nii.gz",
    ),
    (
        lambda d: save(d / "x.nii", head_series().astype(np.complex64)),
        FileError,
        "x.nii holds complex numbers (data type code 32); strokelens reads images of real numbers",
    ),
    (
        lambda d: save(d / "x.nii", np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])),
        FileError,
        "x.nii holds colours (RGB) (data type code 128); strokelens reads images of real numbers",
    ),
    (
        lambda d: ctp(d, datatype=77),
        FileError,
        "x_ctp.nii has data type code 77, which NIfTI does not know; repair the header",
    ),
    (
        lambda d: ctp(d, dim__1=-3),
        FileError,
        "x_ctp.nii: its header declares an impossible shape (dim [4, -3, 10, 4, 6, 1, 1, 1]); repair the header",
    ),
    (
        lambda d: save(d / "x.nii", np.zeros((4, 4, 4, 3, 3), np.int16)),
        FileError,
        "x.nii has shape 4×4×4×3×3; a series has X×Y×Z×T, and only one axis beyond space",
    ),
    (
        lambda d: ctp(d, vox_offset=100),
        FileError,
        "x_ctp.nii: its header puts the voxels at byte 100; repair the header",
    ),
    (
        lambda d: ctp(d, scl_slope=2, scl_inter=np.inf),
        FileError,
        "x_ctp.nii: its header scales by 2 and inf; repair scl_inter",
    ),
    (
        lambda d: ctp(d, pixdim__1=0),
        GridError,
        "x_ctp.nii: its header gives voxels of 0 × 2 × 5 mm; repair pixdim",
    ),
    (
        lambda d: save(d / "x_ctp.nii", head_series(), np.diag([200.0, 2, 5, 1])),
        GridError,
        "x_ctp.nii: voxels of 200 × 2 × 5 mm are not possible (0.05 to 50 mm); repair the header",
    ),
    (
        lambda d: ctp(d, srow_x=[2, 2, 0, 0], srow_y=[2, 2, 0, 0]),
        GridError,
        "x_ctp.nii: the affine is singular: two voxel axes point the same way; repair the header",
    ),
    (
        lambda d: ctp(d, sform_code=0, quatern_b=9),
        GridError,
        "x_ctp.nii: the rotation in its header (qform) is impossible; repair the header",
    ),
    (
        adc,
        SeriesError,
        "adc.nii is 3D or has one frame (12×10×4), and a perfusion series has many; "
        "give the 4D file, or the folder that holds the maps",
    ),
    (
        lambda d: save(d / "x_ctp.nii", head_series()[..., :1], interval=1.5),
        SeriesError,
        "x_ctp.nii is 3D or has one frame (12×10×4), and a perfusion series has many; "
        "give the 4D file, or the folder that holds the maps",
    ),
    (
        lambda d: save(d / "x_ctp.nii", np.full((4, 4, 4, 5), 35, np.int16)),
        SeriesError,
        "x_ctp.nii is constant: every voxel is 35; export it again",
    ),
    (
        lambda d: save(d / "x_ctp.nii", np.full((4, 4, 4, 5), np.nan, np.float32)),
        SeriesError,
        "x_ctp.nii has no finite value: every voxel is NaN; export it again",
    ),
    (
        lambda d: save(d / "series.nii", np.abs(head_series()), interval=1.5),
        SeriesError,
        "series.nii could be CT or MR: neither its name (ctp, pwi), its sidecar nor its values tell; "
        "give --modality CT or --modality MR",
    ),
    (
        lambda d: save(d / "x_ctp.nii", head_series(), time_unit=None),
        SeriesError,
        "x_ctp.nii does not say how far its 6 frames are apart (pixdim[4] = 1 without a unit); "
        "give --frame-interval SECONDS",
    ),
    (
        lambda d: save(d / "x_ctp.nii", np.abs(head_series()) * np.int16(9), interval=1.5),
        UnitError,
        "x_ctp.nii: CTP with a median of 8955 does not look like HU (soft tissue near 35, air near −1000); "
        "save it in HU, or name the right --modality",
    ),
    (
        lambda d: with_sidecar(ctp(d), json.dumps({"FrameTimesStart": [0, 1, 2]})),
        SeriesError,
        "x_ctp.json gives 3 frame times and x_ctp.nii has 6 frames; correct FrameTimesStart or give --frame-interval",
    ),
    (
        lambda d: with_sidecar(ctp(d), json.dumps({"FrameTimesStart": [0, 1, 2, 2, 3, 4]})),
        SeriesError,
        "x_ctp.json: frame 3 is not later than the one before it (2 after 2); "
        "correct FrameTimesStart or give --frame-interval",
    ),
    (
        lambda d: with_sidecar(ctp(d), json.dumps({"FrameTimesStart": [0, 90, 180, 270, 360, 450]})),
        SeriesError,
        "x_ctp.json: frames 90 s apart are not a perfusion series (0.1 to 60 s); "
        "correct FrameTimesStart or give --frame-interval",
    ),
    (
        lambda d: with_sidecar(ctp(d), json.dumps({"FrameTimesStart": "soon"})),
        FileError,
        "x_ctp.json: FrameTimesStart must be a list of numbers; correct or remove it",
    ),
    (
        lambda d: with_sidecar(ctp(d), json.dumps({"EchoTime": [0.01, 0.03]})),
        FileError,
        "x_ctp.json: EchoTime must be one positive number, not [0.01, 0.03]; correct it",
    ),
    (
        lambda d: with_sidecar(ctp(d), "{"),
        FileError,
        "x_ctp.json is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)); "
        "correct or remove it",
    ),
    (
        lambda d: with_sidecar(ctp(d), "[]"),
        FileError,
        "x_ctp.json holds a list, not a JSON object; correct or remove it",
    ),
]


@pytest.mark.parametrize(("make", "kind", "text"), FILES, ids=[text[:60] for *_, text in FILES])
def test_a_bad_file_is_told_in_one_line(
    tmp_path: Path, make: Callable[[Path], Path], kind: type[StrokelensError], text: str
) -> None:
    path = make(tmp_path)
    with pytest.raises(kind) as caught:
        read_study(path)
    assert str(caught.value) == text.replace("{d}", str(tmp_path))
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("told", "kind", "text"),
    [
        ({"frame_interval_s": 1500.0}, SeriesError, "a frame interval of 1500 s is not possible (0.1 to 60 s)"),
        ({"frame_interval_s": float("nan")}, SeriesError, "a frame interval of nan s is not possible (0.1 to 60 s)"),
        ({"echo_time_s": 30.0}, SeriesError, "an echo time of 30 s is not possible (0.0005 to 0.5 s)"),
        ({"b_value_s_per_mm2": 1.0}, CaseError, "a b value of 1 s/mm² is not possible (50 to 20000 s/mm²)"),
    ],
)
def test_an_impossible_option_is_told_with_its_limits(
    told: dict[str, float], kind: type[StrokelensError], text: str
) -> None:
    with pytest.raises(kind) as caught:
        Reading(**told)  # type: ignore[arg-type]
    assert str(caught.value) == text


def test_a_file_without_permission_is_told(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = ctp(tmp_path)
    path.chmod(0)
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        folder.chmod(0o755)
    request.getfixturevalue("as_nobody")
    with pytest.raises(FileError) as caught:
        read_study(path)
    assert str(caught.value) == "x_ctp.nii may not be read by this user; change its permissions"


def test_what_is_no_regular_file_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x_ctp.nii")
    with pytest.raises(FileError) as caught:
        read_study(tmp_path / "x_ctp.nii")
    assert str(caught.value) == "x_ctp.nii is not a regular file; give a .nii or .nii.gz file"


def test_a_disk_that_fails_while_reading_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path = ctp(tmp_path)
    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(FileError) as caught:
        read_study(path)
    assert str(caught.value) == "x_ctp.nii cannot be read: Input/output error (EIO)"


def test_a_sidecar_of_unlikely_size_is_told(tmp_path: Path) -> None:
    path = ctp(tmp_path)
    with (tmp_path / "x_ctp.json").open("wb") as file:
        file.truncate(17 << 20)
    with pytest.raises(FileError) as caught:
        read_study(path)
    assert str(caught.value) == "x_ctp.json is larger than 16 MiB, which no sidecar is; give another file, or remove it"


def test_a_header_that_declares_more_than_memory_is_told(tmp_path: Path) -> None:
    path = ctp(tmp_path, dim__1=4000, dim__2=4000, dim__3=400)
    with path.open("r+b") as file:
        file.truncate(80_000_000_000)  # sparse
    with pytest.raises(FileError) as caught:
        read_study(path)
    assert str(caught.value) == "x_ctp.nii declares 4000×4000×400×6 voxels, more than 64 GiB; repair the header"


def test_memory_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise MemoryError

    path = ctp(tmp_path)
    monkeypatch.setattr(np, "empty", refuse)
    with pytest.raises(FileError) as caught:
        decode.read_scan(path)
    assert str(caught.value) == "x_ctp.nii needs 0.0 GiB of memory, which this machine cannot give"
