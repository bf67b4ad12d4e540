"""What a cell of a table says: a number, a mean with its spread, an interval; an en dash where there is none."""

from math import isnan
from typing import Final

from strokelens.metrics.agreement import Interval, Limits
from strokelens.metrics.scores import Summary

NOTHING: Final = "–"


def number(value: float, digits: int = 3) -> str:
    """A number in a cell; an en dash for NaN."""
    return NOTHING if isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def spread(summary: Summary, digits: int) -> str:
    """`0.71 ± 0.10 (18 of 20)`; without the count where everybody has the score."""
    if not summary.used:
        return f"{NOTHING} ({share(0, summary.total)})"
    text = f"{number(summary.mean, digits)} ± {number(summary.deviation, digits)}"
    return text if summary.used == summary.total else f"{text} ({share(summary.used, summary.total)})"


def full(summary: Summary, interval: Interval, digits: int) -> str:
    """The same with the interval of the mean."""
    if not summary.used:
        return spread(summary, digits)
    text = f"{number(summary.mean, digits)} ± {number(summary.deviation, digits)}{_bounds(interval, digits)}"
    return text if summary.used == summary.total else f"{text} ({share(summary.used, summary.total)})"


def interval(of: Interval, digits: int) -> str:
    """`0.71 [0.65, 0.77]`."""
    return NOTHING if isnan(of.mean) else f"{number(of.mean, digits)}{_bounds(of, digits)}"


def limits(of: Limits) -> str:
    """`−1.0 to 2.0`."""
    return NOTHING if isnan(of.lower) else f"{number(of.lower, 1)} to {number(of.upper, 1)}"


def share(used: int, total: int) -> str:
    """`18 of 20`."""
    return f"{used} of {total}"


def _bounds(interval: Interval, digits: int) -> str:
    """The interval in brackets; nothing for one patient, whose mean has none."""
    return f" [{number(interval.low, digits)}, {number(interval.high, digits)}]" if interval.used > 1 else ""
