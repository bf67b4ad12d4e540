"""From a CT or MR perfusion series to CBF, CBV, MTT, TTP and Tmax.

The series is walked through once, frame by frame: each is steadied, brought to the working grid (pixels of up to 1 mm),
and its brain voxels are kept. So memory is the series and about a quarter of it besides. Curves are then blurred within
the parenchyma: a large vessel holds twenty times the blood of tissue, and would flood what lies around it.

Conventions, with artery a = aif / partial_volume, haematocrit factor k = (1 − 0.45) / (1 − 0.25) and tissue density
ρ = 1.04 g/ml:

* CBF = 6000 k/ρ · max response, ml/100 g/min;
* CBV = 100 k/ρ · AUC(tissue) / AUC(a), ml/100 g, both areas as `fit` finds them;
* MTT = 60 · CBV / CBF, s;
* Tmax = time of the response's maximum, s; negative where tissue fills before the artery that was chosen;
* TTP = time of the fitted curve's maximum after the bolus's arrival in the head, s.

Outside of the brain, and where no flow can be told, maps are NaN.

References:
    Østergaard 1996; Calamante 2013; Fieselmann 2011 (scaling); Kasasbeh 2016 and Copen 2015 (truncation).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from strokelens.arrays import Curve, Curves, Mask, Series, Volume
from strokelens.case import SERIES, Case
from strokelens.errors import CaseError, SeriesError
from strokelens.flags import Flag
from strokelens.grid import Grid
from strokelens.perfusion.arterial import Vessels, find_vessels
from strokelens.perfusion.curves import (
    LEAST_FRAMES,
    Bolus,
    enhancement_hu,
    filled,
    find_bolus,
    frame_deviations,
    interpolation,
    noise_of,
    relaxation_change,
    uniform_times,
)
from strokelens.perfusion.deconvolve import DEFAULT, Deconvolution
from strokelens.perfusion.fit import fit_curves
from strokelens.perfusion.masks import ct_brain, opened, signal_brain, within_mm, without_vessels
from strokelens.perfusion.motion import Motion, estimate_motion
from strokelens.perfusion.quality import series_flags
from strokelens.perfusion.working import Blur, WorkingGrid

HAEMATOCRIT_FACTOR = (1 - 0.45) / (1 - 0.25)
DENSITY_G_PER_ML = 1.04

SMOOTHING_MM = (2.0, 3.0)
"""The least and the widest blur (standard deviation) that is chosen for a series."""

VESSEL_SMOOTHING_MM = 0.8
"""The blur in which vessels are sought: they have neighbours, noise has not."""

SPOILED_RIM_MM = 3.0
"""Where the head moved, what is left of the skull's motion cuts off strips of brain narrower than twice this."""

_LARGEST_RIM_MM = 6.0

_EARLY_FRAMES = 3
"""Frames before any bolus, averaged to find the brain."""

_MOST_LEFT_OUT = 0.25
"""Where the motion of more than this share of the frames could not be corrected, they are used all the same."""

Modality = Literal["CT", "MR"]

Progress = Callable[[str], None]
"""Told the name of each step that is done."""


@dataclass(frozen=True)
class MapSettings:
    """How maps are made; the defaults suit CT perfusion of ordinary noise.

    `smoothing_mm` is the standard deviation of the blur within the brain, None for one that follows the noise
    (`smoothing_for`); `still` turns motion correction off.
    """

    deconvolution: Deconvolution = DEFAULT
    smoothing_mm: float | None = None
    still: bool = False

    def facts(self, smoothing_mm: float) -> dict[str, float | str]:
        """What a result tells of how its maps were made, with the blur that was used."""
        return {
            "deconvolution": self.deconvolution.name,
            "smoothing_mm": round(smoothing_mm, 2),
            "motion_correction": "off" if self.still else "on",
        }


@dataclass(frozen=True, eq=False)
class PerfusionMaps:
    """The maps of one case on its grid, and all that they were made from.

    `parenchyma` is the brain without large vessels, and where the head moved without the rim that this spoiled.
    `baseline` is the mean before the bolus (NaN outside of the brain), `average` the mean of all frames everywhere;
    `smoothing_mm` is the blur that was used, `motion` None where it was not looked for.
    """

    grid: Grid
    maps: Mapping[str, Volume]
    brain: Mask
    parenchyma: Mask
    baseline: Volume
    average: Volume
    vessels: Vessels
    motion: Motion | None
    smoothing_mm: float
    flags: tuple[Flag, ...]
    timings_s: Mapping[str, float]


