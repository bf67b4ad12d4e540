"""A simulated perfusion series written as DICOM: one file a slice and frame, classic CT or MR Image Storage.

The same case and seed give the same bytes with the same pydicom. Nobody's data are written: only simulated cases are.
"""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from jaxtyping import Shaped
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import DSfloat

from strokelens.case import SERIES, Case
from strokelens.cohorts.dicom_header import SIMULATOR
from strokelens.errors import CaseError, GridError
from strokelens.flags import RESEARCH_USE
from strokelens.grid import Grid

COMMENT: Final = f"{RESEARCH_USE} Simulated by strokelens; there is no such patient."
"""Stands in the comments of every file."""

_INTERCEPT: Final[Mapping[str, int]] = MappingProxyType({"CTP": -1024, "PWI": 0})
_FOLDER_OF: Final[Mapping[str, str]] = MappingProxyType({"CTP": "ctp", "PWI": "pwi"})
_DATE: Final = "20000101"
_START_S: Final = 8 * 3600.0
_SQUARE: Final = 1e-6
_RAS_TO_LPS: Final = np.array([-1.0, -1.0, 1.0])
_SERIES_NUMBER: Final = 2


def write_dicom(folder: Path, case: Case, *, seed: int) -> tuple[Path, ...]:
    """Write the series of a simulated case below `folder`, in `ctp/` or `pwi/`; the files, in the order of time.

    UIDs follow from the seed and the case's id. Values are whole numbers, as `write_patient` stores them.

    Raises `CaseError` when the case is not simulated or has no series, `GridError` when its grid is sheared.
    """
    channel = next((name for name in SERIES if name in case.channels), None)
    if channel is None or case.time_s is None or not case.simulated:
        raise CaseError(f"{case.id} is no simulated series; only those of strokelens phantom are written as DICOM")
    turn = case.grid.affine[:3, :3] / case.grid.spacing_mm
    if not np.allclose(turn.T @ turn, np.eye(3), atol=_SQUARE):
        raise GridError(f"{case.id}: the axes of its grid are not at right angles; resample it before writing DICOM")
    place = folder / _FOLDER_OF[channel]
    place.mkdir(parents=True, exist_ok=True)
    base = _series(case, channel, seed)
    stored = case[channel].astype(np.int16).astype(np.int32) - _INTERCEPT[channel]
    if stored.min() < 0 or stored.max() > 65535:
        raise CaseError(f"{case.id}: values from {stored.min()} to {stored.max()} do not fit 16 bits; scale them")
    paths = []
    slices = case.grid.shape[2]
    for t, time_s in enumerate(case.time_s):
        for k in range(slices):
            number = t * slices + k + 1
            path = place / f"{number:06d}.dcm"
            data = _image(base, case.grid, k, number, float(time_s), _uid(seed, case.id, "image", number))
            data.AcquisitionNumber = t + 1
            if channel == "PWI":
                data.TemporalPositionIdentifier = t + 1
                data.NumberOfTemporalPositions = case.time_s.size
            data.PixelData = _pixels(stored[:, :, k, t])
            data.save_as(path, enforce_file_format=True)
            paths.append(path)
    return tuple(paths)


def _series(case: Case, channel: str, seed: int) -> Dataset:
    """What all images share."""
    data = Dataset()
    columns, rows, _ = case.grid.shape
    across, down, thick = case.grid.spacing_mm
    data.SOPClassUID = CTImageStorage if channel == "CTP" else MRImageStorage
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"] if channel == "CTP" else ["ORIGINAL", "PRIMARY", "M"]
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = data.ContentDate = _DATE
    data.StudyTime = data.SeriesTime = _clock(0.0)
    data.AccessionNumber = ""
    data.Modality = "CT" if channel == "CTP" else "MR"
    data.Manufacturer = SIMULATOR
    data.ManufacturerModelName = "phantom"
    data.ReferringPhysicianName = ""
    data.SeriesDescription = "Brain perfusion, simulated"
    data.PatientName = f"Simulated^{case.id}"
    data.PatientID = case.id
    data.PatientBirthDate = data.PatientSex = ""
    data.PatientIdentityRemoved = "YES"
    data.DeidentificationMethod = "simulated by strokelens"
    data.SliceThickness = DSfloat(thick, auto_format=True)
    data.PatientPosition = "HFS"
    data.StudyInstanceUID, data.SeriesInstanceUID = _uid(seed, case.id, "study"), _uid(seed, case.id, channel)
    data.FrameOfReferenceUID = _uid(seed, case.id, "frame of reference")
    data.StudyID, data.SeriesNumber = str(seed), _SERIES_NUMBER
    data.PositionReferenceIndicator = ""
    data.ImageComments = COMMENT
    turn = (case.grid.affine[:3, :2] / case.grid.spacing_mm[:2]) * _RAS_TO_LPS[:, None]
    data.ImageOrientationPatient = [DSfloat(value, auto_format=True) for value in turn.T.ravel()]
    data.PixelSpacing = [DSfloat(down, auto_format=True), DSfloat(across, auto_format=True)]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = rows, columns
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.BurnedInAnnotation = "NO"
    _modality(data, case, channel)
    return data


def _modality(data: Dataset, case: Case, channel: str) -> None:
    """What only CT or only MR images have."""
    assert case.time_s is not None
    if channel == "CTP":
        data.KVP, data.RescaleType = 80, "HU"
        data.RescaleIntercept, data.RescaleSlope = _INTERCEPT[channel], 1
        data.ContrastBolusAgent = "simulated"
        return
    data.ScanningSequence, data.SequenceVariant, data.ScanOptions, data.MRAcquisitionType = "EP", "NONE", "", "2D"
    data.RepetitionTime = DSfloat(1000 * float(np.median(np.diff(case.time_s))), auto_format=True)
    data.EchoTime = DSfloat(1000 * (case.echo_time_s or 0.0), auto_format=True)
    data.EchoTrainLength = 1


def _image(base: Dataset, grid: Grid, k: int, number: int, time_s: float, uid: UID) -> FileDataset:
    """One image of the series at its place and time."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = base.SOPClassUID, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID, meta.ImplementationVersionName = _uid(0, "strokelens"), "STROKELENS"
    data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    data.update(base)
    data.SOPInstanceUID = uid
    data.InstanceNumber = number
    data.AcquisitionTime = data.ContentTime = _clock(time_s)
    corner = grid.world_mm(np.array([0.0, 0.0, float(k)])) * _RAS_TO_LPS
    data.ImagePositionPatient = [DSfloat(value, auto_format=True) for value in corner]
    return data


def _pixels(stored: Shaped[np.ndarray, "i j"]) -> bytes:
    """(i, j) → rows of little-endian 16 bits, padded to an even length by their size."""
    return np.ascontiguousarray(stored.T).astype("<u2").tobytes()


def _clock(time_s: float) -> str:
    """A time of the day, counted from eight o'clock."""
    microseconds = round((_START_S + time_s) * 1e6)
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{seconds // 3600 % 24:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}.{rest:06d}"


def _uid(*parts: object) -> UID:
    """A UID below 2.25 (those made of UUIDs) that follows from its parts."""
    digest = sha256("\0".join(map(str, parts)).encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")
