"""Whether two ways of measuring the same patients agree, and how sure a mean over patients is.

Conventions: one number per patient in an array, the patients in the same order in both; a difference is second −
first. The unit is that of the numbers. Patients are drawn, never voxels, because the voxels of one patient are not
independent.

Empty cases: NaN says that a patient has no such number. That patient is left out, of both arrays, and counted: `used`
of `total`. What too few patients cannot tell is NaN.

Metrics: bias and limits of agreement, bootstrap interval of a mean, Wilcoxon's signed-rank test, Holm's correction.

References:
    Bland & Altman 1986, Lancet 327:307; Efron 1979, Ann Stat 7:1; Wilcoxon 1945, Biometrics Bulletin 1:80;
    Holm 1979, Scand J Stat 6:65.
"""

from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Float
from scipy import stats

from strokelens.errors import CaseError, UnitError

RESAMPLES = 10_000
"""How often a cohort is drawn anew for an interval."""

_BLOCK = 500
_LIMIT = float(stats.norm.ppf(0.975))


@dataclass(frozen=True)
class Limits:
    """Bias, and the limits between which 95 % of normally distributed differences lie."""

    bias: float
    lower: float
    upper: float
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
    """A two-sided test: the sum of ranks of the rarer sign, and how likely one so small is by chance."""

    statistic: float
    p: float
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

    NaN without patients; the limits are NaN with one.

    >>> bland_altman(np.array([10.0, 20.0, nan]), np.array([12.0, 22.0, 9.0]))
    Limits(bias=2.0, lower=2.0, upper=2.0, used=2, total=3)
    """
    differences = _differences(first, second)
    bias = float(differences.mean()) if differences.size else nan
    half = _LIMIT * float(differences.std(ddof=1)) if differences.size > 1 else nan
    return Limits(bias, bias - half, bias + half, used=differences.size, total=first.size)


def bootstrap_mean(values: Float[np.ndarray, "patients"], rng: np.random.Generator) -> Interval:
    """The mean over patients, and the 2.5th and 97.5th percentile of the means of 10,000 cohorts drawn from them.

    Patients are drawn with replacement. NaN without patients; of one patient, all three are that one. The same seed and
    numbers give the same interval.

    >>> print(bootstrap_mean(np.array([0.2, 0.4, 0.6, 0.8, nan]), np.random.default_rng(0)))
    0.500 [0.300, 0.700] (4 of 5)
    """
    validate(values)
    known = values[~np.isnan(values)].astype(np.float64)
    if not known.size:
        return Interval(nan, nan, nan, used=0, total=values.size)
    blocks = [
        known[rng.integers(known.size, size=(_BLOCK, known.size))].mean(axis=1) for _ in range(RESAMPLES // _BLOCK)
    ]
    low, high = np.percentile(np.concatenate(blocks), [2.5, 97.5])
    return Interval(float(known.mean()), float(low), float(high), used=known.size, total=values.size)


def wilcoxon(first: Float[np.ndarray, "patients"], second: Float[np.ndarray, "patients"]) -> SignedRank:
    """Wilcoxon's signed-rank test of whether second − first is as often and as far above 0 as below, two-sided.

    Differences of 0 carry no sign and are not ranked. p is NaN without patients, 1 when all differences are 0.

    >>> first = np.array([0.5, 0.6, 0.7, 0.4, 0.3])
    >>> wilcoxon(first, first + np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    SignedRank(statistic=0.0, p=0.0625, used=5, total=5)
    """
    differences = _differences(first, second)
    counts = {"used": differences.size, "total": first.size}
    if not differences.any():
        return SignedRank(0.0, 1.0, **counts) if differences.size else SignedRank(nan, nan, **counts)
    result = stats.wilcoxon(differences)
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

    >>> first = np.array([10.0, 20.0, 30.0])
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
