"""One case in, one finding out: by thresholds on perfusion maps, or by the diffusion lesion."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import nan
from time import perf_counter

import numpy as np

from strokelens.arrays import Mask, Volume
from strokelens.case import SERIES, Case, Segmentation
from strokelens.errors import CaseError, RuleError
from strokelens.finding import Finding, Method
from strokelens.flags import Flag
from strokelens.grid import Grid
from strokelens.labels import CORE_PENUMBRA, LESION_ONLY
from strokelens.perfusion.diffusion import LesionRule, apparent_diffusion, diffusion_lesion, mr_brain
from strokelens.perfusion.hemispheres import Midplane, find_midplane
from strokelens.perfusion.maps import MapSettings, Progress, compute_maps
from strokelens.perfusion.masks import tissue, within_mm
from strokelens.perfusion.mismatch import Mismatch
from strokelens.perfusion.thresholds import Condition, Rule, Side, apply_rule, rule_named

_PERFUSION_MAPS = ("CBF", "CBV", "MTT", "TTP", "Tmax")
_PENUMBRA_TMAX_S = 6.0
_SEVERE_TMAX_S = 10.0
_DEFAULT_RULE = "strokelens"
_FOREIGN_RULE = "rapid"
"""Maps by other software are judged by the limits that the field uses for them: ours belong to our maps."""
_MR_RIM_MM = 2.0
"""The rim of the brain on perfusion MR is half fluid or air: its low flow is not ischemia."""
_USUAL_B_VALUE = 1000.0
_EDGE_ML = 0.5
_MOST_WITHOUT_VALUE = 0.1
_BACKDROPS = ("NCCT", "CTA", "FLAIR", "T2", "T1", "MIP", "DWI", "B0", "CBV", "CBF", "ADC", "Tmax", "MTT", "TTP")

_ALL_CORE_ML = 20.0
_ALL_CORE_SHARE = 0.9
_ALL_CORE = Flag(
    "all-core",
    "nearly all hypoperfused tissue is called core, which is rare: do the limits fit these maps?",
    grave=True,
)
_UNCALIBRATED = Flag(
    "uncalibrated",
    "the limits of this rule were found with our own maps of a series; with maps from a file they may be far off",
    grave=True,
)
_SMALL_LESIONS = Flag(
    "small-lesions",
    "small and mild lesions are missed by these rules: in the one public case that they were tested on, 2.6 of 6.7 ml "
    "were found",
)


@dataclass(frozen=True)
class SegmentSettings:
    """How a case is segmented; age and NIHSS serve the DAWN criteria only.

    `rule` None lets the case decide: the diffusion lesion as core where there is DWI, else the rule `strokelens` for a
    series, and `rapid` for maps that other software made.
    """

    rule: Rule | None = None
    maps: MapSettings = field(default_factory=MapSettings)
    lesion: LesionRule = field(default_factory=LesionRule)
    age_years: float | None = None
    nihss: float | None = None


_DEFAULTS = SegmentSettings()


def segment(case: Case, settings: SegmentSettings = _DEFAULTS, progress: Progress | None = None) -> Finding:
    """Core and penumbra, or the diffusion lesion, of one case.

    A perfusion series gives maps first. Then a rule that was asked for judges all maps; without one, DWI with ADC (or
    b0) gives the lesion, which is the core where there is Tmax too; without DWI, the rule `strokelens` judges the maps
    of a series, and `rapid` those of other software.

    >>> from strokelens.phantom.patient import simulate
    >>> from strokelens.phantom.scanner import CtProtocol
    >>> finding = segment(simulate(7, protocol=CtProtocol(slices=3), motion=False).case)
    >>> finding.segmentation.scheme.names, sorted(finding.volumes_ml)
    (('background', 'penumbra', 'core'), ['core', 'hypoperfused', 'penumbra'])

    Raises `RuleError` when the case has not what this needs, and what `compute_maps` raises.
    """
    started = perf_counter()
    known = {"age_years": settings.age_years, "nihss": settings.nihss}
    clinical = {**case.clinical, **{name: value for name, value in known.items() if value is not None}}
    case = replace(case, clinical=clinical)
    if any(name in case.channels for name in SERIES):
        finding = _from_series(case, settings, progress)
    elif settings.rule is None and _has_diffusion(case):
        finding = _from_diffusion(case, settings)
    else:
        finding = _from_maps(case, settings)
    timings_s = {**finding.timings_s, "total": perf_counter() - started}
    return replace(finding, flags=(*_case_flags(case), *finding.flags), timings_s=timings_s, sources=case.sources)


def _has_diffusion(case: Case) -> bool:
    return "DWI" in case.channels and ("ADC" in case.channels or "B0" in case.channels)


def _case_flags(case: Case) -> tuple[Flag, ...]:
    """What is doubtful about the files, and whether there is a patient at all."""
    doubts = {doubt: channel for channel, source in case.sources.items() for doubt in source.doubts}
    flags = [Flag("input", f"{channel}: {doubt}") for doubt, channel in doubts.items()]
    if case.simulated:
        flags.append(Flag("simulated", "this patient is simulated: nothing here is evidence about real ones"))
    return tuple(flags)


def _from_series(case: Case, settings: SegmentSettings, progress: Progress | None) -> Finding:
    perfusion = compute_maps(case, settings.maps, progress)
    started = perf_counter()
    regions = tissue(perfusion.parenchyma, perfusion.maps, perfusion.baseline, "CT" if "CTP" in case.channels else "MR")
    if "PWI" in case.channels:
        regions &= within_mm(perfusion.brain, _MR_RIM_MM, case.grid, inside=True)
    midplane = find_midplane(perfusion.baseline, perfusion.brain, case.grid)
    if settings.rule is None and _has_diffusion(case):
        finding = _from_diffusion(replace(case, channels={**case.channels, **perfusion.maps}), settings)
    else:
        maps = {**perfusion.maps, **{name: case[name] for name in ("ADC", "DWI") if name in case.channels}}
        scene = _Scene(case, maps, perfusion.brain, regions, midplane)
        finding = _by_rule(scene, settings.rule or rule_named(_DEFAULT_RULE))
        finding = replace(finding, backdrop=perfusion.average)
    flags = (*perfusion.flags, *_echo_flags(case), *_fit_flags(settings), *finding.flags)
    return replace(
        finding,
        vessels=perfusion.vessels,
        flags=flags,
        settings={**finding.settings, **settings.maps.facts(perfusion.smoothing_mm)},
        timings_s={**perfusion.timings_s, "thresholds": perf_counter() - started},
    )


def _from_maps(case: Case, settings: SegmentSettings) -> Finding:
    maps = {name: case[name] for name in (*_PERFUSION_MAPS, "ADC", "DWI") if name in case.channels}
    if not maps:
        raise RuleError(
            f"{case.id}: nothing to segment in {', '.join(sorted(case.channels))}; give a CTP or PWI series, DWI with "
            "ADC or b0, or maps such as CBF and Tmax"
        )
    brain = _brain_of_maps(maps)
    rule = settings.rule or rule_named("adc" if "ADC" in maps and "CBF" not in maps else _FOREIGN_RULE)
    midplane = find_midplane(np.nan_to_num(_backdrop(case, maps)), brain, case.grid)
    shown = {name: np.where(brain, volume, np.float32(np.nan)) for name, volume in maps.items()}
    finding = _by_rule(_Scene(case, shown, brain, tissue(brain, maps, None, None), midplane), rule)
    return replace(finding, flags=(*_foreign_flags(rule), *finding.flags))


def _foreign_flags(rule: Rule) -> tuple[Flag, ...]:
    """What is doubtful when a rule judges maps that we did not make, or that come without their series."""
    if rule.name == _DEFAULT_RULE:
        return (_UNCALIBRATED,)
    if not rule.absolute:
        return ()
    message = (
        f"the limits of {', '.join(rule.absolute)} in this rule hold for maps of the software that they were found "
        "with; whether these are such maps cannot be seen, and maps by strokelens are not"
    )
    return (Flag("foreign-limits", message),)


def _fit_flags(settings: SegmentSettings) -> tuple[Flag, ...]:
    """Limits belong to the software that they were found with, absolute ones most of all."""
    rule = settings.rule or rule_named(_DEFAULT_RULE)
    absolute = rule.absolute
    if not absolute:
        return ()
    message = (
        f"the limits of {', '.join(absolute)} in this rule were found with other software; "
        f"{settings.maps.deconvolution.name} lowers flow and lengthens transit times, so volumes may be far off"
    )
    return (Flag("absolute-limits", message, grave=True),)


def _echo_flags(case: Case) -> tuple[Flag, ...]:
    """Maps need no TE, but the curves' unit does."""
    if "PWI" not in case.channels or case.echo_time_s:
        return ()
    return (
        Flag("echo-time", "no echo time is known (--echo-time): curves are in arbitrary units; maps do not change"),
    )


