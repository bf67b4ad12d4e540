"""The ancestor's sweep over a cohort: sixteen filters of one relevance, and what each is worth, with intervals.

What it called the mean of a map is divided by the largest amplitude of all channels; inclusivity is of the voxels above
half of each channel's largest amplitude. A random and a constant map tell what any map would be worth.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float32

from strokelens.cohorts.cohort import Entry
from strokelens.errors import FileError
from strokelens.explain.filters import GRID, Filter
from strokelens.explain.randomised import constant_map, random_map
from strokelens.explanation.case import Explained, explain_case
from strokelens.explanation.cohort import CASES, Done, Numbers
from strokelens.explanation.delivery import MARKER as EXPLANATION
from strokelens.explanation.delivery import worth_record, write_explanation
from strokelens.explanation.measures import worth
from strokelens.explanation.question import Question
from strokelens.metrics.agreement import Interval, bootstrap_means
from strokelens.model import Model
from strokelens.prediction.samples import sample_of

MARKER: Final = "sweep.json"
"""The file that marks a folder as a sweep."""

ALL: Final = "all"
"""In place of the name of a case whose maps are kept."""

NULLS: Final = ("random", "constant")
"""Maps that know nothing."""

MEASURES: Final[Mapping[str, str]] = {
    "inclusivity": "of the truth, the share in the bright voxels of a channel's map",
    "precision": "of these voxels, the share in the truth",
    "iou": "both: what they have in common of what either has",
    "in_truth": "of what speaks for the class, the share in the truth",
    "rank": "of the highest voxels, as many as the truth has, the share in the truth",
    "with_input": "of a map's own bright voxels, the share in the bright voxels of its relevance",
    "normalised_mean": "the mean of a channel's map, of the largest amplitude of all",
}
"""What each map is measured by, means over channels where they are of one."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """What is swept: a question with all filters, and where maps of the cases to `keep` go."""

    models: tuple[Model, ...]
    question: Question
    out: Path
    keep: tuple[str, ...] = ()
    seed: int = 0

    @property
    def filters(self) -> tuple[Filter, ...]:
        """Those that were told, or the ancestor's sixteen."""
        return self.question.filters or GRID

    @property
    def size(self) -> int:
        """The side of a slice in the network's pixels, by which sweeps are told apart beside each other."""
        return self.models[0].settings.input.size

    @property
    def recipe(self) -> dict[str, object]:
        """What must be the same for a sweep to be gone on with."""
        asked = self.question
        return {
            "sweep": [str(each) for each in self.filters],
            "asked": [asked.name, asked.against, asked.target, asked.reference, asked.everywhere],
            "composite": [asked.composite.name, *map(list, asked.composite.rules)],
            "seed": self.seed,
            "size": self.size,
        }

    def keeps(self, entry: Entry) -> bool:
        """Whether the case's maps are kept."""
        return entry.id in self.keep or ALL in self.keep

    def lacks(self, entry: Entry) -> bool:
        """Whether a case whose numbers are there has to be done again, for maps that are not."""
        return self.keeps(entry) and not (self.out / "maps" / entry.id / EXPLANATION).is_file()

    def of(self, entry: Entry) -> Numbers:
        """The numbers of a case: of each filter and null map its worth."""
        question = replace(self.question, filters=self.filters)
        explained = explain_case(self.models, sample_of(entry, self.models[0].recipe), question)
        (target, *_) = explained.targets
        maps = dict(zip(question.words, explained.answer.maps, strict=False))
        rng = np.random.default_rng([self.seed, *entry.id.encode()])
        shape = explained.answer.maps.shape[1:]
        maps |= {"random": random_map(shape, rng).numpy(), "constant": constant_map(shape).numpy()}
        if self.keeps(entry):
            folder = self.out / "maps" / entry.id
            folder.mkdir(parents=True, exist_ok=True)
            write_explanation(explained, folder)
        return {
            "case": entry.id,
            "person": entry.person,
            "simulated": explained.case.simulated,
            "volume_ml": explained.segmentation.volume_ml(explained.name),
            "maps": {word: _numbers(explained, each, explained.targets[target]) for word, each in maps.items()},
        }


