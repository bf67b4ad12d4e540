"""The Bayesian fit as its page writes it: one curve, one entry of the table at a time, least squares by `lstsq`."""

from math import exp, log

import numpy as np
from jaxtyping import Float
from scipy import integrate


def entry(
    aif: Float[np.ndarray, "t"], interval_s: float, transit_s: float, delay_s: float
) -> tuple[Float[np.ndarray, "t"], float]:
    """The curve (a ⊗ exp(−t/M))(t − d) at the frames by Simpson's rule, and where it is highest."""
    frame_s = np.arange(aif.size) * interval_s

    def value(time_s: float) -> float:
        if time_s <= 0:
            return 0.0
        tau = np.linspace(0, time_s, 2001)
        return float(integrate.simpson(np.interp(tau, frame_s, aif) * np.exp((tau - time_s) / transit_s), x=tau))

    fine_s = np.arange(0, frame_s[-1], interval_s / 10)
    highest_s = fine_s[int(np.argmax([value(time_s) for time_s in fine_s]))]
    return np.array([value(time_s) for time_s in frame_s - delay_s]), float(highest_s + delay_s)


def volume_and_peak(
    curve: Float[np.ndarray, "t"],
    entries: list[tuple[Float[np.ndarray, "t"], float, float]],
    sigma: float,
) -> tuple[float, float]:
    """The weighted means of f · M and of the peak over entries (curve, transit time, peak)."""
    logs, volumes, peaks = [], [], []
    for shape, transit_s, peak_s in entries:
        (_, flow), *_ = np.linalg.lstsq(np.stack([np.ones_like(curve), shape], axis=1), curve, rcond=None)
        length = float(np.linalg.norm(shape - shape.mean()))
        z = max(float(flow), 0.0) * length / sigma
        logs.append(z**2 / 2 - log(length))
        volumes.append(max(float(flow), 0.0) * transit_s)
        peaks.append(peak_s)
    weights = [exp(value - max(logs)) for value in logs]
    total = sum(weights)
    return (
        sum(w * v for w, v in zip(weights, volumes, strict=True)) / total,
        sum(w * p for w, p in zip(weights, peaks, strict=True)) / total,
    )
