"""DICOM that is odd or bad: its clocks, gaps and archives, and the exact line that tells of what cannot be read."""

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import HTJ2KLossless, JPEGLSLossless

from strokelens.cohorts import dicom_files
from strokelens.cohorts.nifti import Reading, read_study
from strokelens.errors import CaseError, FileError, GridError, SeriesError, StrokelensError
from tests.dicom_studies import SECRETS, clock, head, image, perfusion, save, volume


def times_of(folder: Path, reading: Reading | None = None) -> tuple[list[float], tuple[str, ...]]:
    case = read_study(folder, reading or Reading())
    assert case.time_s is not None
    return [round(float(time), 6) for time in case.time_s], case.sources["CTP"].doubts


REGULAR = [0.0, 1.5, 3.0, 4.5, 6.0, 7.5]


def without_clock(images: list[FileDataset], **tags: Callable[[int], Any]) -> list[FileDataset]:
    """The series without times of its images; `tags` gives an element by the number of the frame."""
    for data in images:
        t = (data.InstanceNumber - 1) // 4
        del data.AcquisitionTime, data.ContentTime
        for name, value in tags.items():
            setattr(data, name, value(t))
    return images


def test_a_series_that_passes_midnight_goes_on(tmp_path: Path) -> None:
    assert times_of(save(tmp_path / "x", perfusion(head(), start_s=86400 - 3.75)))[0] == REGULAR


def test_midnight_may_lie_within_a_frame(tmp_path: Path) -> None:
    images = perfusion(head(), start_s=86400 - 3.05, shuttle_s=0.1)
    assert times_of(save(tmp_path / "x", images))[0] == REGULAR


CLOCKS: list[tuple[dict[str, Callable[[int], Any]], str]] = [
    ({"ContentTime": lambda t: clock(36000 + 1.5 * t)}, "ContentTime"),
    ({"TriggerTime": lambda t: 1500 * t}, "TriggerTime"),
    ({"TemporalPositionIdentifier": lambda t: t + 1, "TemporalResolution": lambda t: 1500}, "TemporalPosition"),
]


@pytest.mark.parametrize(("tags", "name"), CLOCKS, ids=[name for _, name in CLOCKS])
def test_other_clocks_are_taken_with_a_doubt(tmp_path: Path, tags: Any, name: str) -> None:
    times, doubts = times_of(save(tmp_path / "x", without_clock(perfusion(head()), **tags)))
    assert times == REGULAR
    assert doubts == (f"no time of acquisition tells its frames apart: times are those of {name}",)


def test_a_time_that_is_the_same_in_all_frames_tells_nothing(tmp_path: Path) -> None:
    images = perfusion(head(), AcquisitionTime="100000")
    times, doubts = times_of(save(tmp_path / "x", images))
    assert times == REGULAR
    assert doubts == ("no time of acquisition tells its frames apart: times are those of ContentTime",)


def test_counted_frames_are_a_repetition_time_apart(tmp_path: Path) -> None:
    images = without_clock(perfusion(head()), TemporalPositionIdentifier=lambda t: t + 1, RepetitionTime=lambda t: 1500)
    times, doubts = times_of(save(tmp_path / "x", images))
    assert times == REGULAR
    assert doubts == ("no time of its images is known: frames by TemporalPositionIdentifier, one each 1.5 s",)


def test_without_any_clock_the_user_tells_and_numbers_order_the_frames(tmp_path: Path) -> None:
    folder = save(tmp_path / "x", without_clock(perfusion(head())))
    with pytest.raises(SeriesError) as caught:
        read_study(folder)
    assert str(caught.value) == (
        "series 3 has 24 images at 4 positions, and nothing tells when they were taken; give --frame-interval SECONDS"
    )
    case = read_study(folder, Reading(frame_interval_s=2.0))
    np.testing.assert_array_equal(case["CTP"][3, 4, 2], head()[4, 3, 2].astype(np.float32))
    assert case.time_s == pytest.approx(2.0 * np.arange(6))


def test_a_shuttle_gives_the_mean_time_of_each_frame(tmp_path: Path) -> None:
    times, doubts = times_of(save(tmp_path / "x", perfusion(head(), step_s=3.0, shuttle_s=0.4)))
    assert times == [0.0, 3.0, 6.0, 9.0, 12.0, 15.0]
    assert doubts == (
        "the slices of a frame were taken up to 1.2 s apart (shuttle or interleaved): "
        "the mean time of each frame is taken",
    )


