"""Who is trained on and who validates: the split that the settings tell, and its prepared cases."""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import median

import numpy as np
from jaxtyping import Bool, Float32

from strokelens.case import SERIES
from strokelens.cohorts.cohort import Cohort, Entry
from strokelens.cohorts.splits import TRAIN, VALIDATION, Split, cases_of, published_split, read_split, split
from strokelens.errors import SettingsError, TrainingError, hint
from strokelens.labels import PENUMBRA
from strokelens.model import Modality, recipe_of, scheme_of
from strokelens.prediction.samples import modality_of
from strokelens.prepare import clinical_of
from strokelens.settings.schema import Settings
from strokelens.training.samples import Pieces, Slices, Volumes
from strokelens.training.store import Prepared, Refused, key_of, prepared

PUBLISHED = "stavanger"
"""What settings and the command line call the published split."""


@dataclass(frozen=True, eq=False)
class Parts:
    """The pieces of those who train and of those who validate, and the cases that could not be prepared.

    `modality` is that of all who train, None where they differ or nothing tells it.
    """

    train: Pieces
    validation: Pieces
    refused: tuple[Refused, ...]
    modality: Modality | None = None

    @property
    def cases(self) -> tuple[Prepared, ...]:
        """All cases."""
        return (*self.train.cases, *self.validation.cases)

    @property
    def sha256(self) -> str:
        """The hash of all that a training sees of its cases, part by part and in their order."""
        return _digest(
            [(each.case_id, each.key, each.group, each.values, each.known) for each in part.cases]
            for part in (self.train, self.validation)
        )

    @property
    def persons(self) -> dict[str, int]:
        """How many persons each part has."""
        parts = {TRAIN: self.train, VALIDATION: self.validation}
        return {name: len({case.person for case in part.cases}) for name, part in parts.items()}

    @property
    def pixel_mm(self) -> float:
        """The edge of a network's pixel in mm: the median of the cases that train."""
        return median(case.frame.pixel_mm for case in self.train.cases)

    @property
    def simulated(self) -> bool:
        """Whether any patient is: what was learned from some who do not exist is no evidence either."""
        return any(case.simulated for case in self.cases)


def split_of(settings: Settings, cohort: Cohort) -> Split:
    """The split on disk that the settings name, the published one, or one of the cases with truth, by the seed."""
    told = settings.split
    if told.file is None:
        return split(with_truth(cohort), validation=told.validation, test=told.test, seed=settings.training.seed)
    if told.file == PUBLISHED and not Path(told.file).exists():
        return published_split()
    return read_split(Path(told.file))


def with_truth(cohort: Cohort) -> list[Entry]:
    """The cases that somebody can learn from, or be scored on; `TrainingError` where there are none."""
    found = [entry for entry in cohort if entry.truth is not None]
    if not found:
        raise TrainingError(f"no case of {cohort.folder} has a truth to learn from; give a cohort with some")
    return found


def parts_of(
    settings: Settings,
    drawn: Split,
    cohort: Cohort,
    *,
    cache: Path,
    workers: int | None = None,
    told: Callable[[str], None],
) -> Parts:
    """The pieces of both parts; mirrored copies of those who train may train, too.

    Raises `TrainingError` when nobody is left to train or to validate.
    """
    refused: list[Refused] = []
    pieces, modalities = {}, set[Modality | None]()
    for part in (TRAIN, VALIDATION):
        entries = _entries(drawn, part, cohort)
        modalities |= {modality_of(entry) for entry in entries} if part == TRAIN else set()
        cases = []
        for case in prepared(entries, recipe_of(settings), cache, workers=workers):
            cases.append(case)
            told(f"{part}: {len(cases)} of {len(entries)} cases prepared")
        refused += [case for case in cases if isinstance(case, Refused)]
        pieces[part] = _pieces([case for case in cases if isinstance(case, Prepared)], settings, part)
        if not len(pieces[part]):
            why = f"{refused[0].case_id}: {refused[0].message}" if refused else "none has a truth"
            raise TrainingError(f"no case of {cohort.folder} is left for the part {part}; the first reason is: {why}")
    modality = modalities.pop() if len(modalities) == 1 else None
    return Parts(pieces[TRAIN], pieces[VALIDATION], tuple(refused), modality)


def _pieces(cases: Sequence[Prepared], settings: Settings, part: str) -> Pieces:
    """What is learned from prepared cases, or validates."""
    seen = settings.input
    lesion = scheme_of(settings).names.index(_first_lesion(settings))
    step = seen.step if part == TRAIN else seen.tile  # who validate count a pixel once, but where the last tile laps
    if settings.volumes:
        return Volumes(cases, lesion=lesion, tile=seen.tile, step=step)
    return Slices(cases, lesion=lesion, tile=seen.tile, step=step, around=seen.slices, maps=len(seen.maps))


def check_maps(settings: Settings, cohort: Cohort) -> None:
    """Raise `SettingsError` for a map that no case of the cohort has, unless one has a series to compute it of."""
    there = set(cohort.channels)
    lacking = next((name for name in settings.input.maps if name not in there), None)
    if lacking is not None and there.isdisjoint(SERIES):
        raise SettingsError(
            f"{settings.name}: no case of {cohort.folder} has {lacking}; {hint(lacking, sorted(there))}"
        )


def data_sha256(settings: Settings, drawn: Split, cohort: Cohort, *, refused: Collection[str]) -> str:
    """What `Parts.sha256` is, without those refused, from the files of the cases alone: nothing is prepared."""
    recipe = recipe_of(settings)
    return _digest(
        [
            (entry.id, key_of(entry, recipe), entry.group, *clinical_of(entry.numbers, recipe))
            for entry in _entries(drawn, part, cohort)
            if entry.id not in refused
        ]
        for part in (TRAIN, VALIDATION)
    )


_Told = tuple[str, str, str | None, Float32[np.ndarray, "v"], Bool[np.ndarray, "v"]]
"""Of a case its id, key and group, its clinical values, and which are known."""


def _digest(parts: Iterable[Sequence[_Told]]) -> str:
    told = [[[*names, values.tolist(), known.tolist()] for *names, values, known in cases] for cases in parts]
    return sha256(json.dumps(told).encode()).hexdigest()


def _entries(drawn: Split, part: str, cohort: Cohort) -> list[Entry]:
    """The cases of a part; mirrored copies do not validate."""
    return [entry for entry in cases_of(drawn, part, cohort) if part == TRAIN or not entry.mirrored]


def _first_lesion(settings: Settings) -> str:
    names = scheme_of(settings).names
    return PENUMBRA.name if PENUMBRA.name in names else names[-1]
