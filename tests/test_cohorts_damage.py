"""Damaged files: whatever bytes they hold, the reader gives a case or one line of ours, never another exception."""

import gzip
import json
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strokelens.case import Case
from strokelens.cohorts import content
from strokelens.cohorts.nifti import read_study
from strokelens.errors import StrokelensError
from tests.nifti_files import head_series, nib, save


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damage")


@cache
def whole(kind: str) -> bytes:
    """A good file of a few kB: NIfTI-1 or NIfTI-2."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.nii"
        save(path, head_series((8, 7, 3, 4)), interval=1.5, kind=getattr(nib, kind))
        return path.read_bytes()


def outcome(path: Path, content: bytes) -> Case | str:
    """The case, or our message; any other exception is this test's failure."""
    path.write_bytes(content)
    try:
        return read_study(path)
    except StrokelensError as error:
        message = str(error)
    assert "\n" not in message
    return message


KINDS = st.sampled_from(["Nifti1Image", "Nifti2Image"])
HEADER_BYTES = st.lists(st.tuples(st.integers(0, 539), st.integers(0, 255)), min_size=1, max_size=6)


@settings(max_examples=400)
@given(KINDS, HEADER_BYTES)
def test_overwritten_header_bytes_give_a_case_or_our_message(
    place: Path, kind: str, bytes_at: list[tuple[int, int]]
) -> None:
    content = bytearray(whole(kind))
    for position, value in bytes_at:
        content[position] = value
    outcome(place / "x_ctp.nii", bytes(content))


@settings(max_examples=200)
@given(KINDS, st.integers(0, 347), st.binary(min_size=1, max_size=32))
def test_overwritten_fields_in_gzip_give_a_case_or_our_message(
    place: Path, kind: str, position: int, field: bytes
) -> None:
    content = bytearray(whole(kind))
    content[position : position + len(field)] = field
    outcome(place / "x_ctp.nii.gz", gzip.compress(bytes(content), 1))


@settings(max_examples=150)
@given(KINDS, st.floats(0, 1, exclude_max=True), st.booleans())
def test_a_cut_file_is_never_a_case(place: Path, kind: str, share: float, packed: bool) -> None:
    content = gzip.compress(whole(kind), 1) if packed else whole(kind)
    cut = content[: int(share * len(content))]
    assert isinstance(outcome(place / ("x_ctp.nii.gz" if packed else "x_ctp.nii"), cut), str)


@settings(max_examples=150)
@given(st.integers(18, 5000), st.integers(0, 7))
def test_a_flipped_bit_in_gzip_data_is_never_a_case(place: Path, position: int, bit: int) -> None:
    content = bytearray(gzip.compress(whole("Nifti1Image"), 1, mtime=0))
    content[10 + position % (len(content) - 10)] ^= 1 << bit
    assert isinstance(outcome(place / "x_ctp.nii.gz", bytes(content)), str)


@given(st.binary(max_size=2000))
def test_noise_is_never_a_case(place: Path, noise: bytes) -> None:
    for name in ("x_ctp.nii", "x_ctp.nii.gz"):
        assert isinstance(outcome(place / name, noise), str)


@given(st.binary(max_size=300))
def test_a_sidecar_of_noise_gives_a_case_or_our_message(place: Path, noise: bytes) -> None:
    (place / "y_ctp.json").write_bytes(noise)
    outcome(place / "y_ctp.nii", whole("Nifti1Image"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["FrameTimesStart", "VolumeTiming", "RepetitionTime", "EchoTime", "Modality", "DiffusionBValue"])


@settings(max_examples=200)
@given(st.dictionaries(KEYS, JSON, max_size=3))
def test_any_json_in_a_sidecar_gives_a_case_or_our_message(place: Path, facts: dict[str, object]) -> None:
    (place / "z_ctp.json").write_text(json.dumps(facts))
    outcome(place / "z_ctp.nii", whole("Nifti1Image"))


def test_a_gzip_bomb_is_refused_by_its_header_in_no_memory(place: Path) -> None:
    content = bytearray(whole("Nifti1Image")[:352])
    content[42:48] = np.array([5000, 5000, 500], "<i2").tobytes()
    message = outcome(place / "x_ctp.nii.gz", gzip.compress(bytes(content) + bytes(10_000_000), 9))
    assert "is cut short: its header declares 100000000352 bytes" in str(message)


def test_what_is_packed_behind_an_image_is_not_inflated_to_its_end(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "_MOST_SURPLUS", 1 << 20)
    known = whole("Nifti1Image")
    assert isinstance(outcome(place / "x_ctp.nii.gz", gzip.compress(known + bytes(1000), 9)), Case)
    message = outcome(place / "x_ctp.nii.gz", gzip.compress(known + bytes(100_000_000), 9))
    assert (
        message
        == "x_ctp.nii.gz holds more than 1 MiB behind its image, packed; do not trust this file, or download it again"
    )
