"""A cohort: a folder opened, whatever its layout. What is known of each case before a voxel is read."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol, runtime_checkable

from strokelens.case import SERIES, Case
from strokelens.errors import CaseError, CohortError, StrokelensError, hint
from strokelens.labels import LabelScheme

PROBLEMS: Mapping[str, str] = MappingProxyType(
    {
        "unreadable": "a file is missing, damaged, or not what its name claims",
        "ambiguous": "two files claim to be the same thing",
        "frames": "a map has frames, or a series has none",
        "other-grid": "an image lies on another grid than the first one",
        "slices": "maps have different numbers of slices, or slices are missing",
        "fewer-channels": "the case lacks a channel that most others have",
        "doubt": "something in headers or pictures is doubtful, and what was taken for true is stated",
        "days": "several examinations are there, and one was chosen",
        "no-truth": "the case has no truth, and others have one",
        "truth": "the truth cannot be read, or does not fit the images",
        "empty-truth": "nothing is marked in the truth",
        "labels": "the truth holds values that mean nothing in its scheme",
        "units": "values are in another unit than usual",
        "repeat": "the same person is there more than once",
        "mirrored": "a mirrored copy of another case",
        "copy": "an image is the same, byte for byte, as that of another case",
        "clinical": "the table of clinical values does not fit the case",
    }
)
"""Every code of a `Problem`, and what it says."""

GREY, AS_TRUTH, COHORT = "grey levels", "the truth's numbering", "its cohort"
"""Who says what the levels of a prediction's pictures mean; its integers, where nobody else does; a cohort's truth."""

_NUMBER = re.compile(r"(\d+)")
_OF_TRUTH = ("ambiguous", "truth", "unreadable")


@dataclass(frozen=True)
class Problem:
    """What is wrong with a case: a `code` of `PROBLEMS` and one line; an `unusable` case cannot be read."""

    code: str
    message: str
    unusable: bool = False


@dataclass(frozen=True)
class Truth:
    """The files of a case's truth, and which class of `scheme` each integer (or grey level) in them stands for.

    `called` is what messages call it: a prediction is read in the same way, and has in `by` who says what its integers
    mean: `GREY`, `AS_TRUTH`, `COHORT` or the name of a table. It is empty for a truth.
    """

    files: tuple[Path, ...]
    scheme: LabelScheme
    values: Mapping[int, str]
    called: str = "truth"
    by: str = ""

    def __reduce__(self) -> tuple[object, ...]:
        """How it goes to another process: a mapping that only shows another one does not."""
        return Truth, (self.files, self.scheme, dict(self.values), self.called, self.by)


@runtime_checkable
class Reader(Protocol):
    """Reads the cases of one layout."""

    def look(self, entry: "Entry") -> tuple[Problem, ...]:
        """What is wrong with a case as far as the headers of its files tell."""

    def read(self, entry: "Entry", channels: Sequence[str]) -> Case:
        """The case, with these channels."""

    def read_truth(self, entry: "Entry", truth: Truth) -> Case:
        """The case without channels, with this truth."""


_TICI: Final = {"2a": 2.0, "2b": 2.5, "2c": 2.75}
"""Grades of reperfusion that are no numbers as they are written."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One case of a cohort: its files by channel, and what is known without reading them.

    `person` is the same for all that shows one person: repeated scans, mirrored copies. `files` has one file a channel,
    or one a slice from below to above. `clinical` leaves out what is not known; `truth` is None where there is none.
    """

    id: str
    person: str
    folder: Path
    files: Mapping[str, tuple[Path, ...]]
    reader: Reader
    truth: Truth | None = None
    group: str | None = None
    clinical: Mapping[str, float | str] = field(default_factory=dict)
    mirrored: bool = False
    problems: tuple[Problem, ...] = ()

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the channels."""
        return tuple(self.files)

    @property
    def usable(self) -> bool:
        """Whether no problem that was seen at opening keeps the case from being read."""
        return not any(problem.unusable for problem in self.problems)

    @property
    def numbers(self) -> dict[str, float]:
        """The clinical values that are numbers; a sex that is told is `female`, 1 or 0, and TICI 2b 2.5."""
        sex = {"female": float(self.clinical["sex"] == "F")} if self.clinical.get("sex") in ("F", "M") else {}
        grade = _TICI.get(str(self.clinical.get("tici")).strip().casefold())
        return (
            sex
            | ({} if grade is None else {"tici": grade})
            | {name: value for name, value in self.clinical.items() if isinstance(value, int | float)}
        )

    @property
    def doubted(self) -> Problem | None:
        """Why no truth was taken though there is one; None where there is none at all."""
        return next((each for each in self.problems if self.truth is None and each.code in _OF_TRUTH), None)

    def look(self) -> tuple[Problem, ...]:
        """The problems seen at opening, and those that the headers tell."""
        return self.problems + (self.reader.look(self) if self.usable else ())

    def read(self, *, channels: Sequence[str] | None = None) -> Case:
        """The case with its truth, group and clinical values; with these channels only, where some are named.

        A series beside maps is large, and read only where it is named.

        Raises a `StrokelensError` with one line when a file is damaged, a channel is not there, or images do not fit.
        """
        self._refuse()
        maps = tuple(name for name in self.files if name not in SERIES)
        wanted = (maps or self.channels) if channels is None else tuple(channels)
        for name in wanted:
            if name not in self.files:
                raise CaseError(f"{self.id} has no channel {name!r}; it has {', '.join(sorted(self.files)) or 'none'}")
        return self.reader.read(self, wanted)

    def read_truth(self) -> Case:
        """The case with its truth and without channels: what scores are made from, in a fraction of the time.

        Raises a `StrokelensError` with one line when there is no truth, or it cannot be read.
        """
        self._refuse()
        if self.truth is None and self.doubted is not None:
            raise CaseError(f"{self.id}: {self.doubted.message}; keep one of them")
        if self.truth is None:
            raise CaseError(f"{self.id} has no truth; add it, or take the case out")
        return self.reader.read_truth(self, self.truth)

    def _refuse(self) -> None:
        for problem in self.problems:
            if problem.unusable:
                raise CaseError(f"{self.id}: {problem.message}")


