"""The multi-input network for maps of CT perfusion: one VGG16 a map, fused with what else is known of the patient.

After Tomasetti et al. (NLDL 2022): each map has an encoder; their last features meet at the bottleneck, with a map
made of clinical values, and at each scale the decoder sees what every encoder saw (*slow* fusion). *Late* fusion meets
at the bottleneck only; *early* fusion mixes the maps to three channels before a single encoder.

Axes: batch b, channels c (map after map, each with its colours), scalars s, voxels i j of one slice, classes n.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from strokelens.networks.clinical import check_clinical, known_sum
from strokelens.networks.network import Network
from strokelens.networks.norms import groups_of
from strokelens.networks.vgg16 import Vgg16, filters_of, scaled

STRIDE: Final = 32
"""A voxel of the bottleneck covers so many of the image's along each axis."""

Norm = Literal["none", "batch", "group"]

_MIXED, _EXTRA, _FIRST, _HEAD, _HIDDEN = 3, 128, 256, 16, 100
_LEAST_HEAD = 4
"""The head of a narrow network: of a single feature three classes are hardly told apart."""
_LEVELS = (128, 64, 32, 16)
"""The decoder's filters for each branch, from the bottleneck on."""


@dataclass(frozen=True)
class FusionDesign:
    """What a `Fusion` is made of.

    `maps` are in order, each of `colours` values a voxel, 3 for pictures and 1 for physical units, in so many `slices`,
    the lowest first. `clinical` names the scalars. `width` scales all filters; the head has four at least. Clinical
    values make a map of `grid` by `grid`: 1/32 of the usual image.
    """

    maps: tuple[str, ...] = ("CBF", "CBV", "TTP", "Tmax")
    clinical: tuple[str, ...] = ()
    classes: int = 3
    colours: int = 3
    slices: int = 1
    fusion: Literal["early", "late", "slow"] = "slow"
    width: float = 1.0
    shared: bool = False
    norm: Norm = "none"
    dropout: float = 0.25
    grid: int = 16

    @property
    def channels(self) -> int:
        """How many values the input has in each voxel."""
        return self.colours * self.slices * len(self.maps)

    @property
    def branches(self) -> int:
        """How many encodings meet: one of each map, or one of all."""
        return 1 if self.fusion == "early" else len(self.maps)


class Fusion(Network):
    """Logits (b, n, i, j) of images (b, c, i, j) of any size, and of clinical values (b, s) with their mask.

    Images are padded by zeros to a multiple of 32, and the logits cropped. Clinical values should be of order 1; one
    that is not `known` adds nothing, whatever it holds. Where images are cut out of a slice, `corner` is the voxel of
    the slice's bottleneck at which they begin. Raises `ValueError` when channels or scalars do not fit.

    >>> design = FusionDesign(maps=("CBF", "Tmax"), clinical=("nihss",), colours=1, width=1 / 16)
    >>> images, nihss = torch.zeros(2, 2, 40, 70), torch.tensor([[0.5], [torch.nan]])
    >>> tuple(Fusion(design)(images, nihss, ~nihss.isnan()).shape)
    (2, 3, 40, 70)
    """

    def __init__(self, design: FusionDesign) -> None:
        super().__init__()
        self.design = design
        self.clinical_names, self.stride = design.clinical, STRIDE
        n, width, early = design.branches, design.width, design.fusion == "early"
        self.mix = _conv(design.channels, _MIXED) if early else nn.Identity()
        values = _MIXED if early else design.colours * design.slices
        self.encoders = nn.ModuleList(Vgg16(values, width=width) for _ in range(1 if design.shared else n))
        filters = filters_of(width)
        self.extras = nn.ModuleList(_extra(filters[-1], design) for _ in range(n))
        self.clinical = Clinical(len(design.clinical), design.grid) if design.clinical else None
        skips = [0 if design.fusion == "late" else n * each for each in filters]
        self.ups = nn.ModuleList([_up(n * scaled(_EXTRA, width) + bool(design.clinical), scaled(_FIRST, width))])
        before = scaled(_FIRST, width) + skips[-1]
        for level, skip in zip(_LEVELS, skips[-2::-1], strict=True):
            after = n * scaled(level, width)
            self.ups.append(nn.Sequential(_conv(before, after), _conv(after, after), _up(after, after)))
            before = after + skip
        head = max(_LEAST_HEAD, scaled(_HEAD, width))
        self.head = nn.Sequential(
            _conv(before, head, design.norm), _conv(head, head, design.norm), nn.Conv2d(head, design.classes, 1)
        )
        for module in self.modules():
            _start(module)

    def forward(
        self,
        images: Float[Tensor, "b c i j"],
        values: Float[Tensor, "b s"] | None = None,
        known: Bool[Tensor, "b s"] | None = None,
        *,
        corner: tuple[int, int] | None = None,
    ) -> Float[Tensor, "b n i j"]:
        """The logits."""
        _check(self.design, images, values, known)
        i, j = images.shape[-2:]
        encoded = self._encode(functional.pad(images, (0, -j % STRIDE, 0, -i % STRIDE)))
        meeting = [extra(last) for extra, (_, last) in zip(self.extras, encoded, strict=True)]  # (b, 128, i/32, j/32)
        if self.clinical is not None:
            meeting.append(self.clinical(values, known, meeting[0].shape[-2:], corner))
        x = torch.cat(meeting, 1)
        for scale, up in enumerate(self.ups, start=1):
            skips = [] if self.design.fusion == "late" else [skip[-scale] for skip, _ in encoded]
            x = torch.cat([up(x), *skips], 1)  # doubled along i and j
        logits: Tensor = self.head(x)
        return logits[..., :i, :j]

    def added(self) -> Iterator[nn.Conv2d | nn.ConvTranspose2d]:
        """The convolutions that are not the encoders': those that the ancestor regularised."""
        for name, module in self.named_modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and not name.startswith("encoders."):
                yield module

    def finest(self) -> Iterator[nn.Module]:
        """What sees single pixels: the mix of early fusion, each encoder's convolutions before a pool, and the head."""
        if self.design.fusion == "early":
            yield self.mix
        for encoder in self.encoders:
            if isinstance(encoder, Vgg16):
                yield from takewhile(lambda layer: isinstance(layer, nn.Conv2d), encoder.layers())
        yield self.head

    def _encode(self, images: Float[Tensor, "b c i j"]) -> list[tuple[list[Tensor], Tensor]]:
        """What each branch's encoder gives after each block, and last."""
        parts = (self.mix(images),) if self.design.fusion == "early" else images.chunk(len(self.design.maps), 1)
        encoders = list(self.encoders) * (len(parts) if self.design.shared else 1)
        return [encoder(part) for encoder, part in zip(encoders, parts, strict=True)]


