"""Deconvolution of tissue curves by the arterial one: flow and delay of every voxel.

Conventions: a tissue curve is C(t) = ∫ a(τ) k(t − τ) dτ with the arterial curve a and the impulse response k, both
sampled every `interval_s`. The flow is the maximum of k, in 1/s of the curves' common unit (`maps` scales it), and the
delay is the time of that maximum (Tmax).

Every method but `OSVD` is linear, so the whole brain is one matrix product `curves @ inverse.T`. The block-circulant
matrix is diagonalised by the Fourier transform: its singular values are the moduli of the spectrum of the arterial
curve padded to L = 2N, and truncating them needs no decomposition at all. All L lags are kept, those from N on being
negative delays, so tissue that the bolus reaches before the chosen artery keeps its flow.

References:
    Østergaard et al. 1996 (sSVD), Wu et al. 2003 (bcSVD, oSVD, oscillation index), Calamante et al. 2003 (Tikhonov).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Complex, Float, Int
from scipy.linalg import blas, toeplitz

from strokelens.arrays import Curve, Curves
from strokelens.errors import SeriesError

_CUTOFFS = [percent / 100 for percent in range(5, 100, 5)]
"""What oSVD tries, as shares of the largest singular value."""

_CHUNK = 4096
"""Voxels at a time: their responses, 4096 × 2N float32, stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Response:
    """The peak of each voxel's impulse response: `flow_per_s` (n,) and `delay_s` (n,), NaN where it never rises."""

    flow_per_s: Float[np.ndarray, "n"]
    delay_s: Float[np.ndarray, "n"]


class Deconvolution(Protocol):
    """A way from tissue curves to impulse responses."""

    @property
    def name(self) -> str:
        """The method with its setting, such as `bcSVD 0.2`."""

    def __call__(self, curves: Curves, aif: Curve, *, interval_s: float) -> Response:
        """Flow and delay of each curve; raises `SeriesError` when the arterial curve is empty."""


@dataclass(frozen=True)
class BCSVD:
    """Block-circulant truncated SVD: singular values under `cutoff` × the largest are left out (Wu 2003).

    >>> aif = np.array([0, 1, 3, 1, 0, 0, 0, 0, 0, 0], float)
    >>> tissue = np.roll(aif, 2)[None] * 0.01  # the same bolus, two frames later
    >>> response = BCSVD(0.01)(tissue, aif, interval_s=1.5)
    >>> f"{response.flow_per_s[0]:.4f} per s after {response.delay_s[0]:.2f} s"
    '0.0115 per s after 3.00 s'
    """

    cutoff: float = 0.2

    @property
    def name(self) -> str:
        """The method with its setting."""
        return f"bcSVD {self.cutoff:g}"

    def __call__(self, curves: Curves, aif: Curve, *, interval_s: float) -> Response:
        """Flow and delay of each curve."""
        spectrum = _spectrum(aif, interval_s)
        kept = np.abs(spectrum) >= self.cutoff * np.abs(spectrum).max()
        factors = np.divide(1, spectrum, out=np.zeros_like(spectrum), where=kept)
        return _by_matrix(curves, _circulant(factors, aif.size), interval_s)


@dataclass(frozen=True)
class Tikhonov:
    """Block-circulant Tikhonov regularisation: each singular value s is inverted as s / (s² + (`weight` · s_max)²)."""

    weight: float = 0.1

    @property
    def name(self) -> str:
        """The method with its setting."""
        return f"Tikhonov {self.weight:g}"

    def __call__(self, curves: Curves, aif: Curve, *, interval_s: float) -> Response:
        """Flow and delay of each curve."""
        spectrum = _spectrum(aif, interval_s)
        power = np.abs(spectrum) ** 2
        factors = np.conj(spectrum) / (power + self.weight**2 * power.max())
        return _by_matrix(curves, _circulant(factors, aif.size), interval_s)


@dataclass(frozen=True)
class SSVD:
    """Truncated SVD of the causal (Toeplitz) matrix (Østergaard 1996); its flow depends on the delay."""

    cutoff: float = 0.2

    @property
    def name(self) -> str:
        """The method with its setting."""
        return f"sSVD {self.cutoff:g}"

    def __call__(self, curves: Curves, aif: Curve, *, interval_s: float) -> Response:
        """Flow and delay of each curve."""
        _require_bolus(aif)
        matrix = toeplitz(_simpson(aif), np.zeros(aif.size)) * interval_s
        left, values, right = np.linalg.svd(matrix)
        inverse_values = np.divide(1, values, out=np.zeros_like(values), where=values >= self.cutoff * values.max())
        inverse = (right.T * inverse_values) @ left.T
        return _by_matrix(curves, inverse.astype(np.float32), interval_s, negative_lags=False)


