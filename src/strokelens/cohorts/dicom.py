"""A DICOM study becomes a case: files sorted by their headers, series chosen, read once and brought to our units.

Nothing that could name a person leaves this reader: of free text only what names a map is looked at, dates are not
read, and a case is called by a hash of its StudyInstanceUID.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from strokelens.arrays import Curve
from strokelens.case import SERIES, Case
from strokelens.cohorts.decode import Header, Scan
from strokelens.cohorts.dicom_files import members
from strokelens.cohorts.dicom_pixels import read_colours, read_values
from strokelens.cohorts.dicom_place import Place, by_position, place_of, straightened
from strokelens.cohorts.dicom_plane import Plane
from strokelens.cohorts.dicom_series import DIFFUSION, Choice, Series, chosen, listed, series_of
from strokelens.cohorts.dicom_survey import surveyed
from strokelens.cohorts.dicom_time import Frames, deduplicated, frames_of, seconds
from strokelens.cohorts.parts import Part, Reading, case_of, check_image, convert
from strokelens.cohorts.sidecar import Sidecar
from strokelens.cohorts.slice_reader import SliceReader, bars_of
from strokelens.cohorts.slices import volume_of
from strokelens.cohorts.study import phantom_of
from strokelens.errors import CaseError, FileError, GridError, SeriesError
from strokelens.grid import Grid

_AS_WRITTEN = Reading()


def read_dicom(
    paths: Sequence[Path],
    reading: Reading = _AS_WRITTEN,
    *,
    study: str | None = None,
    wanted: Sequence[str] | None = None,
) -> Case:
    """The case in DICOM files, folders or zip archives; with these channels, or those that `chosen` takes.

    Of several studies, `study` names the StudyInstanceUID of the one to read. Headers are read first, and pixels only
    of the chosen series.

    Raises a `StrokelensError` with one line that names a series by its number, and the cure.
    """
    shown = paths[0].resolve().name if len(paths) == 1 else paths[0].resolve().parent.name
    with members(paths) as files:
        survey = surveyed(files)
        for _, error in survey.damaged if study is None else ():
            raise error
        series = _series(survey.planes, shown, reading, study)
        choices = chosen(series, wanted)
        for name in wanted or ():
            if name not in [choice.channel for choice in choices]:
                raise CaseError(f"{shown} has no series of {name}; found {listed(series)}")
        parts = [_part(choice, reading, survey.doubts(choice.series)) for choice in choices]
    first = choices[0].series.planes[0]
    return case_of(_together(parts, reading), reading, _identity(first, paths[0]))


def study_id(study: str) -> str:
    """What a study is called: `case-` and 8 hexadecimal digits of the SHA-256 of its StudyInstanceUID.

    >>> study_id("1.2.3")
    'case-c47f5b18'
    """
    return f"case-{sha256(study.encode()).hexdigest()[:8]}"


def _identity(plane: Plane, path: Path) -> str:
    """What to call a case that the user did not name; a simulated patient by its folder."""
    named = phantom_of(path if path.is_dir() else path.absolute().parent)
    return named if named is not None and plane.simulated else study_id(plane.study)


def _series(planes: Sequence[Plane], shown: str, reading: Reading, study: str | None) -> list[Series]:
    """The series of one study: those that the user names, or all.

    Raises `FileError` when there is no image, `CaseError` when there are several studies, or not a named series.
    """
    planes = [plane for plane in planes if study is None or plane.study == study]
    if not planes:
        raise FileError(f"{shown} holds no DICOM image; give the folder of a study, or a zip archive of it")
    studies = sorted({plane.study for plane in planes})
    if len(studies) > 1:
        series = [sorted({str(plane.number) for plane in planes if plane.study == each}) for each in studies[:4]]
        counts = "; ".join(f"series {', '.join(numbers[:8])}" for numbers in series)
        raise CaseError(
            f"{shown} holds {len(studies)} studies ({counts}); give the folder of one, or its name with --case"
        )
    kept = [plane for plane in planes if not reading.series or plane.number in reading.series]
    missing = sorted(set(reading.series) - {plane.number for plane in planes})
    if missing:
        numbers = ", ".join(str(number) for number in sorted({plane.number or 0 for plane in planes}))
        raise CaseError(f"{shown} has no series {missing[0]}; it has {numbers}")
    return series_of(kept)


def _part(choice: Choice, reading: Reading, more: tuple[str, ...]) -> Part:
    """One channel in our units; `more` is doubtful beside what its headers tell."""
    channel, series = choice.channel, choice.series
    place, frames, doubts = _arranged(channel, series, reading)
    doubts += more
    array, digest, note = _values(channel, series, frames.planes)
    if place.problem:
        array = straightened(array, place)
    scan = _scan(series, array, place, digest, doubts)
    check_image(scan, channel)
    unit = convert(scan, channel)
    told = "; ".join(each for each in (choice.reason, unit, frames.note, note, *doubts) if each)
    return Part(channel, scan, _sidecar(series), told, frames.time_s if channel in SERIES else None)


@dataclass(frozen=True)
class Examined:
    """Where a series lies, and what is doubtful in it."""

    grid: Grid
    doubts: tuple[str, ...]


def examined(channel: str, series: Series, reading: Reading) -> Examined:
    """What the headers tell of a series that is to be a channel; raises what keeps it from being read."""
    place, _, doubts = _arranged(channel, series, reading)
    return Examined(place.grid, doubts)


def _arranged(channel: str, series: Series, reading: Reading) -> tuple[Place, Frames, tuple[str, ...]]:
    """Where the images of a series lie, in which frames, and what is doubtful about that."""
    planes, copies = deduplicated(series.planes)
    positions = by_position(planes, series.name)
    place = place_of([row[0] for row in positions], series.name)
    if place.problem and (place.straight is None or not reading.resample):
        cure = "use --resample to bring it onto a straight grid" if place.straight else "copy or export it again"
        raise GridError(f"{series.name}: {place.problem}; {cure}")
    frames = _frames(channel, series, positions, reading)
    doubts = [*place.doubts, *frames.doubts, *([f"{place.problem}: resampled"] if place.problem else [])]
    doubts += [f"{copies} of its images are there twice: one of each was taken"] if copies else []
    return place, frames, tuple(doubts)


def _frames(channel: str, series: Series, positions: Sequence[Sequence[Plane]], reading: Reading) -> Frames:
    """The frames of a series; of any other image all volumes, whatever their times."""
    if channel in SERIES:
        return frames_of(positions, series.name, reading.frame_interval_s)
    counts = sorted({len(row) for row in positions})
    if len(counts) > 1 or (counts[0] > 1 and channel not in DIFFUSION):
        raise SeriesError(
            f"{series.name} has {counts[0]} to {counts[-1]} images at each of its {len(positions)} positions, and "
            f"{channel} is one volume; export it again"
        )
    rows = tuple(tuple(sorted(row, key=lambda plane: (seconds(plane, None), plane.instance))) for row in positions)
    time_s: Curve = np.arange(counts[0], dtype=np.float64)
    return Frames(rows, time_s, "", ())


def _values(
    channel: str, series: Series, planes: Sequence[Sequence[Plane]]
) -> tuple[Float[np.ndarray, "i j k *t"], str, str]:
    """The values of a channel, the SHA-256 of its files, and how they were read."""
    if series.coloured:
        return _by_bar(channel, series, planes)
    array, digest = read_values(planes)
    if channel in SERIES:
        return array, digest, ""
    if array.shape[3] == 1:
        return array[..., 0], digest, ""
    if channel == "DWI":  # the trace image is the geometric mean of three directions at right angles
        positive = np.log(np.maximum(array, np.float32(1e-6)))
        return np.exp(positive.mean(axis=3)), digest, f"geometric mean of {array.shape[3]} volumes"
    return array.mean(axis=3), digest, f"mean of {array.shape[3]} volumes"


def _by_bar(
    channel: str, series: Series, planes: Sequence[Sequence[Plane]]
) -> tuple[Float32[np.ndarray, "i j k"], str, str]:
    """The values of a coloured map through the bar in its pictures."""
    pictures, digest = read_colours(planes)
    reader = SliceReader()
    if channel not in reader.scales or not any(bar is not None for bar in bars_of(pictures)):
        raise CaseError(f"{series.name} is {channel} in colours without a bar of its values; export it as values")
    slices, note = reader.decoded(channel, pictures)
    volume: Float32[np.ndarray, "i j k"] = volume_of(slices)
    return volume, digest, f"{note}; the bar's ends are those of the published cohort"


def _scan(
    series: Series, array: Float[np.ndarray, "i j k *t"], place: Place, digest: str, doubts: tuple[str, ...]
) -> Scan:
    """The array as the scan of a file, in the order of a disk, with its lowest and highest value."""
    grid = place.straight if place.problem and place.straight is not None else place.grid
    laid = np.asfortranarray(array, dtype=np.float32)
    header = Header(series.name, laid.shape, grid, laid.dtype, 0, 1.0, 0.0, 0.0, "", doubts)
    volumes = laid.reshape((*laid.shape[:3], -1), order="F")
    lows = [np.fmin.reduce(volumes[..., t], axis=None) for t in range(volumes.shape[3])]
    highs = [np.fmax.reduce(volumes[..., t], axis=None) for t in range(volumes.shape[3])]
    return Scan(header, laid, digest, float(np.fmin.reduce(lows)), float(np.fmax.reduce(highs)))


def _sidecar(series: Series) -> Sidecar:
    """What the headers tell beside the image, as the sidecar of a NIfTI file does."""
    plane = series.planes[0]
    modality = {"CT": "CT", "MR": "MR"}.get(plane.modality)
    return Sidecar(
        series.name,
        "CT" if modality == "CT" else "MR" if modality == "MR" else None,
        echo_time_s=plane.echo_time_s,
        b_value_s_per_mm2=plane.b_value or None,
        simulated=plane.simulated,
    )


def _together(parts: Sequence[Part], reading: Reading) -> list[Part]:
    """The parts that make one case: diffusion beside perfusion lies elsewhere as a rule, and is then left out."""
    first = parts[0]
    if reading.resample or first.channel in DIFFUSION:
        return list(parts)
    aside = [
        part.channel for part in parts[1:] if part.channel in DIFFUSION and not part.scan.grid.agrees(first.scan.grid)
    ]
    if not aside:
        return list(parts)
    doubt = f"{', '.join(aside)} lie on another grid and were left out; --resample brings them together"
    header = replace(first.scan.header, notes=(*first.scan.header.notes, doubt))
    kept = [part for part in parts[1:] if part.channel not in aside]
    return [replace(first, scan=replace(first.scan, header=header), note=f"{first.note}; {doubt}"), *kept]