class Clinical(nn.Module):
    """A map (b, 1, i, j) of scalars (b, s): the sum over the known ones of W x + b, and two dense layers' ReLUs.

    Without any known scalar the map is that of nothing known, which is learned as well, and is not that of zeros.
    """

    def __init__(self, scalars: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.each = nn.ModuleList(nn.Linear(1, _HIDDEN) for _ in range(scalars))
        self.hidden = nn.ReLU()
        self.spread = nn.Linear(_HIDDEN, grid * grid)
        self.spread_act = nn.ReLU()

    def forward(
        self,
        values: Float[Tensor, "b s"],
        known: Bool[Tensor, "b s"],
        size: torch.Size,
        corner: tuple[int, int] | None = None,
    ) -> Float[Tensor, "b 1 i j"]:
        """The map: of `size` from `corner` on; without one all of it, between its voxels where `size` is another."""
        hidden = self.hidden(known_sum(self.each, values, known))  # (b, 100)
        spread = self.spread_act(self.spread(hidden)).unflatten(1, (1, self.grid, self.grid))
        if corner is not None:
            i, j = corner
            part: Tensor = spread[..., i : i + size[0], j : j + size[1]]
            return part
        return spread if spread.shape[-2:] == size else functional.interpolate(spread, size, mode="bilinear")


def _check(design: FusionDesign, images: Tensor, values: Tensor | None, known: Tensor | None) -> None:
    if images.shape[1] != design.channels:
        each = design.channels // len(design.maps)
        raise ValueError(f"{images.shape[1]} channels, where {len(design.maps)} maps of {each} make {design.channels}")
    check_clinical(design.clinical, values, known)


def _conv(before: int, after: int, norm: Norm = "none") -> nn.Sequential:
    """3×3, ReLU, and where wanted a normalisation after it, as the ancestor had."""
    layers: list[nn.Module] = [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, *_normalised(after, norm))


def _extra(before: int, design: FusionDesign) -> nn.Sequential:
    after = scaled(_EXTRA, design.width)
    layers = [_conv(before, after), _conv(after, after), *_normalised(after, design.norm)]
    return nn.Sequential(*layers, nn.Dropout(design.dropout))


def _normalised(channels: int, norm: Norm) -> list[nn.Module]:
    if norm == "none":
        return []
    return [nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(groups_of(channels), channels)]


def _up(before: int, after: int) -> nn.Sequential:
    """Twice the size along both axes."""
    return nn.Sequential(nn.ConvTranspose2d(before, after, 2, stride=2), nn.ReLU())


def _start(module: nn.Module) -> None:
    """Glorot's uniform weights and no bias, as Keras starts."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