def _from_diffusion(case: Case, settings: SegmentSettings) -> Finding:
    adc, flags = _diffusion_of(case)
    dwi = case["DWI"]
    brain = mr_brain(dwi, adc, case.grid)
    found = diffusion_lesion(adc, dwi, brain, case.grid, settings.lesion)
    images = {"ADC": adc, "DWI": dwi} | {name: case[name] for name in _PERFUSION_MAPS if name in case.channels}
    maps = {name: np.where(brain, volume, np.float32(np.nan)) for name, volume in images.items()}
    if "Tmax" in maps:
        scene = _Scene(case, maps, brain, tissue(brain, maps, None, None), found.midplane)
        finding = _measured(scene, _around(found.mask, scene), _lesion_and_delay_method(settings.lesion))
        return replace(finding, backdrop=dwi, flags=(*flags, *finding.flags))
    segmentation = Segmentation(found.mask.astype(np.uint8), case.grid, LESION_ONLY)
    return Finding(
        case_id=case.id,
        segmentation=segmentation,
        maps=maps,
        backdrop=dwi,
        brain=brain,
        volumes_ml={"lesion": segmentation.volume_ml("lesion")},
        method=_lesion_method(settings.lesion),
        flags=(*flags, _SMALL_LESIONS, *_region_flags(found.mask, brain, case.grid)),
        settings=_hemisphere(found.mask, found.midplane),
    )


