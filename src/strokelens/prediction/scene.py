"""A case with all that it is judged by, and what a finding tells of any segmentation of it: measures and flags."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import nan
from typing import Literal

import numpy as np

from strokelens.arrays import Mask, Volume
from strokelens.case import Case, Segmentation
from strokelens.errors import CaseError
from strokelens.finding import Finding, Method
from strokelens.flags import Flag
from strokelens.grid import Grid
from strokelens.labels import BACKGROUND, BRAIN, CORE, PENUMBRA
from strokelens.perfusion.hemispheres import Midplane, find_midplane
from strokelens.perfusion.maps import PerfusionMaps
from strokelens.perfusion.masks import tissue, within_mm
from strokelens.perfusion.mismatch import Mismatch
from strokelens.perfusion.thresholds import Condition, Rule, Side, apply_rule

PERFUSION_MAPS = ("CBF", "CBV", "MTT", "TTP", "Tmax")
PENUMBRA_TMAX_S = 6.0

_SEVERE_TMAX_S = 10.0
_EDGE_ML = 0.5
_MOST_WITHOUT_VALUE = 0.1
_MR_RIM_MM = 2.0
"""The rim of the brain on perfusion MR is half fluid or air: its low flow is not ischemia."""
_BACKDROPS = ("NCCT", "CTA", "FLAIR", "T2", "T1", "MIP", "DWI", "B0", "CBV", "CBF", "ADC", "Tmax", "MTT", "TTP")

_ALL_CORE_ML = 20.0
_ALL_CORE_SHARE = 0.9
_ALL_CORE = Flag(
    "all-core",
    "nearly all hypoperfused tissue is called core, which is rare: do the limits fit these maps?",
    grave=True,
)


@dataclass(frozen=True, eq=False)
class Scene:
    """A case with the maps, brain, tissue and midplane by which it is judged."""

    case: Case
    maps: Mapping[str, Volume]
    brain: Mask
    tissue: Mask
    midplane: Midplane

    def judged(self, rule: Rule) -> Segmentation:
        """The scene by a rule of thresholds."""
        return apply_rule(rule, self.maps, self.tissue, grid=self.case.grid, midplane=self.midplane)

    def later_ml(self, tmax_s: float) -> float:
        """The volume of Tmax over a limit, decided by majority like any other region; NaN without Tmax."""
        if "Tmax" not in self.maps:
            return nan
        return self.judged(later_than(tmax_s)).volume_ml("penumbra")


def scene_of_series(case: Case, perfusion: PerfusionMaps) -> Scene:
    """A case whose maps were made of its series; its own ADC and DWI are maps, too."""
    modality: Literal["CT", "MR"] = "CT" if "CTP" in case.channels else "MR"
    regions = tissue(perfusion.parenchyma, perfusion.maps, perfusion.baseline, modality)
    if modality == "MR":
        regions &= within_mm(perfusion.brain, _MR_RIM_MM, case.grid, inside=True)
    midplane = find_midplane(perfusion.baseline, perfusion.brain, case.grid)
    maps = {**perfusion.maps, **{name: case[name] for name in ("ADC", "DWI") if name in case.channels}}
    return Scene(case, maps, perfusion.brain, regions, midplane)


def scene_of_maps(case: Case, maps: Mapping[str, Volume]) -> Scene:
    """A case with maps that came as files; the brain is where any of them has a value other than 0.

    Raises `CaseError` where there is none.
    """
    brain = brain_of_maps(maps)
    midplane = find_midplane(np.nan_to_num(backdrop_of(case, maps)), brain, case.grid)
    shown = {name: np.where(brain, volume, np.float32(np.nan)) for name, volume in maps.items()}
    return Scene(case, shown, brain, tissue(brain, maps, None, None), midplane)


def later_than(tmax_s: float) -> Rule:
    """Tmax over a limit."""
    return Rule(f"Tmax > {tmax_s:g} s", "", (), (Condition("Tmax", Side.ABOVE, tmax_s),))


def measured(scene: Scene, segmentation: Segmentation, method: Method) -> Finding:
    """A segmentation of the scene with its measures: those of a mismatch where penumbra is told from core."""
    region = segmentation.mask(*(label.name for label in segmentation.scheme if label not in (BACKGROUND, BRAIN)))
    found = Finding(
        case_id=scene.case.id,
        segmentation=segmentation,
        maps=scene.maps,
        backdrop=backdrop_of(scene.case, scene.maps),
        brain=scene.brain,
        volumes_ml=volumes_of(segmentation),
        method=method,
        flags=region_flags(region, scene.brain, scene.case.grid),
        settings=hemisphere(region, scene.midplane),
    )
    return _with_mismatch(found, scene) if PENUMBRA in segmentation.scheme else found


def volumes_of(segmentation: Segmentation) -> dict[str, float]:
    """The volume in ml of each class but healthy tissue; with penumbra, of hypoperfused tissue (core included) too."""
    names = [label.name for label in segmentation.scheme if label not in (BACKGROUND, BRAIN)]
    volumes = {name: segmentation.volume_ml(name) for name in sorted(names)}
    if {CORE.name, PENUMBRA.name} <= volumes.keys():
        volumes["hypoperfused"] = segmentation.volume_ml(CORE.name, PENUMBRA.name)
    return volumes


def _with_mismatch(found: Finding, scene: Scene) -> Finding:
    core_ml, hypoperfused_ml = found.volumes_ml["core"], found.volumes_ml["hypoperfused"]
    mismatch = Mismatch(
        core_ml=core_ml,
        hypoperfused_ml=hypoperfused_ml,
        severe_ml=scene.later_ml(_SEVERE_TMAX_S),
        late_ml=scene.later_ml(PENUMBRA_TMAX_S),
    )
    clinical = scene.case.clinical
    all_core = core_ml >= _ALL_CORE_ML and core_ml > _ALL_CORE_SHARE * hypoperfused_ml
    return replace(
        found,
        mismatch=mismatch,
        criteria=mismatch.criteria(clinical.get("age_years"), clinical.get("nihss")),
        flags=(*((_ALL_CORE,) if all_core else ()), *found.flags),
    )


def case_flags(case: Case) -> tuple[Flag, ...]:
    """What is doubtful about the files, and whether there is a patient at all."""
    doubts = {doubt: channel for channel, source in case.sources.items() for doubt in source.doubts}
    flags = [Flag("input", f"{channel}: {doubt}") for doubt, channel in doubts.items()]
    if case.simulated:
        flags.append(Flag("simulated", "this patient is simulated: nothing here is evidence about real ones"))
    return tuple(flags)


def backdrop_of(case: Case, maps: Mapping[str, Volume]) -> Volume:
    """The anatomy to draw on: the most telling channel that the case has."""
    name = next((name for name in _BACKDROPS if name in case.channels), None)
    return case[name] if name else next(iter(maps.values()))


def brain_of_maps(maps: Mapping[str, Volume]) -> Mask:
    """Where any map has a value other than the background's zero; holes are not filled."""
    brain: np.ndarray = np.any([np.isfinite(volume) & (volume != 0) for volume in maps.values()], axis=0)
    if not brain.any():
        raise CaseError(f"the maps {', '.join(sorted(maps))} are empty: every voxel is zero or NaN")
    return brain


