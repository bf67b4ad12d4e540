"""A task whose reasons are known: six channels, of which only two show the lesion, one darker and one brighter.

Healthy tissue is 0.5 with smooth texture and noise in each channel; a lesion is darker in the first channel, as in ADC
or CBF, and brighter in the fifth, as in Tmax. Every channel has blobs of its own that are no lesion.
"""

from typing import Final

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from strokelens.losses import loss_named

CHANNELS: Final = 6
DARK, BRIGHT = 0, 4
CAUSAL: Final = (DARK, BRIGHT)
HEALTHY: Final = 0.5
SHAPE: Final = (16, 40, 40)
_SIGNAL, _TEXTURE, _NOISE = 0.18, 0.05, 0.03


def volume(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A volume (1, c, k, i, j) and its lesion (1, k, i, j)."""
    rough = rng.standard_normal((CHANNELS, *SHAPE))
    texture = np.stack([ndimage.gaussian_filter(each, (1, 3, 3)) for each in rough])
    x = HEALTHY + _TEXTURE * texture / texture.std() + _NOISE * rng.standard_normal((CHANNELS, *SHAPE))
    lesion = _blob(rng, 7.0)
    x[DARK] -= _SIGNAL * lesion
    x[BRIGHT] += _SIGNAL * lesion
    for channel in range(CHANNELS):
        if channel not in CAUSAL:
            x[channel] += rng.choice([-1, 1]) * _SIGNAL * _blob(rng, 7.0)
    return torch.from_numpy(x[None].astype(np.float32)), torch.from_numpy(lesion[None])


def _blob(rng: np.random.Generator, radius: float) -> np.ndarray:
    """A ball, flat along k, with a rough border."""
    centre = [rng.uniform(0.3, 0.7) * side for side in SHAPE]
    away = sum(
        ((at - middle) / size) ** 2
        for at, middle, size in zip(np.indices(SHAPE), centre, (radius / 2.5, radius, radius), strict=True)
    )
    edge = ndimage.gaussian_filter(rng.standard_normal(SHAPE), (1, 2, 2))
    return np.asarray(away + 0.25 * edge / edge.std() < 1)


def trained(net: nn.Module, *, steps: int, seed: int = 0, rate: float = 3e-3) -> nn.Module:
    """The network after so many steps of two volumes each."""
    rng, loss_of = np.random.default_rng(seed), loss_named("dice_cross_entropy", (1.0, 1.0))
    optimizer = torch.optim.Adam(net.parameters(), rate)
    falling = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    net.train()
    for _ in range(steps):
        pairs = [volume(rng) for _ in range(2)]
        optimizer.zero_grad()
        loss_of(net(torch.cat([x for x, _ in pairs])), torch.cat([y for _, y in pairs]).long()).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        falling.step()
    return net.eval()
