"""What keeps the added convolutions of a network small: a penalty in the loss, and a largest norm after each step."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from strokelens.networks.network import Network

_LEAST = 1e-7


def penalty(net: Network, *, l1: float, l2: float) -> Float[Tensor, ""]:
    """l1 Σ |w| + l2 Σ w² over the kernels of the added convolutions, without their biases.

    >>> from strokelens.networks.fusion import Fusion, FusionDesign
    >>> round(penalty(Fusion(FusionDesign(width=1 / 64)), l1=0.0, l2=0.0).item(), 3)
    0.0
    """
    kernels = [layer.weight for layer in net.added()]
    if not kernels:
        return torch.zeros((), device=next(net.parameters()).device)
    return torch.stack([l1 * kernel.abs().sum() + l2 * kernel.square().sum() for kernel in kernels]).sum()


@torch.no_grad()
def limit_norms(net: Network, most: float, *, legacy: bool = False) -> None:
    """Shrink each filter of the added convolutions whose norm is above `most` to it.

    A filter is all that makes one channel of the output. `legacy` is Keras's default axis, as the ancestor had it: the
    norm over a kernel's rows only, which hardly ever acts, and over the whole bias.
    """
    for layer in net.added():
        if legacy:
            _shrink(layer.weight, (2,), most)
            if layer.bias is not None:
                _shrink(layer.bias, (0,), most)
        else:
            output = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
            _shrink(layer.weight, tuple(axis for axis in range(4) if axis != output), most)


def _shrink(weight: Tensor, axes: tuple[int, ...], most: float) -> None:
    norm = weight.square().sum(axes, keepdim=True).sqrt()
    weight.mul_(norm.clamp_max(most) / norm.clamp_min(_LEAST))
