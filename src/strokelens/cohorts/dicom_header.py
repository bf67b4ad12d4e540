"""What the header of one DICOM file tells of each plane in it; pixels are not read, and names are not even parsed.

Only the elements that `_KEPT` names are taken from a file. Free text (`words`) decides which map a series is, and is
never shown; the person's number parts persons from one another, and is never shown either.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import partial
from math import isfinite
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from strokelens.cohorts.dicom_elements import (
    Elements,
    Tag,
    binary,
    clock_s,
    first,
    items,
    number,
    numbers,
    raw,
    text,
    without_warnings,
    words,
)
from strokelens.cohorts.dicom_files import Member, looks_like_dicom
from strokelens.cohorts.dicom_mosaic import mosaic_of
from strokelens.cohorts.dicom_plane import MOSAIC, OWN_FIELDS, Plane, Storage
from strokelens.cohorts.dicom_scan import FIRST_BYTES, Scanner
from strokelens.errors import FileError

DAMAGE: Final = (
    AssertionError, AttributeError, BytesLengthException, EOFError, IndexError, InvalidDicomError, KeyError,
    MemoryError, NotImplementedError, OverflowError, RecursionError, TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip
"""What pydicom raises on bytes that are no DICOM."""

SIMULATOR: Final = "strokelens"
"""The manufacturer of simulated studies."""

Facts = tuple[Any, ...]
"""The values of the fields of `Plane` that are those of its series."""

_SHARED, _PER_FRAME = (0x5200, 0x9229), (0x5200, 0x9230)
_LARGEST_SIDE = 8192
_MOST_FRAMES = 100_000
_KEPT: Final[Mapping[str, Tag]] = MappingProxyType(
    {
        "directory": (0x0004, 0x1200),
        "image_type": (0x0008, 0x0008), "class": (0x0008, 0x0016), "instance": (0x0008, 0x0018),
        "acquired_at": (0x0008, 0x002A), "acquired": (0x0008, 0x0032), "content": (0x0008, 0x0033),
        "modality": (0x0008, 0x0060), "manufacturer": (0x0008, 0x0070), "description": (0x0008, 0x103E),
        "person": (0x0010, 0x0020), "issuer": (0x0010, 0x0021), "agent": (0x0018, 0x0010),
        "thickness": (0x0018, 0x0050), "repetition": (0x0018, 0x0080), "echo": (0x0018, 0x0081),
        "between": (0x0018, 0x0088), "trigger": (0x0018, 0x1060), "tilt": (0x0018, 0x1120),
        "b": (0x0018, 0x9087), "direction": (0x0018, 0x9075), "siemens": (0x0019, 0x0010),
        "siemens_b": (0x0019, 0x100C), "csa_maker": (0x0029, 0x0010), "csa": (0x0029, 0x1010),
        "study": (0x0020, 0x000D), "series": (0x0020, 0x000E),
        "number": (0x0020, 0x0011), "acquisition": (0x0020, 0x0012), "order": (0x0020, 0x0013),
        "position": (0x0020, 0x0032), "orientation": (0x0020, 0x0037), "temporal": (0x0020, 0x0100),
        "resolution": (0x0020, 0x0110),
        "philips": (0x2001, 0x0010), "philips_b": (0x2001, 0x1003), "ge": (0x0043, 0x0010), "ge_b": (0x0043, 0x1039),
        "samples": (0x0028, 0x0002), "photometric": (0x0028, 0x0004), "frames": (0x0028, 0x0008),
        "rows": (0x0028, 0x0010), "columns": (0x0028, 0x0011), "spacing": (0x0028, 0x0030),
        "allocated": (0x0028, 0x0100), "stored": (0x0028, 0x0101), "high": (0x0028, 0x0102), "signed": (0x0028, 0x0103),
        "padding": (0x0028, 0x0120), "inter": (0x0028, 0x1052), "slope": (0x0028, 0x1053),
        "shared": _SHARED, "per_frame": _PER_FRAME,
    }
)  # fmt: skip
_OWN: Final = (
    "instance", "acquired_at", "acquired", "content", "trigger", "acquisition", "order", "position", "temporal", "csa",
)  # fmt: skip
"""What differs from image to image of a series; of the private header only a mosaic makes use."""

_CONSTANT: Final = tuple(tag for name, tag in _KEPT.items() if name not in _OWN)
_STORED: Final = "1.2.840.10008.5.1.4.1.1."
_IMAGES: Final = frozenset({"2", "4", "7", "128"})  # CT, MR, secondary captures, PET
_NO_IMAGES: Final = frozenset({"4.2", "66"})  # spectroscopy; raw data, segmentations and surfaces
_NOBODY: Final = frozenset(
    word
    for words in (
        "anon anonym anonymous anonymized anonymised anonymize anonymise removed deidentified de-identified unknown",
        "none null nil na n/a nn noid patient patientid id test x xx xxx xxxx",
    )
    for word in words.split()
)
"""What stands for the number of a patient where there is none, in lower case."""

_NO_BOUND = 1 << 62
_TAGS: Final[list[Tag]] = list(_KEPT.values())
_WANTED: Final = frozenset(_TAGS)
_ODD: Final = frozenset({_SHARED, _PER_FRAME})
_PRIVATE: Final = (("siemens", "SIEMENS MR HEADER"), ("philips", "Philips Imaging DD 001"), ("ge", "GEMS_PARM_01"))


class Headers:
    """Reads the headers of files, one after the other; those of a series are alike, which is made use of."""

    def __init__(self) -> None:
        self._scanner = Scanner(_WANTED, _ODD)
        self._known: dict[tuple[object, ...], tuple[int, Facts]] = {}

    def planes(self, member: Member) -> tuple[Plane, ...] | None:
        """The planes of a file; none where it is DICOM and no image (a report, a directory, a segmentation).

        None where it is no DICOM. Raises `FileError` when it is damaged, or cut short.
        """
        head, size = member.head(FIRST_BYTES)
        if not looks_like_dicom(head[:132]):
            return None
        try:
            scanned = self._scanner.scan(head, partial(_front, member))
            if scanned is None:
                return _by_pydicom(member, size)
            key = (scanned.syntax, scanned.start, *map(scanned.elements.get, _CONSTANT))
            end, known = self._known.get(key, (0, None))
            if known is not None and size >= end:
                return (_next(known, member, scanned.elements),)
            found = _planes(member, scanned.elements, scanned.syntax, scanned.start, size if scanned.pixels else None)
            if len(found) == 1 and found[0].storage.frames == found[0].storage.across == 1:
                self._known[key] = found[0].storage.end, _facts(found[0])
            return found
        except DAMAGE as error:
            raise FileError(f"{member.name} is a damaged DICOM file; copy or export it again") from error


def _front(member: Member, count: int) -> bytes:
    with member.opened() as file:
        return file.read(count)


def _by_pydicom(member: Member, size: int) -> tuple[Plane, ...]:
    with member.opened() as file, without_warnings():
        data = dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(_TAGS))
        start, syntax = file.tell(), _syntax(data)
        deflated = syntax == str(DeflatedExplicitVRLittleEndian)
        pixels = deflated or file.read(2) in (b"\xe0\x7f", b"\x7f\xe0")
        return _planes(member, data, syntax, start, (_NO_BOUND if deflated else size) if pixels else None)


def _next(known: Facts, member: Member, data: Elements) -> Plane:
    """The plane of a file whose header differs from a known one only in what is an image's own."""
    return Plane(
        member,
        0,
        text(data, _KEPT["instance"]),
        numbers(data, _KEPT["position"], 3),
        _times_s((data,), data),
        number(data, _KEPT["order"]) or 0.0,
        *known,
    )


