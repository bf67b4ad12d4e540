"""The 3D U-Net for volumes of acute MR: four scales, skips, and what is known of the patient at the bottleneck.

After Tjoa et al. (arXiv 1911.08136). `legacy` is their network to the parameter: skips through which no gradient
flows, and a head whose logits are normalised and never negative. Without it those are put right.

Axes: batch b, channels c, scalars s, voxels k i j (depth first), classes n.
"""

from dataclasses import dataclass
from math import prod
from typing import Final, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from strokelens.networks.clinical import check_clinical, known_sum
from strokelens.networks.network import Network
from strokelens.networks.norms import groups_of

Norm = Literal["none", "batch", "instance", "group"]
Activation = Literal["leaky_relu", "relu", "silu"]
Step = tuple[int, int, int]

PUBLISHED: Final = ((32, 64), (64, 128), (128, 256), (256, 512))
"""The filters of the two convolutions of each scale, the finest first: 19,077,158 parameters with six channels."""

SMALLEST: Final = ((3, 4), (4, 6), (6, 8), (8, 16))
"""Those of the ancestor's network for debugging: 24,141 parameters."""

_SLOPE = 0.2
_LENS_KERNEL, _LENS_SLOPE = (3, 17, 17), 0.01
_EVEN, _LEFT_OVER = 8, 3


@dataclass(frozen=True)
class Unet3dDesign:
    """What a `Unet3d` is made of.

    `channels` and `clinical` are named in order. `scales` are the filters of each scale's two convolutions, the finest
    first, and `steps` by how much each scale but the finest is coarser along k, i and j. `residual` adds to each block
    what came in; `deep` gives logits of every scale of the decoder while training; `lens` looks at the volume first.
    """

    channels: tuple[str, ...] = ("ADC", "MTT", "rCBF", "rCBV", "Tmax", "TTP")
    clinical: tuple[str, ...] = ()
    classes: int = 2
    scales: tuple[tuple[int, int], ...] = PUBLISHED
    steps: tuple[Step, ...] = ((2, 2, 2), (2, 2, 2), (2, 2, 2))
    norm: Norm = "batch"
    activation: Activation = "leaky_relu"
    residual: bool = False
    deep: bool = False
    dropout: float = 0.0
    lens: bool = False
    detached_skips: bool = False
    rectified_head: bool = False
    legacy: bool = False

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.scales) - 1:
            raise ValueError(f"{len(self.steps)} steps between {len(self.scales)} scales; give one less than scales")
        if self.legacy and (self.residual or self.deep or self.clinical or set(self.steps) != {(2, 2, 2)}):
            raise ValueError("legacy has no residual blocks, logits of all scales, clinical values or other steps")


class Unet3d(Network):
    """Logits (b, n, k, i, j) of volumes (b, c, k, i, j) of any size, and of clinical values (b, s) with their mask.

    Each scale is the next finer one, pooled, its last voxel kept where the size is odd; on the way back what is too
    much is cut off. Clinical values should be of order 1; one that is not `known` adds nothing, whatever it holds.
    Raises `ValueError` when channels or scalars do not fit, and under `legacy` when the ancestor would have failed.

    >>> design = Unet3dDesign(channels=("ADC", "Tmax"), scales=SMALLEST, steps=((1, 2, 2), (2, 2, 2), (2, 2, 2)))
    >>> tuple(Unet3d(design)(torch.zeros(1, 2, 7, 30, 33)).shape)
    (1, 2, 7, 30, 33)
    """

    def __init__(self, design: Unet3dDesign) -> None:
        super().__init__()
        self.design = design
        self.clinical_names = design.clinical
        self.stride = prod(max(i, j) for _, i, j in design.steps)
        self.lens = _lens(len(design.channels)) if design.lens else None
        before = [len(design.channels), *(last for _, last in design.scales[:-1])]
        self.encoders = nn.ModuleList(
            _Block(come, *filters, design) for come, filters in zip(before, design.scales, strict=True)
        )
        self.pools = nn.ModuleList(nn.MaxPool3d(step, step, ceil_mode=True) for step in design.steps)
        self.drop = nn.Dropout(design.dropout)
        self.clinical = Covariates(len(design.clinical), design.scales[-1][1]) if design.clinical else None
        self.ups, self.decoders, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        deeper = design.scales[-1][1]
        for (_, skip), step in zip(design.scales[-2::-1], design.steps[::-1], strict=True):
            self.ups.append(nn.ConvTranspose3d(deeper, deeper, step, step, bias=False))
            self.decoders.append(_Block(skip + deeper, skip, skip, design))
            deeper = skip
            if design.deep or len(self.decoders) == len(design.steps):
                self.heads.append(_head(deeper, design))
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight)

    def forward(
        self,
        volumes: Float[Tensor, "b c k i j"],
        values: Float[Tensor, "b s"] | None = None,
        known: Bool[Tensor, "b s"] | None = None,
        *,
        corner: tuple[int, int] | None = None,
    ) -> Float[Tensor, "b n k i j"]:
        """The logits."""
        return self.at_scales(volumes, values, known)[-1]

    def at_scales(
        self,
        volumes: Float[Tensor, "b c k i j"],
        values: Float[Tensor, "b s"] | None = None,
        known: Bool[Tensor, "b s"] | None = None,
    ) -> list[Float[Tensor, "b n _ _ _"]]:
        """The logits of each scale that has a head, the finest, which is of the volume's size, last."""
        _check(self.design, volumes, values, known)
        x, skips = volumes if self.lens is None else volumes * self.lens(volumes), list[Tensor]()
        for encoder, pool in zip(self.encoders, [*self.pools, None], strict=True):
            x = encoder(x)
            if pool is not None:
                skips.append(x.detach() if self.design.detached_skips or self.design.legacy else x)
                x = pool(x)
        x = self.drop(x)
        if self.clinical is not None:
            x = x + self.clinical(values, known)
        logits, first = [], len(self.decoders) - len(self.heads)
        for at, (up, decoder, skip) in enumerate(zip(self.ups, self.decoders, skips[::-1], strict=True)):
            k, i, j = skip.shape[2:]
            x = decoder(torch.cat([skip, up(x)[..., :k, :i, :j]], 1))
            if at >= first:
                logits.append(self.heads[at - first](x))
        return logits


