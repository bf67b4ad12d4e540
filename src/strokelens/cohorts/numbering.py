"""What the integers of a prediction mean, and who says so: the user, a table beside it, or else the case's truth."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from strokelens.cohorts.bids_tree import labelled
from strokelens.cohorts.cohort import AS_TRUTH, COHORT, GREY, Truth
from strokelens.cohorts.decode import is_nifti, stem
from strokelens.cohorts.grey import GREY_LEVELS
from strokelens.cohorts.labelling import class_named, label_values, scheme_of
from strokelens.cohorts.nnunet import DATASET, classes_of
from strokelens.cohorts.sidecar import read_object
from strokelens.errors import CohortError
from strokelens.labels import BACKGROUND, BRAIN, CORE_PENUMBRA_BRAIN

USER = "--labels"
"""Who says what integers mean, where the user does."""

_NEVER = (BACKGROUND.name, BRAIN.name)
_ROW = re.compile(r"\s*(\d{1,5})\s*=\s*([A-Za-z]+)\s*")
_PAIR = re.compile(r"\s*([A-Za-z]+)\s*=\s*([A-Za-z]+)\s*")


@dataclass(frozen=True)
class Numbering:
    """What the user tells of predictions: the class of each integer, and which of their classes counts as which.

    >>> Numbering.told("1=penumbra,2=core", ["core=lesion"])
    Numbering(values={0: 'background', 1: 'penumbra', 2: 'core'}, counted_as={'core': 'lesion'})
    """

    values: Mapping[int, str] | None = None
    counted_as: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def told(cls, labels: str | None = None, counted_as: Iterable[str] = ()) -> "Numbering":
        """Of `1=penumbra,2=core`, and of any number of `core=lesion`.

        Raises `CohortError` when one is written otherwise, `LabelError` when a class is not known.
        """
        pairs: dict[str, str] = {}
        for each in counted_as:
            match = _PAIR.fullmatch(each)
            if match is None:
                raise CohortError(f"--as takes CLASS=CLASS, such as core=lesion, not {each!r}")
            theirs, ours = (class_named(name, "--as") for name in match.groups())
            if pairs.setdefault(theirs, ours) != ours:
                raise CohortError(f"--as counts {theirs} as both {pairs[theirs]} and {ours}; give one")
        return cls(None if labels is None else _values(labels), pairs)

    def applied(self, truth: Truth) -> Truth:
        """A prediction, its classes called what they count as."""
        if not self.counted_as.keys() & set(truth.values.values()):
            return truth
        values = {value: self.counted_as.get(name, name) for value, name in truth.values.items()}
        told = ", ".join(
            _counted(theirs, ours) for theirs, ours in self.counted_as.items() if theirs in truth.scheme.names
        )
        return replace(truth, scheme=scheme_of(values.values(), "--as"), values=values, by=f"{truth.by}; {told}")

    def check_used(self, predictions: Iterable[Truth]) -> None:
        """Raise `CohortError` when no prediction, as `applied` gave it, had a class that should count as another."""
        found = tuple(predictions)
        used = {each for truth in found for each in truth.by.rpartition("; ")[2].split(", ")}
        for theirs, ours in self.counted_as.items():
            if found and _counted(theirs, ours) not in used:
                known = dict.fromkeys(name for truth in found for name in truth.scheme.names if name not in _NEVER)
                told = f"no prediction has a class {theirs}; they have {', '.join(known)}"
                raise CohortError(f"--as {theirs}={ours} counts nothing: {told}")


AS_FOUND = Numbering()
"""Where the user tells nothing."""


def table_of(folder: Path) -> Mapping[int, str] | None:
    """The classes in the `dataset.json` of a folder of predictions, as nnU-Net leaves it there; None without one.

    Raises a `StrokelensError` when it is damaged, or names a class that is none of ours.
    """
    labels = (read_object(folder / DATASET) or {}).get("labels")
    return None if labels is None else classes_of(labels)


def of_volume(file: Path, truth: Truth | None, numbering: Numbering, table: Mapping[int, str] | None) -> Truth:
    """The prediction in a file of integers: by the user, the sidecar or table beside it, `dataset.json`, the truth."""
    name = stem(file) if is_nifti(file) else file.stem
    sidecar = read_object(file.with_name(f"{name}.json")) or {}
    if numbering.values is not None:
        found = _by_values((file,), numbering.values, USER)
    elif "Labels" in sidecar or file.with_name(f"{name}.tsv").is_file():
        found = replace(labelled(file), called="prediction", by="the table beside it")
    elif table is not None:
        found = _by_values((file,), table, DATASET)
    elif truth is None:
        found = replace(labelled(file), called="prediction", by=AS_TRUTH)
    else:
        found = Truth((file,), truth.scheme, truth.values, "prediction", AS_TRUTH)
    return numbering.applied(found)


def of_slices(files: tuple[Path, ...], numbering: Numbering, table: Mapping[int, str] | None) -> Truth:
    """The prediction in pictures: integers where the user or `dataset.json` says so, else grey levels."""
    if numbering.values is not None:
        found = _by_values(files, numbering.values, USER)
    elif table is not None:
        found = _by_values(files, table, DATASET)
    else:
        found = Truth(files, CORE_PENUMBRA_BRAIN, GREY_LEVELS, "prediction", GREY)
    return numbering.applied(found)


def of_cohort(truth: Truth, numbering: Numbering) -> Truth:
    """The truth of another cohort, which is read as that cohort has it, or as the user says."""
    if numbering.values is not None:
        return numbering.applied(_by_values(truth.files, numbering.values, USER))
    return numbering.applied(replace(truth, called="prediction", by=COHORT))


def _counted(theirs: str, ours: str) -> str:
    return f"{theirs} as {ours}"


def _by_values(files: tuple[Path, ...], values: Mapping[int, str], by: str) -> Truth:
    return Truth(files, scheme_of(values.values(), by), values, "prediction", by)


def _values(text: str) -> dict[int, str]:
    """The integers of `1=penumbra,2=core` and their classes; 0 is the background."""
    rows = [_ROW.fullmatch(each) for each in text.split(",")]
    if not all(rows):
        raise CohortError(f"{USER} takes NUMBER=CLASS, such as 1=penumbra,2=core, not {text!r}")
    values = label_values([{"index": row[1], "name": row[2]} for row in rows if row is not None], USER)
    if values[0] != BACKGROUND.name:
        raise CohortError(f"{USER}: 0 is the background, not {values[0]}; number the classes from 1")
    return values
