"""The relevance that the ancestor computed with its 3D U-Net (Tjoa et al., arXiv 1911.08136), its mistakes included.

It is here to be compared with, not to be believed: z⁺ is taken of signed values, 1e-9 is added to z whatever its sign,
the norms are passed as they are, the relevance of the skips is replaced by some of the decoder's, and what is
mixed there is halved.

What a network answers, and each layer's z, do not depend on the relevance: both are computed once for all maps, and
only for those inputs of a layer whose relevance is used.

Axes: batch b, maps t, channels c, classes n, voxels k i j; inside, channels are last.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv3d, conv_transpose3d, max_pool3d, max_unpool3d, pad

from strokelens.explain.filters import Filter, filtered
from strokelens.explain.operators import convolved
from strokelens.explain.winograd import Flow
from strokelens.networks.unet3d import Unet3d, Unet3dDesign

First = Literal["head", "published"]
"""Which of the ancestor's two rules for the first convolution: of its last code, or of what it published."""

_EPS: Final = 1e-9
_SMALL: Final = 6
"""The side of a plane of one tile, of whose many kernels not enough use is made."""

_Block = tuple["Flow | Plain", "Flow | Plain"]


def ancestors_relevance(
    net: Unet3d,
    volumes: Float[Tensor, "b c k i j"],
    filters: Sequence[Filter],
    *,
    first: First,
    factors: Sequence[float] = (0.5, 0.5, 0.5),
    starting: Float[Tensor, "b n k i j"] | None = None,
    at_once: int = 4,
) -> Float[Tensor, "t c k i j"]:
    """A map of one case for each filter, which acts at all fifteen places where the ancestor's did.

    It begins with all that the network answers, of every class and voxel, or with `starting`. `factors` are the shares
    of what is taken for the skips' relevance, the coarsest first. `at_once` maps go together through all scales but the
    finest: more takes more memory. `ValueError` tells which networks the ancestor had no rules for. The network is left
    as it was.

    >>> from strokelens.explain.filters import Raw
    >>> from strokelens.networks.unet3d import SMALLEST
    >>> net = Unet3d(Unet3dDesign(scales=SMALLEST, legacy=True))
    >>> found = ancestors_relevance(net, torch.rand(1, 6, 11, 8, 16), [Raw()] * 2, first="head")
    >>> tuple(found.shape), bool((found[0] == found[1]).all())
    ((2, 6, 11, 8, 16), True)
    """
    _check(net.design, len(volumes), len(factors))
    with torch.no_grad(), _remembering(net) as came:
        answer = net(volumes)
        way = _Way.of(net, came, first, tuple(factors))
        begin = _last(answer if starting is None else starting)
        parts = [filters[at : at + at_once] for at in range(0, len(filters), at_once)]
        return torch.cat([way.back(begin, part) for part in parts])