def _planes(member: Member, data: Elements, syntax: str, start: int, size: int | None) -> tuple[Plane, ...]:
    """The planes in a file of a size; None where it ends before its pixels."""
    kind = text(data, _KEPT["class"])
    stored = kind.removeprefix(_STORED) if kind.startswith(_STORED) else ""
    family = stored.partition(".")[0]
    if not {stored, family}.isdisjoint(_NO_IMAGES):
        return ()
    storage = _storage(data, syntax, start)
    if storage is None or size is None:
        if family in _IMAGES or (not kind and _KEPT["directory"] not in data):
            raise FileError(f"{member.name} is damaged: an image without pixels; copy or export it again")
        return ()
    if size < storage.end:
        raise FileError(f"{member.name} is cut short: pixels are missing; copy or export it again")
    if not text(data, _KEPT["series"]):
        return ()
    shared, each = first(data, _SHARED), items(data, _PER_FRAME)
    if storage.frames == 1 and not each:
        plane = _plane(member, data, storage, 0, (data,))
        return _tiles(plane, data) if MOSAIC in plane.image_type else (plane,)
    return tuple(
        _plane(member, data, storage, at, (each[at] if at < len(each) else {}, shared, data))
        for at in range(storage.frames)
    )


def _tiles(plane: Plane, data: Elements) -> tuple[Plane, ...]:
    """The slices in a mosaic; the mosaic itself where its private header does not tell where they lie."""
    known = text(data, _KEPT["csa_maker"]) == "SIEMENS CSA HEADER"
    mosaic = mosaic_of(raw(data, _KEPT["csa"])) if known else None
    if mosaic is None or plane.position is None or plane.orientation is None or not (plane.spacing and plane.thickness):
        return (plane,)
    across, whole = mosaic.across, plane.storage
    rows, columns = whole.rows // across, whole.columns // across
    if not rows or not columns or whole.rows % across or whole.columns % across:
        return (plane,)
    right, down = np.array(plane.orientation[:3]), np.array(plane.orientation[3:])
    normal = np.cross(right, down)
    step = plane.thickness * normal * (1 if normal @ mosaic.normal > 0 else -1)
    # the stated position is that of a single slice with as many pixels as the mosaic, about the same middle
    corner = np.array(plane.position)
    corner += (
        right * plane.spacing[1] * (whole.columns - columns) / 2 + down * plane.spacing[0] * (whole.rows - rows) / 2
    )
    storage = replace(whole, rows=rows, columns=columns, across=across)
    image_type = tuple(word for word in plane.image_type if word != MOSAIC)
    return tuple(
        replace(plane, frame=at, storage=storage, image_type=image_type, position=tuple((corner + at * step).tolist()))
        for at in range(mosaic.count)
    )


