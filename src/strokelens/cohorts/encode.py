"""Arrays and segmentations become NIfTI files, the same bytes for the same values, each with its JSON sidecar."""

import gzip
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from nibabel.nifti1 import Nifti1Header

from strokelens.arrays import Curve
from strokelens.case import Segmentation
from strokelens.errors import CaseError
from strokelens.flags import RESEARCH_USE
from strokelens.grid import Grid
from strokelens.labels import LabelScheme

_LEVEL = 1  # noise does not pack better for waiting
_SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT
_NOTHING: Mapping[str, object] = {}


def write_image(
    path: Path,
    array: Shaped[np.ndarray, "i j k *t"],
    grid: Grid,
    *,
    unit: str = "",
    description: str = "",
    time_s: Curve | None = None,
    facts: Mapping[str, object] = _NOTHING,
) -> None:
    """Write an image on `grid` as .nii.gz (or .nii): integers as they are, all else as float32.

    Both qform and sform are set, lengths are in mm and times in s; the pixdim of the last axis is the median frame
    interval. Frames may also come as (i, j, k, 1, t), as ISLES 2017 has them. A sidecar
    STEM.json is written where there is a unit, a description, times or further `facts` (such as EchoTime in s).
    """
    kept = array.astype(np.uint8) if array.dtype == bool else array
    kept = kept if kept.dtype.kind in "iu" and kept.dtype.itemsize <= 4 else kept.astype(np.float32, copy=False)
    if kept.shape[:3] != grid.shape or not (kept.ndim in (3, 4) or (kept.ndim == 5 and kept.shape[3] == 1)):
        raise CaseError(f"an array of shape {array.shape} does not lie on a grid of {grid.shape}")
    if time_s is not None and (kept.ndim < 4 or len(time_s) != kept.shape[-1]):
        raise CaseError(f"an array of shape {array.shape} does not have {len(time_s)} frames")
    header = _header(kept, grid, description, time_s)
    with path.open("wb") as file:
        if path.name.lower().endswith(".gz"):
            with gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as packed:
                _write(packed, header, kept)
        else:
            _write(file, header, kept)
    told: dict[str, object] = {"Description": description, "Units": unit}
    told = {key: value for key, value in told.items() if value} | dict(facts)
    if time_s is not None:
        told["FrameTimesStart"] = [round(float(time), 6) for time in time_s]
    if told:
        write_json(sidecar_path(path), told | {"Disclaimer": RESEARCH_USE})


def write_segmentation(path: Path, segmentation: Segmentation, *, facts: Mapping[str, object] = _NOTHING) -> None:
    """Write labels as uint8, and a sidecar with the integer, name and colour of each."""
    table = {"Labels": label_table(segmentation.scheme)} | dict(facts)
    write_image(path, segmentation.labels, segmentation.grid, description="segmentation by strokelens", facts=table)


def label_table(scheme: LabelScheme) -> list[dict[str, object]]:
    """One row a label: `index`, `name` and `color` (#rrggbb).

    >>> from strokelens.labels import CORE_ONLY
    >>> label_table(CORE_ONLY)[1]
    {'index': 1, 'name': 'core', 'color': '#e13ca5'}
    """
    return [
        {"index": index, "name": label.name, "color": "#{:02x}{:02x}{:02x}".format(*label.colour)}
        for index, label in enumerate(scheme)
    ]


def compact(series: Shaped[np.ndarray, "i j k t"]) -> Shaped[np.ndarray, "i j k t"]:
    """A series as int16 where all of its values are whole and fit, as scanners give them; else as it is.

    >>> compact(np.array([-1000.0, 40.0]).reshape(1, 1, 1, 2)).dtype, compact(np.full((1, 1, 1, 1), 0.5)).dtype
    (dtype('int16'), dtype('float64'))
    """
    limits = np.iinfo(np.int16)
    if not (np.isfinite(series).all() and limits.min <= series.min() and series.max() <= limits.max):
        return series
    whole = series.astype(np.int16)
    return whole if np.array_equal(whole, series) else series


def sidecar_path(path: Path) -> Path:
    """STEM.json beside STEM.nii.gz.

    >>> sidecar_path(Path("maps/Tmax.nii.gz")).as_posix()
    'maps/Tmax.json'
    """
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    return path.with_name(name.rsplit(".", 1)[0] + ".json")


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write an object as indented UTF-8 JSON."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _header(array: Shaped[np.ndarray, "i j k *t"], grid: Grid, description: str, time_s: Curve | None) -> Any:
    kind: Any = Nifti1Header
    header = kind()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header.set_qform(grid.affine, _SCANNER)
    header.set_sform(grid.affine, _SCANNER)
    header.set_xyzt_units("mm", "sec")
    header["pixdim"][4] = 1 if array.ndim == 5 else 0
    if time_s is not None and len(time_s) > 1:
        header["pixdim"][array.ndim] = float(np.median(np.diff(time_s)))
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["vox_offset"] = 352
    header["descrip"] = description.encode("ascii", "replace")[:79]
    return header


def _write(file: io.BufferedIOBase, header: Any, array: Shaped[np.ndarray, "i j k *t"]) -> None:
    """The header, no extension, and the voxels frame by frame, i fastest."""
    file.write(header.binaryblock + b"\0\0\0\0")
    frames = array.reshape(*array.shape[:3], -1, order="F")
    little = frames.dtype.newbyteorder("<")
    for t in range(frames.shape[3]):
        file.write(frames[..., t].astype(little, copy=False).tobytes(order="F"))
