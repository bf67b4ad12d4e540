"""NIfTI files made with nibabel, which the reader is compared with, and ways to damage them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from jaxtyping import Shaped

nib: Any = nibabel
"""nibabel, whose annotations are partial."""

OBLIQUE = np.array([[-1.9, 0.2, 0.1, 90.0], [0.2, 1.9, -0.5, -110.0], [0.1, 0.6, 4.9, -50.0], [0, 0, 0, 1.0]])
PLAIN = np.diag([2.0, 2.0, 5.0, 1.0])


def head_series(shape: tuple[int, int, int, int] = (12, 10, 4, 6), seed: int = 0) -> Shaped[np.ndarray, "i j k t"]:
    """A CT series as int16: brain of 35 HU in air."""
    rng = np.random.default_rng(seed)
    series = np.full(shape, -1000.0)
    series[2:-2, 2:-2] = 35.0
    return np.rint(series + rng.normal(0, 6, shape)).astype(np.int16)


def adc_map(shape: tuple[int, int, int] = (12, 10, 4), seed: int = 0) -> Shaped[np.ndarray, "i j k"]:
    """An ADC map in 10⁻⁶ mm²/s as float32: brain in zeros."""
    adc = np.zeros(shape, np.float32)
    adc[2:-2, 2:-2] = np.random.default_rng(seed).uniform(600, 1000, adc[2:-2, 2:-2].shape)
    return adc


def save(
    path: Path,
    array: Shaped[np.ndarray, "..."],
    affine: Shaped[np.ndarray, "4 4"] = PLAIN,
    *,
    interval: float | None = None,
    time_unit: str | None = "sec",
    kind: Any = nib.Nifti1Image,
    **fields: Any,
) -> Path:
    """Write with nibabel; `fields` overwrite header fields in the file afterwards, as a damaged header would have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = kind(array, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    image.header.set_xyzt_units("mm", time_unit)
    if interval is not None:
        image.header["pixdim"][4] = interval
    nib.save(image, path)
    if fields:
        change_header(path, **fields)
    return path


def ctp(folder: Path, name: str = "x_ctp.nii", **fields: Any) -> Path:
    """A CT series with its frame interval."""
    return save(folder / name, head_series(), interval=1.5, **fields)


def adc(folder: Path, name: str = "adc.nii", *, seed: int = 0, **fields: Any) -> Path:
    """An ADC map; those of one seed are one patient's, to whoever looks for copies."""
    return save(folder / name, adc_map(seed=seed), **fields)


def change_header(path: Path, **fields: Any) -> None:
    """Set raw fields of the header of an uncompressed file; `pixdim__1=0` sets the item 1 of pixdim."""
    content = bytearray(path.read_bytes())
    header = nib.Nifti1Header(bytes(content[:348]), check=False)
    for field, value in fields.items():
        name, _, item = field.partition("__")
        if item:
            header[name][int(item)] = value
        else:
            header[name] = value
    content[:348] = header.binaryblock
    path.write_bytes(bytes(content))


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """The test runs without the rights of root, to whom nothing is forbidden."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