def gap_flags(maps: Mapping[str, Volume], brain: Mask) -> tuple[Flag, ...]:
    """Where a map has no value, nothing can be found: say so when that is much of the brain."""
    if not brain.any():
        return ()
    lacking = 1.0 - float(np.all([np.isfinite(volume) for volume in maps.values()], axis=0)[brain].mean())
    if lacking <= _MOST_WITHOUT_VALUE:
        return ()
    return (Flag("gaps", f"{lacking:.0%} of the brain has no value in {', '.join(maps)}", grave=True),)


def hemisphere(region: Mask, midplane: Midplane) -> dict[str, float | str]:
    """Where most of the region lies; both sides when each has a fifth of it; nothing without a region."""
    if not region.any():
        return {}
    share = float((region & midplane.right()).sum() / region.sum())
    return {"hemisphere": "right" if share > 0.8 else "left" if share < 0.2 else "both"}


def region_flags(region: Mask, brain: Mask, grid: Grid) -> tuple[Flag, ...]:
    """A region at the end of the scan goes on where the scan does not; half of the brain is seldom one stroke."""
    along = np.moveaxis(region, grid.axes[2], 0)
    least = _EDGE_ML / grid.voxel_volume_ml
    flags = []
    if len(along) > 2 and max(along[0].sum(), along[-1].sum()) >= least:
        flags.append(Flag("edge", "the region reaches the first or last slice: its true volume may be larger"))
    share = float((region & brain).sum() / brain.sum())
    if share > 0.5:
        flags.append(
            Flag(
                "extensive",
                f"{share:.0%} of the brain is marked: are the maps right?",
                grave=True,
            )
        )
    return tuple(flags)


def echo_flags(case: Case) -> tuple[Flag, ...]:
    """Maps need no TE, but the curves' unit does."""
    if "PWI" not in case.channels or case.echo_time_s:
        return ()
    return (
        Flag("echo-time", "no echo time is known (--echo-time): curves are in arbitrary units; maps do not change"),
    )
