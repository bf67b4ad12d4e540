"""Core against hypoperfused tissue: mismatch, hypoperfusion intensity, and the criteria of three trials.

Conventions: volumes in ml; hypoperfused tissue includes the core. What a missing value leaves open is None or NaN,
never False or 0. The criteria are information about published inclusion rules, not advice on treatment.

References:
    Albers et al. 2018 (DEFUSE 3), Ma et al. 2019 (EXTEND), Nogueira et al. 2018 (DAWN), Olivot et al. 2014 (HIR).
"""

from dataclasses import dataclass
from math import inf, nan


@dataclass(frozen=True)
class Criterion:
    """The imaging rule of one trial: `met` is None where age or NIHSS is not known."""

    trial: str
    rule: str
    met: bool | None


@dataclass(frozen=True)
class Mismatch:
    """How much tissue is hypoperfused and not yet core.

    `severe_ml` is the volume of Tmax > 10 s, NaN where there is no Tmax. `late_ml` is that of Tmax > 6 s where the
    hypoperfused region was found in another way; None where it is that region.

    >>> mismatch = Mismatch(core_ml=20.0, hypoperfused_ml=80.0, severe_ml=32.0)
    >>> mismatch.volume_ml, mismatch.ratio, mismatch.hypoperfusion_intensity_ratio
    (60.0, 4.0, 0.4)
    """

    core_ml: float
    hypoperfused_ml: float
    severe_ml: float = nan
    late_ml: float | None = None

    @property
    def volume_ml(self) -> float:
        """Hypoperfused − core."""
        return self.hypoperfused_ml - self.core_ml

    @property
    def ratio(self) -> float:
        """Hypoperfused / core; infinite without core, NaN when nothing is hypoperfused either."""
        if self.core_ml > 0:
            return self.hypoperfused_ml / self.core_ml
        return inf if self.hypoperfused_ml > 0 else nan

    @property
    def hypoperfusion_intensity_ratio(self) -> float:
        """Volume of Tmax > 10 s / volume of Tmax > 6 s; NaN when there is none of the latter."""
        late_ml = self.hypoperfused_ml if self.late_ml is None else self.late_ml
        return self.severe_ml / late_ml if late_ml > 0 else nan

    def criteria(self, age_years: float | None = None, nihss: float | None = None) -> tuple[Criterion, ...]:
        """The imaging criteria of DEFUSE 3, EXTEND and DAWN, as information.

        >>> [criterion.met for criterion in Mismatch(20.0, 80.0).criteria()]
        [True, True, None]
        """
        defuse = self.core_ml < 70 and self.volume_ml >= 15 and self.ratio >= 1.8
        extend = self.core_ml < 70 and self.volume_ml > 10 and self.ratio > 1.2
        return (
            Criterion("DEFUSE 3", "core < 70 ml, mismatch ≥ 15 ml, ratio ≥ 1.8", defuse),
            Criterion("EXTEND", "core < 70 ml, mismatch > 10 ml, ratio > 1.2", extend),
            Criterion("DAWN", _DAWN_RULE, self._dawn(age_years, nihss)),
        )

    def _dawn(self, age_years: float | None, nihss: float | None) -> bool | None:
        if age_years is None or nihss is None:
            return None
        if age_years >= 80:
            return nihss >= 10 and self.core_ml <= 20
        return (nihss >= 10 and self.core_ml <= 30) or (nihss >= 20 and self.core_ml <= 51)


_DAWN_RULE = (
    "age ≥ 80, NIHSS ≥ 10, core ≤ 20 ml; age < 80, NIHSS ≥ 10, core ≤ 30 ml; age < 80, NIHSS ≥ 20, core ≤ 51 ml "
    "(needs --age and --nihss)"
)
