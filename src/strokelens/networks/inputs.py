"""What enters a network: stored slices as numbers of order 1, and colours as the published weights expect them."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from strokelens.networks.pretrained import IMAGENET_MEAN, IMAGENET_STD

_WHITE = 255


def unit(stored: Shaped[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
    """Stored values as float32: colours from 0 to 1, physical values as they are.

    >>> unit(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)).max().item()
    1.0
    """
    values = stored.float()
    return values / _WHITE if stored.dtype == torch.uint8 else values


def standardised(
    images: Float[Tensor, "b c *space"], *, form: str, legacy: bool = False
) -> Float[Tensor, "b c *space"]:
    """Images of `unit` as the encoders expect them.

    Colours become (value − mean) / std of ImageNet; `legacy` is the ancestor's raw 0 to 255 in the order blue, green,
    red. Values, also relative ones, stay as they are, as 0 is no value.

    >>> black = torch.zeros(1, 3, 2, 2)
    >>> [round(value, 3) for value in standardised(black, form="colours")[0, :, 0, 0].tolist()]
    [-2.118, -2.036, -1.804]
    """
    if form != "colours":
        return images
    maps = images.shape[1] // 3
    if legacy:
        backwards = [3 * at + colour for at in range(maps) for colour in (2, 1, 0)]
        return images[:, backwards] * _WHITE
    shape = (1, 3 * maps, *[1] * (images.ndim - 2))
    mean, std = (images.new_tensor(each * maps).view(shape) for each in (IMAGENET_MEAN, IMAGENET_STD))
    return (images - mean) / std
