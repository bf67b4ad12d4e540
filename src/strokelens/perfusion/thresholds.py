"""Threshold rules: which tissue is core and which is hypoperfused, by limits on perfusion maps.

Conventions: a rule is data. Its core is where all core conditions hold within tissue, its hypoperfused region where all
hypoperfused conditions hold, or the core; the penumbra is hypoperfused and not core. A condition never holds where its
map is NaN. Perfusion does not change from voxel to voxel as its noise does, so both regions are then decided by
majority: a voxel belongs where more than half of the tissue around it does, weighted by a Gaussian of 3 mm. Components
too small to count (26-neighbourhood) are taken out.

A relative limit of delay is so many seconds over the median of the hemisphere that is less affected: it does not move
when another artery is chosen, or when the bolus is injected later. Any other relative limit
is a share of a reference: of the median of normal tissue (Tmax under 4 s), of the median of the hemisphere that is less
affected, or of the value at the mirrored place, blurred by 4 mm and held within 0.5 to 2 times the normal median, so
that neither a ventricle nor a vessel over there decides.

References:
    The numbers stand beside each rule. Limits in absolute units depend on scanner and software; relative limits depend
    on the deconvolution, because truncation lowers high flow more than low flow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

import numpy as np
from scipy import ndimage

from strokelens.arrays import Mask, Volume
from strokelens.case import UNITS, Segmentation
from strokelens.errors import RuleError, hint
from strokelens.grid import Grid
from strokelens.labels import CORE_PENUMBRA
from strokelens.perfusion.hemispheres import Midplane

_NORMAL_TMAX_S = 4.0
_MIRROR_BLUR_MM = 4.0
_MIRROR_RANGE = (0.5, 2.0)
_LEAST_WEIGHT = 0.05


class Reference(Enum):
    """What a limit is measured against."""

    ABSOLUTE = "as it is"
    NORMAL = "of the median where Tmax < 4 s"
    OTHER_SIDE = "of the median of the less affected hemisphere"
    MIRROR = "of the mirrored place"
    QUANTILE = "of tissue"
    LATER = "s later than the median of the less affected hemisphere"


class Side(Enum):
    """On which side of its limit a value counts."""

    BELOW = "<"
    ABOVE = ">"


@dataclass(frozen=True)
class Condition:
    """A map below or above a limit, in the map's unit or as a share of a reference.

    >>> str(Condition("Tmax", Side.ABOVE, 6.0)), str(Condition("CBF", Side.BELOW, 0.3, Reference.NORMAL))
    ('Tmax > 6 s', 'CBF < 30 % of the median where Tmax < 4 s')
    """

    channel: str
    side: Side
    limit: float
    reference: Reference = Reference.ABSOLUTE

    def __str__(self) -> str:
        if self.reference is Reference.ABSOLUTE:
            return f"{self.channel} {self.side.value} {self.limit:g} {UNITS[self.channel]}"
        if self.reference is Reference.LATER:
            return f"{self.channel} {self.side.value} {self.limit:g} {self.reference.value}"
        return f"{self.channel} {self.side.value} {100 * self.limit:g} % {self.reference.value}"

    @property
    def key(self) -> str:
        """The limit's name in a result, with its unit, such as `tmax_above_s` or `cbf_below_fraction`."""
        own_unit = _UNIT_KEYS.get(self.channel, "")
        kinds = {
            Reference.ABSOLUTE: own_unit,
            Reference.QUANTILE: "quantile",
            Reference.LATER: f"normal_plus_{own_unit}",
        }
        unit = kinds.get(self.reference, "fraction")
        return f"{self.channel.lower()}_{self.side.name.lower()}_{unit}"


@dataclass(frozen=True)
class Rule:
    """A named pair of conditions for core and hypoperfused tissue, its source, and what is too small to count."""

    name: str
    source: str
    core: tuple[Condition, ...]
    hypoperfused: tuple[Condition, ...]
    majority_mm: float = 3.0
    smallest_core_ml: float = 0.2
    smallest_hypoperfused_ml: float = 2.0

    @property
    def channels(self) -> tuple[str, ...]:
        """The maps that the rule needs, in alphabetical order."""
        needed = {condition.channel for condition in (*self.core, *self.hypoperfused)}
        if any(condition.reference is Reference.NORMAL for condition in (*self.core, *self.hypoperfused)):
            needed.add("Tmax")
        return tuple(sorted(needed))

    @property
    def description(self) -> str:
        """The rule in words."""
        core = " and ".join(str(condition) for condition in self.core)
        hypoperfused = " and ".join(str(condition) for condition in self.hypoperfused)
        return f"core: {core or 'none'}; hypoperfused: {hypoperfused or 'the core'}"

    @property
    def absolute(self) -> tuple[str, ...]:
        """The maps of flow, volume and transit time that the rule judges by limits in their own units."""
        conditions = (*self.core, *self.hypoperfused)
        found = {
            c.channel for c in conditions if c.reference is Reference.ABSOLUTE and c.channel in ("CBF", "CBV", "MTT")
        }
        return tuple(sorted(found))

    @property
    def thresholds(self) -> dict[str, float]:
        """Every limit by name: `core_cbf_below_fraction`, `hypoperfused_tmax_above_s`, ..."""
        core = {f"core_{condition.key}": condition.limit for condition in self.core}
        return core | {f"hypoperfused_{condition.key}": condition.limit for condition in self.hypoperfused}