def _diffusion_of(case: Case) -> tuple[Volume, tuple[Flag, ...]]:
    """The case's ADC, or the one that b0 and DWI give."""
    if "ADC" in case.channels:
        return case["ADC"], ()
    b_value = case.b_value_s_per_mm2
    adc = apparent_diffusion(case["B0"], case["DWI"], b_value_s_per_mm2=b_value or _USUAL_B_VALUE)
    if b_value:
        return adc, (Flag("adc-computed", f"ADC was computed from b0 and DWI with b = {b_value:g} s/mm²"),)
    message = f"ADC was computed from b0 and DWI; no b-value was given, so b = {_USUAL_B_VALUE:g} s/mm² (--b-value)"
    return adc, (Flag("b-value-assumed", message),)


@dataclass(frozen=True, eq=False)
class _Scene:
    """A case with the maps, brain, tissue and midplane by which it is judged."""

    case: Case
    maps: Mapping[str, Volume]
    brain: Mask
    tissue: Mask
    midplane: Midplane

    def judged(self, rule: Rule) -> Segmentation:
        return apply_rule(rule, self.maps, self.tissue, grid=self.case.grid, midplane=self.midplane)

    def later_ml(self, tmax_s: float) -> float:
        """The volume of Tmax over a limit, decided by majority like any other region; NaN without Tmax."""
        if "Tmax" not in self.maps:
            return nan
        return self.judged(_later_than(tmax_s)).volume_ml("penumbra")


def _later_than(tmax_s: float) -> Rule:
    return Rule(f"Tmax > {tmax_s:g} s", "", (), (Condition("Tmax", Side.ABOVE, tmax_s),))


def _around(lesion: Mask, scene: _Scene) -> Segmentation:
    """The lesion as core, and as penumbra where Tmax is over 6 s besides."""
    late = scene.judged(_later_than(_PENUMBRA_TMAX_S))
    return Segmentation(np.where(lesion, 2, late.labels).astype(np.uint8), late.grid, CORE_PENUMBRA)


def _by_rule(scene: _Scene, rule: Rule) -> Finding:
    method = Method(f"threshold:{rule.name}", rule.description, rule.source, rule.thresholds)
    finding = _measured(scene, scene.judged(rule), method)
    return replace(finding, flags=(*_gap_flags(scene, rule), *finding.flags))


