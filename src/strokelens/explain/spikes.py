"""How a map's amplitudes are spread: whether few voxels hold most of it.

Of any tensor, such as the relevance at a layer; a handful of passes over it each. Moments and sums are of float64.

References:
    Hurley & Rickard 2009, IEEE Trans Inf Theory 55:4723 (Gini index); Chalasani et al. 2020, ICML (of attributions).
"""

from dataclasses import dataclass
from math import ceil, nan
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

TOP: Final = 0.001
"""Which share of the voxels `Spikes.top_share` is of."""

_ROUNDING = 1e-12
_MOST = 4_000_000
"""Of a tensor of more values every n-th is looked at, but for its peak: they tell the same."""


@dataclass(frozen=True)
class Spikes:
    """How high the highest values are.

    `peak` is max |R|; `peak_to_median` that over the median |R| of what is not 0, the lower of two middle ones;
    `kurtosis` the excess over a Gaussian's, E(R−m)⁴ / (E(R−m)²)² − 3, zeros included; `top_share` how much of Σ|R| is
    in the highest 0.1 % of the voxels, at least one.
    """

    peak: float
    peak_to_median: float
    kurtosis: float
    top_share: float


def spikes(relevance: Float[Tensor, "*any"]) -> Spikes:
    """The spikes of a tensor; a zero map has a peak of 0 and else NaN, a constant one a kurtosis of NaN.

    Of more than 4 million values every n-th is looked at, but for the peak.

    >>> spikes(torch.tensor([0.0, 1.0, -1.0, 4.0]))
    Spikes(peak=4.0, peak_to_median=4.0, kurtosis=-1.0, top_share=0.66...)
    """
    values = relevance.detach().flatten()
    size = values.abs()
    peak = float(size.max()) if len(size) else nan
    if not peak > 0:
        return Spikes(peak, nan, nan, nan)
    step = -(-len(size) // _MOST)
    values, size = values[::step], size[::step]
    top = size.topk(ceil(TOP * len(size)), sorted=False).values
    return Spikes(
        peak=peak,
        peak_to_median=peak / float(size[size > 0].median()),
        kurtosis=_kurtosis(values, peak),
        top_share=float(top.sum(dtype=torch.float64) / size.sum(dtype=torch.float64)),
    )


def gini(relevance: Float[Tensor, "*any"]) -> float:
    """The Gini index of |R|: 0 when all are equal, 1 − 1/N when one of N holds all.

    1 − 2 Σₖ (aₖ / Σa) (N − k + ½) / N with |R| in rising order a₁ … a_N. NaN for a zero map.

    >>> gini(torch.ones(5)), gini(torch.tensor([0.0, 0.0, 0.0, -2.0]))
    (0.0, 0.75)
    """
    size = relevance.detach().flatten().abs().sort().values.double()
    total, n = float(size.sum()), len(size)
    if not total:
        return nan
    weight = torch.arange(n, 0, -1, dtype=torch.float64, device=size.device) - 0.5
    return 1 - 2 * float((size * weight).sum()) / (n * total)


def _kurtosis(values: Float[Tensor, "n"], peak: float) -> float:
    squares = (values.double() - values.mean(dtype=torch.float64)).square_()
    variance = float(squares.mean())
    return float(squares.square_().mean()) / variance**2 - 3 if variance > (_ROUNDING * peak) ** 2 else nan