_UNIT_KEYS = {
    "CBF": "ml_per_100g_per_min",
    "CBV": "ml_per_100g",
    "MTT": "s",
    "TTP": "s",
    "Tmax": "s",
    "ADC": "um2_per_s",
}

_TMAX_6 = Condition("Tmax", Side.ABOVE, 6.0)
_PEAK_LATE = Condition("TTP", Side.ABOVE, 3.5, Reference.LATER)

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        rule.name: rule
        for rule in (
            Rule(
                "strokelens",
                "limits calibrated on simulated patients; docs/concepts/perfusion.md",
                (Condition("CBV", Side.BELOW, 0.48, Reference.MIRROR), _PEAK_LATE),
                (_PEAK_LATE,),
            ),
            Rule(
                "rapid",
                "as published for RAPID: Campbell 2011, Albers 2018",
                (Condition("CBF", Side.BELOW, 0.30, Reference.NORMAL), _TMAX_6),
                (_TMAX_6,),
            ),
            Rule(
                "cereda",
                "Cereda 2016",
                (Condition("CBF", Side.BELOW, 0.38, Reference.OTHER_SIDE), Condition("Tmax", Side.ABOVE, 4.0)),
                (_TMAX_6,),
            ),
            Rule("bathla", "Bathla 2020", (Condition("CBF", Side.BELOW, 20.0), _TMAX_6), (_TMAX_6,)),
            Rule(
                "wintermark",
                "Wintermark 2006",
                (Condition("CBV", Side.BELOW, 2.0), Condition("MTT", Side.ABOVE, 1.45, Reference.OTHER_SIDE)),
                (Condition("MTT", Side.ABOVE, 1.45, Reference.OTHER_SIDE),),
            ),
            Rule(
                "campbell",
                "Campbell 2012",
                (Condition("CBF", Side.BELOW, 0.31, Reference.OTHER_SIDE), _TMAX_6),
                (_TMAX_6,),
            ),
            Rule(
                "bivard",
                "Bivard 2014",
                (Condition("CBF", Side.BELOW, 17.5), Condition("TTP", Side.ABOVE, 15.0)),
                (Condition("TTP", Side.ABOVE, 15.0),),
            ),
            Rule(
                "murphy",
                "Murphy 2006",
                (Condition("CBF", Side.BELOW, 13.3), Condition("CBV", Side.BELOW, 1.13)),
                (Condition("CBF", Side.BELOW, 25.0), Condition("CBV", Side.BELOW, 2.15)),
            ),
            Rule(
                "syngo",
                "syngo.via defaults, as in Thormann 2025",
                (Condition("CBV", Side.BELOW, 1.2), Condition("CBF", Side.BELOW, 27.0)),
                (Condition("CBF", Side.BELOW, 27.0),),
            ),
            Rule("adc", "Purushotham 2015, Albers 2018", (Condition("ADC", Side.BELOW, 620.0),), (_TMAX_6,)),
            Rule(
                "adc-dwi",
                "Purushotham 2015; DWI above its 97th percentile",
                (Condition("ADC", Side.BELOW, 620.0), Condition("DWI", Side.ABOVE, 0.97, Reference.QUANTILE)),
                (),
                smallest_hypoperfused_ml=0.2,
            ),
        )
    }
)
"""The named rules; `strokelens` is the default."""


def rule_named(name: str) -> Rule:
    """The rule of this name; `RuleError` with the nearest name otherwise."""
    if name not in RULES:
        raise RuleError(f"no threshold rule {name!r}; {hint(name, RULES)}")
    return RULES[name]


def apply_rule(rule: Rule, maps: Mapping[str, Volume], tissue: Mask, *, grid: Grid, midplane: Midplane) -> Segmentation:
    """Core and penumbra by a rule, within `tissue` (no vessels, no cerebrospinal fluid).

    Raises `RuleError` when a map that the rule needs is absent.
    """
    absent = [channel for channel in rule.channels if channel not in maps]
    if absent:
        raise RuleError(
            f"rule {rule.name} needs {', '.join(rule.channels)}, but {', '.join(absent)} is missing; "
            f"there is {', '.join(sorted(maps)) or 'no map'}: choose another --rule or add the map"
        )
    judge = _Judge(maps, tissue, grid, midplane)
    core = judge.majority(judge.all_hold(rule.core), rule.majority_mm)
    core = _without_small(core, rule.smallest_core_ml, grid)
    region = judge.majority(judge.all_hold(rule.hypoperfused), rule.majority_mm)
    region = _without_small(region | core, rule.smallest_hypoperfused_ml, grid)
    labels = np.zeros(grid.shape, np.uint8)
    labels[region] = CORE_PENUMBRA.value("penumbra")
    labels[region & core] = CORE_PENUMBRA.value("core")
    return Segmentation(labels, grid, CORE_PENUMBRA)


