"""The pixels of planes: each file read once, decoded, rescaled, and put in its place."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from io import BytesIO
from math import prod
from typing import Final

import numpy as np
from jaxtyping import Float, Shaped
from pydicom import dcmread
from pydicom._uid_dict import UID_dictionary
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from strokelens.cohorts.dicom_elements import without_warnings
from strokelens.cohorts.dicom_files import Member
from strokelens.cohorts.dicom_header import DAMAGE
from strokelens.cohorts.dicom_plane import Plane, Storage
from strokelens.errors import FileError
from strokelens.perfusion.colormap import Picture

_NATIVE = (str(ImplicitVRLittleEndian), str(ExplicitVRLittleEndian), str(ExplicitVRBigEndian))
_LONG_VR = (b"OB", b"OW", b"UN")
_PIXEL_DATA = (0x7FE0, 0x0010)
_EXACT = 1 << 23
_BY_EXTRA: Final = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81))
"""What the extra `dicom-jpeg` decodes: JPEG baseline, extended and lossless, and JPEG-LS."""


def read_values(planes: Sequence[Sequence[Plane]]) -> tuple[Float[np.ndarray, "i j k t"], str]:
    """The values of planes by position and frame, and the SHA-256 of their files, one after the other in time.

    Raises `FileError` when a file is cut short, damaged, or compressed in a way for which there is no decoder.
    """
    storage = planes[0][0].storage
    shape = (storage.columns, storage.rows, len(planes), len(planes[0]))
    try:
        array = np.empty(shape, np.float32, order="F")
    except (MemoryError, ValueError) as error:
        size = prod(shape) * 4 / (1 << 30)
        raise FileError(f"the series needs {size:.1f} GiB of memory, which this machine cannot give") from error
    digest = sha256()
    for content, places in _files(planes):
        digest.update(content)
        for k, t, plane in places:
            array[:, :, k, t] = _values(content, plane).T  # (row, column) → (i, j)
    return array, digest.hexdigest()


def read_colours(planes: Sequence[Sequence[Plane]]) -> tuple[list[Picture], str]:
    """The pictures of planes, one a position, in RGB, and the SHA-256 of their files."""
    pictures: list[Picture] = [np.zeros((0, 0, 3), np.uint8)] * len(planes)
    digest = sha256()
    for content, places in _files(planes):
        digest.update(content)
        for k, _, plane in places:
            pictures[k] = _colours(content, plane)
    return pictures, digest.hexdigest()


def _files(planes: Sequence[Sequence[Plane]]) -> Iterator[tuple[bytes, list[tuple[int, int, Plane]]]]:
    """Each file's bytes, in the order of time, with its planes and their places (k, t)."""
    by_file: dict[Member, list[tuple[int, int, Plane]]] = {}
    for t in range(len(planes[0])):
        for k, row in enumerate(planes):
            by_file.setdefault(row[t].member, []).append((k, t, row[t]))
    for places in by_file.values():
        yield places[0][2].member.content(), places


def _values(content: bytes, plane: Plane) -> Float[np.ndarray, "row column"]:
    raw = _native(content, plane)
    stored = _decoded(content, plane) if raw is None else raw
    values: Float[np.ndarray, "row column"]
    if plane.slope == 1 and stored.dtype.itemsize <= 2 and plane.inter.is_integer() and abs(plane.inter) < _EXACT:
        values = stored.astype(np.float32)
        values += np.float32(plane.inter)  # whole numbers below 2²⁴ are exact
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            values = (stored * np.float64(plane.slope) + plane.inter).astype(np.float32)
        values[~np.isfinite(values)] = np.nan
    if plane.padding is not None and plane.modality == "CT":
        values[stored == plane.padding] = np.nan
    return values


def _native(content: bytes, plane: Plane) -> Shaped[np.ndarray, "row column"] | None:
    """The stored values of an uncompressed plane, as a view where that is possible; None where it is not so plain."""
    storage = plane.storage
    if storage.syntax not in _NATIVE or storage.samples != 1 or storage.allocated not in (8, 16, 32):
        return None
    order = ">" if storage.syntax == str(ExplicitVRBigEndian) else "<"
    at = _pixels_at(content, storage, order)
    if at is None or (order == ">" and storage.allocated == 8):
        return None
    dtype = np.dtype(f"{order}{'i' if storage.signed else 'u'}{storage.allocated // 8}")
    rows, columns = storage.rows * storage.across, storage.columns * storage.across
    count = rows * columns
    start = at + _picture(plane) * count * dtype.itemsize
    if start + count * dtype.itemsize > len(content):
        raise FileError(f"{plane.member.name} is cut short: pixels are missing; copy or export it again")
    return _bits(_tile(np.frombuffer(content, dtype, count, start).reshape(rows, columns), plane), storage)


