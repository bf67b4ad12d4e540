"""VGG16 without its classifier (Simonyan and Zisserman 2015), which gives what each of its blocks saw.

Thirteen convolutions of 3×3 in five blocks, each with a ReLU; a pool of 2×2 ends a block. Its modules are numbered as
those of torchvision's `features`, so that weights published in that form fit.
"""

from typing import Final

from jaxtyping import Float
from torch import Tensor, nn

BLOCKS: Final = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""The filters of each convolution."""


class Vgg16(nn.Module):
    """The features of images (b, channels, i, j) after each block, before and after its pool.

    `width` scales the filters; 1 has the published 14,714,688 parameters for three channels.

    >>> import torch
    >>> skips, last = Vgg16(3, width=1 / 16)(torch.zeros(1, 3, 64, 32))
    >>> [tuple(skip.shape[1:]) for skip in skips], tuple(last.shape[1:])
    ([(4, 64, 32), (8, 32, 16), (16, 16, 8), (32, 8, 4), (32, 4, 2)], (32, 2, 1))
    """

    def __init__(self, channels: int, *, width: float = 1.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = channels
        for block in BLOCKS:
            for filters in block:
                after = scaled(filters, width)
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
                before = after
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    def forward(
        self, images: Float[Tensor, "b c i j"]
    ) -> tuple[list[Float[Tensor, "b _ _ _"]], Float[Tensor, "b _ _ _"]]:
        """What the last convolution of each block gives, and the last pool."""
        skips = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                skips.append(images)
            images = layer(images)
        return skips, images

    def layers(self) -> list[nn.Module]:
        """The convolutions and pools in order: 18."""
        return [layer for layer in self.features if not isinstance(layer, nn.ReLU)]


def filters_of(width: float) -> tuple[int, ...]:
    """The channels that each block gives.

    >>> filters_of(1.0)
    (64, 128, 256, 512, 512)
    """
    return tuple(scaled(block[-1], width) for block in BLOCKS)


def scaled(filters: int, width: float) -> int:
    """So many filters times the width, one at least."""
    return max(1, round(filters * width))
