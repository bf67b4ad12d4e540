"""How blood and contrast move: the bolus, the tissue's residue function, and the forward model that joins them.

With Ca the arterial blood's concentration, a tissue with flow F (ml/100 g/min) and mean transit time M shows

    C(t) = ρ / kh · F / 6000 · (Ca ⊗ D ⊗ R)(t - delay)

where R is the residue function (R(0) = 1, ∫R = M), D an exponential kernel of area 1 (dispersion), ρ = 1.04 g/ml the
tissue's density and kh = 0.733 the ratio of plasma shares of large and small vessels. So ∫C / ∫Ca = ρ/kh · CBV/100 with
CBV = F·M/60 in ml/100 g: the identity by which perfusion software computes CBV.
"""

from dataclasses import dataclass
from math import inf
from typing import Final

import numpy as np
from jaxtyping import Float, Float32, Float64, Int
from scipy import fft, special

from strokelens.arrays import Curve

DENSITY_G_PER_ML: Final = 1.04
HAEMATOCRIT_FACTOR: Final = 0.733
"""kh = (1 - 0.45) / (1 - 0.25), large vessels over capillaries."""

STEP_S: Final = 0.1
"""The time step of the forward model, an order of magnitude finer than the frames'."""

_SHORTEST_S: Final = 80.0
"""A bolus is drawn at least this long, so that a truncated scan is one of the same patient."""

HEALTHY, PENUMBRA, CORE = 0, 1, 2
"""The states of tissue, in the order of the tables below."""


@dataclass(frozen=True)
class TissueTable:
    """Mean and standard deviation of flow and transit time of one tissue, each by state (healthy, penumbra, core)."""

    cbf_ml_per_100g_min: tuple[float, float, float]
    cbf_sd: tuple[float, float, float]
    mtt_s: tuple[float, float, float]
    mtt_sd: tuple[float, float, float]


GREY = TissueTable((53.2, 14.6, 5.2), (6.7, 1.9, 0.6), (3.73, 11.5, 8.1), (0.33, 0.3, 0.4))
WHITE = TissueTable((25.6, 6.2, 2.05), (6.4, 1.5, 0.5), (4.53, 13.8, 10.4), (0.32, 0.3, 0.4))
"""Read out of a public phantom's slice with tissue-wise flow; CBV = CBF · MTT / 60 falls on its CBV, too."""

DELAY_LIMITS_S = ((0.0, 2.0), (4.0, 10.0), (6.0, 12.0))
"""Arrival after the feeding artery, by state."""

DISPERSION_LIMITS_S = ((0.0, 0.5), (1.0, 2.5), (1.0, 3.0))
"""The exponential kernel's time constant, by state."""


@dataclass(frozen=True)
class Residue:
    """The share of a bolus that is still in the tissue, from gamma-distributed transit times of one `shape`.

    Shape 1 is the well-mixed exponential; the larger, the nearer to the box, which is shape inf.

    >>> [round(float(EXPONENTIAL(np.array(t), 4.0)), 3) for t in (0.0, 4.0)], float(BOX(np.array(3.9), 4.0))
    ([1.0, 0.368], 1.0)
    """

    shape: float = 1.0

    def __call__(self, time_s: Float[np.ndarray, "*n"], mtt_s: float) -> Float64[np.ndarray, "*n"]:
        """R(t) for t ≥ 0, and 0 before."""
        remaining = (
            (time_s < mtt_s) * 1.0
            if self.shape == inf
            else special.gammaincc(self.shape, np.maximum(time_s, 0) * self.shape / mtt_s)
        )
        after: Float64[np.ndarray, "*n"] = np.where(time_s < 0, 0.0, remaining)
        return after

    def integral(self, time_s: Float[np.ndarray, "*n"], mtt_s: float) -> Float64[np.ndarray, "*n"]:
        """∫R from 0 to t, in closed form; MTT for large t."""
        t = np.maximum(time_s, 0)
        area: Float64[np.ndarray, "*n"]
        if self.shape == inf:
            area = np.minimum(t, mtt_s)
        else:
            scaled = t * self.shape / mtt_s
            gone = special.gammainc(self.shape + 1, scaled)
            area = t * special.gammaincc(self.shape, scaled) + mtt_s * gone
        return area


EXPONENTIAL = Residue(1.0)
GAMMA = Residue(4.0)
BOX = Residue(inf)


@dataclass(frozen=True, eq=False)
class Bolus:
    """The contrast in undiluted blood: at the brain's feeding arteries and in its large veins.

    Times grow by `STEP_S` from 0, the first frame. Concentrations are in HU for CT. `partial_volume` is the share of
    blood that an arterial voxel of this patient typically has.
    """

    time_s: Curve
    artery: Curve
    vein: Curve
    partial_volume: float


