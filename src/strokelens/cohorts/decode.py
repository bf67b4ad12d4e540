"""One NIfTI file as float32 values and their place; whatever is wrong with it is one line that names the file."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError

from strokelens.arrays import Affine
from strokelens.cohorts.content import Content
from strokelens.errors import FileError, GridError
from strokelens.grid import Grid

SUFFIXES = (".nii", ".nii.gz")
"""How the name of a NIfTI file ends, in any case."""

_LARGEST_BYTES = 64 << 30
_GZIP_RATIO = 1100  # deflate cannot pack more bytes than this into one
_PIECE, _HEADER_PIECE = 1 << 20, 1 << 12  # bytes read at a time
_BLOCK = 1 << 20  # voxels converted at a time
_TIME_UNITS = {8: "s", 16: "ms", 24: "µs"}
_MM_PER_UNIT = {1: 1000.0, 3: 0.001}
_FORMS_AGREE_MM = 0.01
_KINDS: dict[int, Any] = {348: Nifti1Header, 540: Nifti2Header}
_MAGIC = {348: (344, b"n+1\0"), 540: (4, b"n+2\0")}


@dataclass(frozen=True, eq=False)
class Header:
    """What a NIfTI header tells: `shape` has three axes, or four where there are frames.

    A value is raw × `slope` + `inter`. `interval` is pixdim[4] in `time_unit`, which is empty where the header gives
    none. `notes` tells what was decided.
    """

    name: str
    shape: tuple[int, ...]
    grid: Grid
    dtype: np.dtype[np.generic]
    offset: int
    slope: float
    inter: float
    interval: float
    time_unit: str
    notes: tuple[str, ...] = ()

    @property
    def frames(self) -> int:
        """How many volumes the file holds."""
        return self.shape[3] if len(self.shape) == 4 else 1


@dataclass(frozen=True, eq=False)
class Scan:
    """A NIfTI file's values in the order of the disk (i fastest); infinite values became NaN.

    `lowest` and `highest` leave out NaN, and are NaN where there is nothing else.
    """

    header: Header
    array: Float[np.ndarray, "i j k *t"]
    sha256: str
    lowest: float
    highest: float

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.header.name

    @property
    def grid(self) -> Grid:
        """The place of the voxels."""
        return self.header.grid


def is_nifti(path: Path) -> bool:
    """Whether the name says NIfTI."""
    return path.name.lower().endswith(SUFFIXES)


def stem(path: Path) -> str:
    """The name without .nii or .nii.gz.

    >>> stem(Path("sub-01_ses-1_adc.NII.gz"))
    'sub-01_ses-1_adc'
    """
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    return name[:-4] if name.lower().endswith(".nii") else name


def read_header(path: Path) -> Header:
    """The header alone.

    Raises `FileError` when the file is not a whole NIfTI image of real numbers, `GridError` when its place is not
    possible.
    """
    with _opened(path, piece=_HEADER_PIECE) as content:
        return _parse(content, path)


def read_scan(path: Path) -> Scan:
    """The whole file, read once: values, place and SHA-256.

    Memory beyond the float32 values stays at a few MiB. Raises as `read_header` does.
    """
    with _opened(path) as content:
        header = _parse(content, path)
        try:
            array = np.empty(header.shape, np.float32, order="F")
        except (MemoryError, ValueError) as error:
            size = prod(header.shape) * 4 / (1 << 30)
            raise FileError(f"{path.name} needs {size:.1f} GiB of memory, which this machine cannot give") from error
        content.skip(header.offset - content.position)
        lowest, highest = _fill(array.reshape(-1, order="F"), content, header)
        return Scan(header, array, content.finish(), lowest, highest)


@contextmanager
def _opened(path: Path, piece: int = _PIECE) -> Iterator[Content]:
    """The file's content; whatever the operating system refuses is a `FileError`."""
    try:
        if path.is_dir():
            raise FileError(f"{path.name} is a folder, though its name says NIfTI; give the file in it")
        if path.exists() and not path.is_file():
            raise FileError(f"{path.name} is not a regular file; give a .nii or .nii.gz file")
        with path.open("rb") as file:
            content = Content(file, path.name, piece)
            _check_suffix(path, content.compressed)
            yield content
    except FileNotFoundError as error:
        raise FileError(f"{path} does not exist; check the path") from error
    except PermissionError as error:
        raise FileError(f"{path.name} may not be read by this user; change its permissions") from error
    except OSError as error:
        reason = errno.errorcode.get(error.errno or 0, "unknown")
        raise FileError(f"{path.name} cannot be read: {error.strerror or error} ({reason})") from error