def test_images_that_are_there_twice_are_taken_once(tmp_path: Path) -> None:
    images = perfusion(head())
    save(tmp_path / "x", images)
    save(tmp_path / "x", images[:5], prefix="COPY")  # the same instances
    for data in images[5:8]:
        data.SOPInstanceUID = f"2{data.SOPInstanceUID[1:]}"
    save(tmp_path / "x", images[5:8], prefix="SENT")  # sent again under new UIDs
    case = read_study(tmp_path / "x")
    np.testing.assert_array_equal(case["CTP"][3, 4, 2], head()[4, 3, 2].astype(np.float32))
    assert case.sources["CTP"].doubts == ("8 of its images are there twice: one of each was taken",)


@pytest.mark.parametrize("gone", [[9], [23, 22], [0]])
def test_a_frame_that_lacks_a_slice_is_left_out(tmp_path: Path, gone: list[int]) -> None:
    images = [data for at, data in enumerate(perfusion(head())) if at not in gone]
    times, doubts = times_of(save(tmp_path / "x", images))
    left = [t for t in range(6) if t != gone[0] // 4]
    assert times == [1.5 * (t - left[0]) for t in left]
    assert doubts == ("1 of 6 frames lacks slices and was left out",)


def test_frames_that_lack_a_slice_each_are_told_from_a_shuttle(tmp_path: Path) -> None:
    gone = (4 * 3, 4 * 8 + 1, 4 * 8 + 2, 4 * 3 + 3)
    values = head(frames=20)
    images = [data for at, data in enumerate(perfusion(values)) if at not in gone]
    case = read_study(save(tmp_path / "x", images))
    kept = [t for t in range(20) if t not in (3, 8)]
    np.testing.assert_array_equal(case["CTP"][3, 4], values[4, 3][:, kept].astype(np.float32))
    assert case.sources["CTP"].doubts == ("2 of 20 frames lack slices and were left out",)


def many_gaps(folder: Path) -> Path:
    return save(folder, [data for at, data in enumerate(perfusion(head())) if at not in (0, 5, 10)])


def stray(folder: Path) -> Path:
    images = perfusion(head())
    images[5].ImagePositionPatient = [-4.0, -7.5, 25.0]
    return save(folder, images)


def unplaced(folder: Path) -> Path:
    images = perfusion(head())
    del images[3].ImagePositionPatient
    return save(folder, images)


def bent(folder: Path) -> Path:
    images = perfusion(head())
    for data in images[1::4]:
        data.ImagePositionPatient = [-8.0, -7.5, 25.0]
    return save(folder, images)


def two_studies(folder: Path) -> Path:
    save(folder, perfusion(head()))
    return save(folder, perfusion(head(), StudyInstanceUID="1.2.9", SeriesNumber=8), prefix="B")


def two_series(folder: Path) -> Path:
    save(folder, perfusion(head()))
    return save(folder, perfusion(head(), SeriesInstanceUID="1.2.8", SeriesNumber=8), prefix="B")


def cut(folder: Path) -> Path:
    save(folder, perfusion(head()))
    path = folder / "IM00007"
    path.write_bytes(path.read_bytes()[:-100])
    return folder


def compressed(folder: Path) -> Path:
    images = perfusion(head())
    for data in images:
        data.file_meta.TransferSyntaxUID = HTJ2KLossless
        data.PixelData = encapsulate([bytes(200)])
        data["PixelData"].VR = "OB"
    return save(folder, images)


def one_slice(folder: Path) -> Path:
    return save(folder, perfusion(head(frames=1, slices=1), RescaleIntercept=-5000))


SIZE = "4 × 6 images of 12×10"
FOLDERS: list[tuple[Callable[[Path], Path], type[StrokelensError], str]] = [
    (
        many_gaps,
        SeriesError,
        "series 3 lacks slices: 4 positions have 5 to 6 images each, and 3 of 6 frames are complete; "
        "copy or export the series again",
    ),
    (stray, GridError, "series 3: images at one depth lie 5 mm apart; export one acquisition alone"),
    (unplaced, GridError, "series 3: 1 of 24 images tell no position; export the series again"),
    (
        bent,
        GridError,
        "series 3: its slices do not lie on one line at right angles (off by 1 mm, tilt 0.0°); copy or export it again",
    ),
    (
        two_studies,
        CaseError,
        "x holds 2 studies (series 3; series 8); give the folder of one, or its name with --case",
    ),
    (
        two_series,
        CaseError,
        f"2 series could be CTP: series 3 (CT, {SIZE}), series 8 (CT, {SIZE}); "
        "choose one with --series NUMBER, or give its folder",
    ),
    (
        lambda d: save(d, perfusion(head(), step_s=90.0)),
        SeriesError,
        "series 3: frames 90 s apart (90 to 90 s) are not a perfusion series (0.1 to 60 s); "
        "give --frame-interval SECONDS",
    ),
    (
        lambda d: save(d, volume(head()[..., 0], ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])),
        CaseError,
        "no series is one that strokelens reads; found series 3 (MR, 4 × 1 images of 12×10); of a mosaic, many "
        "slices in one picture, the header does not tell where they lie: export as enhanced MR, or "
        "convert with dcm2niix",
    ),
    (
        lambda d: save(d, perfusion(head(), PixelSpacing=None)),
        GridError,
        "series 3 tells no pixel spacing; export the series again",
    ),
    (
        lambda d: save(d, perfusion(head(), ImageOrientationPatient=[1, 0, 0, 1, 0, 0])),
        GridError,
        "series 3: the directions of its rows and columns are impossible (ImageOrientationPatient); export again",
    ),
    (cut, FileError, "IM00007 is cut short: pixels are missing; copy or export it again"),
    (
        compressed,
        FileError,
        "IM00000 is compressed (High-Throughput JPEG 2000 Image Compression), and no decoder for that is installed; "
        "export it uncompressed",
    ),
    (
        lambda d: save(d, perfusion(np.full((10, 12, 4, 6), 35, np.int16))),
        SeriesError,
        "series 3 is constant: every voxel is 35; export it again",
    ),
]