def draw_bolus(rng: np.random.Generator, *, duration_s: float) -> Bolus:
    """A bolus as measured in 93 patients of ISLES 2018: width, arrival, venous peak and lag, tail, partial volume.

    A gamma variate of FWHM about 10 s, a second pass of 20 % some 12 s later, and a plateau; the vein is the artery
    after a delay and gamma-distributed transit times. The venous peak is lognormal about 150 HU.
    """
    time_s = np.arange(0.0, max(duration_s, _SHORTEST_S) + 20.0, STEP_S)
    width_s = float(7.6 + np.clip(2.2 * np.exp(rng.normal(0, 0.75)), 0.4, 9.0))
    onset_s = float(np.clip(rng.normal(7.2, 3.4), 2.5, 15.0))
    first = gamma_variate(time_s - onset_s, shape=float(rng.uniform(2.3, 4.0)), width_s=width_s)
    again = np.interp(time_s - rng.uniform(10.0, 14.0), time_s, first, left=0.0)
    artery = first + rng.uniform(0.06, 0.16) * dispersed(again, 4.0)
    plateau = np.cumsum(first) / first.sum()
    artery += float(np.clip(0.185 * np.exp(rng.normal(0, 0.38)), 0.08, 0.4)) * dispersed(plateau, 3.0)
    transit_s, wait_s = rng.uniform(2.6, 4.0), float(np.clip(rng.normal(2.9, 1.3), 0.8, 6.0))
    vein = _through_brain(artery, transit_s=transit_s, wait_s=wait_s)
    peak = float(np.clip(150.0 * np.exp(rng.normal(0, 0.54)), 61.0, 397.0)) / vein.max()
    partial_volume = float(np.clip(0.26 * np.exp(rng.normal(0, 0.57)), 0.10, 0.80))
    return Bolus(time_s, peak * artery, peak * vein, partial_volume)


def gamma_variate(time_s: Curve, *, shape: float, width_s: float) -> Curve:
    """(t/p)^a · exp(a (1 - t/p)), 1 at its peak p > 0, which is chosen so that the full width at half maximum fits."""
    half = -(0.5 ** (1 / shape)) / np.e
    early, late = -special.lambertw(half, 0).real, -special.lambertw(half, -1).real
    scaled = np.maximum(time_s, 0) * (late - early) / width_s
    curve: Curve = scaled**shape * np.exp(shape * (1 - scaled))
    return curve


def dispersed(curve: Curve, constant_s: float) -> Curve:
    """The curve ⊗ an exponential of area 1, on times of `STEP_S`."""
    return _convolved(curve, _kernel(EXPONENTIAL, constant_s, curve.size) / constant_s)


def _through_brain(artery: Curve, *, transit_s: float, wait_s: float) -> Curve:
    wait = round(wait_s / STEP_S)
    kernel = np.diff(special.gammainc(2.0, np.arange(artery.size + 1) * STEP_S * 2.0 / transit_s))
    return np.concatenate([np.zeros(wait), _convolved(artery, kernel)])[: artery.size]


def _convolved(curve: Curve, kernel: Float64[np.ndarray, "s"]) -> Curve:
    length = fft.next_fast_len(2 * curve.size, real=True)
    product: Curve = fft.irfft(fft.rfft(curve, length) * fft.rfft(kernel, length), length)[: curve.size]
    return product


def _kernel(residue: Residue, mtt_s: float, size: int) -> Float64[np.ndarray, "s"]:
    """∫R over steps centred at 0, STEP_S, …: their sum is MTT, to the end of the curve."""
    edges = (np.arange(size + 1) - 0.5) * STEP_S
    kernel: Float64[np.ndarray, "s"] = np.diff(residue.integral(edges, mtt_s))
    return kernel