class Covariates(nn.Module):
    """What scalars (b, s) add to each voxel's features (b, c, 1, 1, 1): the sum over the known ones of W x + b."""

    def __init__(self, scalars: int, features: int) -> None:
        super().__init__()
        self.each = nn.ModuleList(nn.Linear(1, features) for _ in range(scalars))

    def forward(self, values: Float[Tensor, "b s"], known: Bool[Tensor, "b s"]) -> Float[Tensor, "b c 1 1 1"]:
        """The features to add."""
        return known_sum(self.each, values, known)[..., None, None, None]


class _Block(nn.Module):
    """Two convolutions 3×3×3, each with its norm and activation; `residual` adds what came in before the last one."""

    def __init__(self, before: int, middle: int, after: int, design: Unet3dDesign) -> None:
        super().__init__()
        self.first = nn.Sequential(*_convolved(before, middle, design), _active(design))
        self.second = nn.Sequential(*_convolved(middle, after, design))
        self.around: nn.Module | None = None
        if design.residual:
            self.around = nn.Identity() if before == after else nn.Conv3d(before, after, 1, bias=False)
        self.active = _active(design)

    def forward(self, x: Float[Tensor, "b c k i j"]) -> Float[Tensor, "b d k i j"]:
        found = self.second(self.first(x))
        active: Tensor = self.active(found if self.around is None else found + self.around(x))
        return active


def _convolved(before: int, after: int, design: Unet3dDesign) -> list[nn.Module]:
    return [nn.Conv3d(before, after, 3, padding=1), *_normalised(after, design.norm)]


def _normalised(channels: int, norm: Norm) -> list[nn.Module]:
    if norm == "none":
        return []
    if norm == "group":
        return [nn.GroupNorm(groups_of(channels), channels)]
    return [nn.BatchNorm3d(channels) if norm == "batch" else nn.InstanceNorm3d(channels, affine=True)]


def _active(design: Unet3dDesign) -> nn.Module:
    if design.activation == "leaky_relu":
        return nn.LeakyReLU(_SLOPE, inplace=True)
    return nn.ReLU(inplace=True) if design.activation == "relu" else nn.SiLU(inplace=True)


def _head(before: int, design: Unet3dDesign) -> nn.Module:
    """Plain logits; the ancestor's are normalised and cut at 0."""
    logits = nn.Conv3d(before, design.classes, 1)
    return (
        nn.Sequential(logits, nn.BatchNorm3d(design.classes), nn.ReLU())
        if design.rectified_head or design.legacy
        else logits
    )


def _lens(channels: int) -> nn.Module:
    """What each voxel of each channel is multiplied by, from 0 to 1, as its surroundings tell."""
    layers = [nn.Conv3d(channels, channels, _LENS_KERNEL, padding="same") for _ in range(3)]
    return nn.Sequential(
        layers[0], nn.LeakyReLU(_LENS_SLOPE), layers[1], nn.LeakyReLU(_LENS_SLOPE), layers[2], nn.Sigmoid()
    )


def _check(design: Unet3dDesign, volumes: Tensor, values: Tensor | None, known: Tensor | None) -> None:
    if volumes.shape[1] != len(design.channels):
        raise ValueError(f"{volumes.shape[1]} channels, where the network has {', '.join(design.channels)}")
    check_clinical(design.clinical, values, known)
    k, i, j = volumes.shape[2:]
    if design.legacy and (k % _EVEN != _LEFT_OVER or i % _EVEN or j % _EVEN):
        raise ValueError(
            f"legacy computes depths of 3, 11, 19, 27, … and sides that are multiples of 8, not {k}×{i}×{j}; "
            "resample the volume, or leave legacy out"
        )