def compute_maps(case: Case, settings: MapSettings = MapSettings(), progress: Progress | None = None) -> PerfusionMaps:
    """The perfusion maps of a case with a CTP or PWI series; the steps in the order in which they are told.

    >>> from strokelens.phantom.patient import simulate
    >>> from strokelens.phantom.scanner import CtProtocol
    >>> perfusion = compute_maps(simulate(1, protocol=CtProtocol(slices=3)).case, MapSettings(still=True))
    >>> sorted(perfusion.maps), perfusion.maps["CBF"].shape
    (['CBF', 'CBV', 'MTT', 'TTP', 'Tmax'], (256, 256, 3))

    Raises `CaseError` without a series, and `SeriesError` when it has no time axis, no brain, no bolus or no artery.
    """
    clock = _Clock(progress or (lambda step: None))
    series, time_s, modality = _series_of(case)
    motion = None if settings.still else estimate_motion(series, case.grid, modality=modality)
    frames = _Frames.of(series, motion)
    time_s = time_s[frames.indices]
    clock.lap("motion")

    working = WorkingGrid.of(case.grid)
    early = working.shrink(np.mean([frames[t] for t in range(_EARLY_FRAMES)], axis=0))
    brain = ct_brain(early, working.grid) if modality == "CT" else signal_brain(early, working.grid)
    clock.lap("brain")

    sharp, average = _gather(frames, working, brain)
    brain, sharp = _with_enough_frames(brain, sharp)
    clock.lap("frames")

    bolus = find_bolus(sharp.mean(axis=0), rising=modality == "CT")
    contrast = _Contrast(modality, bolus, time_s, case.echo_time_s)
    vessels, enhancement = _vessels(sharp, contrast, Blur(brain, working.grid, VESSEL_SMOOTHING_MM), motion)
    parenchyma = _parenchyma(brain, enhancement, motion, working.grid)
    clock.lap("vessels")

    baseline = sharp[:, : bolus.arrival].mean(axis=1)
    smoothing_mm = settings.smoothing_mm
    if smoothing_mm is None:
        smoothing_mm = smoothing_for(sharp, brain, Blur(parenchyma, working.grid, SMOOTHING_MM[0]))
    blurred = contrast(_blurred(sharp, brain, Blur(parenchyma, working.grid, smoothing_mm)))
    del sharp  # as large as a fifth of the series
    clock.lap("smoothing")

    columns = maps_of_curves(blurred, vessels, settings.deconvolution)
    columns["TTP"] -= np.float32(time_s[bolus.arrival] - time_s[0])
    clock.lap("deconvolution")
    return PerfusionMaps(
        grid=case.grid,
        maps={name: working.grow(column, brain) for name, column in columns.items()},
        brain=working.grow_mask(brain),
        parenchyma=working.grow_mask(parenchyma),
        baseline=working.grow(baseline, brain),
        average=average,
        vessels=vessels,
        motion=motion,
        smoothing_mm=smoothing_mm,
        flags=(*series_flags(vessels, bolus, time_s), *frames.flags, *(motion.flags if motion else ())),
        timings_s=clock.laps_s,
    )


def _series_of(case: Case) -> tuple[Series, Curve, Modality]:
    names = [name for name in SERIES if name in case.channels]
    if len(names) != 1:
        raise CaseError(f"{case.id}: perfusion maps need one CTP or PWI series; the case has {sorted(case.channels)}")
    series = case[names[0]]
    if case.time_s is None:
        raise SeriesError(f"{case.id}: the series has no frame times; give them with --frame-interval SECONDS")
    if series.shape[3] < LEAST_FRAMES:
        raise SeriesError(
            f"{case.id}: {series.shape[3]} frames cannot hold a bolus; at least {LEAST_FRAMES} are needed"
        )
    return series, np.asarray(case.time_s, np.float64), "CT" if names[0] == "CTP" else "MR"