def _check_suffix(path: Path, compressed: bool) -> None:
    named = path.name.lower().endswith(".gz")
    if named and not compressed:
        raise FileError(f"{path.name} is not gzip, though its name says so; rename or compress it")
    if compressed and not named:
        raise FileError(f"{path.name} is gzip, though its name does not say so; rename it to .nii.gz")


def _parse(content: Content, path: Path) -> Header:
    """The header at the front of the content, checked against what the file can hold."""
    raw, read = _raw_header(content, path.name)
    shape = _shape([int(size) for size in raw["dim"]], path.name)
    dtype = _dtype(raw, path.name)
    with np.errstate(all="ignore"):  # numbers too large to square are refused by their size
        place, notes = _place(raw, shape[:3], path.name)
    offset = float(raw["vox_offset"]) or float(read)
    if not isfinite(offset) or offset < read or offset > _LARGEST_BYTES:
        raise FileError(f"{path.name}: its header puts the voxels at byte {offset:g}; repair the header")
    _check_size(path, content.compressed, int(offset) + prod(shape) * dtype.itemsize, shape)
    slope, inter = float(raw["scl_slope"]), float(raw["scl_inter"])
    if slope == 0 or not isfinite(slope):
        slope, inter = 1.0, 0.0  # the NIfTI standard: no scaling
    if not isfinite(inter):
        raise FileError(f"{path.name}: its header scales by {slope:g} and {inter:g}; repair scl_inter")
    unit = _TIME_UNITS.get(int(raw["xyzt_units"]) & 0x38, "")
    return Header(path.name, shape, place, dtype, int(offset), slope, inter, _interval(raw), unit, notes)


def _raw_header(content: Content, name: str) -> tuple[Any, int]:
    """The header as nibabel has it, unchecked, and how many bytes of the file it took."""
    block = content.take(348)
    sizes = {int.from_bytes(block[:4], order) for order in ("little", "big")}
    size = next((size for size in _MAGIC if size in sizes), None)
    if size is None or len(block) < 348:
        raise FileError(
            f"{name} is not a NIfTI image (no NIfTI header); convert it with dcm2niix or save it as .nii.gz"
        )
    block += content.take(size - 348)
    position, magic = _MAGIC[size]
    found = block[position : position + 4]
    if found in (b"ni1\0", b"ni2\0"):
        raise FileError(f"{name} is half of a .hdr/.img pair; save the image as one .nii file")
    if found != magic or len(block) < size:
        raise FileError(f"{name} is not a NIfTI image (Analyze 7.5 or damaged header); save it as .nii.gz")
    return _KINDS[size](block, check=False), size


def _shape(dim: list[int], name: str) -> tuple[int, ...]:
    """Three axes, or four with more than one frame; (X, Y, Z, 1, T) becomes (X, Y, Z, T)."""
    sizes = dim[1 : dim[0] + 1]
    shown = "×".join(str(size) for size in sizes)
    if not 1 <= dim[0] <= 7 or min(sizes) < 1:
        raise FileError(f"{name}: its header declares an impossible shape (dim {dim}); repair the header")
    space = tuple(sizes[:3]) + (1,) * (3 - len(sizes[:3]))
    frames = [size for size in sizes[3:] if size > 1]
    if len(frames) > 1:
        raise FileError(f"{name} has shape {shown}; a series has X×Y×Z×T, and only one axis beyond space")
    return (*space, *frames)


def _dtype(raw: Any, name: str) -> np.dtype[np.generic]:
    code = int(raw["datatype"])
    try:
        dtype: np.dtype[np.generic] = raw.get_data_dtype()
    except (KeyError, HeaderDataError) as error:
        raise FileError(f"{name} has data type code {code}, which NIfTI does not know; repair the header") from error
    if dtype.kind not in "iuf" or dtype.itemsize == 0:
        kind = {"c": "complex numbers", "V": "colours (RGB)"}.get(dtype.kind, "no numbers")
        raise FileError(f"{name} holds {kind} (data type code {code}); strokelens reads images of real numbers")
    return dtype


def _interval(raw: Any) -> float:
    """pixdim[4]; of (X, Y, Z, 1, T) pixdim[5] where pixdim[4] was left at 0 or 1."""
    fourth, fifth = float(raw["pixdim"][4]), float(raw["pixdim"][5])
    return fifth if int(raw["dim"][0]) > 4 and int(raw["dim"][4]) == 1 and fourth in (0.0, 1.0) else fourth


