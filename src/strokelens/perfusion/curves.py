"""Time curves: the bolus in them, uniform times, and what the scanner's values say about contrast agent.

Conventions: a curve has one value per frame; `time_s` grows. Contrast agent is in HU for CT (attenuation is linear in
concentration) and in 1/s for MR (ΔR2* is taken as linear in concentration); either way the constant cancels between
artery and tissue.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from strokelens.arrays import Curve, Curves
from strokelens.errors import SeriesError

LEAST_FRAMES = 8
_NOISE_FRAMES = 9
"""Frames that tell the noise."""

_FLOOR = 0.02
"""A signal is not taken to fall under this share of its baseline: there it drowns in noise and ΔR2* saturates."""


@dataclass(frozen=True)
class Bolus:
    """Where the bolus is in a series: frames before `arrival` are baseline; `peak` is the whole head's peak frame."""

    arrival: int
    peak: int


def uniform_times(time_s: Curve) -> Float[np.ndarray, "wanted"]:
    """The times from first to last at the median interval of `time_s`, or `time_s` itself where it is uniform.

    >>> uniform_times(np.array([0.0, 1.0, 2.0, 3.0, 5.0])).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """
    steps = np.diff(time_s)
    interval = float(np.median(steps))
    if np.allclose(steps, interval, rtol=0.01):
        return np.asarray(time_s, np.float64)
    count = int(np.floor((time_s[-1] - time_s[0]) / interval + 1e-6)) + 1
    times: np.ndarray = time_s[0] + interval * np.arange(count)
    return times


def interpolation(time_s: Curve, wanted_s: Float[np.ndarray, "wanted"]) -> Float[np.ndarray, "t wanted"]:
    """The matrix that carries curves from one set of times to another by linear interpolation: `curves @ matrix`."""
    columns = np.stack([np.interp(wanted_s, time_s, row) for row in np.eye(time_s.size)])
    return np.asarray(columns, np.float32)


