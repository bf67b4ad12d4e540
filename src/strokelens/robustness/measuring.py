"""Each case disturbed in every way, and what the network makes of it: a point for each, none left out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from strokelens.arrays import Mask
from strokelens.cohorts.cohort import Entry
from strokelens.crashes import Failure, tried
from strokelens.errors import CaseError, SettingsError, hint
from strokelens.grid import Grid
from strokelens.labels import BACKGROUND, BRAIN, LabelScheme
from strokelens.metrics.overlap import dice_isles
from strokelens.model import Model
from strokelens.prediction.batch import Plan
from strokelens.prediction.networks import How, predicted
from strokelens.prediction.samples import sample_of
from strokelens.prepare import Sample, labels_in, segmentation
from strokelens.robustness.disturbances import KINDS, Maps, disturbances

CLEAN: Final = "clean"
"""The kind of the one point of each case that nothing was done to."""

Regions = Mapping[str, Mask]


@dataclass(frozen=True)
class Asking:
    """Which disturbances are tried: their kinds, how often each is drawn, and by which chance.

    Raises `SettingsError` where a kind is unknown or told twice, or nothing is drawn.
    """

    kinds: tuple[str, ...] = tuple(KINDS)
    repeats: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        strange = next((kind for kind in self.kinds if kind not in KINDS), None)
        if strange is not None:
            raise SettingsError(f"no disturbance is called {strange!r}; {hint(strange, KINDS)}")
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise SettingsError(f"the kinds are {', '.join(self.kinds) or 'none'}; give each once: {', '.join(KINDS)}")
        if self.repeats < 1:
            raise SettingsError(f"each disturbance is drawn {self.repeats} times; give at least 1")


@dataclass(frozen=True)
class Point:
    """One disturbance of a case: how far it changed the input, and Dice with the truth and with the clean output.

    `difference` is the mean change in standard deviations of the maps. `own` and `truth` are by class, `truth` is empty
    where there is none; where both regions are empty Dice is 1.
    """

    kind: str
    parameter: float | str
    repeat: int
    difference: float
    own: Mapping[str, float]
    truth: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """A case with all of its points, the clean one first; or without any, and why."""

    case_id: str
    person: str
    points: tuple[Point, ...] = ()
    simulated: bool = False
    part_in_training: str = ""
    failure: str | None = None
    crashed: bool = False


def measured(
    entries: Sequence[Entry], plan: Plan, asking: Asking, told: Callable[[str], None] = lambda _: None
) -> Iterator[Measured]:
    """The points of each case, in order; nothing is raised for a case that cannot be read or predicted."""
    for number, entry in enumerate(entries, start=1):
        each = _attempted(entry, plan, asking, lambda kind, at=number: told(f"case {at} of {len(entries)}: {kind}"))  # type: ignore[misc]
        yield replace(each, part_in_training=plan.part_in_training(entry.id, entry.person))


def _attempted(entry: Entry, plan: Plan, asking: Asking, told: Callable[[str], None]) -> Measured:
    """The points of a case, or why there are none."""
    found = tried(entry.id, lambda: _measured(entry, plan, asking, told))
    if isinstance(found, Failure):
        return Measured(entry.id, entry.person, failure=found.message, crashed=found.crashed)
    return found


def _measured(entry: Entry, plan: Plan, asking: Asking, told: Callable[[str], None]) -> Measured:
    """The points of a case."""
    recipe = plan.models[0].recipe
    seen = sample_of(replace(entry, truth=None), recipe)
    maps = Maps.of(seen.sample, recipe)
    own = _found(plan.models, seen.sample, plan.how)
    truth = {} if entry.truth is None else _truth(entry, seen.sample.frame.grid, recipe.scheme)
    points = [Point(CLEAN, 0.0, 0, 0.0, _dice(own, own), _dice(truth, own))]
    for kind in asking.kinds:
        seed = f"{asking.seed}\n{entry.id}"
        for each in disturbances(maps, recipe.maps, kind, repeats=asking.repeats, seed=seed):
            found = _found(plan.models, replace(seen.sample, x=each.x), plan.how)
            difference = maps.difference(each.x)
            points.append(Point(kind, each.parameter, each.repeat, difference, _dice(own, found), _dice(truth, found)))
        told(kind)
    return Measured(entry.id, entry.person, tuple(points), seen.case.simulated)


def classes_of(scheme: LabelScheme) -> tuple[str, ...]:
    """The classes that are told apart, without the background and the healthy brain."""
    return tuple(label.name for label in scheme if label not in (BACKGROUND, BRAIN))


def _found(models: Sequence[Model], sample: Sample, how: How) -> Regions:
    """Each class as the models find it, on the case's grid."""
    likely = predicted(models, sample, replace(how, doubts=False)).probabilities
    found = segmentation(likely, sample.frame, models[0].scheme)
    return {name: found.mask(name) for name in classes_of(models[0].scheme)}


def _truth(entry: Entry, grid: Grid, scheme: LabelScheme) -> Regions:
    """Each class as the truth has it. Raises `CaseError` where its voxels lie elsewhere."""
    told = entry.read_truth().truth
    placed = None if told is None else told.reordered(grid)
    if placed is None:
        raise CaseError(f"{entry.id}: its truth lies on another grid than its maps; resample it to theirs")
    labels = labels_in(entry.id, placed, scheme)
    return {name: np.asarray(labels == scheme.value(name)) for name in classes_of(scheme)}


def _dice(known: Regions, found: Regions) -> dict[str, float]:
    return {name: dice_isles(mask, found[name]) for name, mask in known.items()}
