"""Which files of a folder make one study: a file for each channel, or one series that its name does not tell.

A case is never called what its file is called, which may be a patient's name: see `Study.id`.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from strokelens.case import SERIES
from strokelens.cohorts.channels import CHANNEL_OF, MASK_WORDS, Name, entities, parse
from strokelens.cohorts.decode import is_nifti, read_header, stem
from strokelens.cohorts.folder import MAPS, RESULT
from strokelens.cohorts.identity import own_id, own_label
from strokelens.errors import CaseError, FileError, shortened

_MOST_FILES = 2000
_MOST_ENTRIES = 100_000
_SHOWN = 8
_NUMBERED = re.compile(r"(?:case|training|testing)_?\d{1,4}", re.IGNORECASE)  # the folders of ISLES 2015 to 2018
_ARCHIVED = re.compile(r"(VSD|SMIR)\..+\.(\d+)")  # the files of the virtual skeleton database, later SMIR
_SIMULATED = re.compile(r"sim-\d+")
ORDER = (
    "CTP",
    "PWI",
    "Tmax",
    "CBF",
    "CBV",
    "MTT",
    "TTP",
    "MIP",
    "ADC",
    "DWI",
    "B0",
    "NCCT",
    "CTA",
    "FLAIR",
    "T1",
    "T2",
)
"""The channels, the one first whose grid a case keeps."""


@dataclass(frozen=True)
class Study:
    """The files of one study by channel, the one whose grid is to be kept first.

    `id` is made of BIDS entities (`sub-01_ses-2`) or is the number of an ISLES case (`training_1`, `VSD-128020`);
    None where neither is there, for a free name may be that of a person. `phantom` is the name of the folder where it
    is one that `strokelens phantom` gives. `series` is the 4D file where there is nothing else; its channel may not be
    known from its name. `relative` names the channels whose files call themselves relative maps.
    """

    name: str
    id: str | None
    phantom: str | None
    channels: Mapping[str, Path]
    series: Path | None = None
    relative: frozenset[str] = frozenset()


def find_study(path: Path) -> Study:
    """The study that a NIfTI file or a folder holds.

    Raises `FileError` when there is nothing to read, and `CaseError` when there is more than one study, or more than
    one file for a channel.
    """
    try:
        is_folder = path.is_dir()
        if not is_folder and not path.exists():
            raise FileError(f"{path} does not exist; check the path")
        if is_folder and not is_nifti(path):
            return _in_folder(path)
    except PermissionError as error:
        raise FileError(f"{path} may not be read by this user; change its permissions") from error
    if not is_nifti(path):
        raise FileError(f"{path.name} is not a .nii or .nii.gz file; give one, or a folder of them")
    name = _name_of_series(path)
    channel = name.channel if name.channel in SERIES else None
    folder = path.absolute().parent
    return Study(path.name, _identity([path.name]), phantom_of(folder), {channel: path} if channel else {}, path)


def _name_of_series(path: Path) -> Name:
    """What the name of a single file says; a name that says too much tells nothing about a series."""
    try:
        return parse(stem(path))
    except CaseError:
        return Name(None)


def _in_folder(folder: Path) -> Study:
    files, others = _files(folder)
    names = {file: parse(stem(file)) for file in files}
    images = [file for file in files if not names[file].mask]
    known = {file: channel for file in images if (channel := names[file].channel) is not None}
    chosen = sorted(known) or _unnamed_series(folder, images, files, others)
    _check_one_study(folder, chosen)
    name = folder.resolve().name
    identity, phantom = (
        _identity([str(file.relative_to(folder)) for file in chosen], name),
        phantom_of(chosen[0].parent),
    )
    if not known:
        return Study(name, identity, phantom, {}, chosen[0])
    channels: dict[str, Path] = {}
    for file, channel in sorted(known.items()):
        if channel in channels:
            first, second = channels[channel].relative_to(folder), file.relative_to(folder)
            raise CaseError(f"two files hold {channel}: {first} and {second}; give a folder with only one of them")
        channels[channel] = file
    if set(SERIES) <= set(channels):
        raise CaseError(f"{name} holds a CT and an MR series; give one of them")
    relative = frozenset(channel for channel, file in channels.items() if names[file].relative)
    ordered = {name: channels[name] for name in ORDER if name in channels}
    series = chosen[0] if set(ordered) in ({"CTP"}, {"PWI"}) else None
    return Study(name, identity, phantom, ordered, series, relative)


def _unnamed_series(folder: Path, images: list[Path], files: list[Path], others: Counter[str]) -> list[Path]:
    """The only 4D file, where no name tells a channel."""
    series = [image for image in images if read_header(image).frames > 1]
    if len(series) > 1:
        shown = shortened([str(file.relative_to(folder)) for file in series], _SHOWN)
        raise CaseError(f"{folder.resolve().name} holds {len(series)} series ({shown}); give one of them")
    if not series:
        found = [str(file.relative_to(folder)) for file in files]
        found += [f"{count} × {suffix}" for suffix, count in sorted(others.items())]
        hint = "; convert DICOM with dcm2niix first" if others.get(".dcm") else ""
        shown = shortened(found, _SHOWN) or "nothing"
        raise FileError(
            f"{folder.resolve().name} holds no image with a known name; found: {shown}; "
            f"a name needs one of {', '.join(CHANNEL_OF)}{hint}"
        )
    return series


def _check_one_study(folder: Path, files: list[Path]) -> None:
    """Refuse several BIDS subjects or sessions."""
    found = {_label(entities(str(file.relative_to(folder)))) for file in files} - {""}
    if len(found) > 1:
        shown = shortened(sorted(found), _SHOWN)
        raise CaseError(f"{folder.resolve().name} holds {len(found)} studies ({shown}); give the folder of one")


def _identity(paths: list[str], folder: str = "") -> str | None:
    """The BIDS entities that the paths share, else the number of an ISLES case in the folder's or a file's name."""
    labels = sorted({_label(entities(path)) for path in paths} - {""})
    if labels:
        return labels[0]
    if _NUMBERED.fullmatch(folder):
        return folder
    archived = next((found for path in paths if (found := _ARCHIVED.fullmatch(stem(Path(path))))), None)
    return own_id(f"{archived[1]}-{archived[2]}") if archived else None


def phantom_of(folder: Path) -> str | None:
    """The name of a folder where it is one that `strokelens phantom` gives."""
    name = folder.resolve().name
    return name if _SIMULATED.fullmatch(name) else None


def _label(found: Mapping[str, str]) -> str:
    """`sub-x_ses-y`, or empty where no subject is named."""
    labels = {key: own_label(found[key]) for key in ("sub", "ses") if key in found and "sub" in found}
    return "_".join(f"{key}-{label}" for key, label in labels.items())


def _files(folder: Path) -> tuple[list[Path], Counter[str]]:
    """The NIfTI files below a folder, sorted, and how many others of each suffix; hidden ones are left out."""
    files: list[Path] = []
    others: Counter[str] = Counter()
    aside: list[Path] = []
    for entries, file in enumerate(_every(folder)):
        if entries >= _MOST_ENTRIES or len(files) >= _MOST_FILES:
            raise CaseError(f"{folder.resolve().name} holds too many files to be one study; give the folder of one")
        if is_nifti(file):
            (aside if _lies_in_masks(file, folder) else files).append(file)
        else:
            others[file.suffix.lower() or "without a suffix"] += 1
    return sorted(files or aside), others


def walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder, without hidden ones, our own results, and the NIfTI files in folders of masks.

    A folder is one of masks by its name (`gt`, `label`, `roi`, …); what else lies there is no mask for that.
    """
    return (file for file in _every(folder) if not (is_nifti(file) and _lies_in_masks(file, folder)))


def _lies_in_masks(file: Path, folder: Path) -> bool:
    return any(part.casefold() in MASK_WORDS for part in file.relative_to(folder).parts[:-1])


def _every(folder: Path) -> Iterator[Path]:
    """Every file below a folder, without hidden files and folders, and folders of our own results."""

    def refuse(error: OSError) -> None:
        raise error

    for where, folders, names in os.walk(folder, onerror=refuse):
        if (RESULT in names or MAPS in names) and Path(where) != folder:
            folders.clear()  # our own results, written into the study's folder
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(where, name) for name in sorted(names) if not name.startswith("."))