def _place(raw: Any, shape: tuple[int, ...], name: str) -> tuple[Grid, tuple[str, ...]]:
    """The grid: sform before qform before voxel sizes alone, and what is to be said about it."""
    sizes = np.array(raw["pixdim"][1:4], np.float64)
    if not np.isfinite(sizes).all() or (sizes == 0).any():
        shown = " × ".join(f"{size:g}" for size in sizes)
        raise GridError(f"{name}: its header gives voxels of {shown} mm; repair pixdim")
    notes = []
    sform, qform = int(raw["sform_code"]), int(raw["qform_code"])
    if sform > 0:
        affine: Affine = np.array(raw.get_sform(), np.float64)
    elif qform > 0:
        affine = _qform(raw, name)
    else:
        affine = np.array(_tidy(raw).get_base_affine(), np.float64)
        notes.append("no orientation in the header: left and right are assumed, not known")
    grid, note = _grid(affine, (shape[0], shape[1], shape[2]), int(raw["xyzt_units"]) & 0x07, name)
    notes += [note] if note else []
    if sform > 0 and qform > 0:
        notes += _disagreement(raw, grid, name)
    return grid, tuple(notes)


def _qform(raw: Any, name: str) -> Affine:
    """The affine of the quaternion."""
    try:
        affine: Affine = np.array(_tidy(raw).get_qform(), np.float64)
    except (ValueError, HeaderDataError) as error:
        raise GridError(f"{name}: the rotation in its header (qform) is impossible; repair the header") from error
    return affine


def _tidy(raw: Any) -> Any:
    """The header with the signs of pixdim that the standard asks for."""
    tidy = raw.copy()
    tidy["pixdim"][0] = -1 if float(raw["pixdim"][0]) == -1 else 1
    tidy["pixdim"][1:4] = np.abs(raw["pixdim"][1:4])
    return tidy


def _grid(affine: Affine, shape: tuple[int, int, int], unit: int, name: str) -> tuple[Grid, str]:
    """The grid in mm: the header's metres or micrometres are believed where they give possible voxels."""
    factor = _MM_PER_UNIT.get(unit, 1.0)
    if factor != 1.0:
        try:
            return Grid(shape, np.diag([factor, factor, factor, 1.0]) @ affine), ""
        except GridError:
            pass  # a wrong unit code is more common than a head of a hundred metres
    try:
        note = "" if factor == 1.0 else "the header's unit of length gives impossible voxels: taken as mm"
        return Grid(shape, affine), note
    except GridError as error:
        raise GridError(f"{name}: {error}") from error


def _disagreement(raw: Any, grid: Grid, name: str) -> list[str]:
    """What to note when the sform, which is used, is not where the qform is."""
    try:
        apart = grid.distance_mm(Grid(grid.shape, _qform(raw, name)))
    except GridError:
        return ["the header's qform is impossible; the sform is used"]
    return [f"qform and sform differ by {apart:.3g} mm; the sform is used"] if apart > _FORMS_AGREE_MM else []


def _check_size(path: Path, compressed: bool, declared: int, shape: tuple[int, ...]) -> None:
    """Refuse a header that declares more than the file can hold, before any memory is asked for."""
    size = path.stat().st_size
    if declared > size * (_GZIP_RATIO if compressed else 1):
        raise FileError(
            f"{path.name} is cut short: its header declares {declared} bytes and the file has {size}; copy it again"
        )
    if max(declared, prod(shape) * 4) > _LARGEST_BYTES:
        raise FileError(f"{path.name} declares {'×'.join(map(str, shape))} voxels, more than 64 GiB; repair the header")


def _fill(flat: Float[np.ndarray, "n"], content: Content, header: Header) -> tuple[float, float]:
    """Convert the voxels block by block into `flat`; the lowest and the highest value."""
    lowest = highest = np.float32(np.nan)
    buffer = bytearray(min(_BLOCK, flat.size) * header.dtype.itemsize)
    scaled = (header.slope, header.inter) != (1.0, 0.0)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        wanted = memoryview(buffer)[: block.size * header.dtype.itemsize]
        if content.fill(wanted) < len(wanted):
            missing = flat.size - start
            raise FileError(f"{header.name} is cut short: {missing} of {flat.size} voxels are missing; copy it again")
        raw = np.frombuffer(wanted, header.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            block[:] = raw.astype(np.float64) * header.slope + header.inter if scaled else raw
        if header.dtype.kind == "f" or scaled:
            block[np.isinf(block)] = np.nan
        lowest = np.fmin(lowest, np.fmin.reduce(block))
        highest = np.fmax(highest, np.fmax.reduce(block))
    return float(lowest), float(highest)
