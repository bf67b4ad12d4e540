"""Which files hold the probabilities of somebody's segmentations, and their values by class.

One file a class: `<case>_prob_<class>.nii.gz`, `<case>/prob_<class>.nii.gz`, or `…_label-<class>_…_probseg.nii.gz` of
BIDS derivatives, as `bids.write_labels` writes them. Or one file a case, in a folder of such files alone:
`<case>.nii.gz` with four axes, of which the last one is the classes of the truth's scheme in order, background first.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from strokelens.cohorts.bids import case_prefix
from strokelens.cohorts.case_names import case_names, submitted
from strokelens.cohorts.channels import entities
from strokelens.cohorts.cohort import Entry, natural
from strokelens.cohorts.decode import Scan, is_nifti, read_scan, stem
from strokelens.cohorts.labelling import CLASS_OF
from strokelens.cohorts.listing import files_below, listing
from strokelens.errors import CaseError, CohortError, FileError, GridError, UnitError
from strokelens.grid import Grid, difference, reordered
from strokelens.labels import HYPOPERFUSED, LabelScheme

_DEPTH = 3
_WHOLE = ""
_ROUNDING = 1e-3
_NAMED = re.compile(r"(?:(?P<case>.+)_)?prob_(?P<name>[A-Za-z]+)")
_DERIVED = re.compile(r"(?:.*_)?label-(?P<name>[A-Za-z]+)_(?:.*_)?probseg")


@dataclass(frozen=True)
class Probabilities:
    """The files of one case: one a class, or one of all, whose name is empty; each with others that could be it."""

    files: Mapping[str, tuple[Path, ...]]

    def read(self, scheme: LabelScheme, grid: Grid) -> dict[str, Float[np.ndarray, "i j k"]]:
        """The probabilities by class, of the classes of `scheme`, and of hypoperfused tissue as one.

        Raises `CaseError` when two files could be one, or there are not as many volumes as classes; `GridError` when
        they lie elsewhere; `UnitError` when they are no probabilities.
        """
        found: dict[str, Float[np.ndarray, "i j k"]] = {}
        for name, files in self.files.items():
            if len(files) > 1:
                raise CaseError(f"{files[0].name} and {files[1].name} could be one probability; remove all but one")
            if name == _WHOLE:
                found |= _split(read_scan(files[0]), scheme, grid)
            elif name in (*scheme.names, HYPOPERFUSED.name):
                scan = read_scan(files[0])
                if scan.array.ndim != 3:
                    raise CaseError(f"{scan.name} has {scan.header.frames} volumes; the probability of {name} has one")
                found[name] = _placed(_checked(scan), scan, grid)
        return found


def class_of(path: Path) -> str | None:
    """The class whose probability a file's name says it holds; None where it says nothing of the kind.

    >>> [class_of(Path(name)) for name in ("c3_prob_core.nii.gz", "sub-1_label-L_desc-x_probseg.nii", "c3.nii.gz")]
    ['core', 'lesion', None]
    """
    match = _NAMED.fullmatch(stem(path)) or _DERIVED.fullmatch(stem(path))
    return CLASS_OF.get(match["name"].casefold()) if match is not None and is_nifti(path) else None


@dataclass(frozen=True)
class ProbabilityFiles:
    """The probabilities of a folder by the id of their case, and one file of each name that belongs to no case."""

    cases: Mapping[str, Probabilities]
    strangers: tuple[str, ...] = ()


def beside(folder: Path, cohort: Iterable[Entry]) -> ProbabilityFiles:
    """The probabilities that lie among the masks in a folder; only names are read.

    What may not be read holds none: that there is no mask is told elsewhere.
    """
    return _found([file for file in _below(folder, _DEPTH) if class_of(file)], folder, cohort)


def find_probabilities(folder: Path, cohort: Iterable[Entry]) -> ProbabilityFiles:
    """The probabilities in a folder that holds nothing else; only names are read.

    Raises `CohortError` when none is of a case, `FileError` when the folder cannot be read.
    """
    found = _found([file for file in files_below(folder, depth=_DEPTH) if is_nifti(file)], folder, cohort)
    if not found.cases:
        wanted = "looked for <case>.nii.gz with a volume a class, and <case>_prob_<class>.nii.gz"
        raise CohortError(f"{folder} holds no probabilities of a case; {wanted}")
    return found


def _below(folder: Path, depth: int) -> list[Path]:
    try:
        folders, files = listing(folder)
    except FileError:
        return []
    return files + [file for each in folders if depth > 0 for file in _below(each, depth - 1)]


def _found(files: list[Path], folder: Path, cohort: Iterable[Entry]) -> ProbabilityFiles:
    cases = {name: entry.id for entry, names in case_names(cohort) for name in names}
    found: dict[str, dict[str, tuple[Path, ...]]] = {}
    strangers: dict[str, str] = {}
    for file in sorted(files):
        called = _case_name(file, folder)
        case_id = cases.get(called)
        if case_id is None:
            strangers.setdefault(called, file.relative_to(folder).as_posix())
            continue
        mine = found.setdefault(case_id, {})
        name = class_of(file) or _WHOLE
        mine[name] = (*mine.get(name, ()), file)
    named = {case_id: Probabilities(mine) for case_id, mine in found.items()}
    return ProbabilityFiles(named, tuple(sorted(strangers.values(), key=natural)))


def _case_name(file: Path, folder: Path) -> str:
    """What a file calls its case: in its own name, else by the folder that it lies in."""
    outer = file.relative_to(folder).parts[0] if file.parent != folder else ""
    named = _NAMED.fullmatch(stem(file))
    if named is not None:
        called = named["case"] or outer
        return submitted(called) or called
    if "sub" in entities(file.name):
        return case_prefix(file.name)
    return submitted(stem(file)) or outer or stem(file)


def _placed(values: Float[np.ndarray, "i j k"], scan: Scan, grid: Grid) -> Float[np.ndarray, "x y z"]:
    """The values on the truth's grid, if only the order or direction of axes differs, as it is with masks."""
    placed = values if scan.grid.agrees(grid) else reordered(values, scan.grid, grid)
    if placed is None:
        gap = difference(scan.grid, grid)
        raise GridError(f"{scan.name} lies elsewhere than the truth ({gap}); bring it onto the truth's grid")
    return placed


def _split(scan: Scan, scheme: LabelScheme, grid: Grid) -> dict[str, Float[np.ndarray, "i j k"]]:
    """The volumes of one file by class."""
    if scan.array.ndim != 4 or scan.array.shape[3] != len(scheme):
        told = f"{scan.header.frames} {'volume' if scan.header.frames == 1 else 'volumes'}"
        wanted = f"the truth's classes are {', '.join(scheme.names)}"
        raise CaseError(f"{scan.name} has {told}, and {wanted}; give a volume for each, in this order")
    values = _checked(scan)
    return {name: _placed(values[..., at], scan, grid) for at, name in enumerate(scheme.names)}


def _checked(scan: Scan) -> Float[np.ndarray, "..."]:
    """The values, those that rounding put beyond 0 or 1 brought back."""
    missing = int(np.isnan(scan.array).sum())
    if missing:
        raise UnitError(f"{scan.name} has no number in {missing} voxels; give 0 where nothing is expected")
    if not -_ROUNDING <= scan.lowest <= scan.highest <= 1 + _ROUNDING:
        raise UnitError(f"{scan.name} holds {scan.lowest:g} to {scan.highest:g}, no probabilities; apply the softmax")
    values: np.ndarray = np.clip(scan.array, 0.0, 1.0)
    return values
