"""Blood volume and time to peak of noisy curves, by Bayes over a table of the curves that tissue can show.

A raw curve's area adds up the noise of every frame and of the baseline, and ends where the scan ends; its highest point
is where noise is highest. So each curve is seen as

    b + f · g(t),    g(t) = (a ⊗ exp(−t/M))(t − d),

with the arterial curve a, transit times M and delays d from a table, a free baseline b and a flow f. For each entry of
the table the best b and f are linear in the curve, so the whole brain is one matrix product. With noise σ, flat priors
on f and b and equal ones on the table's entries, an entry's evidence is

    exp(z²/2) / |g − ḡ|,    z = ⟨c, g − ḡ⟩ / (σ |g − ḡ|).

A flow under 0 counts as 0 (z = 0), which spares the normal integral that f ≥ 0 asks for, and each entry speaks with its
best flow: where z is over 2 the difference is nothing; where a curve is noise, both give a small positive volume. A
curve's volume and peak are the means of f · M and of the peak of g under these weights. Noise decides how far the mean
reaches: clear curves take their own entry, faint ones an average of many. One σ holds for all curves, and none is under
5 % of a curve's own variation. Entries of which the scan shows too little, or not the peak, are left out, as their
volume would be a guess; beyond the last frame the arterial curve is held.

References:
    Boutelier et al. 2012 and Mouridsen et al. 2006 (Bayesian perfusion); Kudo et al. 2014 (its accuracy among methods).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from strokelens.arrays import Curve, Curves
from strokelens.errors import SeriesError
from strokelens.perfusion.curves import frame_deviations, noise_of

_TRANSIT_S = 2.0 * 1.5 ** np.arange(6)
"""2 ... 15 s: healthy tissue has 3 to 5, ischemic tissue 8 to 14."""

_DELAY_S = np.arange(-2.0, 16.0, 1.5)
"""Tissue fills up to some seconds before the artery that was chosen, or many after it."""

_STEPS = 10
"""Steps from frame to frame in which the table's curves are made."""

_LEAST_SHOWN = 0.2
"""An entry counts if it varies within the scan by this share of what the clearest one of its transit time does."""

_LEAST_NOISE = 0.05
"""No model tells real curves better than to this share of their own variation."""

_CHUNK = 8192
"""Voxels at a time: their weights, 8192 × 72 float32, stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Fit:
    """For each curve: `volume` (n,), its area over the artery's, and `peak_s` (n,), NaN where no bolus is seen."""

    volume: Float[np.ndarray, "n"]
    peak_s: Float[np.ndarray, "n"]


def fit_curves(curves: Curves, aif: Curve, *, interval_s: float) -> Fit:
    """Blood volume and time to peak (from the first frame) of each curve.

    >>> t = np.arange(40) * 1.5
    >>> aif = (t / 12) ** 3 * np.exp(3 - t / 4)
    >>> fit = fit_curves(0.05 * np.roll(aif, 4)[None], aif, interval_s=1.5)  # 5 % of the artery's blood, 6 s later
    >>> f"{fit.volume[0]:.2f} of the artery's area, highest after {fit.peak_s[0]:.0f} s"
    "0.05 of the artery's area, highest after 18 s"

    A curve with a NaN gets NaN. Raises `SeriesError` when the arterial curve is empty.
    """
    table = _Table.of(aif, interval_s)
    noise = noise_of(list(frame_deviations(curves)))
    volume, peak_s = np.empty(len(curves), np.float32), np.empty(len(curves), np.float32)
    for start in range(0, len(curves), _CHUNK):
        rows = slice(start, start + _CHUNK)
        volume[rows], peak_s[rows] = table.means(np.asarray(curves[rows], np.float32), noise)
    return Fit(volume, peak_s)


@dataclass(frozen=True, eq=False)
class _Table:
    """Curves of unit flow less their means, scaled to length 1; the lengths; transit times and peaks."""

    shapes: Float[np.ndarray, "t k"]
    lengths: Float[np.ndarray, "k"]
    transit_s: Float[np.ndarray, "k"]
    peak_s: Float[np.ndarray, "k"]

    @classmethod
    def of(cls, aif: Curve, interval_s: float) -> "_Table":
        if not np.isfinite(aif).all() or aif.max(initial=0.0) <= 0:
            raise SeriesError("the arterial curve has no bolus; choose other voxels or check the series")
        frame_s, fine_s = np.arange(aif.size) * interval_s, np.arange(0, aif.size, 1 / _STEPS) * interval_s
        artery = np.interp(fine_s, frame_s, aif)
        step_s = interval_s / _STEPS
        curves, peaks_s = [], []
        for transit_s in _TRANSIT_S:
            residue = np.exp(-fine_s / transit_s)
            residue[0] = 0.5  # the trapezoidal rule
            curve = np.convolve(artery, residue)[: fine_s.size] * step_s
            curves += [np.interp(frame_s - delay_s, fine_s, curve, left=0.0) for delay_s in _DELAY_S]
            peaks_s += [fine_s[curve.argmax()] + delay_s for delay_s in _DELAY_S]
        centred = np.array(curves) - np.mean(curves, axis=1, keepdims=True)
        lengths = np.linalg.norm(centred, axis=1)
        most = np.repeat(lengths.reshape(_TRANSIT_S.size, -1).max(axis=1), _DELAY_S.size)
        shown = lengths >= _LEAST_SHOWN * most
        peaking = shown & (np.array(peaks_s) <= frame_s[-1])
        shown = peaking if peaking.any() else shown
        transit_s = np.repeat(_TRANSIT_S, _DELAY_S.size)
        shapes = centred[shown] / lengths[shown, None]
        columns = shapes.T, lengths[shown], transit_s[shown], np.array(peaks_s)[shown]
        return cls(*(np.ascontiguousarray(column, np.float32) for column in columns))

    def means(self, curves: Curves, noise: float) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
        """The mean volume and peak of each curve under its weights."""
        centred = curves - curves.mean(axis=1, keepdims=True)
        least = _LEAST_NOISE**2 * np.einsum("nt,nt->n", centred, centred) / curves.shape[1]
        sigma = np.sqrt(noise**2 + least)[:, None]
        sigma = np.where(sigma > 0, sigma, np.float32(1))  # a curve that does not change
        z = np.maximum(centred @ self.shapes / sigma, 0)
        weights = 0.5 * z**2 - np.log(self.lengths)
        weights -= weights.max(axis=1, keepdims=True)
        np.exp(weights, out=weights)
        weights /= weights.sum(axis=1, keepdims=True)
        peak_s = np.where(z.any(axis=1), weights @ self.peak_s, np.float32(np.nan))
        weights *= z
        return (weights @ (self.transit_s / self.lengths)) * sigma[:, 0], peak_s
