"""Which of the encoders' layers learn: none (`frozen`), the deeper half (`half`), or all (`full`)."""

from collections.abc import Iterator
from typing import Literal

from torch import nn

from strokelens.networks.fusion import Fusion
from strokelens.networks.network import Network
from strokelens.networks.vgg16 import Vgg16

Stage = Literal["frozen", "half", "full"]


def set_stage(net: Network, stage: Stage) -> None:
    """Let these layers of the encoders learn, and all that is not an encoder; of a network without, all learns.

    `half` takes the encoders' layers by depth, and at each depth encoder after encoder, with inputs and pools counted;
    the second half of that list learns: the last two blocks, and the convolution before them in some encoders.

    >>> from strokelens.networks.fusion import FusionDesign
    >>> net = Fusion(FusionDesign(width=1 / 64))
    >>> set_stage(net, "half")
    >>> [encoder.features[14].weight.requires_grad for encoder in net.encoders]
    [False, False, True, True]
    """
    net.requires_grad_(True)
    if not isinstance(net, Fusion):
        return
    layers = list(_by_depth(net))
    start = {"frozen": len(layers), "half": len(layers) // 2, "full": 0}[stage]
    for layer in layers[:start]:
        layer.requires_grad_(False)


def trainable_parameters(net: nn.Module) -> int:
    """How many numbers learn."""
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


def _by_depth(net: Fusion) -> Iterator[nn.Module]:
    """The layers of all encoders by depth; an input is a layer without weights."""
    encoders = [encoder for encoder in net.encoders if isinstance(encoder, Vgg16)]
    ladders = [[nn.Identity(), *encoder.layers()] for encoder in encoders]
    for depth in zip(*ladders, strict=True):
        yield from depth
