"""How the head moved during a perfusion series, and every frame as it would have been without.

Motion is sought on a copy of about 3.5 mm in the slice. On CT only bone is looked at, so that the bolus cannot pass for
motion; on MR, and where there is no bone, the head's own intensities, with a gain that may vary over space and any
amount of the pattern that the bolus makes (without it the bolus passes for 0.4 mm on MR, with it for 0.1 mm). One
robust linear fit per frame decides which frames moved; only these are registered (phase correlation, then Gauss–Newton
on two scales), and only these are ever resampled, one at a time, when asked for. The head is brought to where it was
first, before the bolus: there lie the anatomy and the baseline, and there a reader looks.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from strokelens.arrays import Curve, Mask, Series, Volume
from strokelens.flags import Flag
from strokelens.grid import Grid
from strokelens.perfusion.rigid import (
    Parameters,
    Template,
    affine,
    centre_mm,
    displacement_mm,
    from_affine,
    phase_shift,
    template,
    voxel_matrix,
)

_Limits = tuple[Grid, Float[np.ndarray, "n 3"], float]
"""What decides whether a frame has moved: the grid, the places that are looked at, and the patience."""

COARSE_MM = 3.5
"""Motion is sought on voxels of about this size (2.3 ... 4.4 mm); axes with larger voxels stay as they are."""

LARGEST_MM = 40.0
"""No larger displacement is believed."""

_BONE_HU = (300.0, 1300.0)  # above all but the brightest vessels with contrast
_LEAST_BONE_ML = 5.0
_SOFT_HU = (-20.0, 100.0)
_STILL_VOXELS = 0.3
_STILL_IN_PLANE_MM = 0.3
_STILL_THROUGH_SHARE = 0.1  # of a slice's thickness
_DOUBT = 0.7  # frames within this share of the least displacement are registered to be sure
_NEAR = 4.0  # frames displaced by less than this many least displacements show what the bolus does
_UNLIKE = 0.97  # and so are frames with less than this share of the median likeness
_LEAST_LIKENESS = 0.9  # of the still frames' median
_REFERENCE_FRAMES = 12
_BLUR_MM = 6.0
_LEAST_INSIDE = 0.7  # of the head's edges; a head that moved farther along the slices cannot be brought back
_LEAST_JUDGED = 0.8  # quality that three quarters of the frames must reach
_CUBIC_FROM_MM = 0.6


@dataclass(frozen=True, eq=False)
class Motion:
    """Rigid motion of every frame against the first good one: tissue at x, from the grid's centre, is at R x + t.

    `parameters` are t (mm) and R's rotation vector (rad) along the world's axes, zeros for frames that are left as they
    are. `displacement_mm` is the largest displacement of the head's edges, small ones included (NaN for frames without
    content). `quality` is each frame's correlation with the reference after correction. `uncorrected` frames moved
    but could not be brought back: better left out.

    `flags`: `motion` (corrected), `motion-uncorrected` (grave from a tenth of the frames on), and `motion-unknown`
    where the frames are too unlike one another to be judged; then all are left as they are.
    """

    grid: Grid
    parameters: Float[np.ndarray, "t 6"]
    displacement_mm: Curve
    moved: Bool[np.ndarray, "t"]
    quality: Curve
    uncorrected: Bool[np.ndarray, "t"]
    flags: tuple[Flag, ...] = ()

    def steady(self, frame: Volume, index: int) -> Volume:
        """The frame as it would have been without motion; the very same array when it did not move.

        Cubic interpolation, kept within the frame's own range, keeps the height of vessels (linear loses a tenth in
        vessels of two voxels); voxels below 0.6 mm are fine enough for linear, a fifth of the work. Beyond the first
        and last slice the nearest one is shown: with a head moved by d mm along the slices, up to d mm of the end
        slices are not the tissue they claim. A voxel whose nearest source is NaN is NaN.
        """
        if not self.moved[index]:
            return frame
        matrix = voxel_matrix(self.parameters[index], self.grid)
        lacking = np.isnan(frame)
        whole = np.where(lacking, np.nanmin(frame), frame) if lacking.any() else frame
        result = _resampled(whole, matrix, order=3 if np.median(self.grid.spacing_mm) >= _CUBIC_FROM_MM else 1)
        np.clip(result, whole.min(), whole.max(), out=result)
        if lacking.any():
            result[_resampled(lacking.astype(np.float32), matrix, order=0) > 0] = np.nan
        return result


@dataclass(frozen=True, eq=False)
class _Content:
    """What motion is sought on: the frames first, coarse; and the voxels that are not fixed padding.

    `gain` tells whether brightness may change from frame to frame. `patience` multiplies the least displacement that
    counts as motion: more than 1 where edges are faint against the bolus.
    """

    frames: Float[np.ndarray, "t x y z"]
    grid: Grid
    centre_mm: Float[np.ndarray, "3"]
    usable: Bool[np.ndarray, "x y z"]
    gain: bool
    patience: float = 1.0

    def target(
        self, image: Float[np.ndarray, "x y z"], bolus: Float[np.ndarray, "x y z"] | None, *, blur_mm: float = 0.0
    ) -> Template:
        """The template of an image; a frame may hold any amount of the pattern that the bolus makes."""
        blurred = _blurred(image, self.grid, blur_mm)
        pattern = None if bolus is None else _blurred(bolus, self.grid, blur_mm)
        return template(blurred, self.grid, self.centre_mm, usable=self.usable, gain=self.gain, pattern=pattern)

    def bolus(
        self, image: Float[np.ndarray, "x y z"], near: Bool[np.ndarray, "t"]
    ) -> Float[np.ndarray, "x y z"] | None:
        """The first principal component of how frames near to the image differ from it; None where gain is fixed."""
        if not self.gain or near.sum() < 5:
            return None
        gap = (self.frames[near] - image).reshape(int(near.sum()), -1)
        first = np.linalg.eigh(gap @ gap.T)[1][:, -1]
        pattern: Float[np.ndarray, "x y z"] = (first @ gap).reshape(image.shape).astype(np.float32)
        return pattern


def estimate_motion(series: Series, grid: Grid, *, modality: Literal["CT", "MR"]) -> Motion:
    """The motion of every frame against the first good one, in whose position the results lie.

    It is measured against the mean of the frames that are most alike, and then told against the first.
    CT in HU, MR in any unit. Frames without content (constant, all NaN) count as still. With fewer than four slices
    only motion within the slice is sought; a series of one frame, or without edges, is still.
    """
    content = _content(series, grid, modality)
    flat = content.frames.reshape(len(content.frames), -1)
    valid = np.ptp(flat, axis=1) > 0
    parameters = np.zeros((len(flat), 6))
    quality = np.where(valid, 1.0, np.nan)
    if valid.sum() < 2:
        return _verdict(parameters, quality, np.ones(len(flat)), (grid, np.zeros((0, 3)), 1.0))
    likeness = _likeness(flat, valid)
    reference = _mean_of_nearest(content.frames, likeness, valid, share=1 / 3)
    bolus = None
    for _ in range(2):  # the second time against still frames only
        target = content.target(reference, bolus)
        parameters[valid] = [_linear(target, frame) for frame in flat[valid]]
        still = valid & ~_over(parameters / content.patience, target.places_mm, grid)
        reference = _mean_of_nearest(content.frames, likeness, still if still.any() else valid, share=2 / 3)
        bolus = content.bolus(reference, valid & ~_over(parameters / _NEAR, target.places_mm, grid))
    targets = content.target(reference, bolus, blur_mm=_BLUR_MM), content.target(reference, bolus)
    unlike = likeness < _UNLIKE * np.median(likeness[valid])
    for index in np.flatnonzero(
        valid & (_over(parameters / (_DOUBT * content.patience), targets[1].places_mm, grid) | unlike)
    ):
        parameters[index] = _registered(content.frames[index], reference, targets)
    inside = np.ones(len(flat))
    for index in np.flatnonzero(valid):
        quality[index], inside[index] = _quality(targets[1], content.frames[index], parameters[index])
    limits = grid, targets[1].places_mm, content.patience
    return _verdict(_against_first(parameters, quality, inside, limits), quality, inside, limits)


def _against_first(
    parameters: Float[np.ndarray, "t 6"], quality: Curve, inside: Curve, limits: _Limits
) -> Float[np.ndarray, "t 6"]:
    """The same motion against the first position in which two good frames follow each other, unless that is the same.

    A frame is good if it is well explained, shows enough of the head, and is not displaced beyond belief.
    """
    grid, places, patience = limits
    near = np.array([_farthest_mm(row, places) for row in parameters]) <= LARGEST_MM
    likeness = np.nan_to_num(quality, nan=-1.0)
    good = np.flatnonzero((likeness >= _LEAST_LIKENESS * np.median(likeness)) & (inside >= _LEAST_INSIDE) & near)
    for first, second in pairwise(good):
        home = np.linalg.inv(affine(parameters[first]))
        against = np.array([from_affine(affine(row) @ home) for row in parameters])
        if not _over(against[[second]] / patience, places, grid)[0]:
            moved = _over(parameters[[first]] / patience, places, grid)[0]
            return against if moved else parameters
    return parameters


def _verdict(parameters: Float[np.ndarray, "t 6"], quality: Curve, inside: Curve, limits: "_Limits") -> Motion:
    """Which frames are resampled: those displaced by more than the least, by less than the most, and well explained."""
    grid, places, patience = limits
    farthest = np.array([_farthest_mm(row, places) for row in parameters])
    judged = quality[np.isfinite(quality)]
    known = bool(judged.size == 0 or np.quantile(judged, 0.25) >= _LEAST_JUDGED)
    displaced = _over(parameters / patience, places, grid) & known
    still = quality[np.isfinite(quality) & ~displaced]
    bad = ~(quality >= _LEAST_LIKENESS * np.median(still)) if still.size else np.zeros(quality.size, bool)
    uncorrected = displaced & (bad | (farthest > LARGEST_MM) | (inside < _LEAST_INSIDE))
    moved = displaced & ~uncorrected
    return Motion(
        grid=grid,
        parameters=np.where(moved[:, None], parameters, 0.0),
        displacement_mm=np.where(np.isfinite(quality), farthest, np.nan),
        moved=moved,
        quality=quality,
        uncorrected=uncorrected,
        flags=_flags(moved, uncorrected, farthest, known=known),
    )


def _flags(
    moved: Bool[np.ndarray, "t"], uncorrected: Bool[np.ndarray, "t"], farthest_mm: Curve, *, known: bool
) -> tuple[Flag, ...]:
    """What a reader must know of motion; frames are counted from 1."""
    flags = []
    if not known:
        flags.append(Flag("motion-unknown", "the frames are too unlike one another to tell whether the head moved"))
    if moved.any():
        share = f"{int(moved.sum())} of {moved.size} frames moved"
        flags.append(Flag("motion", f"{share}, by up to {farthest_mm[moved].max():.1f} mm, and were corrected"))
    if uncorrected.any():
        frames = ", ".join(str(index + 1) for index in np.flatnonzero(uncorrected))
        grave = bool(uncorrected.mean() >= 0.1)
        flags.append(Flag("motion-uncorrected", f"motion of frames {frames} could not be corrected", grave=grave))
    return tuple(flags)


def _linear(target: Template, frame: Float[np.ndarray, "voxels"]) -> Parameters:
    index = np.ravel_multi_index(tuple(target.voxels.astype(np.intp).T), target.grid.shape)
    return target.small_motion(frame[index].astype(np.float64), np.ones(len(index), bool))


def _registered(
    frame: Float[np.ndarray, "x y z"], reference: Float[np.ndarray, "x y z"], targets: tuple[Template, Template]
) -> Parameters:
    """From the better of no motion and the phase correlation's shift, first on blurred, then on sharp images."""
    rough, sharp = targets
    blurred = _blurred(frame, rough.grid, _BLUR_MM)
    starts = np.zeros(6), rough.possible(phase_shift(reference, frame, rough.grid))
    start = max(starts, key=lambda candidate: np.nan_to_num(_quality(rough, blurred, candidate)[0], nan=-1.0))
    return sharp.register(frame, rough.register(blurred, start, rounds=12), rounds=10)


