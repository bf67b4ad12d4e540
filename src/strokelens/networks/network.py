"""What every network is to those who train and ask it, of slices or of volumes."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Network(nn.Module, ABC):
    """Logits (b, n, *space) of images (b, c, *space), and of clinical values (b, s) with their mask.

    `clinical` names the values, in order. `stride` is how many voxels of an image one of the bottleneck covers along i
    and j: images cut out of larger ones should begin at a multiple of it.
    """

    clinical_names: tuple[str, ...] = ()
    stride: int = 1

    @abstractmethod
    def forward(
        self,
        images: Float[Tensor, "b c *space"],
        values: Float[Tensor, "b s"] | None = None,
        known: Bool[Tensor, "b s"] | None = None,
        *,
        corner: tuple[int, int] | None = None,
    ) -> Float[Tensor, "b n *space"]:
        """The logits; `corner` is the voxel of a whole image's bottleneck at which a part of it begins."""

    def at_scales(
        self,
        images: Float[Tensor, "b c *space"],
        values: Float[Tensor, "b s"] | None = None,
        known: Bool[Tensor, "b s"] | None = None,
    ) -> list[Float[Tensor, "b n ..."]]:
        """The logits of each scale that is held to the truth, the finest, which is the network's answer, last."""
        return [self(images, values, known)]

    def added(self) -> Iterable[nn.Conv2d | nn.ConvTranspose2d]:
        """The convolutions that a penalty and a largest norm keep small; none where not told otherwise."""
        return ()

    def finest(self) -> Iterable[nn.Module]:
        """What is computed in float32 where the rest is in bfloat16."""
        return ()


def laid_out(net: Network) -> Network:
    """The network with its weights as they are computed fastest: of slices with channels last."""
    flat = any(weight.ndim == 4 for weight in net.parameters())
    if flat:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # which torch does not declare
    return net
