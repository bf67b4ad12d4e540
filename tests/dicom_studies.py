"""DICOM made with pydicom in the variants of the field, which the reader is to see through."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from strokelens.cohorts.dicom_files import Member
from strokelens.cohorts.dicom_header import Headers
from strokelens.cohorts.dicom_plane import Plane

STUDY = "1.2.826.0.1.3680043.8.498.1"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SECRETS = ("Doe^Jane", "MRN4711", "19610203", "St. Nowhere", "Dr^Strange", "ACC998", "Doe perfusion after fall")


def planes_of(member: Member) -> tuple[Plane, ...]:
    """The planes of one file by itself; none where it is no DICOM."""
    return Headers().planes(member) or ()


def clock(seconds: float) -> str:
    seconds %= 86400
    return f"{int(seconds // 3600):02d}{int(seconds // 60 % 60):02d}{seconds % 60:09.6f}"


def image(pixels: Shaped[np.ndarray, "row column *colour"], *, modality: str = "CT", **tags: Any) -> FileDataset:
    """One classic image; `tags` set elements by keyword, None removes one."""
    meta = FileMetaDataset()
    kind = {"CT": CTImageStorage, "MR": MRImageStorage}.get(modality, SecondaryCaptureImageStorage)
    meta.MediaStorageSOPClassUID = kind
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = kind, generate_uid(entropy_srcs=[str(sorted(map(str, tags.items())))])
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID, data.SeriesNumber = STUDY, f"{STUDY}.3", 3
    data.Modality, data.ImageType = modality, ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.PatientName, data.PatientID, data.PatientBirthDate, data.InstitutionName = SECRETS[:4]
    data.ReferringPhysicianName, data.AccessionNumber, data.SeriesDescription = SECRETS[4:7]
    data.ImageOrientationPatient, data.PixelSpacing, data.SliceThickness = list(AXIAL), [1.5, 1.25], 5
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    data.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * pixels.dtype.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        data.PlanarConfiguration = 0
    for name, value in tags.items():
        if value is None:
            if name in data:
                delattr(data, name)
        else:
            setattr(data, name, value)
    raw = np.ascontiguousarray(pixels).tobytes()
    data.PixelData = raw + bytes(len(raw) % 2)
    return data


def head(frames: int = 6, slices: int = 4, seed: int = 0) -> Shaped[np.ndarray, "row column k t"]:
    """A CT series as int16: brain of 35 HU in air, 10 rows and 12 columns."""
    rng = np.random.default_rng(seed)
    series = np.full((10, 12, slices, frames), -1000.0)
    series[2:-2, 2:-2] = 35.0
    return np.rint(series + rng.normal(0, 6, series.shape)).astype(np.int16)


def perfusion(
    values: Shaped[np.ndarray, "row column k t"],
    *,
    start_s: float = 36000.0,
    step_s: float = 1.5,
    shuttle_s: float = 0.0,
    **tags: Any,
) -> list[FileDataset]:
    """A CTP series, frame by frame; `shuttle_s` is between slices."""
    images = []
    slices = values.shape[2]
    for t in range(values.shape[3]):
        for k in range(slices):
            at = clock(start_s + t * step_s + k * shuttle_s)
            own = {
                "InstanceNumber": t * slices + k + 1,
                "ImagePositionPatient": [-9.0, -7.5, 20.0 + 5 * k],
                "AcquisitionTime": at,
                "ContentTime": at,
                "RescaleIntercept": 0,
                "RescaleSlope": 1,
            }
            images.append(image(values[:, :, k, t], **(own | tags)))
    return images


def volume(values: Shaped[np.ndarray, "row column k"], *, modality: str = "MR", **tags: Any) -> list[FileDataset]:
    """One volume, slice by slice."""
    return [
        image(
            values[:, :, k],
            modality=modality,
            **({"InstanceNumber": k + 1, "ImagePositionPatient": [-9.0, -7.5, 20.0 + 5 * k]} | tags),
        )
        for k in range(values.shape[2])
    ]


def save(
    folder: Path, images: Iterable[FileDataset], *, prefix: str = "IM", order: Sequence[int] | None = None
) -> Path:
    """Write images as files; `order` numbers their names."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = list(images)
    for at, data in enumerate(listed):
        number = at if order is None else order[at]
        data.save_as(folder / f"{prefix}{number:05d}", enforce_file_format=True)
    return folder


def enhanced(values: Shaped[np.ndarray, "row column k t"], *, modality: str = "CT", step_s: float = 1.5) -> FileDataset:
    """One enhanced multi-frame file with everything in functional groups; slices from above to below."""
    slices, frames = values.shape[2:]
    flat = [(k, t) for t in range(frames) for k in reversed(range(slices))]
    stacked = np.stack([values[:, :, k, t] for k, t in flat])
    data = image(stacked[0], modality=modality, ImageOrientationPatient=None, PixelSpacing=None, SliceThickness=None)
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1" if modality == "CT" else "1.2.840.10008.5.1.4.1.1.4.1"
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.NumberOfFrames = len(flat)
    shared = Dataset()
    shared.PlaneOrientationSequence = [item(ImageOrientationPatient=list(AXIAL))]
    shared.PixelMeasuresSequence = [item(PixelSpacing=[1.5, 1.25], SliceThickness=5)]
    shared.PixelValueTransformationSequence = [item(RescaleIntercept=-1024, RescaleSlope=1, RescaleType="HU")]
    if modality == "MR":
        shared.MREchoSequence = [item(EffectiveEchoTime=30.0)]
    data.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for k, t in flat:
        stamp = f"20200102{clock(36000 + t * step_s)}"
        content = item(FrameAcquisitionDateTime=stamp, TemporalPositionIndex=t + 1, InStackPositionNumber=k + 1)
        place = item(ImagePositionPatient=[-9.0, -7.5, 20.0 + 5 * k])
        groups.append(item(FrameContentSequence=[content], PlanePositionSequence=[place]))
    data.PerFrameFunctionalGroupsSequence = groups
    data.PixelData = stacked.tobytes()
    return data


def item(**tags: Any) -> Dataset:
    data = Dataset()
    for name, value in tags.items():
        setattr(data, name, value)
    return data
