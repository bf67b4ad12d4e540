"""MetaImage files (.mha) of Grand Challenge: a header of text, then the voxels, plain or deflated.

Read here and not through SimpleITK, whose reader ends the whole process on some damaged files.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from jaxtyping import Float

from strokelens.case import Segmentation
from strokelens.cohorts.decode import Header, Scan
from strokelens.cohorts.listing import regular
from strokelens.errors import FileError, GridError
from strokelens.grid import Grid

SUFFIX: Final = ".mha"
"""How the name of a MetaImage in one file ends, in any case."""

_HEAD_BYTES = 1 << 16
_LARGEST_BYTES = 64 << 30
_YES, _NO = {"true", "t", "1"}, {"false", "f", "0"}  # of others MetaIO itself makes what it likes
_DEFLATE_RATIO = 1100  # deflate cannot pack more bytes than this into one
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "MET_CHAR": "i1",
        "MET_UCHAR": "u1",
        "MET_SHORT": "i2",
        "MET_USHORT": "u2",
        "MET_INT": "i4",
        "MET_UINT": "u4",
        "MET_LONG_LONG": "i8",
        "MET_ULONG_LONG": "u8",
        "MET_FLOAT": "f4",
        "MET_DOUBLE": "f8",
    }
)


@dataclass(frozen=True, eq=False)
class _Front:
    """A parsed header, and how the voxels follow it."""

    header: Header
    start: int
    deflated: bool


def is_mha(path: Path) -> bool:
    """Whether the name says MetaImage."""
    return path.name.lower().endswith(SUFFIX)


def read_header(path: Path) -> Header:
    """The header alone.

    Raises `FileError` when the file is no MetaImage of real numbers, `GridError` when its place is not possible.
    """
    return _front(path, _content(path, _HEAD_BYTES)).header


def read_scan(path: Path) -> Scan:
    """The whole file: values as float32, place and SHA-256. Raises as `read_header` does."""
    content = _content(path, -1)
    front = _front(path, content[:_HEAD_BYTES])
    header = front.header
    raw = np.frombuffer(_voxels(content, front), header.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        array: Float[np.ndarray, "i j k *t"] = raw.astype(np.float32).reshape(header.shape, order="F")
    array[np.isinf(array)] = np.nan
    finite = array[np.isfinite(array)]
    lowest, highest = (float(finite.min()), float(finite.max())) if finite.size else (float("nan"), float("nan"))
    return Scan(header, array, sha256(content).hexdigest(), lowest, highest)


def write_labels(path: Path, segmentation: Segmentation) -> None:
    """Write labels as deflated uint8, where they are."""
    spacing = np.array(segmentation.grid.spacing_mm)
    affine = _LPS_TO_RAS @ segmentation.grid.affine
    packed = zlib.compress(segmentation.labels.tobytes(order="F"), 6)
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": str(len(packed)),
        "TransformMatrix": _written(*(affine[:3, :3] / spacing).T.ravel()),
        "Offset": _written(*affine[:3, 3]),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": _written(*spacing),
        "DimSize": _written(*segmentation.grid.shape),
        "ElementType": "MET_UCHAR",
        "ElementDataFile": "LOCAL",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    head = "".join(f"{name} = {value}\n" for name, value in fields.items())
    path.write_bytes(head.encode("ascii") + packed)


def _written(*numbers: float) -> str:
    return " ".join(f"{float(number) + 0.0:.15g}" for number in numbers)


def _content(path: Path, count: int) -> bytes:
    """The first `count` bytes of a file, or all with -1."""
    try:
        with regular(path).open("rb") as file:
            return file.read(count)
    except FileNotFoundError as error:
        raise FileError(f"{path} does not exist; check the path") from error
    except OSError as error:
        raise FileError(f"{path.name} cannot be read: {error.strerror}; change its permissions") from error


def _front(path: Path, head: bytes) -> _Front:
    fields, start = _fields(path, head)
    axes = _integers(fields, "NDims", 1, path)[0]
    if axes not in (3, 4) or fields.get("ElementNumberOfChannels", "1") != "1":
        channels = fields.get("ElementNumberOfChannels", "1")
        raise FileError(f"{path.name} has {axes} axes and {channels[:9]} values a voxel; strokelens reads volumes")
    kind = _TYPES.get(fields.get("ElementType", ""))
    if kind is None or not _flag(fields, ("BinaryData",), path, otherwise=True):
        stated = fields.get("ElementType", "no type")
        raise FileError(
            f"{path.name} holds {stated[:30]}, not numbers that are read; save it as MET_SHORT or MET_FLOAT"
        )
    if fields.get("HeaderSize", "0") != "0":
        raise FileError(f"{path.name}: HeaderSize {fields['HeaderSize'][:20]!r} is not read; export the image again")
    shape = _integers(fields, "DimSize", axes, path)
    order = ">" if _flag(fields, ("BinaryDataByteOrderMSB", "ElementByteOrderMSB"), path) else "<"
    deflated = _flag(fields, ("CompressedData",), path)
    room = path.stat().st_size * (_DEFLATE_RATIO if deflated else 1)
    if min(shape) < 1 or prod(shape) * int(kind[1]) > min(room, _LARGEST_BYTES):
        sizes = "×".join(map(str, shape))
        raise FileError(f"{path.name} declares {sizes} voxels, which the file cannot hold; copy it again")
    grid, interval = _place(fields, shape, path)
    kept = shape if axes == 4 and shape[3] > 1 else shape[:3]
    header = Header(path.name, kept, grid, np.dtype(order + kind), start, 1.0, 0.0, interval, "")
    return _Front(header, start, deflated)


def _place(fields: Mapping[str, str], shape: tuple[int, ...], path: Path) -> tuple[Grid, float]:
    """The grid in RAS, and how far frames are apart; 0 where there are none."""
    axes = len(shape)
    turn = _numbers(fields, ("TransformMatrix", "Rotation", "Orientation"), axes * axes, path)
    spacing = _numbers(fields, ("ElementSpacing", "ElementSize"), axes, path)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(turn, (axes, axes))[:3, :3].T * spacing[:3]  # the direction of each axis is a row
    affine[:3, 3] = _numbers(fields, ("Offset", "Position", "Origin"), axes, path)[:3]
    try:
        grid = Grid((shape[0], shape[1], shape[2]), _LPS_TO_RAS @ affine)
    except GridError as error:
        raise GridError(f"{path.name}: {error}") from error
    return grid, spacing[3] if axes == 4 else 0.0


def _flag(fields: Mapping[str, str], names: tuple[str, ...], path: Path, *, otherwise: bool = False) -> bool:
    """Whether the first of some fields that is there says yes, in the spellings that MetaIO writes and reads."""
    name = next((name for name in names if name in fields), None)
    if name is None:
        return otherwise
    said = fields[name].casefold()
    if said not in _YES | _NO:
        raise FileError(f"{path.name}: its header gives {name} = {fields[name][:40]!r}, not True or False; repair it")
    return said in _YES


def _fields(path: Path, head: bytes) -> tuple[dict[str, str], int]:
    """The fields of the header, and where it ends: after `ElementDataFile = LOCAL`; data elsewhere are refused."""
    fields: dict[str, str] = {}
    position = 0
    while (end := head.find(b"\n", position)) >= 0:
        name, equals, value = head[position:end].decode("latin-1").partition("=")
        position = end + 1
        if not equals:
            break
        fields[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile":
            if value.strip() == "LOCAL":
                return fields, position
            break
    raise FileError(f"{path.name} is no MetaImage with its voxels inside; export it again")


def _integers(fields: Mapping[str, str], name: str, count: int, path: Path) -> tuple[int, ...]:
    words = fields.get(name, "").split()
    if len(words) != count or not all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
        raise FileError(f"{path.name}: its header gives {name} = {' '.join(words)[:40]!r}; repair the header")
    return tuple(int(word) for word in words)


def _numbers(fields: Mapping[str, str], names: tuple[str, ...], count: int, path: Path) -> list[float]:
    """The numbers of the first of some fields that is there; a unit matrix or ones or zeros where none is."""
    name = next((name for name in names if name in fields), None)
    if name is None:
        usual = {"TransformMatrix": np.eye(int(count**0.5)).ravel(), "ElementSpacing": np.ones(count)}
        return [float(value) for value in usual.get(names[0], np.zeros(count))]
    try:
        found = [float(word) for word in fields[name].split()]
    except ValueError:
        found = []
    if len(found) != count or not np.isfinite(found).all():
        raise FileError(f"{path.name}: its header gives {name} = {fields[name][:40]!r}; repair the header")
    return found


def _voxels(content: bytes, front: _Front) -> bytes:
    """Exactly the bytes of the voxels."""
    header = front.header
    wanted = prod(header.shape) * header.dtype.itemsize
    data = content[front.start :]
    if front.deflated:
        inflater = zlib.decompressobj()
        try:
            data = inflater.decompress(data, wanted + 1)
        except zlib.error as error:
            raise FileError(f"{header.name} is damaged or cut short; copy or download it again") from error
    if len(data) < wanted or (front.deflated and (len(data) > wanted or not inflater.eof)):
        raise FileError(f"{header.name} is damaged or cut short; copy or download it again")
    return data[:wanted]
