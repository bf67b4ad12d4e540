"""Relevance while training: where the network's reasons for the gravest class lie, as a loss of their own."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from strokelens.explain.composites import Composite
from strokelens.explain.propagate import Asked, relevance
from strokelens.explain.targets import Target
from strokelens.losses import guidance
from strokelens.networks.network import Network
from strokelens.settings.losses import Guidance


def guided(
    net: Network,
    images: Float[Tensor, "b c *space"],
    told: tuple[Tensor | None, Tensor | None],
    labels: Int[Tensor, "b *space"],
    wanted: Guidance,
    *,
    corner: tuple[int, int] | None = None,
) -> Float[Tensor, "b"]:
    """The loss of each sample's relevance for the logits of the gravest class at all voxels, times its weight.

    It is of the network as it is asked, without dropout and with the running means of its norms, in float32; gradients
    pass through the relevance to the weights.
    """
    values, known = told
    asked = Asked(Composite.of(wanted.composite), differentiable=True)

    def run(x: Tensor) -> Tensor:
        answer: Tensor = net(x, values, known, corner=corner)
        return answer

    with torch.autocast(images.device.type, enabled=False):
        found = relevance(net, [images.float()], _gravest, asked, run=run)
    lesion: Bool[Tensor, "b *space"] = labels == found.answer.shape[1] - 1
    return wanted.weight * guidance(found.inputs[0][0], lesion)


def _gravest(logits: Tensor) -> list[Tensor]:
    everywhere = torch.ones(logits.shape[2:], device=logits.device)
    return [Target(logits.shape[1] - 1).seed(logits, everywhere)]