@dataclass(frozen=True)
class OSVD:
    """Block-circulant SVD with as much truncation per voxel as its oscillation asks for (Wu 2003).

    Cut-offs of 5, 10, ... 95 % of the largest singular value are tried in this order; a voxel keeps the first whose
    response k of L lags has an oscillation index OI = Σ|k(l) − 2k(l−1) + k(l−2)| / (L · max k) under `oscillation`, or
    the last.
    """

    oscillation: float = 0.035

    @property
    def name(self) -> str:
        """The method with its setting."""
        return f"oSVD {self.oscillation:g}"

    def __call__(self, curves: Curves, aif: Curve, *, interval_s: float) -> Response:
        """Flow and delay of each curve."""
        spectrum = _spectrum(aif, interval_s)
        inverse, removals = _truncations(spectrum, aif.size)
        flow, lag = np.empty(len(curves), np.float32), np.empty(len(curves), np.float32)
        for rows in _chunks(len(curves)):
            chunk = np.ascontiguousarray(curves[rows], dtype=np.float32)
            flow[rows], lag[rows] = _peak(self._responses(chunk, inverse, removals))
        return _response(flow, lag, 2 * aif.size, interval_s)

    def _responses(
        self, curves: Curves, inverse: Float[np.ndarray, "lag t"], removals: "list[_Removal]"
    ) -> Float[np.ndarray, "n lag"]:
        """The response of each voxel at the first truncation that is smooth enough."""
        chosen: np.ndarray = curves @ inverse.T
        open_rows = np.arange(len(curves))
        responses, pending = chosen.copy(), curves
        for removal in removals:
            rough = _oscillation(responses) >= self.oscillation
            if not rough.any():
                break
            if not rough.all():
                open_rows, responses, pending = open_rows[rough], responses[rough], pending[rough]
            responses = _subtract(responses, pending @ removal.analysis, removal.synthesis)
            chosen[open_rows] = responses
        return chosen


DEFAULT = BCSVD(0.2)
"""At the noise of CT perfusion bcSVD 0.2 outlines the core best, and oSVD next (docs/concepts/perfusion.md)."""

METHODS: dict[str, Deconvolution] = {
    "bcsvd": BCSVD(),
    "osvd": OSVD(),
    "ssvd": SSVD(),
    "tikhonov": Tikhonov(),
}
"""The methods by the names of the command line, with their default settings."""


@dataclass(frozen=True, eq=False)
class _Removal:
    """Frequencies that one step of truncation takes out: `response −= (curve @ analysis) @ synthesis`."""

    analysis: Float[np.ndarray, "t m"]
    synthesis: Float[np.ndarray, "m lag"]


def _truncations(
    spectrum: Complex[np.ndarray, "lag"], frames: int
) -> tuple[Float[np.ndarray, "lag t"], list[_Removal]]:
    """The inverse at a cut-off of 5 %, and what each further cut-off up to 95 % that changes anything takes out."""
    modulus = np.abs(spectrum) / np.abs(spectrum).max()
    kept = modulus >= _CUTOFFS[0]
    factors = np.divide(1, spectrum, out=np.zeros_like(spectrum), where=kept)
    removals = []
    for cutoff in _CUTOFFS[1:]:
        gone = kept & (modulus < cutoff)
        if gone.any():
            removals.append(_removal(np.flatnonzero(gone), spectrum, frames))
        kept = kept & ~gone
    return _circulant(factors, frames), removals