@dataclass(frozen=True, eq=False)
class _Frames:
    """The frames of a series that are of use, each steadied when it is asked for."""

    series: Series
    motion: Motion | None
    indices: Int[np.ndarray, "n"]
    flags: tuple[Flag, ...]

    @classmethod
    def of(cls, series: Series, motion: Motion | None) -> "_Frames":
        """All frames but blank ones, and those whose motion could not be corrected; these too where they are many."""
        useful = np.array([_has_content(series[..., t]) for t in range(series.shape[3])])
        blank = ", ".join(str(t + 1) for t in np.flatnonzero(~useful))
        flags = (Flag("blank-frames", f"frames {blank} hold nothing and are left out"),) if blank else ()
        if motion is not None and motion.uncorrected.mean() <= _MOST_LEFT_OUT:
            useful &= ~motion.uncorrected
        if useful.sum() < LEAST_FRAMES:
            raise SeriesError(
                f"only {int(useful.sum())} of {useful.size} frames are of use; a bolus needs at least {LEAST_FRAMES}"
            )
        return cls(series, motion, np.flatnonzero(useful), flags)

    def __len__(self) -> int:
        return self.indices.size

    def __getitem__(self, index: int) -> Volume:
        frame = self.series[..., self.indices[index]]
        return frame if self.motion is None else self.motion.steady(frame, int(self.indices[index]))


def _has_content(frame: Volume) -> bool:
    """Whether a frame has values, and not only one."""
    return bool(np.nanmin(frame, initial=np.inf) < np.nanmax(frame, initial=-np.inf))


def _gather(frames: _Frames, working: WorkingGrid, brain: Bool[np.ndarray, "x y z"]) -> tuple[Curves, Volume]:
    """The brain's curves on the working grid, and the mean of all frames on the full one."""
    sharp = np.empty((len(frames), int(brain.sum())), np.float32)
    average = np.zeros(working.full.shape, np.float32)
    for t in range(len(frames)):
        frame = frames[t]
        average += np.nan_to_num(frame)
        sharp[t] = working.shrink(frame)[brain]
    average /= len(frames)
    return sharp.T, average


def _blurred(curves: Curves, brain: Bool[np.ndarray, "x y z"], blur: Blur) -> Curves:
    """Every frame of the brain's curves, blurred within the blur's mask and left alone in the rest of the brain."""
    inside = blur.mask[brain]
    frames = np.empty((curves.shape[1], len(curves)), np.float32)
    for frame, column in zip(frames, curves.T, strict=True):
        frame[:] = column
        frame[inside] = blur(column[inside])
    return frames.T


def _vessels(
    sharp: Curves, contrast: "_Contrast", blur: Blur, motion: Motion | None
) -> tuple[Vessels, Float[np.ndarray, "n"]]:
    """Artery and vein, and each voxel's mean contrast, by curves that are blurred little; these are gone afterwards."""
    brain = blur.mask
    clear = _clear_of_motion(brain, motion, blur.grid)
    curves = contrast(_blurred(sharp, brain, blur))
    enhancement = curves.mean(axis=1)
    if clear.sum() < brain.sum():
        curves = curves[clear[brain]]
    return find_vessels(curves, np.argwhere(clear), time_s=contrast.uniform_s, unit=contrast.unit), enhancement


def _parenchyma(
    brain: Bool[np.ndarray, "x y z"], enhancement: Float[np.ndarray, "n"], motion: Motion | None, grid: Grid
) -> Bool[np.ndarray, "x y z"]:
    """The brain without large vessels, and where the head moved without what the skull's motion cuts off.

    What would leave less than half of the brain is not done: then it is no vessel, and no rim.
    """
    parenchyma = without_vessels(brain, enhancement, grid)
    kept = [brain, parenchyma]
    if motion is not None and motion.moved.any():
        kept.append(opened(parenchyma, SPOILED_RIM_MM, grid))
    return [mask for mask in kept if mask.sum() >= 0.5 * brain.sum()][-1]


def _clear_of_motion(brain: Bool[np.ndarray, "x y z"], motion: Motion | None, grid: Grid) -> Bool[np.ndarray, "x y z"]:
    """The brain without the rim in which what is left of the skull's motion rises like a bolus."""
    if motion is None or not motion.moved.any():
        return brain
    rim_mm = min(1.0 + float(motion.displacement_mm[motion.moved].max()), _LARGEST_RIM_MM)
    return within_mm(brain, rim_mm, grid, inside=True)


