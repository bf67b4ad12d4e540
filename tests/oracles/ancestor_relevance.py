"""The ancestor's relevance as it was described: one map a pass, layer after layer, and nothing left out.

A pass computes the network, z of every layer by a convolution with the positive weights, and what flows back by the
transposed one, for all of a layer's inputs; the relevance of skips is computed and thrown away, as the ancestor did.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from strokelens.networks.unet3d import Unet3d

EPS = 1e-9
Volume = Float[Tensor, "c k i j"]
Filter = Callable[[Tensor], Tensor]


@dataclass
class Memory:
    """What came into each layer of a network."""

    of: dict[nn.Module, Tensor] = field(default_factory=dict)

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.of[module] = inputs[0].clone()


def same_shape(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both with zeros at their ends, as far as the larger one goes along each axis."""
    shape = [max(sizes) for sizes in zip(x.shape, y.shape, strict=True)]

    def grown(each: Tensor) -> Tensor:
        whole = each.new_zeros(shape)
        whole[tuple(slice(size) for size in each.shape)] = each
        return whole

    return grown(x), grown(y)


def convolution(x: Tensor, weight: Tensor, relevance: Tensor) -> Tensor:
    """z⁺."""
    positive, padding = weight.clamp(min=0), weight.shape[-1] // 2
    z = functional.conv3d(x, positive, padding=padding) + EPS
    return x * functional.conv_transpose3d(relevance / z, positive, padding=padding)


def first_convolution(x: Tensor, weight: Tensor, relevance: Tensor, first: Literal["head", "published"]) -> Tensor:
    """zᴮ of values from 0 to 1, as the ancestor had it: positive weights first, and those of `first` for the bound."""
    positive = weight.clamp(min=0)
    bound = weight.clamp(max=0) if first == "head" else positive
    low, high = torch.zeros_like(x), torch.ones_like(x)
    z = functional.conv3d(x, positive, padding=1) - functional.conv3d(low, positive, padding=1)
    s = relevance / (z - functional.conv3d(high, bound, padding=1) + EPS)
    back = functional.conv_transpose3d(s, positive, padding=1)
    return x * back - low * back - high * functional.conv_transpose3d(s, bound, padding=1)


def transposed(x: Tensor, weight: Tensor, step: tuple[int, ...], relevance: Tensor) -> Tensor:
    """z⁺ of an upward convolution."""
    positive = weight.clamp(min=0)
    z, relevance = same_shape(functional.conv_transpose3d(x, positive, stride=step), relevance)
    return x * functional.conv3d(relevance / (z + EPS), positive, stride=step)


def pooled(x: Tensor, step: tuple[int, ...], relevance: Tensor) -> Tensor:
    """Winner takes all; as large as the pooled one times the step."""
    whole = [-(-size // by) * by for size, by in zip(x.shape[2:], step, strict=True)]
    larger, _ = same_shape(x, x.new_zeros(*x.shape[:2], *whole))
    inside, _ = same_shape(torch.ones_like(x), larger)
    largest, where = functional.max_pool3d(larger.masked_fill(inside == 0, -torch.inf), step, step, return_indices=True)
    s = relevance / (largest + EPS + EPS)
    return larger * functional.max_unpool3d(s, where, step, step)


def cropped(relevance: Tensor, x: Tensor) -> Tensor:
    """The middle of the relevance, as large as x; of an odd rest more is cut off at the end."""
    for axis in (2, 3, 4):
        too_much = relevance.shape[axis] - x.shape[axis]
        relevance = relevance.narrow(axis, too_much // 2, x.shape[axis])
    return relevance


def relevance_of(
    net: Unet3d,
    volumes: Tensor,
    filtered: Callable[[Tensor], Tensor],
    *,
    first: Literal["head", "published"],
    factors: tuple[float, float, float] = (0.5, 0.5, 0.5),
    starting: Tensor | None = None,
) -> Tensor:
    """One pass: the network once, and back."""
    memory = Memory()
    hooks = [each.register_forward_pre_hook(memory) for each in net.modules()]
    with torch.no_grad():
        output = net.eval()(volumes)
        for hook in hooks:
            hook.remove()
        return _back(net, memory.of, filtered, output if starting is None else starting, first, factors)


def _back(
    net: Unet3d,
    came: dict[nn.Module, Tensor],
    filtered: Callable[[Tensor], Tensor],
    relevance: Tensor,
    first: Literal["head", "published"],
    factors: tuple[float, float, float],
) -> Tensor:
    def conv(module: nn.Module, r: Tensor) -> Tensor:
        return convolution(came[module], module.get_parameter("weight"), r)

    def block(module: nn.Module, r: Tensor) -> Tensor:
        return conv(module.get_submodule("first.0"), conv(module.get_submodule("second.0"), r))

    head = next(each for each in net.heads.modules() if isinstance(each, nn.Conv3d))
    r, aside = filtered(conv(head, filtered(relevance))), []
    for up, decoder, (_, skip), step in zip(
        list(net.ups)[::-1], list(net.decoders)[::-1], net.design.scales, net.design.steps, strict=False
    ):
        r = filtered(block(decoder, r)[:, skip:])
        aside.append(filtered(r[:, :skip]))
        r = filtered(transposed(came[up], up.get_parameter("weight"), step, r))
    *finer, bottom = net.encoders
    r = filtered(block(bottom, r))
    for level in reversed(range(len(finer))):
        r = pooled(came[net.pools[level]], net.design.steps[level], r)
        share = factors[len(finer) - 1 - level]
        r = share * aside[level] + (1 - share) * cropped(r, aside[level])
        if level > 0:
            r = filtered(block(finer[level], r))
    r = conv(finer[0].get_submodule("second.0"), r)
    layer = finer[0].get_submodule("first.0")
    return filtered(first_convolution(came[layer], layer.get_parameter("weight"), r, first))