@contextmanager
def _remembering(net: nn.Module) -> Iterator[dict[nn.Module, Tensor]]:
    """What comes into each layer, while the network is asked; its modes and hooks are restored."""
    came: dict[nn.Module, Tensor] = {}
    modes = {module: module.training for module in net.modules()}
    layers = [each for each in modes if isinstance(each, nn.Conv3d | nn.ConvTranspose3d | nn.MaxPool3d)]

    def remember(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        came[module] = inputs[0]

    hooks = [layer.register_forward_pre_hook(remember) for layer in layers]
    try:
        net.eval()
        yield came
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode


@dataclass(frozen=True, eq=False)
class _Way:
    """All layers of a network, ready to be gone back through, the finest scale first."""

    head: "Head"
    decoders: tuple[_Block, ...]
    ups: tuple["Plain", ...]
    bottom: _Block
    pools: tuple["Winners", ...]
    encoders: tuple[tuple["FirstConvolution | Flow | Plain", "Flow | Plain"], ...]
    skips: tuple[int, ...]
    factors: tuple[float, ...]

    @classmethod
    def of(cls, net: Unet3d, came: dict[nn.Module, Tensor], first: First, factors: tuple[float, ...]) -> Self:
        """Of what came into the layers."""

        def block(module: nn.Module, kept: slice) -> _Block:
            one, two = module.get_submodule("first.0"), module.get_submodule("second.0")
            return positive_convolution(came[one], _weight(one), kept), positive_convolution(came[two], _weight(two))

        skips = tuple(skip for _, skip in net.design.scales[:-1])
        everything = slice(None)
        finest, *finer = net.encoders[:-1]
        one, two = finest.get_submodule("first.0"), finest.get_submodule("second.0")
        head = next(each for each in net.heads.modules() if isinstance(each, nn.Conv3d))
        return cls(
            Head.of(came[head], _weight(head)),
            tuple(block(each, slice(skip, None)) for each, skip in zip(reversed(net.decoders), skips, strict=True)),
            tuple(Plain.upward(came[each], _weight(each)) for each in reversed(net.ups)),
            block(net.encoders[-1], everything),
            tuple(Winners.of(came[pool], step) for pool, step in zip(net.pools, net.design.steps, strict=True)),
            (
                (FirstConvolution.of(came[one], _weight(one), first), positive_convolution(came[two], _weight(two))),
                *(block(each, everything) for each in finer),
            ),
            skips,
            factors[::-1],
        )

    def back(self, begin: Float[Tensor, "1 k i j n"], filters: Sequence[Filter]) -> Float[Tensor, "t c k i j"]:
        """The maps of some filters: each alone through the finest scale, and together where a layer is small."""
        fine = [self._coarser(0, self._begun(begin, [each]), [each]) for each in filters]
        relevance, aside = torch.cat([coarse for coarse, _ in fine]), []
        for level in range(1, len(self.pools)):
            relevance, skipped = self._coarser(level, relevance, filters)
            aside.append(skipped)
        relevance = filtered(self.bottom[0](self.bottom[1](relevance)), filters)
        for level in reversed(range(1, len(self.pools))):
            relevance = self._finer(level, relevance, aside.pop(), filters)
        each_alone = zip(relevance.unsqueeze(1), (skipped for _, skipped in fine), filters, strict=True)
        maps = [self._finer(0, coarse, skipped, [each]) for coarse, skipped, each in each_alone]
        return torch.cat(maps).movedim(-1, 1)

    def _begun(self, begin: Float[Tensor, "t k i j n"], filters: Sequence[Filter]) -> Float[Tensor, "t k i j c"]:
        return filtered(self.head(filtered(begin, filters)), filters)

    def _coarser(
        self, level: int, relevance: Float[Tensor, "t k i j c"], filters: Sequence[Filter]
    ) -> tuple[Float[Tensor, "t k2 i2 j2 d"], Float[Tensor, "t k i j e"]]:
        """Through a decoder and the upward convolution before it; and what is taken for the skip's relevance."""
        one, two = self.decoders[level]
        relevance = filtered(one(two(relevance)), filters)
        skipped = filtered(relevance[..., : self.skips[level]], filters)
        return filtered(self.ups[level](relevance), filters), skipped

    def _finer(
        self,
        level: int,
        relevance: Float[Tensor, "t k2 i2 j2 e"],
        skipped: Float[Tensor, "t k i j e"],
        filters: Sequence[Filter],
    ) -> Float[Tensor, "t k i j c"]:
        """Through a pooling, and the encoder before it."""
        last, two = self.encoders[level]
        mixed = torch.lerp(cropped(self.pools[level](relevance), skipped.shape), skipped, self.factors[level])
        return filtered(last(two(mixed)), filters)


def positive_convolution(
    inputs: Float[Tensor, "1 c k i j"], weight: Float[Tensor, "n c 3 3 3"], kept: slice = slice(None)
) -> "Flow | Plain":
    """z⁺ of a convolution, R_in = x · W⁺ᵀ (R / (W⁺ x + 1e-9)), for the inputs that are `kept`."""
    positive = weight.clamp(min=0)
    share, rest = _worth(_convolved(inputs, positive)), _last(inputs[:, kept])[0]
    if max(inputs.shape[3:]) > _SMALL:
        return Flow.of(positive[:, kept], share, rest)
    return Plain(_ready(positive[:, kept].flip(2, 3, 4).transpose(0, 1)), share, rest, (1, 1, 1), (1, 1, 1))


@dataclass(frozen=True, eq=False)
class FirstConvolution:
    """The first convolution: zᴮ of values from 0 to 1, as the ancestor wrote it.

    Where zᴮ has W, it has W⁺; and for the upper bound it had W⁺, not W⁻, when it was published.
    """

    flow: Flow
    channels: int

    @classmethod
    def of(cls, inputs: Float[Tensor, "1 c k i j"], weight: Float[Tensor, "n c 3 3 3"], first: First) -> Self:
        """R_in = x · W⁺ᵀ s − Bᵀ s with s = R / (W⁺ x − B 1 + 1e-9) and B the weights of the bound."""
        positive = weight.clamp(min=0)
        if first == "published":
            z = _convolved(inputs, positive) - _convolved(torch.ones_like(inputs), positive)
            return cls(Flow.of(positive, _worth(z), _last(inputs - 1)[0]), weight.shape[1])
        negative = weight.clamp(max=0)
        both = torch.cat([inputs, -torch.ones_like(inputs)], 1)
        z = _convolved(inputs, positive) - _convolved(torch.ones_like(inputs), negative)
        return cls(Flow.of(torch.cat([positive, negative], 1), _worth(z), _last(both)[0]), weight.shape[1])

    def __call__(self, relevance: Float[Tensor, "t k i j n"]) -> Float[Tensor, "t k i j c"]:
        """The relevance of what came in."""
        back = self.flow(relevance)
        return back.reshape(*back.shape[:-1], -1, self.channels).sum(-2)


@dataclass(frozen=True, eq=False)
class Head:
    """z⁺ of the head, a convolution of 1×1×1."""

    weight: Float[Tensor, "n c"]
    share: Float[Tensor, "k i j n"]
    inputs: Float[Tensor, "k i j c"]

    @classmethod
    def of(cls, inputs: Float[Tensor, "1 c k i j"], weight: Float[Tensor, "n c 1 1 1"]) -> Self:
        """Of what came in."""
        positive = weight.clamp(min=0)
        return cls(positive.flatten(1), _worth(conv3d(inputs, positive)), _last(inputs)[0])

    def __call__(self, relevance: Float[Tensor, "t k i j n"]) -> Float[Tensor, "t k i j c"]:
        """The relevance of what came in."""
        return (relevance * self.share @ self.weight).mul_(self.inputs)


@dataclass(frozen=True, eq=False)
class Plain:
    """Back through a convolution, by another: x · W′ (q · R), with q what a unit of relevance is worth."""

    weight: Float[Tensor, "c n _ _ _"]
    share: Float[Tensor, "k2 i2 j2 n"]
    inputs: Float[Tensor, "k i j c"]
    step: tuple[int, ...]
    border: tuple[int, ...]

    @classmethod
    def upward(cls, inputs: Float[Tensor, "1 c k i j"], weight: Float[Tensor, "c n _ _ _"]) -> Self:
        """z⁺ of an upward convolution."""
        positive, step = weight.clamp(min=0), tuple(weight.shape[2:])
        z = conv_transpose3d(inputs, positive, stride=step)
        return cls(_ready(positive), _worth(z), _last(inputs)[0], step, (0, 0, 0))

    def __call__(self, relevance: Float[Tensor, "t _ _ _ n"]) -> Float[Tensor, "t k i j c"]:
        """The relevance of what came in; what the network cut off at the ends has none."""
        t, k, i, j = relevance.shape[:4]
        worth = relevance.new_empty(t, *self.share.shape)
        for cut_off in (worth[:, k:], worth[:, :, i:], worth[:, :, :, j:]):
            cut_off.zero_()
        torch.mul(relevance, self.share[:k, :i, :j], out=worth[:, :k, :i, :j])
        back = convolved(worth.movedim(-1, 1), self.weight, self.step, self.border, dilation=(1, 1, 1))
        return back.movedim(1, -1).mul_(self.inputs)


@dataclass(frozen=True, eq=False)
class Winners:
    """Pooling: the winner takes all; `winners` are 0 but for x / (max + 2e-9) at each largest value."""

    winners: Float[Tensor, "k sk i si j sj c"]

    @classmethod
    def of(cls, inputs: Float[Tensor, "1 c k i j"], step: tuple[int, int, int]) -> Self:
        """Of what came in, with zeros where a step reaches beyond its end."""
        k, i, j = (-size % by for size, by in zip(inputs.shape[2:], step, strict=True))
        largest, where = max_pool3d(pad(inputs, (0, j, 0, i, 0, k), value=-torch.inf), step, return_indices=True)
        winners = _last(max_unpool3d(largest / (largest + _EPS + _EPS), where, step))[0]  # the ancestor added it twice
        sizes = (size for pair in zip(largest.shape[2:], step, strict=True) for size in pair)
        return cls(winners.reshape(*sizes, -1))

    def __call__(self, relevance: Float[Tensor, "t k i j c"]) -> Float[Tensor, "t k2 i2 j2 c"]:
        """The relevance of what came in, as large as whole steps are."""
        wide = relevance[:, :, None, :, None, :, None] * self.winners
        return wide.flatten(5, 6).flatten(3, 4).flatten(1, 2)


def cropped(relevance: Float[Tensor, "t _ _ _ c"], shape: Sequence[int]) -> Float[Tensor, "t k i j c"]:
    """The middle of the relevance; of what is too much along an axis the larger half is cut off at the end."""
    for axis in (1, 2, 3):
        relevance = relevance.narrow(axis, (relevance.shape[axis] - shape[axis]) // 2, shape[axis])
    return relevance


def _convolved(inputs: Float[Tensor, "1 c k i j"], weight: Float[Tensor, "n c 3 3 3"]) -> Float[Tensor, "1 n k i j"]:
    """With a border of zeros."""
    return convolved(inputs, weight, stride=(1, 1, 1), padding=(1, 1, 1), dilation=(1, 1, 1))


def _worth(z: Float[Tensor, "1 n k i j"]) -> Float[Tensor, "k i j n"]:
    """1 / (z + 1e-9)."""
    return _last(z + _EPS)[0].reciprocal()


def _ready(weight: Tensor) -> Tensor:
    return weight.contiguous(memory_format=torch.channels_last_3d)


def _last(x: Float[Tensor, "b c k i j"]) -> Float[Tensor, "b k i j c"]:
    return x.movedim(1, -1).contiguous()


def _weight(layer: nn.Module) -> Tensor:
    return layer.get_parameter("weight").detach()


def _check(design: Unet3dDesign, cases: int, factors: int) -> None:
    if cases != 1:
        raise ValueError(f"the ancestor explained one case at a time, not {cases}; give each alone")
    without = {
        f"norm {design.norm!r}": design.norm not in ("none", "batch"),
        "clinical values": bool(design.clinical),
        "residual blocks": design.residual,
        "logits of all scales": design.deep,
        "a lens": design.lens,
    }
    found = [what for what, there in without.items() if there]
    if found:
        raise ValueError(
            f"the ancestor had no rules of relevance for {' and '.join(found)}; explain this network by another method"
        )
    if any(skip > deeper for (_, skip), (_, deeper) in zip(design.scales, design.scales[1:], strict=False)):
        raise ValueError("the ancestor took relevance of the coarser scale for the skip's, and here has less of it")
    if factors != len(design.steps):
        raise ValueError(f"{factors} factors for {len(design.steps)} skips; give one for each, the coarsest first")
