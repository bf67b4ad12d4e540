"""What a cell of a table says: a number, a mean with its spread, an interval; an en dash where there is none.

A line feed parts what may stand on lines of its own.
"""

from math import isnan
from typing import Final

from strokelens.metrics.agreement import Interval, Limits
from strokelens.metrics.scores import Summary

NOTHING: Final = "–"

VOLUMES: Final = ("bias (ml)", "lower limit (ml)", "upper limit (ml)", "patients")
"""The heads over an agreement of volumes."""

_SMALLEST_P: Final = 0.0001


def number(value: float, digits: int = 3) -> str:
    """A number in a cell; an en dash for NaN.

    >>> number(-1.26, 1), number(-0.01, 1), number(float("nan"))
    ('−1.3', '0.0', '–')
    """
    text = f"{value:.{digits}f}"
    return NOTHING if isnan(value) else text.replace("-", "−" if float(text) else "")


def p_value(p: float) -> str:
    """A p in a cell, which is never 0.

    >>> p_value(0.0321), p_value(1e-9), p_value(float("nan"))
    ('0.0321', '<0.0001', '–')
    """
    return f"<{_SMALLEST_P}" if p < _SMALLEST_P else number(p, 4)


def spread(summary: Summary, digits: int, *, counted: bool = False) -> str:
    """`0.71 ± 0.10 (18 of 20)`; without the count where everybody has the score, unless `counted`."""
    return _with_count(_mean(summary, digits), summary, counted=counted)


def full(summary: Summary, interval: Interval, digits: int, *, counted: bool = False) -> str:
    """The same with the interval of the mean, each on a line."""
    return _with_count(f"{_mean(summary, digits)}{_bounds(interval, digits, before=chr(10))}", summary, counted=counted)


def interval(of: Interval, digits: int) -> str:
    """`0.71 [0.65, 0.77]`."""
    return NOTHING if isnan(of.mean) else f"{number(of.mean, digits)}{_bounds(of, digits)}"


def volumes(bias: Interval, limits: Limits) -> tuple[str, str, str, str]:
    """The cells of an agreement of volumes, under `VOLUMES`."""
    ends = (_limit(limits.lower, limits.margin), _limit(limits.upper, limits.margin))
    return interval(bias, 1), *ends, share(limits.used, limits.total)


def _limit(value: float, margin: float) -> str:
    """A limit of agreement with its interval, `−1.0 [−2.0, 0.0]`."""
    bounds = f" [{number(value - margin, 1)}, {number(value + margin, 1)}]"
    return NOTHING if isnan(value) else f"{number(value, 1)}{bounds}"


def share(used: int, total: int) -> str:
    """`18 of 20`."""
    return f"{used} of {total}"


def _mean(summary: Summary, digits: int) -> str:
    if not summary.used:
        return NOTHING
    return f"{number(summary.mean, digits)} ± {number(summary.deviation, digits)}"


def _with_count(text: str, summary: Summary, *, counted: bool) -> str:
    if summary.used == summary.total and summary.used and not counted:
        return text
    return f"{text}\n({share(summary.used, summary.total)})"


def _bounds(interval: Interval, digits: int, before: str = " ") -> str:
    """The interval in brackets; nothing where too few patients have none."""
    if isnan(interval.low):
        return ""
    return f"{before}[{number(interval.low, digits)}, {number(interval.high, digits)}]"