def _storage(data: Elements, syntax: str, start: int) -> Storage | None:
    """How pixels are kept; None where there are none."""
    rows, columns = (int(binary(data, _KEPT[name], "H") or 0) for name in ("rows", "columns"))
    if not 0 < rows <= _LARGEST_SIDE or not 0 < columns <= _LARGEST_SIDE:
        return None
    frames = int(number(data, _KEPT["frames"]) or 1)
    if not 0 < frames <= _MOST_FRAMES:
        raise ValueError(frames)
    allocated = int(binary(data, _KEPT["allocated"], "H") or 16)
    stored = int(binary(data, _KEPT["stored"], "H") or allocated)
    return Storage(
        rows,
        columns,
        int(binary(data, _KEPT["samples"], "H") or 1),
        allocated,
        stored,
        int(binary(data, _KEPT["high"], "H") or stored - 1),
        binary(data, _KEPT["signed"], "H") == 1,
        text(data, _KEPT["photometric"]),
        frames,
        syntax,
        start,
    )


def _syntax(data: FileDataset) -> str:
    """The transfer syntax; of a file without a meta header, as it was read."""
    stated = str(data.file_meta.get("TransferSyntaxUID", "")) if hasattr(data, "file_meta") else ""
    if stated:
        return stated
    implicit, little = data.original_encoding
    return str(ImplicitVRLittleEndian if implicit else "1.2.840.10008.1.2.1" if little else ExplicitVRBigEndian)


def _plane(member: Member, data: Elements, storage: Storage, frame: int, places: tuple[Elements, ...]) -> Plane:
    """A plane whose facts are looked for in `places` in turn: its own, the shared ones, the file's."""
    geometry = [_group(place, (0x0020, 0x9113)) for place in places]
    turned = [_group(place, (0x0020, 0x9116)) for place in places]
    measures = [_group(place, (0x0028, 0x9110)) for place in places]
    values = [_group(place, (0x0028, 0x9145)) for place in places]
    series_number, order = number(data, _KEPT["number"]), number(data, _KEPT["order"])
    slope, inter = _first(values, _KEPT["slope"]), _first(values, _KEPT["inter"])
    padding = binary(data, _KEPT["padding"], "h" if storage.signed else "H")
    image_type = next((found for place in places if (found := _image_type(place))), ())
    return Plane(
        member,
        frame,
        text(data, _KEPT["instance"]),
        _list(geometry, _KEPT["position"], 3),
        _times_s(places, data),
        (order or 0.0) + frame,
        storage,
        text(data, _KEPT["study"]),
        text(data, _KEPT["series"]),
        None if series_number is None else int(series_number),
        text(data, _KEPT["modality"]).upper(),
        image_type,
        text(data, _KEPT["description"]),
        _person(data),
        _list(turned, _KEPT["orientation"], 6),
        _list(measures, _KEPT["spacing"], 2),
        _first(measures, _KEPT["between"]) or _first(measures, _KEPT["thickness"]),
        number(data, _KEPT["tilt"]) or 0.0,
        1.0 if slope is None else slope,
        inter or 0.0,
        None if padding is None else int(padding),
        _b_value(places, data),
        _directed(places),
        _echo_s(places),
        _ms(number(data, _KEPT["repetition"])),
        bool(text(data, _KEPT["agent"])),
        text(data, _KEPT["manufacturer"]) == SIMULATOR,
    )