@dataclass(frozen=True, eq=False)
class Cohort:
    """A folder opened: the name of its layout and its entries, sorted by id with numbers as numbers.

    Of two cases with one id the second is called `id~2`. Raises `CohortError` at birth when there is no entry.

    >>> Cohort(Path("data"), "nifti", ())
    Traceback (most recent call last):
    strokelens.errors.CohortError: data holds no case of layout nifti
    """

    folder: Path
    layout: str
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()
    """What was found that is no case: for people, beside the table."""

    def __post_init__(self) -> None:
        if not self.entries:
            raise CohortError(f"{self.folder} holds no case of layout {self.layout}")
        entries = tuple(sorted(self.entries, key=lambda entry: natural(entry.id)))
        object.__setattr__(self, "entries", _distinct(entries))

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __getitem__(self, case_id: str) -> Entry:
        if case_id not in self._by_id:
            known = hint(case_id, self._by_id) if len(self) <= 20 else f"it has {len(self)} others"
            raise CohortError(f"{self.folder} has no case {case_id!r}; {known}")
        return self._by_id[case_id]

    @cached_property
    def _by_id(self) -> dict[str, Entry]:
        return {entry.id: entry for entry in self.entries}

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """The channels that any case has, in the order of the first that has them."""
        return tuple(dict.fromkeys(name for entry in self.entries for name in entry.files))


@runtime_checkable
class Layout(Protocol):
    """One way to lay out a cohort on disk.

    `looked_for` tells what its folder has. Of several that recognise a folder, the most `special` one is taken.
    """

    @property
    def name(self) -> str:
        """What `--layout` calls it."""

    @property
    def looked_for(self) -> str:
        """What a folder of this layout has."""

    @property
    def special(self) -> int:
        """How much is asked of a folder."""

    def recognises(self, folder: Path) -> bool:
        """Whether the folder is laid out so, told from names alone."""

    def entries(self, folder: Path) -> tuple[Entry, ...]:
        """The cases of the folder; one that is broken is an entry with an unusable problem."""


@runtime_checkable
class Noting(Protocol):
    """A layout that tells what it found in a folder that is no case."""

    def notes(self, folder: Path, entries: Sequence[Entry]) -> tuple[str, ...]:
        """One line each; `entries` are the cases."""


def natural(text: str) -> tuple[str | int, ...]:
    """A key that sorts numbers in names as numbers.

    >>> sorted(["training_10", "training_2"], key=natural)
    ['training_2', 'training_10']
    """
    parts = _NUMBER.split(text)
    return tuple(int(part) if at % 2 else part for at, part in enumerate(parts))


def _distinct(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The entries, each with an id of its own."""
    seen: Counter[str] = Counter()
    distinct = []
    for entry in entries:
        seen[entry.id] += 1
        count = seen[entry.id]
        distinct.append(entry if count == 1 else replace(entry, id=f"{entry.id}~{count}"))
    return tuple(distinct)


def broken(case_id: str, folder: Path, reader: Reader, error: StrokelensError | OSError) -> Entry:
    """The entry of a case that could not be opened: one row in a table, never the end of a batch."""
    message = str(error) if isinstance(error, StrokelensError) else f"{folder.name} cannot be read: {error.strerror}"
    return Entry(case_id, case_id, folder, {}, reader, problems=(Problem("unreadable", message, unusable=True),))
