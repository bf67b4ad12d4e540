"""The layout `nifti`: one folder a case, with NIfTI files whose names tell their channels; also simulated patients."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from strokelens.cohorts.channels import MASK_WORDS, parse
from strokelens.cohorts.clinical_table import group_named
from strokelens.cohorts.cohort import Entry, Problem, Truth, broken
from strokelens.cohorts.decode import is_nifti, stem
from strokelens.cohorts.folder import MAPS, PATIENT, RESULT
from strokelens.cohorts.identity import hashed, public_id
from strokelens.cohorts.labelling import label_values, scheme_of
from strokelens.cohorts.listing import files_below, files_in, folders_in
from strokelens.cohorts.sidecar import read_object, read_sidecar
from strokelens.cohorts.study import find_study
from strokelens.cohorts.tables import doubt, possible
from strokelens.cohorts.volumes import VolumeReader, ordered, plain_truth
from strokelens.errors import CaseError, FileError, StrokelensError
from strokelens.labels import LESION_ONLY

_DEPTH = 2
_LARGEST = 1e12
_NO_TRUTH = frozenset({"predict", "prediction", "pred", "probseg", "brain", "roi"})
_SURE = ("truth", "gt", "ot", "msk", "lesion", "dseg", "seg")  # a plain mask is mostly one of the brain
_SERIES_OF: Mapping[str, str] = {"CT": "CTP", "MR": "PWI"}


@dataclass(frozen=True)
class NiftiFolders:
    """A folder for each case, or one folder that is a case.

    An id is the BIDS, ISLES or simulated one, a folder's name that is a short number (`patient_012`), else `case-` and
    8 hexadecimal digits of the SHA-256 of the folder's name, which may be a person's. Images beside folders that are
    cases are nobody's.
    """

    name: str = "nifti"
    looked_for: str = "folders with NIfTI files named by channel (cbf, tmax, adc, dwi, ctp, …)"
    special: int = 0

    def recognises(self, folder: Path) -> bool:
        """Whether the folder, or one in it, holds an image with a known name."""
        return any(_has_channel(each) for each in (folder, *folders_in(folder)))

    def entries(self, folder: Path) -> tuple[Entry, ...]:
        """One entry a folder that holds NIfTI files; the folder itself where it holds them directly."""
        cases = [each for each in folders_in(folder) if _is_case(each)]
        if _is_one_case(folder, cases):
            return (_entry(folder),)
        return tuple(_entry(each) for each in cases)

    def notes(self, folder: Path, entries: Sequence[Entry]) -> tuple[str, ...]:
        """Images beside folders that are cases."""
        files = [file.name for file in files_in(folder) if _names_channel(file)]
        if not files or _is_one_case(folder, [each for each in folders_in(folder) if _is_case(each)]):
            return ()
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        return (f"{files[0]}{more} beside the cases' folders is no case; put it into a folder if it is one",)


def _is_one_case(folder: Path, cases: Sequence[Path]) -> bool:
    """Whether a folder with these in it is a case itself: it holds images, and no two of them hold the same channel."""
    inside = Counter(name for each in cases if each.name.casefold() not in MASK_WORDS for name in _channels_in(each))
    return any(_names_channel(file) for file in files_in(folder)) and max(inside.values(), default=0) < 2


def _channels_in(folder: Path) -> set[str]:
    """The channels that the names in a folder tell."""
    try:
        files = [file for file in files_below(folder, depth=_DEPTH) if is_nifti(file)]
        return {channel for file in files if (channel := parse(stem(file)).channel) is not None}
    except StrokelensError:
        return set()


def _is_case(folder: Path) -> bool:
    """Whether a folder holds images, or may not be read, which is for its row to tell."""
    try:
        files = files_below(folder, depth=_DEPTH)
    except FileError:
        return True
    ours = {file.name for file in files if file.parent == folder}
    return any(is_nifti(file) for file in files) and not ours & {RESULT, MAPS}


def _has_channel(folder: Path) -> bool:
    try:
        return any(_names_channel(file) for file in files_below(folder, depth=_DEPTH))
    except FileError:
        return False


def _names_channel(file: Path) -> bool:
    try:
        return is_nifti(file) and parse(stem(file)).channel is not None
    except CaseError:
        return True


def _entry(folder: Path) -> Entry:
    case_id = public_id(folder.resolve().name) or hashed(folder.resolve().name)
    try:
        study = find_study(folder)
        told = read_object(folder / PATIENT) or {}
        channels = dict(study.channels)
        if study.series is not None and not channels:
            channels[_channel_of(study.series)] = study.series
        truth, problems = _truth(folder)
    except (StrokelensError, OSError) as error:
        return broken(case_id, folder, VolumeReader(), error)
    case_id = study.id or case_id
    values, doubts = _clinical(told)
    return Entry(
        case_id,
        case_id.partition("_ses-")[0],
        folder,
        {name: (channels[name],) for name in ordered(channels)},
        VolumeReader(relative=study.relative),
        truth,
        group_named(said) if isinstance(said := told.get("group"), str) else None,
        values,
        problems=problems + doubts,
    )


def _channel_of(series: Path) -> str:
    """The channel of a series whose name does not tell, by its sidecar."""
    modality = read_sidecar(series).modality
    if modality is None:
        raise FileError(f"{series.name} could be CT or MR; rename it to end with _ctp or _pwi")
    return _SERIES_OF[modality]


def _truth(folder: Path) -> tuple[Truth | None, tuple[Problem, ...]]:
    """The only mask of a folder that can be a truth, or the one with the surest name."""
    words = {
        file: set(stem(file).casefold().replace("-", "_").replace(".", "_").split("_"))
        for file in files_below(folder, depth=1)
        if is_nifti(file) and file.parent.name.casefold() != "truth"
    }
    masks = {file: found for file, found in words.items() if is_mask(file) and not found & _NO_TRUTH}
    for word in _SURE:
        named = [file for file, found in masks.items() if word in found]
        if len(named) > 1:
            shown = ", ".join(file.name for file in named[:4])
            return None, (Problem("ambiguous", f"{len(named)} files could be the truth ({shown}); none is taken"),)
        if named:
            return truth_of(named[0]), ()
    return None, ()


def is_mask(file: Path) -> bool:
    """Whether a file's name says mask or segmentation."""
    try:
        return parse(stem(file)).mask
    except CaseError:
        return False


def truth_of(path: Path) -> Truth:
    """The truth in a file: its classes by the `Labels` of its sidecar, else a lesion."""
    rows = (read_object(path.with_name(f"{stem(path)}.json")) or {}).get("Labels")
    if rows is None:
        return plain_truth(path, LESION_ONLY)
    values = label_values(rows, path.name)
    return Truth((path,), scheme_of(values.values(), path.name), values)


def _clinical(told: Mapping[str, object]) -> tuple[dict[str, float | str], tuple[Problem, ...]]:
    """The clinical values that are numbers, and which of them are not possible."""
    given = told.get("clinical")
    numbers = {
        str(name)[:40]: float(value)
        for name, value in (given if isinstance(given, dict) else {}).items()
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST  # NaN is not
    }
    values = {name: value for name, number in numbers.items() if (value := possible(name, number)) is not None}
    wrong = [doubt(name, f"{number:g}") for name, number in numbers.items() if name not in values]
    return values, tuple(Problem("clinical", f"{PATIENT}: {each}") for each in wrong)