def smoothing_for(curves: Curves, brain: Bool[np.ndarray, "x y z"], blur: Blur) -> float:
    """The blur in mm that a series needs: 2 mm where its bolus is six times the noise, up to 3 mm where it is weaker.

    The width is 2 mm · (6 / contrast to noise)^0.65, since noise falls by about the 1.55th power of the blur's width
    (measured on noise that is correlated over a pixel). Contrast is the swing of the mean curve in the mask of
    `blur` (2 mm), noise what that blur leaves there: the typical deviation of a frame from the mean of its neighbours,
    in a few frames, less what that difference itself adds.
    """
    inside = blur.mask[brain]
    mean = (inside / inside.sum()).astype(np.float32) @ curves
    swing = float(mean.max() - mean.min())
    noise = noise_of([blur(deviations[inside]) for deviations in frame_deviations(curves)])
    least, most = SMOOTHING_MM
    return float(np.clip(least * (6 * noise / swing) ** 0.65, least, most))


def _with_enough_frames(
    brain: Bool[np.ndarray, "x y z"], curves: Curves
) -> tuple[Bool[np.ndarray, "x y z"], Float[np.ndarray, "m t"]]:
    """The brain's voxels that have values in at least half of the frames, and their curves without gaps."""
    enough = np.isfinite(curves).mean(axis=1) >= 0.5
    kept = np.zeros_like(brain)
    kept[brain] = enough
    if not enough.any():
        raise SeriesError("the brain's voxels have no values in most frames; check the series for NaN")
    return kept, filled(curves if enough.all() else curves[enough])


@dataclass(frozen=True, eq=False)
class _Contrast:
    """From the scanner's values over its frames to concentration over uniform times; the values are used up."""

    modality: Modality
    bolus: Bolus
    time_s: Curve
    echo_time_s: float | None

    @property
    def unit(self) -> str:
        return "HU" if self.modality == "CT" else "1/s" if self.echo_time_s else "a.u."

    @cached_property
    def uniform_s(self) -> Float[np.ndarray, "wanted"]:
        return uniform_times(self.time_s)

    def __call__(self, values: Curves) -> Float[np.ndarray, "n wanted"]:
        if self.modality == "CT":
            curves = enhancement_hu(values, self.bolus, out=values)
        else:
            curves = relaxation_change(values, self.bolus, echo_time_s=self.echo_time_s)
        if self.uniform_s.size == self.time_s.size and np.allclose(self.uniform_s, self.time_s):
            return curves
        resampled: np.ndarray = curves @ interpolation(self.time_s, self.uniform_s)
        return resampled


def maps_of_curves(curves: Curves, vessels: Vessels, deconvolution: Deconvolution) -> dict[str, Float[np.ndarray, "n"]]:
    """CBF, CBV, MTT, TTP (from the first frame) and Tmax of each curve, by the module's formulas."""
    interval_s = vessels.interval_s
    response = deconvolution(curves, vessels.aif, interval_s=interval_s)
    scale = HAEMATOCRIT_FACTOR / DENSITY_G_PER_ML * vessels.partial_volume
    cbf = 6000 * scale * response.flow_per_s
    fit = fit_curves(curves, vessels.aif, interval_s=interval_s)
    cbv = 100 * scale * fit.volume
    mtt = np.divide(60 * cbv, cbf, out=np.full_like(cbf, np.nan), where=cbf > 0)
    return {
        name: np.asarray(column, np.float32)
        for name, column in {"CBF": cbf, "CBV": cbv, "MTT": mtt, "TTP": fit.peak_s, "Tmax": response.delay_s}.items()
    }


class _Clock:
    """Tells progress of each step, and remembers how long it took."""

    def __init__(self, progress: Progress) -> None:
        self.laps_s: dict[str, float] = {}
        self._progress = progress
        self._last = perf_counter()

    def lap(self, step: str) -> None:
        now = perf_counter()
        self.laps_s[step] = now - self._last
        self._last = now
        self._progress(step)