def _facts(plane: Plane) -> Facts:
    """The values of the fields that are those of a plane's series."""
    return tuple(getattr(plane, each.name) for each in fields(Plane)[OWN_FIELDS:])


def _person(data: Elements) -> str:
    """The number of a patient and who gave it; empty where it is none, as after an anonymisation."""
    number_of = text(data, _KEPT["person"]).casefold()
    if number_of in _NOBODY or not any(each.isalnum() and each != "0" for each in number_of):
        return ""
    plain = number_of.lstrip("0") if number_of.isdigit() else number_of
    return f"{plain}\\{text(data, _KEPT['issuer']).casefold()}"


def _group(place: Elements, group: Tag) -> Elements:
    """The functional group of a place, or the place itself where it has none, as in classic files."""
    return first(place, group) if group in place else place


def _first(places: list[Elements], tag: Tag) -> float | None:
    return next((found for place in places if (found := number(place, tag)) is not None), None)


def _list(places: list[Elements], tag: Tag, count: int) -> tuple[float, ...] | None:
    return next((found for place in places if (found := numbers(place, tag, count)) is not None), None)


def _image_type(place: Elements) -> tuple[str, ...]:
    for group in ((0x0018, 0x9226), (0x0018, 0x9329)):  # MR and CT image frame type
        if group in place:
            return tuple(word.upper() for word in words(first(place, group), (0x0008, 0x9007)))
    return tuple(word.upper() for word in words(place, _KEPT["image_type"]))


def _times_s(places: tuple[Elements, ...], data: Elements) -> dict[str, float]:
    """Every clock that a plane has, in s; the more direct ones first."""
    content = first(places[0], (0x0020, 0x9111))
    temporal = first(places[0], (0x0020, 0x9310))
    resolution_s = _ms(number(data, _KEPT["resolution"]))
    index = number(data, _KEPT["temporal"])
    position = binary(content, (0x0020, 0x9128), "H")
    own = len(places) == 1  # a frame's time is not that of its file
    found = {
        "AcquisitionDateTime": clock_s(text(content, (0x0018, 0x9074)) or (text(data, _KEPT["acquired_at"]) * own)),
        "AcquisitionTime": clock_s(text(data, _KEPT["acquired"])) if own else None,
        "ContentTime": clock_s(text(data, _KEPT["content"])) if own else None,
        "TriggerTime": _ms(number(data, _KEPT["trigger"])) if own else None,
        "TemporalPositionTimeOffset": binary(temporal, (0x0020, 0x930D), "d"),
        "TemporalPosition": index * resolution_s if own and index is not None and resolution_s else None,
        "TemporalPositionIdentifier": index if own else position,
        "AcquisitionNumber": number(data, _KEPT["acquisition"]) if own else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _b_value(places: tuple[Elements, ...], data: Elements) -> float | None:
    """The b value in s/mm², standard or private; GE adds multiples of 1e9 to it."""
    for place in places:
        found = binary(_group(place, (0x0018, 0x9117)), _KEPT["b"], "d")
        if found is not None and 0 <= found < 1e5:
            return found
    for maker, creator in _PRIVATE:
        if not any(text(place, _KEPT[maker]).startswith(creator) for place in (*places, data)):
            continue
        tag = _KEPT[f"{maker}_b"]
        for place in places:
            value = binary(place, tag, "f") if maker == "philips" else number(place, tag)
            if value is not None and isfinite(value) and value >= 0:
                return value % 1e5
    return None


def _directed(places: tuple[Elements, ...]) -> bool:
    """Whether a diffusion image shows one direction."""
    stated = [text(_group(place, (0x0018, 0x9117)), _KEPT["direction"]) for place in places]
    return next((word for word in stated if word), "") in ("DIRECTIONAL", "BMATRIX")


def _echo_s(places: tuple[Elements, ...]) -> float | None:
    for place in places:
        effective = binary(first(place, (0x0018, 0x9114)), (0x0018, 0x9082), "d")
        found = _ms(effective if effective is not None else number(place, _KEPT["echo"]))
        if found:
            return found
    return None


def _ms(value: float | None) -> float | None:
    return None if value is None else value / 1000