@dataclass(frozen=True, eq=False)
class Lattice:
    """The transit times, dispersions and delays on which the forward model is tabulated.

    Transit times grow by 2 %, dispersions by 0.25 s and delays by 0.1 s; a voxel takes the nearest node, and the true
    maps say the node's values.
    """

    mtt_s: Float64[np.ndarray, "m"]
    dispersion_s: Float64[np.ndarray, "s"]
    delay_s: Float64[np.ndarray, "d"]

    def nodes(
        self, mtt_s: Float32[np.ndarray, "n"], dispersion_s: Float32[np.ndarray, "n"], delay_s: Float32[np.ndarray, "n"]
    ) -> Int[np.ndarray, "n"]:
        """The number of the nearest node of each row."""
        ratio = np.log(self.mtt_s[1] / self.mtt_s[0])
        m = _nearest(np.log(mtt_s / np.float32(self.mtt_s[0])) / np.float32(ratio), self.mtt_s.size)
        s = _nearest(dispersion_s / np.float32(self.dispersion_s[1]), self.dispersion_s.size)
        d = _nearest((delay_s - np.float32(self.delay_s[0])) / np.float32(STEP_S), self.delay_s.size)
        code: Int[np.ndarray, "n"] = (m * self.dispersion_s.size + s) * self.delay_s.size + d
        return code

    def values(self, nodes: Int[np.ndarray, "n"]) -> tuple[Float64[np.ndarray, "n"], ...]:
        """Transit time, dispersion and delay of nodes."""
        rest, d = np.divmod(nodes, self.delay_s.size)
        m, s = np.divmod(rest, self.dispersion_s.size)
        return self.mtt_s[m], self.dispersion_s[s], self.delay_s[d]


LATTICE = Lattice(1.5 * 1.02 ** np.arange(131), 0.25 * np.arange(17), np.round(np.arange(-1.0, 16.05, STEP_S), 1))


def _nearest(position: Float32[np.ndarray, "n"], size: int) -> Int[np.ndarray, "n"]:
    index: Int[np.ndarray, "n"] = np.clip(np.rint(position), 0, size - 1).astype(np.int32)
    return index


def responses(
    bolus: Bolus, frame_s: Curve, residue: Residue, nodes: Int[np.ndarray, "n"]
) -> tuple[Float32[np.ndarray, "n t"], Float32[np.ndarray, "n"]]:
    """For each node, ρ/kh/6000 · (Ca ⊗ D ⊗ R)(t - delay) at the frames, and the time at which D ⊗ R is largest.

    Multiply by a flow in ml/100 g/min to get the tissue's concentration. The second answer, in s, includes the delay:
    the true Tmax.
    """
    _, _, delay_s = LATTICE.values(nodes)
    pairs, which = np.unique(nodes // LATTICE.delay_s.size, return_inverse=True)
    of_kernel, of_spread = np.divmod(pairs, LATTICE.dispersion_s.size)
    size = bolus.time_s.size
    length = fft.next_fast_len(2 * size, real=True)
    kernels = np.stack([_kernel(residue, mtt, size) for mtt in LATTICE.mtt_s])
    spread = np.stack(
        [_kernel(EXPONENTIAL, tau, size) / tau if tau else np.eye(1, size)[0] for tau in LATTICE.dispersion_s]
    )
    system = fft.rfft(kernels, length)[of_kernel] * fft.rfft(spread, length)[of_spread]
    peak_s = _peak_time_s(fft.irfft(system, length)[:, :size])
    curves = fft.irfft(system * fft.rfft(bolus.artery, length), length)[:, :size]
    curves *= DENSITY_G_PER_ML / HAEMATOCRIT_FACTOR / 6000
    tmax_s = (peak_s[which] + delay_s).astype(np.float32)
    return _at_frames(curves, which, delay_s, frame_s), tmax_s


def _peak_time_s(kernels: Float64[np.ndarray, "n t"]) -> Float64[np.ndarray, "n"]:
    """The first time at which each kernel is within 1e-6 of its largest value; kernels without dispersion peak at 0.

    The step at time 0 is half a bin wide, so it counts double.
    """
    full = kernels.copy()
    full[:, 0] *= 2
    first: Float64[np.ndarray, "n"] = (full >= full.max(axis=1, keepdims=True) * (1 - 1e-6)).argmax(axis=1) * STEP_S
    return first


def _at_frames(
    curves: Float64[np.ndarray, "m s"], which: Int[np.ndarray, "n"], delay_s: Float64[np.ndarray, "n"], frame_s: Curve
) -> Float32[np.ndarray, "n t"]:
    """Row `which` of the curves at the frames' times less the delay, by linear interpolation; 0 before time 0."""
    padded = np.pad(curves.astype(np.float32), ((0, 0), (1, 0)))
    found = np.empty((which.size, frame_s.size), np.float32)
    for t, time_s in enumerate(frame_s):
        position = np.maximum((time_s - delay_s) / STEP_S + 1, 0)
        below = np.minimum(position.astype(np.intp), padded.shape[1] - 2)
        share = (position - below).astype(np.float32)
        found[:, t] = padded[which, below] * (1 - share) + padded[which, below + 1] * share
    return found