def _picture(plane: Plane) -> int:
    """The number of the picture in its file: a mosaic has one."""
    return plane.frame if plane.storage.across == 1 else 0


def _tile(picture: Shaped[np.ndarray, "height width"], plane: Plane) -> Shaped[np.ndarray, "row column"]:
    """The plane in its picture, which is more only of a mosaic."""
    storage = plane.storage
    if storage.across == 1:
        return picture
    top, left = (
        at * size for at, size in zip(divmod(plane.frame, storage.across), (storage.rows, storage.columns), strict=True)
    )
    return picture[top : top + storage.rows, left : left + storage.columns]


def _pixels_at(content: bytes, storage: Storage, order: str) -> int | None:
    """The byte where the pixels begin; None where the element is not plain pixel data."""
    head = content[storage.start : storage.start + 12]
    group, element = (int.from_bytes(head[at : at + 2], "big" if order == ">" else "little") for at in (0, 2))
    if (group, element) != _PIXEL_DATA or len(head) < 12:
        return None
    if storage.syntax == str(ImplicitVRLittleEndian):
        return storage.start + 8
    return storage.start + 12 if head[4:6] in _LONG_VR else None


def _bits(raw: Shaped[np.ndarray, "row column"], storage: Storage) -> Shaped[np.ndarray, "row column"]:
    """The values in the bits that are used: from `high` down, with their sign; other bits may hold overlays."""
    above, below = storage.allocated - 1 - storage.high, storage.high + 1 - storage.stored
    if above < 0 or below < 0 or (above == 0 and below == 0):
        return raw
    native = raw.astype(raw.dtype.newbyteorder("="))
    shifted: Shaped[np.ndarray, "row column"] = np.right_shift(np.left_shift(native, above), above + below)
    return shifted


def _decoded(content: bytes, plane: Plane) -> Shaped[np.ndarray, "row column"]:
    """The stored values of a plane by pydicom and its decoders."""
    values = _by_pydicom(content, plane, raw=True)
    storage = plane.storage
    if (
        values.shape != (storage.rows * storage.across, storage.columns * storage.across)
        or values.dtype.kind not in "iuf"
    ):
        raise FileError(f"{plane.member.name}: its pixels do not fit its header; export it again")
    return _tile(values, plane)


def _colours(content: bytes, plane: Plane) -> Picture:
    values = _by_pydicom(content, plane, raw=False)
    if values.dtype == np.uint16:  # palettes of 16 bits
        values = (values >> 8).astype(np.uint8)
    if values.shape != (plane.storage.rows, plane.storage.columns, 3) or values.dtype != np.uint8:
        raise FileError(f"{plane.member.name}: its colours do not fit its header; export it again")
    return values


def _by_pydicom(content: bytes, plane: Plane, *, raw: bool) -> Shaped[np.ndarray, "..."]:
    """One frame as pydicom decodes it; `raw` leaves colours as they are stored."""
    try:
        with without_warnings():
            data = dcmread(BytesIO(content), force=True)
            if "TransferSyntaxUID" not in data.file_meta:
                data.file_meta.TransferSyntaxUID = UID(plane.storage.syntax)
            values: Shaped[np.ndarray, "..."] = pixel_array(data, index=_picture(plane), raw=raw)
            if not raw and plane.storage.photometric == "PALETTE COLOR":
                values = apply_color_lut(values, data)
    except RuntimeError as error:
        raise FileError(_no_decoder(plane, error)) from error
    except DAMAGE as error:
        raise FileError(f"{plane.member.name}: its pixels are damaged or cut short; copy or export it again") from error
    return values


def _no_decoder(plane: Plane, error: RuntimeError) -> str:
    """Pixels that could not be decoded: for want of a decoder, or as they are damaged."""
    known = UID_dictionary.get(plane.storage.syntax, ("an unknown transfer syntax",))[0]
    name = known.partition(",")[0].partition("(")[0].strip()
    if "missing" not in str(error) and not isinstance(error, NotImplementedError):
        return f"{plane.member.name}: its pixels ({name}) are damaged; copy or export it again"
    cure = "install strokelens[dicom-jpeg], or " if plane.storage.syntax in _BY_EXTRA else ""
    return (
        f"{plane.member.name} is compressed ({name}), and no decoder for that is installed; "
        f"{cure}export it uncompressed"
    )
