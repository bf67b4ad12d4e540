"""What is linear in a network, as a matrix W: y = W x; with other weights of the same shape; and its transpose.

Axes: batch b, features c; of convolutions then space, of dense layers the features are last.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


class Operator(ABC):
    """A matrix whose entries are `weight`s, each at several places or at one."""

    weight: Tensor

    @abstractmethod
    def applied(self, x: Float[Tensor, "..."], weight: Tensor) -> Float[Tensor, "..."]:
        """W x, with these weights in place of its own."""

    @abstractmethod
    def adjoint(self, y: Float[Tensor, "..."], weight: Tensor, like: Tensor) -> Float[Tensor, "..."]:
        """Wᵀ y, which is of the shape of the input `like`."""

    @abstractmethod
    def spread(self, features: Float[Tensor, "c"]) -> Float[Tensor, "..."]:
        """A number of each feature of the output, to be broadcast with it."""

    @abstractmethod
    def by_feature(self, sign: Float[Tensor, "c"]) -> Tensor:
        """The weights times a number of each feature of the output."""


@dataclass(frozen=True, eq=False)
class Convolution(Operator):
    """A convolution along 1 to 3 axes, or a transposed one."""

    weight: Tensor
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool = False
    output_padding: tuple[int, ...] = ()
    groups: int = 1

    @property
    def _placed(self) -> tuple[object, ...]:
        spare = self.output_padding or (0,) * len(self.stride)
        return self.stride, self.padding, self.dilation, self.transposed, spare, self.groups

    def applied(self, x: Float[Tensor, "b c *space"], weight: Tensor) -> Float[Tensor, "b d *out"]:
        """The convolution without its bias."""
        if not self.transposed:
            return convolved(x, weight, self.stride, self.padding, self.dilation, self.groups)
        y: Tensor = torch.ops.aten.convolution(x, weight, None, *self._placed)
        return y

    def adjoint(self, y: Float[Tensor, "b d *out"], weight: Tensor, like: Tensor) -> Float[Tensor, "b c *space"]:
        """What a convolution's gradient is with respect to its input: of step 1 a convolution with weights turned."""
        reach = [by * (side - 1) for by, side in zip(self.dilation, weight.shape[2:], strict=True)]
        border = tuple(far - near for far, near in zip(reach, self.padding, strict=True))
        if not self.transposed and max(self.stride) == 1 and min(border) >= 0:
            return convolved(y, self._turned(weight), self.stride, border, self.dilation, self.groups)
        whole = (True, False, False)
        x: Tensor = torch.ops.aten.convolution_backward(y, like, weight, None, *self._placed, whole)[0]
        return x

    def _turned(self, weight: Tensor) -> Tensor:
        """From outputs to inputs, each group by itself, and with the ends of each axis exchanged."""
        grouped = weight.view(self.groups, -1, *weight.shape[1:]).transpose(1, 2).flatten(0, 1)
        turned: Tensor = grouped.flip(*range(2, weight.ndim)).contiguous()
        return turned

    def spread(self, features: Float[Tensor, "d"]) -> Float[Tensor, "d *ones"]:
        """Along space."""
        return features.view(-1, *[1] * len(self.stride))

    def by_feature(self, sign: Float[Tensor, "d"]) -> Tensor:
        """Of a transposed convolution the second axis has the features of each group."""
        ones = [1] * len(self.stride)
        if not self.transposed:
            return self.weight * sign.view(-1, 1, *ones)
        grouped = self.weight.view(self.groups, -1, *self.weight.shape[1:])
        return (grouped * sign.view(self.groups, 1, -1, *ones)).flatten(0, 1)


def convolved(
    x: Float[Tensor, "b c *space"],
    weight: Float[Tensor, "d _ *kernel"],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int = 1,
) -> Float[Tensor, "b d *out"]:
    """A convolution, small ones by oneDNN, too, which torch uses for large ones alone."""
    axes, alone = len(stride), max(weight.shape[2:]) == 1
    plain = x.device.type == "cpu" and x.dtype == torch.float32 and axes in (2, 3) and not alone and x.numel() > 0
    if plain and torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled:  # type: ignore[no-untyped-call]
        small: Tensor = torch.ops.aten.mkldnn_convolution(x, weight, None, padding, stride, dilation, groups)
        return small
    y: Tensor = torch.ops.aten.convolution(x, weight, None, stride, padding, dilation, False, (0,) * axes, groups)
    return y


@dataclass(frozen=True, eq=False)
class Dense(Operator):
    """A dense layer; its features are the last axis."""

    weight: Float[Tensor, "d c"]

    def applied(self, x: Float[Tensor, "*b c"], weight: Tensor) -> Float[Tensor, "*b d"]:
        """W x."""
        return functional.linear(x, weight)

    def adjoint(self, y: Float[Tensor, "*b d"], weight: Tensor, like: Tensor) -> Float[Tensor, "*b c"]:
        """Wᵀ y."""
        return y @ weight

    def spread(self, features: Float[Tensor, "d"]) -> Float[Tensor, "d"]:
        """As they are."""
        return features

    def by_feature(self, sign: Float[Tensor, "d"]) -> Tensor:
        """Each row times its number."""
        return self.weight * sign[:, None]


@dataclass(frozen=True, eq=False)
class Diagonal(Operator):
    """A number that each value is multiplied by: a norm's, at the point where it is."""

    weight: Float[Tensor, "..."]

    def applied(self, x: Float[Tensor, "..."], weight: Tensor) -> Float[Tensor, "..."]:
        """The products."""
        return x * weight

    def adjoint(self, y: Float[Tensor, "..."], weight: Tensor, like: Tensor) -> Float[Tensor, "..."]:
        """The products, summed where the input was broadcast: a diagonal is its own transpose."""
        return (y * weight).sum_to_size(like.shape)

    def spread(self, features: Tensor) -> Tensor:
        """As they are: norms give theirs of the shape that they need."""
        return features

    def by_feature(self, sign: Tensor) -> Tensor:
        """The numbers, times others."""
        return self.weight * sign