@pytest.mark.parametrize(("make", "kind", "text"), FOLDERS, ids=[text[:60] for *_, text in FOLDERS])
def test_a_bad_study_is_told_in_one_line(
    tmp_path: Path, make: Callable[[Path], Path], kind: type[StrokelensError], text: str
) -> None:
    with pytest.raises(kind) as caught:
        read_study(make(tmp_path / "x"))
    assert str(caught.value) == text
    assert not any(secret in text for secret in SECRETS)


def test_what_the_extra_decodes_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_decoder(*_: object, **__: object) -> None:
        raise RuntimeError("all plugins are missing dependencies")

    monkeypatch.setattr("strokelens.cohorts.dicom_pixels.pixel_array", without_decoder)
    images = perfusion(head())
    for data in images:
        data.file_meta.TransferSyntaxUID = JPEGLSLossless
        data.PixelData = encapsulate([bytes(200)])
        data["PixelData"].VR = "OB"
    with pytest.raises(FileError) as caught:
        read_study(save(tmp_path / "x", images))
    assert str(caught.value) == (
        "IM00000 is compressed (JPEG-LS Lossless Image Compression), and no decoder for that is installed; install "
        "strokelens[dicom-jpeg], or export it uncompressed"
    )


def test_a_series_is_chosen_by_its_number(tmp_path: Path) -> None:
    folder = two_series(tmp_path / "x")
    assert read_study(folder, Reading(series=(8,))).sources["CTP"].note.startswith("series 8; CTP in HU")
    with pytest.raises(CaseError) as caught:
        read_study(folder, Reading(series=(5,)))
    assert str(caught.value) == "x has no series 5; it has 3, 8"


def test_of_two_series_the_original_is_taken_and_that_is_stated(tmp_path: Path) -> None:
    save(tmp_path / "x", perfusion(head()))
    other = perfusion(
        head(seed=1), SeriesInstanceUID="1.2.8", SeriesNumber=8, ImageType=["DERIVED", "SECONDARY", "AVERAGE"]
    )
    case = read_study(save(tmp_path / "x", other, prefix="B"))
    assert case.sources["CTP"].note.startswith("series 3 rather than series 8 (original before derived)")


def test_diffusion_beside_perfusion_is_left_out_unless_it_is_to_be_resampled(tmp_path: Path) -> None:
    mr = (head() + np.int16(1100)).clip(1).astype(np.uint16)
    save(tmp_path / "x", perfusion(mr, modality="MR", EchoTime=30))
    adc = volume((head(frames=1)[..., 0] + np.int16(1010)).clip(1).astype(np.uint16), SeriesNumber=4)
    for data in adc:
        data.SeriesInstanceUID, data.ImageType = "1.2.4", ["DERIVED", "PRIMARY", "ADC"]
        data.ImagePositionPatient = [-8.5, *data.ImagePositionPatient[1:]]
    save(tmp_path / "x", adc, prefix="ADC")
    case = read_study(tmp_path / "x")
    assert sorted(case.channels) == ["PWI"]
    assert case.sources["PWI"].doubts == ("ADC lie on another grid and were left out; --resample brings them together",)
    assert sorted(read_study(tmp_path / "x", Reading(resample=True)).channels) == ["ADC", "PWI"]


# ── archives


def packed(path: Path, folder: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"export/{file.name}")
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_is_the_study_in_it_and_nothing_is_unpacked(tmp_path: Path, method: int) -> None:
    folder = save(tmp_path / "x", perfusion(head()))
    case, known = read_study(packed(tmp_path / "x.zip", folder, method)), read_study(folder)
    np.testing.assert_array_equal(case["CTP"], known["CTP"])
    assert (case.id, case.sources) == (known.id, known.sources)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "x.zip"]


