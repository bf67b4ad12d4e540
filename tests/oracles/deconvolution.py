"""Deconvolution as the papers write it: explicit matrix, full singular value decomposition, voxel by voxel."""

import numpy as np
from jaxtyping import Float


def weighted(aif: Float[np.ndarray, "t"]) -> Float[np.ndarray, "t"]:
    """Each frame as (previous + 4 · itself + next) / 6, by a loop."""
    padded = [0.0, *aif.tolist(), 0.0]
    return np.array([(padded[n - 1] + 4 * padded[n] + padded[n + 1]) / 6 for n in range(1, len(padded) - 1)])


def block_circulant(aif: Float[np.ndarray, "t"], interval_s: float) -> Float[np.ndarray, "lag lag"]:
    """The matrix of Wu 2003: column m is the arterial curve, padded to twice its length and rolled down by m."""
    padded = np.concatenate([weighted(aif), np.zeros(aif.size)])
    return np.stack([np.roll(padded, shift) for shift in range(padded.size)], axis=1) * interval_s


def truncated_response(
    tissue: Float[np.ndarray, "t"], aif: Float[np.ndarray, "t"], interval_s: float, cutoff: float
) -> Float[np.ndarray, "lag"]:
    """The impulse response of one curve with singular values under cutoff × the largest set to zero."""
    left, values, right = np.linalg.svd(block_circulant(aif, interval_s))
    inverse = np.array([1 / value if value >= cutoff * values[0] else 0.0 for value in values])
    padded = np.concatenate([tissue, np.zeros(tissue.size)])
    response: np.ndarray = right.T @ (inverse * (left.T @ padded))
    return response


def oscillation_index(response: Float[np.ndarray, "lag"]) -> float:
    """Σ|k(l) − 2 k(l−1) + k(l−2)| / (L · max k), by a loop."""
    total = sum(abs(response[n] - 2 * response[n - 1] + response[n - 2]) for n in range(2, response.size))
    return float(total / (response.size * response.max()))


def least_oscillating_response(
    tissue: Float[np.ndarray, "t"], aif: Float[np.ndarray, "t"], interval_s: float, limit: float
) -> Float[np.ndarray, "lag"]:
    """The response of the first cut-off of 5, 10, ... 95 % whose oscillation index is under the limit, or the last."""
    for percent in range(5, 100, 5):
        response = truncated_response(tissue, aif, interval_s, percent / 100)
        if response.max() > 0 and oscillation_index(response) < limit:
            break
    return response


def refined_peak(response: Float[np.ndarray, "lag"]) -> float:
    """The top of the parabola through the largest sample and its two neighbours on the circle of lags."""
    top = int(response.argmax())
    nearby = [response[top - 1], response[top], response[(top + 1) % response.size]]
    square, slope, height = np.polyfit([-1.0, 0.0, 1.0], nearby, 2)
    return float(height - slope**2 / (4 * square))