def _numbers(explained: Explained, maps: Float32[np.ndarray, "m z s s"], target: Any) -> Numbers:
    """A map's worth, and the ancestor's means."""
    names = explained.models[0].recipe.maps
    largest = float(np.abs(maps).max())
    means = {name: float(each.mean() / largest) if largest else None for name, each in zip(names, maps, strict=True)}
    return {**worth_record(worth(explained, maps, target), names), "normalised_means": means}


@dataclass(frozen=True)
class Swept:
    """What a sweep found: of each map's word, measure by measure, the mean over patients and its interval."""

    done: tuple[Done, ...]
    words: tuple[str, ...]
    summary: Mapping[str, Mapping[str, Interval]]
    size: int

    @classmethod
    def of(cls, done: Sequence[Done], filters: Sequence[str], *, size: int, seed: int) -> "Swept":
        """The means over patients of each measure; cases of one patient are one."""
        told = [each for each in done if each.numbers is not None]
        words = [*filters, *NULLS]
        pairs = [(word, measure) for word in words for measure in MEASURES]
        values = [by_person(told, lambda each, w=word, m=measure: measured(each, w, m)) for word, measure in pairs]  # type: ignore[misc]
        found = bootstrap_means(values, np.random.default_rng(seed))
        by = dict(zip(pairs, found, strict=True))
        summary = {word: {measure: by[word, measure] for measure in MEASURES} for word in words}
        return cls(tuple(done), tuple(filters), summary, size)

    @classmethod
    def read(cls, folder: Path) -> "Swept":
        """A sweep of this verb, from its folder.

        Raises `FileError` where there is none, or it is not done.
        """
        try:
            recipe = json.loads((folder / MARKER).read_text(encoding="utf-8"))["recipe"]
            told = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((folder / CASES).glob("*.json"))]
            done = [Done(path["numbers"]["case"], path["numbers"]["person"], path["numbers"]) for path in told]
            filters, size, seed = [str(each) for each in recipe["sweep"]], int(recipe["size"]), int(recipe["seed"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise FileError(f"{folder} is no sweep by `strokelens explain --sweep`; give its folder") from error
        if not done:
            raise FileError(f"{folder} is a sweep without a case; let it be done first")
        return cls.of(done, filters, size=size, seed=seed)

    def pooled(self, word: str) -> list[float]:
        """The ancestor's means of a filter, of all cases and channels."""
        maps = [each.numbers["maps"][word]["normalised_means"] for each in self.done if each.numbers is not None]
        return [nan if value is None else float(value) for each in maps for value in each.values()]


def by_person(done: Sequence[Done], value: Callable[[Done], float]) -> Any:
    """A number a patient: the mean of what is known of their cases, NaN where nothing is."""
    persons: dict[str, list[float]] = {}
    for each in done:
        persons.setdefault(each.person, []).append(value(each))
    known = [[one for one in some if not isnan(one)] for some in persons.values()]
    return np.array([float(np.mean(some)) if some else nan for some in known])


def measured(done: Done, word: str, measure: str) -> float:
    """One measure of a case's map; NaN where it is not known."""
    assert done.numbers is not None
    told = done.numbers["maps"][word]
    if measure == "in_truth":
        return _number(told["mass_accuracy_truth"])
    if measure == "rank":
        return _number(told["rank_accuracy_truth"])
    if measure == "normalised_mean":
        return _mean(told["normalised_means"].values())
    kind, field = ("input", "recall") if measure == "with_input" else ("truth", measure)
    field = "recall" if field == "inclusivity" else field
    return _mean(each[field] for each in told[f"inclusivity_{kind}"].values())


def _mean(values: Any) -> float:
    known = [float(value) for value in values if value is not None]
    return float(np.mean(known)) if known else nan


def _number(value: float | None) -> float:
    return nan if value is None else float(value)
