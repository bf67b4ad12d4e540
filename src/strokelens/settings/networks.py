"""Which networks there are, and what can be set of each: of slices, and of volumes."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from strokelens.settings.parts import Part, Share

Step = tuple[Literal[1, 2], Literal[1, 2], Literal[1, 2]]
Count = Annotated[int, Field(ge=1, le=4096)]
_LEAST_SCALES: Final = 3
"""Of MONAI's DynUNet."""

Width = Annotated[float, Field(gt=0, le=4)]


class FusionNetwork(Part):
    """The multi-input network of slices."""

    kind: Literal["fusion"] = "fusion"
    """The network's kind."""

    fusion: Literal["early", "late", "slow"] = "slow"
    """Where the maps meet: `early` before one encoder, `late` after their encoders, `slow` at every scale as well."""

    width: Width = 1.0
    """Factor of all filters. 1 is the published network of 85 million parameters; 1/8 learns on a laptop."""

    shared: bool = False
    """One encoder for all maps, not one each."""

    norm: Literal["none", "batch", "group"] = "none"
    """Normalisation in the added layers."""

    dropout: Share = 0.25
    """Share of features that training drops after each encoder."""

    pretrained: str | None = None
    """`imagenet` (width 1), or a file: VGG16's weights with torchvision's names, or a model's `weights.safetensors`."""

    first_layer: Literal["sum", "mean"] = "sum"
    """How pretrained weights of three colours become those of one value: `sum` sees a grey picture of it, `mean` keeps
    the size of what comes out."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.pretrained == "imagenet" and self.width != 1:
            raise ValueError(f"imagenet's weights are of width 1, not {self.width:g}; set pretrained to null")
        return self


class Unet3dNetwork(Part):
    """The 3-D U-Net, which sees all slices at once."""

    kind: Literal["unet3d"]
    """The network's kind."""

    filters: Annotated[tuple[tuple[Count, Count], ...], Field(min_length=2, max_length=7)] = (
        (32, 64), (64, 128), (128, 256), (256, 512),
    )  # fmt: skip
    """Of the two convolutions of each scale, the finest first. As they are: the published 19 million parameters."""

    width: Width = 1.0
    """Factor of all filters; 1/4 learns on a laptop."""

    steps: tuple[Step, ...] | None = None
    """By how much each scale but the finest is coarser, along slices, i and j; twice along each where nothing is told.
    Thick slices are better not halved until pixels are as large: [[1, 2, 2], [1, 2, 2], [2, 2, 2]]."""

    norm: Literal["none", "batch", "instance", "group"] = "instance"
    """Normalisation after each convolution; `batch` needs more volumes in a batch than one to say the same when asked
    as when trained."""

    activation: Literal["leaky_relu", "relu", "silu"] = "leaky_relu"
    """What follows it."""

    residual: bool = False
    """Add to each scale's two convolutions what came into them."""

    deep: bool = False
    """Deep supervision: each scale of the decoder is held to the truth, the coarser ones with less weight."""

    dropout: Share = 0.0
    """Share of the bottleneck's features that training drops."""

    lens: bool = False
    """Three convolutions first tell what each voxel of each map is multiplied by: the ancestor's variant."""

    detached_skips: bool = False
    """The ancestor's defect: no gradient flows through the skips. `legacy` has it, too."""

    rectified_head: bool = False
    """The ancestor's defect: logits are normalised over the batch, and never negative. `legacy` has it, too."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_steps(self.steps, len(self.filters))
        return self


class MonaiNetwork(Part):
    """A strong network of MONAI's, for comparison: DynUNet, which is nnU-Net's, or SegResNet."""

    kind: Literal["dynunet", "segresnet"]
    """The network's kind."""

    filters: Annotated[tuple[Count, ...], Field(min_length=2, max_length=7)] = (32, 64, 128, 256)
    """Of each scale, the finest first; SegResNet's double from the first."""

    steps: tuple[Step, ...] | None = None
    """By how much each scale but the finest is coarser, along slices, i and j; SegResNet halves all three."""

    dropout: Share = 0.0
    """Share of features that training drops: DynUNet's after each convolution, SegResNet's once."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_steps(self.steps, len(self.filters))
        if self.kind == "dynunet" and len(self.filters) < _LEAST_SCALES:
            raise ValueError("dynunet has three scales or more; give filters such as [32, 64, 128]")
        if self.kind == "segresnet" and self.steps is not None and {*self.steps} != {(2, 2, 2)}:
            raise ValueError("segresnet halves slices, i and j alike; set steps to null, or take dynunet")
        if self.kind == "segresnet" and any(2 * a != b for a, b in zip(self.filters, self.filters[1:], strict=False)):
            raise ValueError("the filters of segresnet double from scale to scale, as in [16, 32, 64, 128]")
        return self


def _check_steps(steps: tuple[Step, ...] | None, scales: int) -> None:
    if steps is not None and len(steps) != scales - 1:
        raise ValueError(f"{len(steps)} steps between {scales} scales of filters; give one less than scales")


def _kind_of(told: Any) -> str | None:
    return told.get("kind", "fusion") if isinstance(told, dict) else getattr(told, "kind", None)


KINDS: Final = ("fusion", "unet3d", "dynunet", "segresnet")
"""What `network.kind` may be."""

AnyNetwork = Annotated[
    Annotated[FusionNetwork, Tag("fusion")]
    | Annotated[Unet3dNetwork, Tag("unet3d")]
    | Annotated[MonaiNetwork, Tag("dynunet")]
    | Annotated[MonaiNetwork, Tag("segresnet")],
    Discriminator(
        _kind_of,
        custom_error_type="no_kind",
        custom_error_message=f"a network's kind is one of {', '.join(KINDS)}",
    ),
]
"""A network by its kind; `fusion` where none is told."""
