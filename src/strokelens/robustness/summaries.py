"""Points of many cases as curves: the mean Dice against how far the input is changed, and the area below.

Every person weighs the same. Intervals are of 95 %, by bootstrap over persons.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan, nan
from typing import Final

import numpy as np
from jaxtyping import Float

from strokelens.evaluation.summaries import rng
from strokelens.metrics.agreement import Interval, bootstrap_means
from strokelens.robustness.disturbances import MISSING
from strokelens.robustness.measuring import CLEAN, Measured, Point

OWN: Final = "own"
"""What Dice is with: the clean output; any other name is that of a class of the truth."""

BINS: Final = 8
"""How many knots a curve has at most, each of as many points of every case."""


@dataclass(frozen=True)
class Knot:
    """The mean difference of some points, and their mean Dice over persons by what it is with."""

    difference: float
    dice: Mapping[str, Interval]


@dataclass(frozen=True)
class Curve:
    """How Dice falls with the difference by one kind, from weak to strong.

    `area` is the mean Dice over the common range of differences, by what it is with; `lost` is what the clean output
    has more than that, patient by patient.
    """

    knots: tuple[Knot, ...]
    area: Mapping[str, Interval]
    lost: Mapping[str, Interval]


@dataclass(frozen=True, eq=False)
class Robustness:
    """What was measured of all cases, and what follows; `kinds` are those that were asked for."""

    cases: tuple[Measured, ...]
    classes: tuple[str, ...]
    kinds: tuple[str, ...]

    @property
    def done(self) -> tuple[Measured, ...]:
        """The cases that have points."""
        return tuple(case for case in self.cases if case.failure is None)

    @property
    def failed(self) -> tuple[Measured, ...]:
        """The cases that have none."""
        return tuple(case for case in self.cases if case.failure is not None)

    @property
    def measures(self) -> tuple[str, ...]:
        """What Dice is with: the clean output; and each class of the truth, where any case has one."""
        known = any(case.points[0].truth for case in self.done)
        return (OWN, *(self.classes if known else ()))

    @property
    def persons(self) -> tuple[str, ...]:
        """Who has points."""
        return tuple(sorted({case.person for case in self.done}))

    @cached_property
    def common(self) -> float:
        """The largest difference that every kind with a strength reaches in every case; NaN where there is none."""
        ends = [max(point.difference for point in points) for case in self.done for points in _by_kind(case).values()]
        return min(ends) if ends and min(ends) > 0 else nan

    @cached_property
    def clean(self) -> Knot | None:
        """The clean output, which has Dice 1 with itself; None where no case could be done."""
        return self._knot([(case.person, case.points[0]) for case in self.done]) if self.done else None

    @cached_property
    def curves(self) -> Mapping[str, Curve]:
        """The curve of each kind with a strength."""
        known = set(_by_kind(self.done[0])) if self.done else set()
        return {kind: self._curve(kind) for kind in self.kinds if kind in known}

    @cached_property
    def missing(self) -> Mapping[str, Knot]:
        """What each map's absence does."""
        known = defaultdict[str, list[tuple[str, Point]]](list)
        for case in self.done:
            for point in case.points:
                if point.kind == MISSING:
                    known[str(point.parameter)].append((case.person, point))
        return {name: self._knot(points) for name, points in known.items()}

    def _knot(self, points: Sequence[tuple[str, Point]]) -> Knot:
        difference = float(np.mean([point.difference for _, point in points]))
        means = {
            measure: self._by_person((person, dice_of(point, measure)) for person, point in points)
            for measure in self.measures
        }
        return Knot(difference, self._intervals(means))

    def _curve(self, kind: str) -> Curve:
        """The knots, and the area below each case's own curve, which begins at the clean output."""
        known = [(case, _by_kind(case)[kind]) for case in self.done]
        areas, losses = {}, {}
        for measure in self.measures:
            each = [(case, area([case.points[0], *points], measure, upto=self.common)) for case, points in known]
            areas[measure] = self._by_person((case.person, value) for case, value in each)
            losses[measure] = self._by_person(
                (case.person, dice_of(case.points[0], measure) - value) for case, value in each
            )
        knots = tuple(map(self._knot, _binned([(case.person, points) for case, points in known])))
        return Curve(knots, self._intervals(areas), self._intervals(losses))

    def _by_person(self, values: Iterable[tuple[str, float]]) -> Float[np.ndarray, "persons"]:
        """The mean of each person's values; NaN where there are none."""
        known = defaultdict[str, list[float]](list)
        for person, value in values:
            if not isnan(value):
                known[person].append(value)
        return np.array([np.mean(known[person]) if known[person] else nan for person in self.persons])

    def _intervals(self, means: Mapping[str, Float[np.ndarray, "persons"]]) -> dict[str, Interval]:
        return dict(zip(means, bootstrap_means(list(means.values()), rng()), strict=True))


def dice_of(point: Point, measure: str) -> float:
    """Dice with the clean output, on the mean over classes, or with a class of the truth; NaN where there is none."""
    return float(np.mean(list(point.own.values()))) if measure == OWN else point.truth.get(measure, nan)


def area(points: Sequence[Point], measure: str, *, upto: float) -> float:
    """The mean Dice over the differences from 0 to `upto`, linear from point to point; NaN without truth or range.

    >>> clean, changed = Point("clean", 0.0, 0, 0.0, {"core": 1.0}), Point("blur", 1.0, 0, 0.4, {"core": 0.2})
    >>> round(area([changed, clean], OWN, upto=0.2), 9)
    0.8
    """
    pairs = sorted((point.difference, dice_of(point, measure)) for point in points)
    x, y = np.array(pairs).T
    if isnan(upto) or np.isnan(y).any():
        return nan
    inside = x < upto
    along = np.append(x[inside], upto)
    return float(np.trapezoid(np.append(y[inside], np.interp(upto, x, y)), along) / upto)


def _by_kind(case: Measured) -> dict[str, list[Point]]:
    """The points of a case by kind, of those with a strength."""
    found = defaultdict[str, list[Point]](list)
    for point in case.points:
        if point.kind not in (CLEAN, MISSING):
            found[point.kind].append(point)
    return dict(found)


def _binned(cases: Sequence[tuple[str, Sequence[Point]]]) -> list[list[tuple[str, Point]]]:
    """The points from weak to strong, in bins that have as many of each case: else bins would be of other persons."""
    count = min(BINS, *(len(points) for _, points in cases))
    bins: list[list[tuple[str, Point]]] = [[] for _ in range(count)]
    for who, points in cases:
        ordered = sorted(points, key=lambda point: (point.difference, point.repeat))
        for place, part in enumerate(np.array_split(np.arange(len(ordered)), count)):
            bins[place] += [(who, ordered[at]) for at in part]
    return bins
