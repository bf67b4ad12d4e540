"""Siemens mosaics: a real one against nibabel, and a series of them made here."""

import gzip
import struct
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
import pytest
from jaxtyping import Shaped
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import RLELossless

from strokelens.cohorts.dicom_files import loose
from strokelens.cohorts.dicom_mosaic import mosaic_of
from strokelens.cohorts.dicom_pixels import read_values
from strokelens.cohorts.dicom_place import by_position, place_of
from strokelens.cohorts.nifti import read_study
from strokelens.errors import CaseError
from tests.dicom_studies import clock, image, planes_of, save


def csa(**tags: list[str]) -> bytes:
    """A CSA header, version 2, written from its description; each tag has an empty item more, as they have."""
    told = b"SV10" + bytes(4) + struct.pack("<II", len(tags), 77)
    for name, values in tags.items():
        told += name.encode().ljust(64, b"\0") + struct.pack("<i4sii", len(values), b"DS\0\0", 4, len(values) + 1)
        told += struct.pack("<i", 77)
        for value in (*values, ""):
            length = len(value) + 1 if value else 0
            text = (value.encode() + b"\0") if value else b""
            told += struct.pack("<4i", length, length, 77, length) + text + bytes(-length % 4)
    return told


UPWARDS = csa(NumberOfImagesInMosaic=["5"], SliceNormalVector=["0.0", "0.0", "1.0"])


def brain(slices: int = 5, frames: int = 6) -> Shaped[np.ndarray, "row column k t"]:
    rng = np.random.default_rng(3)
    return rng.integers(50, 900, (6, 8, slices, frames)).astype(np.uint16)


def mosaics(values: Shaped[np.ndarray, "row column k t"], header: bytes, *, across: int = 3) -> list[FileDataset]:
    rows, columns, slices, frames = values.shape
    images = []
    for t in range(frames):
        picture = np.zeros((rows * across, columns * across), np.uint16)
        for k in range(slices):
            top, left = k // across * rows, k % across * columns
            picture[top : top + rows, left : left + columns] = values[:, :, k, t]
        data = image(
            picture,
            modality="MR",
            ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"],
            InstanceNumber=t + 1,
            AcquisitionTime=clock(36000 + 1.5 * t),
            ImagePositionPatient=[-9.0 - 1.25 * columns, -7.5 - 1.5 * rows, 20.0],
            SpacingBetweenSlices=6.0,
            EchoTime=30,
        )
        data.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", header)
        images.append(data)
    return images


@pytest.mark.parametrize("coded", [False, True])
def test_a_series_of_mosaics_is_the_series_of_its_tiles(tmp_path: Path, coded: bool) -> None:
    values = brain()
    images = mosaics(values, UPWARDS)
    for data in images if coded else ():
        data.compress(RLELossless, generate_instance_uid=False)
    case = read_study(save(tmp_path / "x", images))
    np.testing.assert_array_equal(case["PWI"], values.transpose(1, 0, 2, 3))
    assert case.grid.spacing_mm == pytest.approx((1.25, 1.5, 6.0))
    assert case.grid.world_mm(np.zeros(3)) == pytest.approx([9.0, 7.5, 20.0])
    assert case.grid.world_mm(np.array([0, 0, 4.0])) == pytest.approx([9.0, 7.5, 44.0])
    assert case.time_s == pytest.approx(1.5 * np.arange(6))


def test_tiles_may_go_on_downwards(tmp_path: Path) -> None:
    values = brain()
    header = csa(NumberOfImagesInMosaic=["5"], SliceNormalVector=["0", "0", "-1"])
    case = read_study(save(tmp_path / "x", mosaics(values, header)))
    np.testing.assert_array_equal(case["PWI"], values[:, :, ::-1].transpose(1, 0, 2, 3))
    assert case.grid.world_mm(np.zeros(3)) == pytest.approx([9.0, 7.5, -4.0])


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"SV1",
        UPWARDS[:200],
        csa(NumberOfImagesInMosaic=["5"]),
        csa(NumberOfImagesInMosaic=["many"], SliceNormalVector=["0", "0", "1"]),
        csa(NumberOfImagesInMosaic=["5"], SliceNormalVector=["0", "0", "nan"]),
        csa(NumberOfImagesInMosaic=["5"], SliceNormalVector=["0", "0", "3"]),
        csa(NumberOfImagesInMosaic=["17"], SliceNormalVector=["0", "0", "1"]),
    ],
)
def test_a_mosaic_that_does_not_tell_its_slices_is_refused(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(CaseError, match="of a mosaic, many slices in one picture, the header does not tell where"):
        read_study(save(tmp_path / "x", mosaics(brain(), header)))


def test_a_real_mosaic_lies_where_nibabel_says(tmp_path: Path) -> None:
    """An anonymous diffusion scan of 48 slices, which comes with nibabel."""
    with catch_warnings():
        simplefilter("ignore")
        from nibabel import nicom  # noqa: PLC0415
        from nibabel.nicom import csareader, dicomwrappers  # noqa: PLC0415
    readers: Any = csareader
    wrappers: Any = dicomwrappers
    raw = gzip.decompress((Path(nicom.__file__).parent / "tests/data/siemens_dwi_1000.dcm.gz").read_bytes())
    path = tmp_path / "x.dcm"
    path.write_bytes(raw)
    data = dcmread(path)
    theirs = wrappers.wrapper_from_data(data)
    planes = planes_of(loose(path))
    place = place_of([row[0] for row in by_position(planes, "x")], "x")
    lps_to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    # nibabel counts rows first, and so do its axes
    affine = lps_to_ras @ theirs.affine[:, [1, 0, 2, 3]]
    assert place.grid.shape == (128, 128, 48)
    assert place.grid.affine == pytest.approx(affine, abs=1e-4)
    array = read_values(by_position(planes, "x"))[0]
    np.testing.assert_array_equal(array[..., 0], theirs.get_data().transpose(1, 0, 2))
    told = mosaic_of(data[0x0029, 0x1010].value)
    known = readers.read(data[0x0029, 0x1010].value)
    assert told is not None
    assert told.count == readers.get_n_mosaic(known) == 48
    assert told.normal == pytest.approx(readers.get_slice_normal(known))
    assert {plane.b_value for plane in planes} == {1000.0}
