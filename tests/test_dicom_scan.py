"""The scan of a plain header gives what pydicom gives, and leaves to pydicom what is not plain."""

import io
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

from strokelens.cohorts import dicom_header
from strokelens.cohorts.dicom_files import Member
from strokelens.cohorts.dicom_header import Plane, read_planes
from strokelens.cohorts.dicom_scan import scan
from tests.dicom_studies import enhanced, head, image, item, perfusion

WANTED = frozenset({(0x0008, 0x0018), (0x0020, 0x0013), (0x0020, 0x0032), (0x0028, 0x0010)})


def encoded(data: FileDataset, syntax: Any = ExplicitVRLittleEndian) -> bytes:
    bare = Dataset()
    bare.update(data)
    bare.file_meta = data.file_meta
    bare.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    bare.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def planes(raw: bytes) -> tuple[Plane, ...]:
    return read_planes(Member(Path("x"), "x", "x", partial(io.BytesIO, raw)))


def by_pydicom(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[Plane, ...]:
    with monkeypatch.context() as patch:
        patch.setattr(dicom_header, "scan", lambda *_: None)
        return planes(raw)


def told(found: tuple[Plane, ...]) -> list[dict[str, object]]:
    names = [each.name for each in fields(Plane) if each.name != "member"]
    return [{name: getattr(plane, name) for name in names} for plane in found]


def plain() -> FileDataset:
    return perfusion(head(), KVP=80, EchoTime="30.5", ContrastBolusAgent="Iodine", ImageComments="é" * 9)[7]


def with_sequences(*, undefined: bool) -> FileDataset:
    """Sequences before the pixels, with wanted elements in their items, which are none of the file's."""
    data = plain()
    inner = item(ReferencedSOPInstanceUID="1.2.3", InstanceNumber=99)
    outer = item(StudyInstanceUID="9.9.9", ReferencedImageSequence=Sequence([inner, inner]))
    data.ReferencedStudySequence = Sequence([outer, Dataset()])
    data.SourceImageSequence = Sequence([])
    for sequence in (data["ReferencedStudySequence"], data["SourceImageSequence"], outer["ReferencedImageSequence"]):
        sequence.is_undefined_length = undefined
    for each in (inner, outer):
        each.is_undefined_length_sequence_item = undefined
    return data


def with_private(size: int) -> FileDataset:
    data = plain()
    block = data.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", "1000")
    data.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", bytes(size))
    return data


PLAIN: list[tuple[str, Callable[[], FileDataset]]] = [
    ("plain", plain),
    ("sequences of defined length", partial(with_sequences, undefined=False)),
    ("sequences of undefined length", partial(with_sequences, undefined=True)),
    ("a private header that fits", partial(with_private, 1000)),
    ("a private header of 100 kB", partial(with_private, 100_000)),
]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless])
@pytest.mark.parametrize("make", [make for _, make in PLAIN], ids=[name for name, _ in PLAIN])
def test_a_plain_header_is_scanned_as_pydicom_reads_it(
    make: Callable[[], FileDataset], syntax: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make()
    if syntax == JPEG2000Lossless:
        data["PixelData"].is_undefined_length = True
        data.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\xdd\xe0\x00\x00\x00\x00"
        data["PixelData"].VR = "OB"
    raw = encoded(data, syntax)
    found = scan(io.BytesIO(raw).read, WANTED, frozenset())
    assert found is not None
    assert found.syntax == str(syntax)
    assert found.elements[0x0020, 0x0013].strip() == b"8"
    assert raw[found.start : found.start + 4] == b"\xe0\x7f\x10\x00"
    assert told(planes(raw)) == told(by_pydicom(raw, monkeypatch)) != []


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings_are_left_to_pydicom(syntax: Any) -> None:
    raw = encoded(plain(), syntax)
    assert scan(io.BytesIO(raw).read, WANTED, frozenset()) is None
    assert len(planes(raw)) == 1


def test_functional_groups_and_files_without_preamble_are_left_to_pydicom() -> None:
    raw = encoded(enhanced(head(frames=2)))
    assert scan(io.BytesIO(raw).read, WANTED, dicom_header._ODD) is None
    assert len(planes(raw)) == 8
    assert scan(io.BytesIO(raw[132:]).read, WANTED, frozenset()) is None


def test_a_header_of_more_than_half_a_mebibyte_is_left_to_pydicom() -> None:
    raw = encoded(with_private(600_000))
    assert scan(io.BytesIO(raw).read, WANTED, frozenset()) is None
    assert planes(raw)[0].b_value == 1000


def test_a_file_without_pixels_ends_with_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    data = image(np.zeros((4, 4), np.int16))
    del data.PixelData
    data.SOPClassUID = CTImageStorage
    raw = encoded(data)
    found = scan(io.BytesIO(raw).read, WANTED, frozenset())
    assert found is not None
    assert found.start == len(raw)
    assert told(planes(raw)) == told(by_pydicom(raw, monkeypatch))


RAW = encoded(with_sequences(undefined=True))


@given(cut=st.integers(132, len(RAW)), at=st.integers(132, len(RAW) - 1), value=st.integers(0, 255))
def test_damage_is_never_scanned_as_something_else_than_pydicom_reads(cut: int, at: int, value: int) -> None:
    """Where one byte is another one, or the end is missing: the same elements, or none."""
    raw = bytearray(RAW)
    raw[at] = value
    damaged = bytes(raw[:cut])
    found = scan(io.BytesIO(damaged).read, WANTED, frozenset())
    if found is None:
        return
    try:
        known = dcmread(io.BytesIO(damaged), stop_before_pixels=True, force=True)
    except Exception:
        return
    for tag, element in found.elements.items():
        theirs: Any = known.get_item(tag)
        if isinstance(theirs.value, bytes):
            assert theirs.value == element
