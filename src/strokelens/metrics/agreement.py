"""Whether two ways of measuring the same patients agree, and how sure a mean over patients is.

Conventions: one number per patient in an array, the patients in the same order in both; a difference is second −
first. The unit is that of the numbers. Patients are drawn, never voxels, because the voxels of one patient are not
independent.

Empty cases: NaN says that a patient has no such number. That patient is left out, of both arrays, and counted: `used`
of `total`. What too few patients cannot tell is NaN: an interval of fewer than 6, limits of agreement of fewer than 5.

Metrics: bias and limits of agreement, bootstrap interval of a mean, Wilcoxon's signed-rank test, Holm's correction.

References:
    Bland & Altman 1986, Lancet 327:307, and 1999, Stat Methods Med Res 8:135 (intervals of the limits); Efron 1979,
    Ann Stat 7:1; Wilcoxon 1945, Biometrics Bulletin 1:80; Holm 1979, Scand J Stat 6:65.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Float
from scipy import stats

from strokelens.errors import CaseError, UnitError

RESAMPLES = 10_000
"""How often a cohort is drawn anew for an interval."""

LEAST_FOR_INTERVAL = 6
"""Of fewer patients a mean has no interval: those of 2, 3 and 5 held the true mean 47, 76 and 86 times of 100."""

LEAST_FOR_LIMITS = 5
"""Of fewer patients no limits of agreement are given."""

ENOUGH_FOR_INTERVAL = 20
"""Below so many patients an interval by bootstrap is too narrow: that of 10 holds the true mean 92 times of 100."""

_BLOCK = 500
_DECIMALS = 12
_LIMIT = float(stats.norm.ppf(0.975))


@dataclass(frozen=True)
class Limits:
    """Bias, and the limits between which 95 % of normally distributed differences lie.

    Each limit is known within `margin` on both sides, its 95 % interval.
    """

    bias: float
    lower: float
    upper: float
    margin: float
    used: int
    total: int


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float
    used: int
    total: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}] ({self.used} of {self.total})"


@dataclass(frozen=True)
class SignedRank:
    """A two-sided test: the sum of ranks of the rarer sign, and how likely one so small is by chance.

    `signed` of the `used` patients have a difference that is not 0; the test is of these alone.
    """

    statistic: float
    p: float
    signed: int
    used: int
    total: int


def validate(*measurements: Float[np.ndarray, "..."]) -> None:
    """Raise `CaseError` unless all are of the same patients, `UnitError` for infinite numbers.

    >>> validate(np.array([1.0, 2.0]), np.array([1.0]))
    Traceback (most recent call last):
    strokelens.errors.CaseError: shapes (2,) and (1,); give one number per patient in all, NaN where there is none
    """
    shapes = [numbers.shape for numbers in measurements]
    if len(shapes[0]) != 1 or len(set(shapes)) > 1:
        told = " and ".join(map(str, shapes))
        raise CaseError(f"shapes {told}; give one number per patient in all, NaN where there is none")
    infinite = sum(int(np.isinf(numbers).sum()) for numbers in measurements)
    if infinite:
        raise UnitError(f"the numbers hold inf {infinite} times, which has no mean; give NaN to leave a patient out")


def bland_altman(first: Float[np.ndarray, "patients"], second: Float[np.ndarray, "patients"]) -> Limits:
    """The mean of second − first, and that mean ± 1.96 standard deviations (n − 1) of the differences.

    The interval of a limit is ± t · s · √(1/n + 1.96² / (2 (n − 1))), t with n − 1 degrees of freedom. NaN without
    patients; limits and their intervals are NaN with fewer than 5.

    >>> bland_altman(np.array([10.0, 20.0, 30.0, 40.0, 50.0, nan]), np.array([12.0, 22.0, 32.0, 42.0, 52.0, 9.0]))
    Limits(bias=2.0, lower=2.0, upper=2.0, margin=0.0, used=5, total=6)
    """
    differences = _differences(first, second)
    count, total = differences.size, first.size
    bias = float(differences.mean()) if count else nan
    if count < LEAST_FOR_LIMITS:
        return Limits(bias, nan, nan, nan, used=count, total=total)
    deviation = float(differences.std(ddof=1))
    half = _LIMIT * deviation
    error = deviation * float(np.sqrt(1 / count + _LIMIT**2 / (2 * (count - 1))))
    margin = float(stats.t.ppf(0.975, count - 1)) * error
    return Limits(bias, bias - half, bias + half, margin, used=count, total=total)


def bootstrap_mean(values: Float[np.ndarray, "patients"], rng: np.random.Generator) -> Interval:
    """The mean over patients, and the 2.5th and 97.5th percentile of the means of 10,000 cohorts drawn from them.

    Patients are drawn with replacement. NaN without patients; no interval, NaN, of fewer than 6, and too narrow a one
    below 20. The same seed and numbers give the same interval.

    >>> print(bootstrap_mean(np.array([0.2, 0.3, 0.4, 0.6, 0.7, 0.8, nan]), np.random.default_rng(0)))
    0.500 [0.333, 0.667] (6 of 7)
    """
    (found,) = bootstrap_means([values], rng)
    return found


def bootstrap_means(measures: Sequence[Float[np.ndarray, "_"]], rng: np.random.Generator) -> list[Interval]:
    """`bootstrap_mean` of each measure; those that as many patients have share the draws, which takes less time.

    >>> first, second = bootstrap_means([np.arange(9.0), np.arange(9.0) + 1], np.random.default_rng(0))
    >>> second.low - first.low
    1.0
    """
    for values in measures:
        validate(values)
    seed = int(rng.integers(2**63))
    known = [values[~np.isnan(values)].astype(np.float64) for values in measures]
    bounds = dict.fromkeys(range(len(known)), (nan, nan))
    for count in sorted({values.size for values in known if values.size >= LEAST_FOR_INTERVAL}):
        alike = [place for place, values in enumerate(known) if values.size == count]
        means = _drawn_means(np.stack([known[place] for place in alike], axis=1), np.random.default_rng((seed, count)))
        bounds.update(zip(alike, np.percentile(means, [2.5, 97.5], axis=1).T.tolist(), strict=True))
    return [
        Interval(float(mine.mean()) if mine.size else nan, *bounds[place], used=mine.size, total=values.size)
        for place, (values, mine) in enumerate(zip(measures, known, strict=True))
    ]


def wilcoxon(first: Float[np.ndarray, "patients"], second: Float[np.ndarray, "patients"]) -> SignedRank:
    """Wilcoxon's signed-rank test of whether second − first is as often and as far above 0 as below, two-sided.

    Differences of 0 carry no sign and are not ranked; differences are rounded to 12 decimals, so that what was computed
    in another order is a tie. p is NaN without patients, 1 when all differences are 0.

    >>> first = np.array([0.5, 0.6, 0.7, 0.4, 0.3])
    >>> wilcoxon(first, first + np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    SignedRank(statistic=0.0, p=0.0625, signed=5, used=5, total=5)
    """
    differences = np.round(_differences(first, second), _DECIMALS)
    signed = differences[differences != 0]
    counts = {"signed": signed.size, "used": differences.size, "total": first.size}
    if not signed.size:
        return SignedRank(0.0, 1.0, **counts) if differences.size else SignedRank(nan, nan, **counts)
    result = stats.wilcoxon(signed)
    return SignedRank(float(result.statistic), float(result.pvalue), **counts)


def holm(p: Float[np.ndarray, "tests"]) -> Float[np.ndarray, "tests"]:
    """Each p of several tests corrected by Holm: the chance of any false alarm among them stays below it.

    The smallest p is multiplied by the number of tests, the next one by one less, and so on; none is above 1 or below
    that of a smaller p. NaN is no test, stays, and is not counted.

    >>> holm(np.array([0.04, 0.01, nan, 0.03]))
    array([0.06, 0.03,  nan, 0.06])
    """
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    corrected = np.full(p.shape, nan)
    factors = np.arange(order.size, 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1.0)
    return corrected


def evaluate(
    first: Float[np.ndarray, "patients"], second: Float[np.ndarray, "patients"], rng: np.random.Generator
) -> dict[str, float]:
    """Every score of this module for two measurements of the same patients, by name; the interval is of the bias.

    >>> first = np.array([10.0, 20.0, 30.0, 40.0, 50.0, 60.0])
    >>> list(evaluate(first, first + 1.0, np.random.default_rng(0)))
    ['bias', 'bias_low', 'bias_high', 'lower_limit', 'upper_limit', 'wilcoxon_p']
    """
    limits, interval = bland_altman(first, second), bootstrap_mean(second - first, rng)
    return {
        "bias": limits.bias,
        "bias_low": interval.low,
        "bias_high": interval.high,
        "lower_limit": limits.lower,
        "upper_limit": limits.upper,
        "wilcoxon_p": wilcoxon(first, second).p,
    }


def _differences(
    first: Float[np.ndarray, "patients"], second: Float[np.ndarray, "patients"]
) -> Float[np.ndarray, "used"]:
    validate(first, second)
    differences = second.astype(np.float64) - first.astype(np.float64)
    return differences[~np.isnan(differences)]


def _drawn_means(
    values: Float[np.ndarray, "used measures"], rng: np.random.Generator
) -> Float[np.ndarray, "measures resamples"]:
    """The means of cohorts drawn from patients who have every measure: how often each was drawn, times its value."""
    count = values.shape[0]
    offsets = (count * np.arange(_BLOCK, dtype=np.int32))[:, None]
    blocks = []
    for _ in range(RESAMPLES // _BLOCK):
        drawn = rng.integers(count, size=(_BLOCK, count), dtype=np.int32) + offsets
        often = np.bincount(drawn.ravel(), minlength=_BLOCK * count).reshape(_BLOCK, count)
        blocks.append(values.T @ often.T.astype(np.float64) / count)
    return np.concatenate(blocks, axis=1)