def find_bolus(mean: Curve, *, rising: bool) -> Bolus:
    """The bolus in the head's mean curve; `rising` for CT, falling signal for MR.

    The bolus arrives one frame before the curve leaves its early level by 5 % of its whole swing, and by three times
    the noise of the early frames. Noise is the median step between frames that are not the bolus's own rise and fall.

    Raises `SeriesError` for fewer than eight frames, or where no swing stands out of the noise.
    """
    if mean.size < LEAST_FRAMES:
        raise SeriesError(f"a series of {mean.size} frames cannot hold a bolus; at least {LEAST_FRAMES} are needed")
    curve = np.asarray(mean if rising else -mean, np.float64)
    smooth = np.convolve(np.pad(curve, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
    peak = int(smooth[1:].argmax()) + 1
    early = max(2, peak // 3)
    level = float(np.median(smooth[:early]))
    swing = float(smooth[peak] - level)
    noise = float(np.median(np.abs(curve - smooth))) * 2.5
    if swing <= 6 * noise or swing <= 1e-3 * max(abs(level), 1e-6) or peak < 2:
        raise SeriesError(
            f"no bolus in the series: the head's mean changes by {max(swing, 0):.2g} where frames differ by "
            f"{noise:.2g} anyway; check that this is a perfusion series with contrast agent"
        )
    risen = np.flatnonzero(smooth[: peak + 1] > level + max(0.05 * swing, 3 * noise))
    return Bolus(arrival=max(int(risen[0]) - 1, 1), peak=peak)


def frame_deviations(curves: Curves) -> Iterator[Float[np.ndarray, "n"]]:
    """In a few frames, how far each curve lies from the mean of its neighbours: what `noise_of` makes noise of."""
    for t in np.unique(np.linspace(1, curves.shape[1] - 2, _NOISE_FRAMES).astype(int)):
        yield curves[:, t] - 0.5 * (curves[:, t - 1] + curves[:, t + 1])


def noise_of(deviations: list[Float[np.ndarray, "n"]]) -> float:
    """The noise of a frame from `frame_deviations`, robustly, less what the neighbours add; 0 where none has a value.

    >>> curves = np.random.default_rng(0).normal(0, 3, (1000, 40))
    >>> round(noise_of(list(frame_deviations(curves))), 1)
    3.0
    """
    if not np.isfinite(deviations).any():
        return 0.0
    return float(np.nanmedian(np.abs(deviations)) / 0.6745 / np.sqrt(1.5))


def filled(curves: Curves) -> Curves:
    """The curves with missing (NaN) frames interpolated linearly over time, held at the ends; all NaN stays NaN.

    >>> filled(np.array([[np.nan, 1.0, np.nan, 3.0]], np.float32)).tolist()
    [[1.0, 1.0, 2.0, 3.0]]
    """
    known = np.isfinite(curves)
    lacking = ~known.all(axis=1)
    if not lacking.any():
        return curves
    part, there = curves[lacking], known[lacking]
    count = curves.shape[1]
    frames = np.broadcast_to(np.arange(count), there.shape)
    before = np.maximum.accumulate(np.where(there, frames, -1), axis=1)
    after = np.minimum.accumulate(np.where(there, frames, count)[:, ::-1], axis=1)[:, ::-1]
    left = np.clip(np.where(before < 0, after, before), 0, count - 1)
    right = np.clip(np.where(after == count, before, after), 0, count - 1)
    share = (frames - left) / np.maximum(right - left, 1)
    low, high = (np.take_along_axis(part, index, axis=1) for index in (left, right))
    result = curves.copy()
    result[lacking] = low + share * (high - low)
    return result


def enhancement_hu(values: Curves, bolus: Bolus, *, out: Curves | None = None) -> Curves:
    """CT: HU − the voxel's mean before arrival; what contrast agent adds, in HU. `out` takes it where given."""
    baseline = values[:, : bolus.arrival].mean(axis=1, keepdims=True)
    difference: Curves = np.subtract(values, baseline, out=out)
    return difference


def relaxation_change(signal: Curves, bolus: Bolus, *, echo_time_s: float | None) -> Curves:
    """MR: ΔR2* = −ln(S / S₀) / TE in 1/s; without `echo_time_s` ΔR2*·TE, which is as good for all maps.

    S₀ is the voxel's mean before arrival. S is held above 2 % of S₀. A voxel without signal gets zeros.
    """
    baseline = signal[:, : bolus.arrival].mean(axis=1, keepdims=True)
    ratio = np.divide(signal, baseline, out=np.ones_like(signal), where=baseline > 0)
    np.maximum(ratio, _FLOOR, out=ratio)
    np.log(ratio, out=ratio)
    change: Curves = ratio * np.float32(-1.0 / (echo_time_s or 1.0))
    return change


def area(curves: Float[np.ndarray, "*n t"], interval_s: float) -> Float[np.ndarray, "*n"]:
    """The area under each curve, by the trapezoidal rule."""
    return np.asarray((curves.sum(axis=-1) - 0.5 * (curves[..., 0] + curves[..., -1])) * interval_s)


def peak_times_s(curves: Curves, interval_s: float) -> Float[np.ndarray, "n"]:
    """The time of each curve's maximum after the first frame, refined by a parabola."""
    rows = np.arange(len(curves))
    top = np.concatenate([part.argmax(axis=1) for part in np.array_split(curves, 16)])  # argmax copies what it is given
    inner = np.clip(top, 1, curves.shape[1] - 2)
    left, middle, right = curves[rows, inner - 1], curves[rows, inner], curves[rows, inner + 1]
    bend = left - 2 * middle + right
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.where((bend < 0) & (top == inner), 0.5 * (left - right) / bend, 0)
    times: np.ndarray = (top + shift) * np.float32(interval_s)
    return times


def width_s(curves: Curves, interval_s: float) -> Float[np.ndarray, "n"]:
    """The full width at half maximum of each curve, as the time spent above half of its maximum."""
    above: np.ndarray = (curves > 0.5 * curves.max(axis=1, keepdims=True)).sum(axis=1) * interval_s
    return above