def _quality(target: Template, frame: Float[np.ndarray, "x y z"], parameters: Parameters) -> tuple[float, float]:
    """The likeness under these parameters, and the share of the target's voxels that the frame shows."""
    spline = ndimage.spline_filter(frame, order=3, output=np.float32, mode="mirror")
    values, inside = target.seen(spline, parameters)
    return target.likeness(values, inside), float(inside.mean()) if inside.size else 1.0


def _mean_of_nearest(
    frames: Float[np.ndarray, "t x y z"], likeness: Curve, allowed: Bool[np.ndarray, "t"], *, share: float
) -> Float[np.ndarray, "x y z"]:
    count = min(_REFERENCE_FRAMES, max(1, round(share * int(allowed.sum()))))
    mean: Float[np.ndarray, "x y z"] = frames[np.argsort(np.where(allowed, -likeness, np.inf))[:count]].mean(axis=0)
    return mean


def _likeness(flat: Float[np.ndarray, "t voxels"], valid: Bool[np.ndarray, "t"]) -> Curve:
    """Every frame's correlation with the frame that is most like the others."""
    centred = np.where(valid[:, None], flat - flat.mean(axis=1, keepdims=True), 0.0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    correlation = unit @ unit.T
    typical = int(np.flatnonzero(valid)[np.median(correlation[np.ix_(valid, valid)], axis=1).argmax()])
    likeness: Curve = correlation[typical]
    return likeness


def _farthest_mm(parameters: Parameters, places: Float[np.ndarray, "n 3"]) -> float:
    return float(np.linalg.norm(displacement_mm(parameters, places), axis=1).max(initial=0.0))


def _over(parameters: Float[np.ndarray, "t 6"], places: Float[np.ndarray, "n 3"], grid: Grid) -> Bool[np.ndarray, "t"]:
    """Whether any place is carried by more than 0.3 voxel (and 0.3 mm) in the slice, or 0.1 slice across slices."""
    spacing = np.array(grid.spacing_mm)
    thick = spacing > 1.5 * np.median(spacing)
    least = np.where(thick, _STILL_THROUGH_SHARE, np.maximum(_STILL_VOXELS, _STILL_IN_PLANE_MM / spacing))
    scaled = np.linalg.inv(grid.affine[:3, :3]).T / least  # mm along the world's axes to least displacements
    return np.array(
        [((displacement_mm(row, places) @ scaled) ** 2).sum(axis=1).max(initial=0.0) > 1 for row in parameters]
    )


def _content(series: Series, grid: Grid, modality: Literal["CT", "MR"]) -> _Content:
    """Bone on CT; where there is less than 5 ml of it, and on MR, the head's intensities."""
    factors = tuple(max(1, int(COARSE_MM / spacing + 0.25)) for spacing in grid.spacing_mm)
    factors = tuple(min(factor, size) for factor, size in zip(factors, grid.shape, strict=True))
    widths = [max(1.0, factor, COARSE_MM / step) for factor, step in zip(factors, grid.spacing_mm, strict=True)]
    kernels = [_tents(*each) for each in zip(grid.shape, factors, widths, strict=True)]
    offset = np.eye(4)
    offset[:3, :3], offset[:3, 3] = np.diag(factors), (np.array(factors) - 1) / 2
    i, j, k = (len(kernel) for kernel in kernels)
    small = Grid((i, j, k), grid.affine @ offset)
    everywhere = np.ones(small.shape, bool)
    if modality == "CT":
        frames = _coarse(series, kernels, _BONE_HU)
        bone_ml = float(np.median((frames > 0.25 * _BONE_HU[0]).sum(axis=(1, 2, 3)))) * small.voxel_volume_ml
        if bone_ml >= _LEAST_BONE_ML:
            return _Content(frames, small, centre_mm(grid), everywhere, gain=False)
    limits = _SOFT_HU if modality == "CT" else (0.0, _bright(series))
    padding = _padding(series, low=limits[0])
    if padding.any():
        partly = _coarse(padding[..., None].astype(np.float32), kernels, (0.0, 1.0))[0] > 0
        everywhere = ~ndimage.binary_dilation(partly)
    patience = 2.0 if modality == "CT" else 1.0
    frames = _coarse(series, kernels, limits)
    return _Content(frames, small, centre_mm(grid), everywhere, gain=True, patience=patience)


def _coarse(
    series: Series, kernels: list[Float[np.ndarray, "_ _"]], limits: tuple[float, float]
) -> Float[np.ndarray, "t x y z"]:
    """The series above the lower limit, cut at the upper one, averaged onto coarse voxels; NaN counts as the lower."""
    low, high = limits
    along_i, along_j, along_k = kernels
    frames = series.shape[3]
    small = np.empty((frames, len(along_j), len(along_i), series.shape[2]), np.float32)
    plane = np.empty((frames, series.shape[1], series.shape[0]), np.float32)
    for k in range(series.shape[2]):  # one slice of all frames at a time: the only copy of full resolution
        np.clip(series[:, :, k, :].T, low, high, out=plane)
        plane -= low
        if np.isnan(plane.sum()):
            np.nan_to_num(plane, copy=False, nan=0.0)
        small[..., k] = along_j @ (plane @ along_i.T)
    return np.ascontiguousarray((small @ along_k.T).swapaxes(1, 2))


def _tents(size: int, factor: int, width: float) -> Float[np.ndarray, "_ _"]:
    """Weights that average `size` voxels onto `size // factor`: tents that reach `width` voxels, rows of sum one."""
    centres = np.arange(size // factor)[:, None] * factor + (factor - 1) / 2
    weights = np.clip(1 - np.abs(np.arange(size)[None, :] - centres) / width, 0, None).astype(np.float32)
    rows: Float[np.ndarray, "_ _"] = weights / weights.sum(axis=1, keepdims=True)
    return rows


def _bright(series: Series) -> float:
    """The upper limit of MR content: the 99.5th percentile of the middle frame's (or any finite frame's) values."""
    for index in (series.shape[3] // 2, 0, series.shape[3] - 1):
        values = series[::2, ::2, :, index]
        values = values[np.isfinite(values)]
        if values.size and values.max() > 0:
            return float(np.percentile(values[values > 0], 99.5))
    return 1.0


def _padding(series: Series, *, low: float) -> Mask:
    """Voxels that a mask has blanked in all frames at the same place, so that its rim would pass for a still head.

    They never change, and their neighbours are far above them: a background that is merely dark has a dim rim.
    """
    first = series[..., 0]
    fixed = np.ones(first.shape, bool)
    for index in range(1, series.shape[3]):
        fixed &= series[..., index] == first
    fixed |= np.isnan(first)
    rim = ndimage.binary_dilation(fixed) & ~fixed
    inside = first[~fixed]
    if not rim.any() or not fixed.any():
        return np.zeros(first.shape, bool)
    share = (np.nanmedian(first[rim]) - low) / max(float(np.nanmedian(inside)) - low, np.finfo(np.float32).tiny)
    return fixed if share > 0.3 else np.zeros(first.shape, bool)


def _blurred(image: Float[np.ndarray, "x y z"], grid: Grid, blur_mm: float) -> Float[np.ndarray, "x y z"]:
    if not blur_mm:
        return image
    sigmas = [blur_mm / spacing for spacing in grid.spacing_mm]
    blurred: Float[np.ndarray, "x y z"] = ndimage.gaussian_filter(image, sigmas, mode="nearest")
    return blurred


def _resampled(frame: Volume, matrix: Float[np.ndarray, "4 4"], *, order: int) -> Volume:
    """The frame at the matrix's voxels, nearest beyond the edges; done along memory where the frame is as on disk."""
    if frame.flags.f_contiguous and not frame.flags.c_contiguous:
        turned = np.eye(4)[[2, 1, 0, 3]]
        return _resampled(frame.T, turned @ matrix @ turned, order=order).T
    result: Volume = ndimage.affine_transform(frame, matrix[:3, :3], matrix[:3, 3], order=order, mode="nearest")
    return result
