"""The scan of a plain header gives what pydicom gives, and leaves to pydicom what is not plain."""

import io
from collections.abc import Callable, Collection
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
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

from strokelens.cohorts import dicom_header
from strokelens.cohorts.dicom_files import Member, loose
from strokelens.cohorts.dicom_header import Headers
from strokelens.cohorts.dicom_plane import Plane
from strokelens.cohorts.dicom_scan import FIRST_BYTES, Scanned, Scanner
from strokelens.errors import FileError
from tests.dicom_studies import enhanced, head, image, item, perfusion, planes_of, save

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
    return planes_of(Member("x.zip/x", Path("x.zip"), len(raw), partial(io.BytesIO, raw)))


def scan(raw: bytes, wanted: Collection[tuple[int, int]], odd: Collection[tuple[int, int]]) -> Scanned | None:
    return Scanner(wanted, odd).scan(raw[:FIRST_BYTES], lambda count: raw[:count])


def by_pydicom(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[Plane, ...]:
    with monkeypatch.context() as patch:
        patch.setattr(Scanner, "scan", lambda *_: None)
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
    found = scan(raw, WANTED, frozenset())
    assert found is not None
    assert found.syntax == str(syntax)
    assert found.elements[0x0020, 0x0013].strip() == b"8"
    assert raw[found.start : found.start + 4] == b"\xe0\x7f\x10\x00"
    assert told(planes(raw)) == told(by_pydicom(raw, monkeypatch)) != []


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings_are_left_to_pydicom(syntax: Any) -> None:
    raw = encoded(plain(), syntax)
    assert scan(raw, WANTED, frozenset()) is None
    assert len(planes(raw)) == 1


def test_functional_groups_and_files_without_preamble_are_left_to_pydicom() -> None:
    raw = encoded(enhanced(head(frames=2)))
    assert scan(raw, WANTED, dicom_header._ODD) is None
    assert len(planes(raw)) == 8
    assert scan(raw[132:], WANTED, frozenset()) is None


def test_a_header_of_more_than_half_a_mebibyte_is_left_to_pydicom() -> None:
    raw = encoded(with_private(600_000))
    assert scan(raw, WANTED, frozenset()) is None
    assert planes(raw)[0].b_value == 1000


def test_an_image_without_pixels_is_damaged_by_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    data = image(np.zeros((4, 4), np.int16))
    del data.PixelData
    raw = encoded(data)
    found = scan(raw, WANTED, frozenset())
    assert found is not None
    assert (found.start, found.pixels) == (len(raw), False)
    for read in (planes, partial(by_pydicom, monkeypatch=monkeypatch)):
        with pytest.raises(FileError, match=r"^a file in x\.zip is damaged: an image without pixels; copy or export"):
            read(raw)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_headers_that_are_laid_out_alike_are_scanned_as_each_by_itself(syntax: Any) -> None:
    one = Scanner(dicom_header._WANTED, dicom_header._ODD)
    raws = [encoded(data, syntax) for data in (*perfusion(head()), plain(), with_sequences(undefined=True))]
    for raw in (*raws, *reversed(raws)):
        found = one.scan(raw[:FIRST_BYTES], io.BytesIO(raw).read)
        known = scan(raw, dicom_header._WANTED, dicom_header._ODD)
        assert found is not None
        assert known is not None
        assert (found.elements, found.syntax, found.start) == (known.elements, known.syntax, known.start)


def test_planes_of_a_series_are_those_of_each_file_by_itself(tmp_path: Path) -> None:
    images = perfusion(head())
    images[5].RescaleSlope, images[6].Rows, images[7].SeriesInstanceUID = 2, 5, "1.2.9"
    files = [loose(path) for path in sorted(save(tmp_path, images).iterdir())]
    headers = Headers()
    assert [told(headers.planes(file) or ()) for file in files] == [told(planes_of(file)) for file in files]


RAW = encoded(with_sequences(undefined=True))


@given(cut=st.integers(132, len(RAW)), at=st.integers(132, len(RAW) - 1), value=st.integers(0, 255))
def test_damage_is_never_scanned_as_something_else_than_pydicom_reads(cut: int, at: int, value: int) -> None:
    """Where one byte is another one, or the end is missing: the same elements, or none."""
    raw = bytearray(RAW)
    raw[at] = value
    damaged = bytes(raw[:cut])
    seasoned = Scanner(WANTED, frozenset())
    seasoned.scan(RAW, lambda count: RAW[:count])
    found = seasoned.scan(damaged, lambda count: damaged[:count])
    alone = scan(damaged, WANTED, frozenset())
    assert (found and found.elements) == (alone and alone.elements)
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


def test_few_headers_of_a_series_are_walked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As 500 studies of 640 files are to be inspected in 20 s."""
    walks = []
    walked = Scanner._walked

    def counted(self: Scanner, head: bytes, *, whole: bool) -> Scanned:
        walks.append(1)
        return walked(self, head, whole=whole)

    monkeypatch.setattr(Scanner, "_walked", counted)
    files = [loose(path) for path in sorted(save(tmp_path, perfusion(head(frames=20, slices=8))).iterdir())]
    headers = Headers()
    planes = [plane for file in files for plane in headers.planes(file) or ()]
    assert len(planes) == 160
    assert len(walks) <= 16
    assert len({id(plane.storage) for plane in planes}) <= 16