def _gap_flags(scene: _Scene, rule: Rule) -> tuple[Flag, ...]:
    """Where a map has no value, nothing is ever found: say so when that is much of the brain."""
    known = np.all([np.isfinite(scene.maps[name]) for name in rule.channels], axis=0)
    lacking = 1.0 - float(known[scene.brain].mean())
    if lacking <= _MOST_WITHOUT_VALUE:
        return ()
    return (Flag("gaps", f"{lacking:.0%} of the brain has no value in {', '.join(rule.channels)}", grave=True),)


def _measured(scene: _Scene, segmentation: Segmentation, method: Method) -> Finding:
    """Core and penumbra with their measures."""
    case = scene.case
    core_ml, hypoperfused_ml = segmentation.volume_ml("core"), segmentation.volume_ml("core", "penumbra")
    mismatch = Mismatch(
        core_ml=core_ml,
        hypoperfused_ml=hypoperfused_ml,
        severe_ml=scene.later_ml(_SEVERE_TMAX_S),
        late_ml=scene.later_ml(_PENUMBRA_TMAX_S),
    )
    region = segmentation.mask("core", "penumbra")
    all_core = core_ml >= _ALL_CORE_ML and core_ml > _ALL_CORE_SHARE * hypoperfused_ml
    return Finding(
        case_id=case.id,
        segmentation=segmentation,
        maps=scene.maps,
        backdrop=_backdrop(case, scene.maps),
        brain=scene.brain,
        volumes_ml={"core": core_ml, "penumbra": mismatch.volume_ml, "hypoperfused": hypoperfused_ml},
        method=method,
        mismatch=mismatch,
        criteria=mismatch.criteria(case.clinical.get("age_years"), case.clinical.get("nihss")),
        flags=(*((_ALL_CORE,) if all_core else ()), *_region_flags(region, scene.brain, case.grid)),
        settings=_hemisphere(region, scene.midplane),
    )


def _lesion_and_delay_method(rule: LesionRule) -> Method:
    return Method(
        "threshold:diffusion+tmax",
        f"core: the diffusion lesion; hypoperfused: Tmax > {_PENUMBRA_TMAX_S:g} s, or the core",
        "docs/concepts/diffusion.md; Albers 2018",
        {**asdict(rule), "hypoperfused_tmax_above_s": _PENUMBRA_TMAX_S},
    )


def _lesion_method(rule: LesionRule) -> Method:
    return Method(
        "threshold:diffusion",
        "bright on DWI against the mirrored hemisphere, with restricted diffusion, grown from seeds",
        "docs/concepts/diffusion.md",
        asdict(rule),
    )


def _backdrop(case: Case, maps: Mapping[str, Volume]) -> Volume:
    """The anatomy to draw on: the most telling channel that the case has."""
    name = next((name for name in _BACKDROPS if name in case.channels), None)
    return case[name] if name else next(iter(maps.values()))


def _brain_of_maps(maps: Mapping[str, Volume]) -> Mask:
    """Where any map has a value other than the background's zero; holes are not filled."""
    brain: np.ndarray = np.any([np.isfinite(volume) & (volume != 0) for volume in maps.values()], axis=0)
    if not brain.any():
        raise CaseError(f"the maps {', '.join(sorted(maps))} are empty: every voxel is zero or NaN")
    return brain


def _hemisphere(region: Mask, midplane: Midplane) -> dict[str, float | str]:
    """Where most of the region lies; both sides when each has a fifth of it; nothing without a region."""
    if not region.any():
        return {}
    share = float((region & midplane.right()).sum() / region.sum())
    return {"hemisphere": "right" if share > 0.8 else "left" if share < 0.2 else "both"}


def _region_flags(region: Mask, brain: Mask, grid: Grid) -> tuple[Flag, ...]:
    """A region at the end of the scan goes on where the scan does not; half of the brain is seldom one stroke."""
    along = np.moveaxis(region, grid.axes[2], 0)
    least = _EDGE_ML / grid.voxel_volume_ml
    flags = []
    if len(along) > 2 and max(along[0].sum(), along[-1].sum()) >= least:
        flags.append(Flag("edge", "the region reaches the first or last slice: its true volume may be larger"))
    if region.sum() > 0.5 * brain.sum():
        share = region.sum() / brain.sum()
        flags.append(Flag("extensive", f"{share:.0%} of the brain is marked: is the arterial curve right?", grave=True))
    return tuple(flags)