@dataclass(frozen=True, eq=False)
class _Judge:
    """Conditions on one patient's maps."""

    maps: Mapping[str, Volume]
    tissue: Mask
    grid: Grid
    midplane: Midplane

    def all_hold(self, conditions: tuple[Condition, ...]) -> Mask:
        """The tissue where every condition holds; no tissue at all without a condition."""
        holds = self.tissue.copy() if conditions else np.zeros_like(self.tissue)
        for condition in conditions:
            values = self.maps[condition.channel]
            limit = self._limit(condition)
            holds &= values < limit if condition.side is Side.BELOW else values > limit
        return holds

    def majority(self, mask: Mask, width_mm: float) -> Mask:
        """The tissue around which more than half of the tissue, by Gaussian weight, is in the mask."""
        share, _ = self._blurred(mask, self.tissue, width_mm)
        return self.tissue & (share > 0.5)

    def _blurred(self, values: Mask | Volume, where: Mask, width_mm: float) -> tuple[Volume, Volume]:
        """The Gaussian mean of the values over `where`, 0 where there is none near, and the weight that it rests on."""
        sigma = [width_mm / size for size in self.grid.spacing_mm]
        total = ndimage.gaussian_filter(np.where(where, values, 0).astype(np.float32), sigma)
        weight = ndimage.gaussian_filter(where.astype(np.float32), sigma)
        return np.divide(total, weight, out=np.zeros_like(total), where=weight > _LEAST_WEIGHT), weight

    def _limit(self, condition: Condition) -> Volume | float:
        values, share = self.maps[condition.channel], condition.limit
        match condition.reference:
            case Reference.ABSOLUTE:
                return share
            case Reference.NORMAL:
                return share * self._normal_median(values)
            case Reference.OTHER_SIDE:
                return share * _median(values, self.tissue & self._less_affected(), "tissue on the other side")
            case Reference.MIRROR:
                return np.float32(share) * self._mirrored(values)
            case Reference.LATER:
                return share + _median(values, self.tissue & self._less_affected(), "tissue on the other side")
            case Reference.QUANTILE:
                return float(np.nanquantile(values[self.tissue], share))

    def _normal_median(self, values: Volume) -> float:
        return _median(values, self.tissue & (self.maps["Tmax"] < _NORMAL_TMAX_S), "tissue with Tmax < 4 s")

    def _less_affected(self) -> Mask:
        """The hemisphere with less delay, or with more flow or volume where no map shows delay."""
        right = self.midplane.right()
        name = next((name for name in ("Tmax", "MTT", "TTP") if name in self.maps), None)
        burden = self.maps[name] if name else -next(iter(self.maps.values()))
        known = self.tissue & np.isfinite(burden)
        if not (known & right).any() or not (known & ~right).any():
            raise RuleError("one hemisphere has no value to compare with; choose a rule with absolute limits")
        return right if burden[known & right].mean() < burden[known & ~right].mean() else ~right

    def _mirrored(self, values: Volume) -> Volume:
        """The blurred value at the mirrored place; the normal (or overall) median where there is none."""
        typical = self._normal_median(values) if "Tmax" in self.maps else _median(values, self.tissue, "tissue")
        mean, weight = self._blurred(values, self.tissue & np.isfinite(values), _MIRROR_BLUR_MM)
        mirrored = self.midplane.mirror(np.where(weight > _LEAST_WEIGHT, mean, np.float32(np.nan)))
        mirrored = np.nan_to_num(mirrored, nan=typical)
        low, high = (factor * typical for factor in _MIRROR_RANGE)
        return np.asarray(np.clip(mirrored, low, high))


def _median(values: Volume, region: Mask, what: str) -> float:
    inside = values[region]
    inside = inside[np.isfinite(inside)]
    if inside.size == 0:
        raise RuleError(
            f"there is no {what} to compare with; choose a rule with absolute limits, such as --rule bathla"
        )
    return float(np.median(inside))


def _without_small(mask: Mask, smallest_ml: float, grid: Grid) -> Mask:
    parts, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    large = np.bincount(parts.ravel()) * grid.voxel_volume_ml >= smallest_ml
    large[0] = False
    kept: Mask = large[parts]
    return kept