def with_member(path: Path, name: str, content: bytes = b"x", mode: int = 0, flags: int = 0) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, content)
        info.flag_bits |= flags
    return path


def inner(path: Path) -> Path:
    with_member(path, "a.dcm")
    content = path.read_bytes()
    return with_member(path, "study.zip", content)


def bzip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a", b"x" * 100)
    return path


def flipped(path: Path) -> Path:
    save(path.parent / "in", perfusion(head()))
    content = bytearray(packed(path, path.parent / "in", zipfile.ZIP_STORED).read_bytes())
    content[900] ^= 1
    path.write_bytes(bytes(content))
    return path


OUTSIDE = "x.zip has a member that points outside of it; do not trust this archive"
ARCHIVES: list[tuple[Callable[[Path], Path], str]] = [
    (lambda p: with_member(p, "../../etc/passwd"), OUTSIDE),
    (lambda p: with_member(p, "/etc/passwd"), OUTSIDE),
    (lambda p: with_member(p, "C:\\windows\\x"), OUTSIDE),
    (lambda p: with_member(p, "a\\..\\..\\x"), OUTSIDE),
    (
        lambda p: with_member(p, "link", b"/etc/passwd", stat.S_IFLNK | 0o777),
        "x.zip has a symbolic link in it; pack the files themselves",
    ),
    (lambda p: with_member(p, "a", flags=1), "x.zip is encrypted; unpack it and give the folder"),
    (inner, "x.zip holds another archive; unpack it and give the folder"),
    (bzip, "x.zip is compressed in a way that is not read; unpack it and give the folder"),
    (
        lambda p: with_member(p, "notes.txt"),
        "x.zip holds no DICOM image; give the folder of a study, or a zip archive of it",
    ),
    (flipped, "x.zip: a file in it is damaged; copy or download the archive again"),
]


@pytest.mark.parametrize(("make", "text"), ARCHIVES, ids=[f"{at} {text[:40]}" for at, (_, text) in enumerate(ARCHIVES)])
def test_an_archive_not_to_be_trusted_is_refused(tmp_path: Path, make: Callable[[Path], Path], text: str) -> None:
    with pytest.raises(FileError) as caught:
        read_study(make(tmp_path / "x.zip"))
    assert str(caught.value) == text


def test_an_archive_is_bounded_in_size_and_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tmp_path / "x.zip", save(tmp_path / "x", perfusion(head())))
    monkeypatch.setattr(dicom_files, "MOST_FILES", 23)
    with pytest.raises(FileError, match=r"^x\.zip holds 24 files of 0\.0 GiB, more than 23 or 16 GiB; give an archive"):
        read_study(path)
    with pytest.raises(FileError, match=r"^x holds more than 23 files; give the folder of one study$"):
        read_study(tmp_path / "x")
    monkeypatch.setattr(dicom_files, "MOST_FILES", 24)
    monkeypatch.setattr(dicom_files, "MOST_BYTES", 1000)
    with pytest.raises(FileError, match=r"more than 24 or 0 GiB"):
        read_study(path)


# ── damage


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = save(tmp_path_factory.mktemp("x"), [image(head()[:, :, 0, 0], ImagePositionPatient=[0, 0, 0])])
    return (folder / "IM00000").read_bytes()


def outcome(folder: Path, content: bytes) -> str | None:
    (folder / "x.dcm").write_bytes(content)
    try:
        read_study(folder / "x.dcm")
    except StrokelensError as error:
        message = str(error)
    else:
        return None
    assert "\n" not in message
    return message


@settings(max_examples=300)
@given(bytes_at=st.lists(st.tuples(st.integers(132, 1400), st.integers(0, 255)), min_size=1, max_size=6))
def test_overwritten_bytes_give_a_case_or_our_message(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, bytes_at: list[tuple[int, int]]
) -> None:
    content = bytearray(whole)
    for at, value in bytes_at:
        content[at % len(content)] = value
    outcome(tmp_path_factory.getbasetemp(), bytes(content))


@settings(max_examples=100)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_cut_file_is_never_a_case(tmp_path_factory: pytest.TempPathFactory, whole: bytes, share: float) -> None:
    assert outcome(tmp_path_factory.getbasetemp(), whole[: int(share * len(whole))]) is not None


@settings(max_examples=60)
@given(noise=st.binary(max_size=600))
def test_noise_after_the_magic_is_never_a_case(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    assert outcome(tmp_path_factory.getbasetemp(), bytes(128) + b"DICM" + noise) is not None
