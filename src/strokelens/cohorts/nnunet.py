"""The raw layout of nnU-Net, version 2 (and 1 for reading): imported as a cohort, and exported for its training."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from strokelens import __version__
from strokelens.case import Case
from strokelens.cohorts.channels import CHANNEL_OF
from strokelens.cohorts.cohort import Entry, Problem, Truth, broken
from strokelens.cohorts.encode import write_image, write_json
from strokelens.cohorts.identity import own_id
from strokelens.cohorts.json_files import is_names, read_json
from strokelens.cohorts.labelling import CLASS_OF, class_named, is_whole, scheme_of
from strokelens.cohorts.listing import files_in
from strokelens.cohorts.sidecar import read_object
from strokelens.cohorts.volumes import VolumeReader, ordered
from strokelens.errors import CohortError, FileError, LabelError, StrokelensError, hint
from strokelens.labels import CORE, HYPOPERFUSED, PENUMBRA, LabelScheme

DATASET = "dataset.json"
"""The file that tells channels and labels."""

_NUMBER = re.compile(r"_([0-9]{4})$")
_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")


@dataclass(frozen=True)
class NnUnet:
    """`imagesTr/CASE_0000.nii.gz`, `labelsTr/CASE.nii.gz`, `imagesTs`, and `dataset.json` for channels and labels.

    The truth of a case of `imagesTs` is in `labelsTs`; it is called `CASE~Ts` where a case to train has its name.
    """

    name: str = "nnunet"
    looked_for: str = "dataset.json and imagesTr"
    special: int = 2

    def recognises(self, folder: Path) -> bool:
        """Whether both are there."""
        return (folder / DATASET).is_file() and (folder / "imagesTr").is_dir()

    def entries(self, folder: Path) -> tuple[Entry, ...]:
        """One entry for each case that has an image in `imagesTr` or `imagesTs`."""
        if not self.recognises(folder):
            return ()
        about = read_object(folder / DATASET) or {}
        ending = str(about.get("file_ending", ".nii.gz"))
        channels, reader = _channels(about), VolumeReader(simulated=about.get("simulated") is True)
        values = classes_of(about.get("labels"))
        found = []
        cases = _cases(folder, ending)
        for (part, name), images in cases.items():
            truth = folder / f"labels{part}" / f"{name}{ending}"
            case_id = own_id(name) + (f"~{part}" if part == "Ts" and ("Tr", name) in cases else "")
            try:
                found.append(_entry(case_id, images, channels, truth, values, reader))
            except StrokelensError as error:
                found.append(broken(case_id, folder, VolumeReader(), error))
        return tuple(replace(entry, person=entry.id.removesuffix("~Ts")) for entry in found)


@dataclass(frozen=True)
class Export:
    """What an export wrote: the dataset's folder, the names that cases got, and why others were left out."""

    folder: Path
    written: Mapping[str, str]
    left_out: Mapping[str, str] = field(default_factory=dict)


def write_raw(folder: Path, cases: Iterable[Case], *, number: int, name: str) -> Export:
    """Write cases with truth as `DatasetNNN_NAME` into an existing folder, one after the other.

    The first case decides the channels and the classes; one that lacks any of them is left out and listed. nnU-Net
    knows no missing value: NaN is written as 0.

    Raises `CohortError` when number or name are none of nnU-Net's, or no case could be written.
    """
    if not 1 <= number <= 999 or not _NAME.fullmatch(name):
        raise CohortError(f"a dataset of nnU-Net is called by 1 to 999 and letters, not {number} and {name[:60]!r}")
    place = folder / f"Dataset{number:03d}_{name}"
    written: dict[str, str] = {}
    left_out: dict[str, str] = {}
    channels: tuple[str, ...] = ()
    scheme: LabelScheme | None = None
    simulated = False
    for case in cases:
        if not channels and case.truth is not None:
            channels, scheme = tuple(ordered(case.channels)), case.truth.scheme
        reason = _unfit(case, channels, scheme)
        if reason is None:
            written[case.id] = _distinct(case.id, set(written.values()))
            write_case(place, written[case.id], case, channels)
            simulated |= case.simulated
        else:
            left_out[case.id] = reason
    if scheme is None or not written:
        raise CohortError(f"no case could be written for nnU-Net: {'; '.join(left_out.values()) or 'there is none'}")
    write_about(place, channels, scheme.names, count=len(written), simulated=simulated)
    return Export(place, written, left_out)


def write_about(
    place: Path,
    channels: Sequence[str],
    classes: Sequence[str],
    *,
    count: int,
    description: str = "",
    simulated: bool = False,
) -> None:
    """Write `dataset.json` of a dataset with `count` cases, which have these channels and classes in this order."""
    about: dict[str, object] = {
        "channel_names": {str(index): channel for index, channel in enumerate(channels)},
        "labels": {label: index for index, label in enumerate(classes)},
        "numTraining": count,
        "file_ending": ".nii.gz",
        "description": f"written by strokelens {__version__}{description and '; '}{description}",
    }
    if simulated:
        about["simulated"] = True
    write_json(place / DATASET, about)


def write_case(place: Path, name: str, case: Case, channels: Sequence[str]) -> None:
    """Write a case's images and labels into the folder of a dataset; NaN is written as 0."""
    assert case.truth is not None
    for part in ("imagesTr", "labelsTr"):
        (place / part).mkdir(parents=True, exist_ok=True)
    for index, channel in enumerate(channels):
        write_image(place / "imagesTr" / f"{name}_{index:04d}.nii.gz", np.nan_to_num(case[channel]), case.grid)
    write_image(place / "labelsTr" / f"{name}.nii.gz", case.truth.labels, case.grid)


