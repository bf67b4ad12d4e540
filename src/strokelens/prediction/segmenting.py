"""One case in, one finding out: by thresholds on perfusion maps, or by the diffusion lesion."""

from dataclasses import asdict, dataclass, field, replace
from time import perf_counter
from typing import Literal

import numpy as np

from strokelens.arrays import Mask, Volume
from strokelens.case import SERIES, Case, Segmentation
from strokelens.errors import RuleError
from strokelens.finding import Finding, Method
from strokelens.flags import Flag
from strokelens.labels import CORE_PENUMBRA, LESION_ONLY
from strokelens.perfusion.diffusion import LesionRule, apparent_diffusion, diffusion_lesion, mr_brain
from strokelens.perfusion.maps import MapSettings, Progress, compute_maps
from strokelens.perfusion.masks import tissue
from strokelens.perfusion.thresholds import Rule, rule_named
from strokelens.prediction.scene import (
    PENUMBRA_TMAX_S,
    PERFUSION_MAPS,
    Scene,
    case_flags,
    echo_flags,
    gap_flags,
    hemisphere,
    later_than,
    measured,
    region_flags,
    scene_of_maps,
    scene_of_series,
)

_DEFAULT_RULE = "strokelens"
_FOREIGN_RULE = "rapid"
"""Maps by other software are judged by the limits that the field uses for them: ours belong to our maps."""
_USUAL_B_VALUE = 1000.0

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
    """How a case is segmented; age and NIHSS serve the DAWN criteria, and like the sex a network that sees them.

    `rule` None lets the case decide: the diffusion lesion as core where there is DWI, else the rule `strokelens` for a
    series, and `rapid` for maps that other software made.
    """

    rule: Rule | None = None
    maps: MapSettings = field(default_factory=MapSettings)
    lesion: LesionRule = field(default_factory=LesionRule)
    age_years: float | None = None
    nihss: float | None = None
    sex: Literal["F", "M"] | None = None

    def told_of(self, case: Case) -> Case:
        """The case with the age, NIHSS and sex that are known here, too."""
        female = None if self.sex is None else float(self.sex == "F")
        known = {"age_years": self.age_years, "nihss": self.nihss, "female": female}
        return replace(
            case, clinical={**case.clinical, **{name: each for name, each in known.items() if each is not None}}
        )


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
    case = settings.told_of(case)
    if any(name in case.channels for name in SERIES):
        finding = _from_series(case, settings, progress)
    elif settings.rule is None and _has_diffusion(case):
        finding = _from_diffusion(case, settings)
    else:
        finding = _from_maps(case, settings)
    timings_s = {**finding.timings_s, "total": perf_counter() - started}
    return replace(finding, flags=(*case_flags(case), *finding.flags), timings_s=timings_s, sources=case.sources)


def _has_diffusion(case: Case) -> bool:
    return "DWI" in case.channels and ("ADC" in case.channels or "B0" in case.channels)


def _from_series(case: Case, settings: SegmentSettings, progress: Progress | None) -> Finding:
    perfusion = compute_maps(case, settings.maps, progress)
    started = perf_counter()
    if settings.rule is None and _has_diffusion(case):
        finding = _from_diffusion(replace(case, channels={**case.channels, **perfusion.maps}), settings)
    else:
        finding = _by_rule(scene_of_series(case, perfusion), settings.rule or rule_named(_DEFAULT_RULE))
        finding = replace(finding, backdrop=perfusion.average)
    flags = (*perfusion.flags, *echo_flags(case), *_fit_flags(settings), *finding.flags)
    return replace(
        finding,
        vessels=perfusion.vessels,
        flags=flags,
        settings={**finding.settings, **settings.maps.facts(perfusion.smoothing_mm)},
        timings_s={**perfusion.timings_s, "thresholds": perf_counter() - started},
    )


def _from_maps(case: Case, settings: SegmentSettings) -> Finding:
    maps = {name: case[name] for name in (*PERFUSION_MAPS, "ADC", "DWI") if name in case.channels}
    if not maps:
        raise RuleError(
            f"{case.id}: nothing to segment in {', '.join(sorted(case.channels))}; give a CTP or PWI series, DWI with "
            "ADC or b0, or maps such as CBF and Tmax"
        )
    rule = settings.rule or rule_named("adc" if "ADC" in maps and "CBF" not in maps else _FOREIGN_RULE)
    finding = _by_rule(scene_of_maps(case, maps), rule)
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


def _from_diffusion(case: Case, settings: SegmentSettings) -> Finding:
    adc, flags = _diffusion_of(case)
    dwi = case["DWI"]
    brain = mr_brain(dwi, adc, case.grid)
    found = diffusion_lesion(adc, dwi, brain, case.grid, settings.lesion)
    images = {"ADC": adc, "DWI": dwi} | {name: case[name] for name in PERFUSION_MAPS if name in case.channels}
    maps = {name: np.where(brain, volume, np.float32(np.nan)) for name, volume in images.items()}
    if "Tmax" in maps:
        scene = Scene(case, maps, brain, tissue(brain, maps, None, None), found.midplane)
        finding = measured(scene, _around(found.mask, scene), _lesion_and_delay_method(settings.lesion))
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
        flags=(*flags, _SMALL_LESIONS, *region_flags(found.mask, brain, case.grid)),
        settings=hemisphere(found.mask, found.midplane),
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


def _around(lesion: Mask, scene: Scene) -> Segmentation:
    """The lesion as core, and as penumbra where Tmax is over 6 s besides."""
    late = scene.judged(later_than(PENUMBRA_TMAX_S))
    return Segmentation(np.where(lesion, 2, late.labels).astype(np.uint8), late.grid, CORE_PENUMBRA)


def _by_rule(scene: Scene, rule: Rule) -> Finding:
    method = Method(f"threshold:{rule.name}", rule.description, rule.source, rule.thresholds)
    finding = measured(scene, scene.judged(rule), method)
    return replace(
        finding, flags=(*gap_flags({name: scene.maps[name] for name in rule.channels}, scene.brain), *finding.flags)
    )


def _lesion_and_delay_method(rule: LesionRule) -> Method:
    return Method(
        "threshold:diffusion+tmax",
        f"core: the diffusion lesion; hypoperfused: Tmax > {PENUMBRA_TMAX_S:g} s, or the core",
        "docs/concepts/diffusion.md; Albers 2018",
        {**asdict(rule), "hypoperfused_tmax_above_s": PENUMBRA_TMAX_S},
    )


def _lesion_method(rule: LesionRule) -> Method:
    return Method(
        "threshold:diffusion",
        "bright on DWI against the mirrored hemisphere, with restricted diffusion, grown from seeds",
        "docs/concepts/diffusion.md",
        asdict(rule),
    )
