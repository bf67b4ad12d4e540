"""MetaImage files (.mha) of Grand Challenge, through SimpleITK, which the extra `itk` installs."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from strokelens.case import Segmentation
from strokelens.cohorts.decode import Header, Scan
from strokelens.errors import FileError
from strokelens.grid import Grid

SUFFIX = ".mha"
"""How the name of a MetaImage in one file ends, in any case."""

_HEAD_BYTES = 4096
_LARGEST_BYTES = 64 << 30
_ZLIB_RATIO = 1100
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def is_mha(path: Path) -> bool:
    """Whether the name says MetaImage."""
    return path.name.lower().endswith(SUFFIX)


def read_header(path: Path) -> Header:
    """The header alone.

    Raises `FileError` when the file is no MetaImage of real numbers, `GridError` when its place is not possible.
    """
    with _reader(path) as reader:
        return _header(path, reader)


def read_scan(path: Path) -> Scan:
    """The whole file: values as float32, place and SHA-256. Raises as `read_header` does."""
    with _reader(path) as reader:
        header = _header(path, reader)
        image = reader.Execute()
    values: np.ndarray = _itk().GetArrayViewFromImage(image).T.astype(np.float32)
    array = np.asfortranarray(values.reshape(header.shape))
    array[np.isinf(array)] = np.nan
    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    finite = array[np.isfinite(array)]
    lowest, highest = (float(finite.min()), float(finite.max())) if finite.size else (float("nan"), float("nan"))
    return Scan(header, array, digest, lowest, highest)


def write_labels(path: Path, segmentation: Segmentation) -> None:
    """Write labels as uint8, compressed, where they are."""
    itk = _itk()
    affine = _LPS_TO_RAS @ segmentation.grid.affine
    spacing = np.array(segmentation.grid.spacing_mm)
    image = itk.GetImageFromArray(np.ascontiguousarray(segmentation.labels.T))
    image.SetSpacing([float(size) for size in spacing])
    image.SetOrigin([float(value) for value in affine[:3, 3]])
    image.SetDirection([float(value) for value in (affine[:3, :3] / spacing).ravel()])
    path.parent.mkdir(parents=True, exist_ok=True)
    itk.WriteImage(image, str(path), useCompression=True)


def _itk() -> Any:
    """SimpleITK, without the warnings that it prints by itself."""
    try:
        itk = import_module("SimpleITK")
    except ModuleNotFoundError as error:
        raise FileError(".mha files need SimpleITK; install strokelens[itk], or convert them to .nii.gz") from error
    itk.ProcessObject.SetGlobalWarningDisplay(False)
    return itk


@contextmanager
def _reader(path: Path) -> Iterator[Any]:
    """A reader that has read the header; whatever is wrong with the file is a `FileError`."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except FileNotFoundError as error:
        raise FileError(f"{path} does not exist; check the path") from error
    except OSError as error:
        raise FileError(f"{path.name} cannot be read: {error.strerror}; change its permissions") from error
    local = any(line.replace(b" ", b"").strip() == b"ElementDataFile=LOCAL" for line in head.splitlines())
    if not head.startswith(b"ObjectType") or not local:
        raise FileError(f"{path.name} is no MetaImage with its voxels inside; export it again")
    reader = _itk().ImageFileReader()
    reader.SetImageIO("MetaImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        yield reader
    except RuntimeError as error:
        raise FileError(f"{path.name} is damaged or cut short; copy or download it again") from error


def _header(path: Path, reader: Any) -> Header:
    shape = tuple(int(size) for size in reader.GetSize())
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    if len(shape) not in (3, 4) or reader.GetNumberOfComponents() != 1:
        channels = reader.GetNumberOfComponents()
        raise FileError(f"{path.name} has {len(shape)} axes and {channels} values a voxel; strokelens reads volumes")
    axes = len(reader.GetSize())
    direction = np.array(reader.GetDirection(), np.float64).reshape(axes, axes)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = direction * np.array(reader.GetSpacing()[:3])
    affine[:3, 3] = reader.GetOrigin()[:3]
    limit = min(path.stat().st_size * _ZLIB_RATIO, _LARGEST_BYTES)
    if prod(shape) > limit:
        raise FileError(
            f"{path.name} declares {'×'.join(map(str, shape))} voxels, more than it can hold; copy it again"
        )
    interval = float(reader.GetSpacing()[3]) if len(shape) == 4 else 0.0
    grid = Grid((shape[0], shape[1], shape[2]), _LPS_TO_RAS @ affine)
    return Header(path.name, shape, grid, np.dtype(np.float32), 0, 1.0, 0.0, interval, "")