def write_splits(export: Export, folds: Iterable[tuple[Iterable[str], Iterable[str]]]) -> None:
    """Write folds, pairs of the ids to train and to validate with, as `splits_final.json`.

    A case that was left out of the export is left out of the folds.
    """
    rows = [
        {name: [export.written[case_id] for case_id in ids if case_id in export.written] for name, ids in pair}
        for pair in ((("train", train), ("val", validation)) for train, validation in folds)
    ]
    text = json.dumps(rows, indent=2) + "\n"
    (export.folder / "splits_final.json").write_text(text, encoding="utf-8")


def read_splits(path: Path) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The folds in a `splits_final.json`, each the ids to train and to validate with.

    Raises `FileError` when it is none.
    """
    wanted = f"{path.name} must be a list of folds with train and val, lists of cases; correct it"
    rows = read_json(path, what="list of folds", otherwise=wanted)
    if not isinstance(rows, list) or not rows:
        raise FileError(wanted)
    folds = []
    for row in rows:
        if not isinstance(row, dict) or not all(is_names(row.get(name)) for name in ("train", "val")):
            raise FileError(wanted)
        folds.append((tuple(row["train"]), tuple(row["val"])))
    return folds


def _cases(folder: Path, ending: str) -> dict[tuple[str, str], dict[int, Path]]:
    """The images of each case, by its part (Tr, Ts) and name, by the number of their channel."""
    cases: dict[tuple[str, str], dict[int, Path]] = {}
    for part in ("Tr", "Ts"):
        for file in files_in(folder / f"images{part}") if (folder / f"images{part}").is_dir() else ():
            start = file.name.removesuffix(ending)
            match = _NUMBER.search(start)
            if match is not None and start != file.name:
                cases.setdefault((part, start[: match.start()]), {})[int(match[1])] = file
    return cases


def _channels(about: Mapping[str, object]) -> dict[int, str]:
    """The name of each channel by its number."""
    given = about.get("channel_names", about.get("modality"))
    if not isinstance(given, dict) or not all(is_whole(str(key)) for key in given):
        raise CohortError(f"{DATASET} must name its channels by numbers; correct channel_names")
    return {int(key): str(value) for key, value in given.items()}


def _entry(
    case_id: str,
    images: Mapping[int, Path],
    channels: Mapping[int, str],
    truth: Path,
    values: Mapping[int, str],
    reader: VolumeReader,
) -> Entry:
    files: dict[str, tuple[Path, ...]] = {}
    problems: list[Problem] = []
    for index, called in channels.items():
        name = CHANNEL_OF.get(called.casefold())
        if name is None:
            raise LabelError(f"channel {index} is called {called[:40]!r}; {hint(called, set(CHANNEL_OF.values()))}")
        if index in images:
            files[name] = (images[index],)
        else:
            problems.append(Problem("fewer-channels", f"{case_id} has no image of channel {index} ({called})"))
    if not files:
        raise FileError(f"{case_id} has no image of the channels {', '.join(channels.values())}")
    relative = frozenset(CHANNEL_OF[called.casefold()] for called in channels.values() if called[:1] == "r")
    return Entry(
        case_id,
        case_id,
        next(iter(images.values())).parent,
        {name: files[name] for name in ordered(files)},
        replace(reader, relative=relative),
        Truth((truth,), scheme_of(values.values(), DATASET), values) if truth.is_file() else None,
        problems=tuple(problems),
    )


def classes_of(labels: object) -> dict[int, str]:
    """The class of each integer, of labels by name (version 2), by number (version 1), or of regions."""
    if not isinstance(labels, dict):
        raise CohortError(f"{DATASET} must give labels by name; correct labels")
    if all(is_whole(str(key)) for key in labels):
        labels = {str(name): int(key) for key, name in labels.items()}
    values: dict[int, str] = {}
    regions = {name: value if isinstance(value, list) else [value] for name, value in labels.items()}
    for name, integers in sorted(regions.items(), key=lambda item: len(item[1])):  # the innermost region goes first
        for integer in integers:
            if not isinstance(integer, int) or not 0 <= integer <= 255:
                raise CohortError(
                    f"{DATASET}: the label {name!r} is {integer!r}, not an integer from 0 to 255; correct it"
                )
            if name.casefold() != "ignore":
                values.setdefault(integer, _class_of(name, beside=labels))
    return values


def _class_of(name: str, *, beside: Iterable[str]) -> str:
    """Our class of a label; where there is a core, too, what is hypoperfused and not core is penumbra."""
    has_core = any(CLASS_OF.get(str(each).casefold()) == CORE.name for each in beside)
    return PENUMBRA.name if has_core and name.casefold() == HYPOPERFUSED.name else class_named(name, DATASET)


def _unfit(case: Case, channels: tuple[str, ...], scheme: LabelScheme | None) -> str | None:
    """Why a case cannot go with the others; None if it can."""
    if case.truth is None:
        return f"{case.id} has no truth"
    lacking = [name for name in channels if name not in case.channels]
    if lacking:
        return f"{case.id} has no {', '.join(lacking)}"
    series = [name for name in channels if case[name].ndim == 4]
    if series:
        return f"{case.id} has a series ({', '.join(series)}), and nnU-Net takes volumes"
    if case.truth.scheme != scheme:
        return f"{case.id} has the classes {', '.join(case.truth.scheme.names)}"
    return None


def _distinct(case_id: str, taken: set[str]) -> str:
    """A file name for a case that no other one has."""
    name = _UNSAFE.sub("_", case_id).strip("_.") or "case"
    candidates = (name, *(f"{name}-{count}" for count in range(2, len(taken) + 3)))
    return next(candidate for candidate in candidates if candidate not in taken)