def _removal(gone: Int[np.ndarray, "m"], spectrum: Complex[np.ndarray, "lag"], frames: int) -> _Removal:
    """The part of the inverse at some frequencies; a frequency and its conjugate go together, counted once."""
    count = spectrum.size
    pairs = gone[gone <= count // 2]
    angle = 2 * np.pi * np.outer(np.arange(count), pairs) / count
    weight = np.where((pairs == 0) | (2 * pairs == count), 1, 2) / count
    inverted = np.exp(-1j * angle[:frames]) * weight / spectrum[pairs]
    analysis = np.hstack([inverted.real, inverted.imag])
    synthesis = np.vstack([np.cos(angle).T, -np.sin(angle).T])
    return _Removal(analysis.astype(np.float32), synthesis.astype(np.float32))


def _spectrum(aif: Curve, interval_s: float) -> Complex[np.ndarray, "lag"]:
    """The eigenvalues of the block-circulant matrix of the arterial curve, padded to twice its length."""
    _require_bolus(aif)
    spectrum: np.ndarray = np.fft.fft(_simpson(aif), n=2 * aif.size) * interval_s
    return spectrum


def _simpson(aif: Curve) -> Curve:
    """The curve weighted (1, 4, 1) / 6: linear interpolation between frames within the convolution's integral."""
    padded = np.pad(np.asarray(aif, np.float64), 1)
    weighted: np.ndarray = (padded[:-2] + 4 * padded[1:-1] + padded[2:]) / 6
    return weighted


def _require_bolus(aif: Curve) -> None:
    if not np.isfinite(aif).all() or aif.max(initial=0.0) <= 0:
        raise SeriesError("the arterial curve has no bolus; choose other voxels or check the series")


def _circulant(factors: Complex[np.ndarray, "lag"], frames: int) -> Float[np.ndarray, "lag t"]:
    """The matrix that filters N frames, padded to L, by `factors` of the spectrum; float32."""
    column = np.fft.ifft(factors).real
    lags = np.arange(factors.size)
    return np.asarray(column[(lags[:, None] - np.arange(frames)) % factors.size], np.float32)


def _by_matrix(
    curves: Curves, inverse: Float[np.ndarray, "lag t"], interval_s: float, *, negative_lags: bool = True
) -> Response:
    flow, lag = np.empty(len(curves), np.float32), np.empty(len(curves), np.float32)
    for rows in _chunks(len(curves)):
        flow[rows], lag[rows] = _peak(np.asarray(curves[rows], np.float32) @ inverse.T, periodic=negative_lags)
    return _response(flow, lag, len(inverse) if negative_lags else 2 * len(inverse), interval_s)


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, count, _CHUNK))


def _peak(
    responses: Float[np.ndarray, "n lag"], *, periodic: bool = True
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Height and position, in lags, of each response's maximum, refined by the parabola through it and its neighbours.

    Where lags are periodic, the neighbour of the first is the last; elsewhere a maximum at either end stays there.
    """
    rows = np.arange(len(responses))
    top = responses.argmax(axis=1)
    count = responses.shape[1]
    middle = responses[rows, top]
    left, right = responses[rows, top - 1], responses[rows, (top + 1) % count]
    bend = left - 2 * middle + right
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.where(bend < 0, 0.5 * (left - right) / bend, 0)
    if not periodic:
        shift = np.where((top == 0) | (top == count - 1), 0, shift)
    return middle - 0.25 * (left - right) * shift, top + shift


def _response(flow: Float[np.ndarray, "n"], lag: Float[np.ndarray, "n"], period: int, interval_s: float) -> Response:
    delay = np.where(lag >= period / 2, lag - period, lag) * np.float32(interval_s)
    rises = flow > 0
    return Response(np.where(rises, flow, np.float32(np.nan)), np.where(rises, delay, np.float32(np.nan)))


def _oscillation(responses: Float[np.ndarray, "n lag"]) -> Float[np.ndarray, "n"]:
    bends = responses[:, 2:] - responses[:, 1:-1]
    bends -= responses[:, 1:-1]
    bends += responses[:, :-2]
    np.abs(bends, out=bends)
    total = bends @ np.ones(bends.shape[1], np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        index: np.ndarray = total / (responses.shape[1] * responses.max(axis=1))
    return np.where(index >= 0, index, np.inf)


def _subtract(
    responses: Float[np.ndarray, "n lag"], amounts: Float[np.ndarray, "n m"], synthesis: Float[np.ndarray, "m lag"]
) -> Float[np.ndarray, "n lag"]:
    """`responses − amounts @ synthesis`, in one pass of BLAS."""
    result: np.ndarray = blas.sgemm(-1.0, synthesis.T, amounts.T, beta=1.0, c=responses.T, overwrite_c=True).T
    return result
