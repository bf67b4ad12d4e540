"""What can be set, what it means, and what is possible.

A setting that is not here is an error; defaults are those of the published networks, put right where those were wrong
(`docs/concepts/networks.md`). `legacy` brings back what was wrong, to compare with the published tables.
"""

from math import prod
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from strokelens.settings.chances import Augmentation, Diffgen
from strokelens.settings.losses import Loss
from strokelens.settings.networks import AnyNetwork, FusionNetwork, Unet3dNetwork
from strokelens.settings.parts import Part, Positive, Share

_LEAST_SIDE: Final = 32
"""VGG16 halves a side five times."""

ClinicalName = Literal[
    "nihss", "age_years", "female", "since_stroke_min", "to_treatment_min", "tici", "mrs"
]  # fmt: skip
"""Those of `strokelens.prepare.CLINICAL`."""


class Input(Part):
    """What the network sees of a case."""

    maps: tuple[str, ...] = ("CBF", "CBV", "TTP", "Tmax")
    """Channels in order."""

    clinical: tuple[ClinicalName, ...] = ()
    """Clinical values beside the maps. A missing one is masked out, not taken for 0. `mrs` is known months later."""

    form: Literal["colours", "values", "relative", "robust", "minmax"] = "colours"
    """`colours`: the red, green and blue of colour-coded maps, 3 channels each. `values`: physical units, 1 each.
    `relative`: flow, volume and transit time as a share of the head's median, time to peak as later than it. `robust`:
    without the tails, less the head's mean, in standard deviations, whatever the unit: for MR. `minmax`: the second
    ancestor's, from the lowest voxel as 0 to the highest as 1, whatever they are."""

    slices: Literal[1, 3, 5] = 1
    """Slices that the network sees at once, the one that it is asked for in the middle; beyond the ends is nothing."""

    classes: Literal[2, 3, 4] = 3
    """4: background, brain, penumbra, core. 3: brain is background. 2: penumbra and core are one: hypoperfused."""

    target: Literal["hypoperfused", "core", "lesion"] = "hypoperfused"
    """What the second of 2 classes is: penumbra and core as one, the core alone, or the lesion of a truth that tells
    no more, such as the final infarct of ISLES 2017."""

    size: Annotated[int, Field(ge=32, le=4096)] = 512
    """Side of a slice in pixels; larger ones are averaged, smaller ones padded."""

    resampling: Literal["area", "linear", "nearest"] = "area"
    """`area`: the mean of square blocks of whole pixels; a lesion, however small, keeps one. `linear` and `nearest`
    stretch the whole field of view onto the size, also where it is no square; `nearest` is the second ancestor's."""

    depth: Annotated[int, Field(ge=1, le=512)] | None = None
    """Slices that a case is stretched to, with `linear` and `nearest`; its own where nothing is told."""

    tile: Annotated[int, Field(ge=1)] | None = None
    """Side of the tiles that slices are cut into; none for whole slices. A multiple of 32, of volumes of 8."""

    stride: Annotated[int, Field(ge=1)] | None = None
    """Pixels from tile to tile; a quarter of the tile where nothing is told."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.maps or len(set(self.maps)) != len(self.maps):
            raise ValueError("maps are one or more channels, each once")
        if len(set(self.clinical)) != len(self.clinical):
            raise ValueError("clinical values are named once each")
        if self.target != "hypoperfused" and self.classes != 2:
            raise ValueError(f"target {self.target} is of 2 classes, not {self.classes}; set classes to 2")
        if self.depth is not None and self.resampling == "area":
            raise ValueError("area keeps the slices as they are; set depth to null, or resampling to linear")
        if self.resampling != "area" and self.form == "colours":
            raise ValueError("colours are averaged, not stretched; set resampling to area, or form to robust")
        if self.stride is not None and self.tile is None:
            raise ValueError("a stride needs a tile")
        return self

    @property
    def step(self) -> int | None:
        """Pixels from tile to tile; none for whole slices."""
        return None if self.tile is None else self.stride or self.tile // 4


class Optimizer(Part):
    """How weights move."""

    name: Literal["adam", "adamw", "sgd", "rmsprop", "adadelta"] = "adam"
    """The rule."""

    learning_rate: Positive = 1e-5
    """The size of a step."""

    betas: tuple[Share, Share] = (0.9, 0.999)
    """Adam's decays."""

    momentum: Share = 0.0
    """Of SGD and RMSprop."""

    nesterov: bool = False
    """Of SGD."""

    rho: Share | None = None
    """The decay of RMSprop and Adadelta; 0.9 and 0.95 where nothing is told, as Keras has them."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled in AdamW."""

    clip_value: Positive | None = 0.5
    """Each gradient is cut to this size."""

    l1: Annotated[float, Field(ge=0)] = 1e-6
    """Times the sum of |w| over the added convolutions, in the loss."""

    l2: Annotated[float, Field(ge=0)] = 1e-5
    """Times the sum of w² over the added convolutions, in the loss."""

    max_norm: Positive | None = 2.0
    """After each step a filter of the added convolutions has at most this norm."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.nesterov and not (self.name == "sgd" and self.momentum):
            raise ValueError(
                f"nesterov needs sgd with momentum, not {self.name} with {self.momentum:g}; set momentum to 0.9, or "
                "nesterov to false"
            )
        return self


class Schedule(Part):
    """How the learning rate changes."""

    kind: Literal["constant", "plateau", "step"] = "constant"
    """`plateau`: shrink when what `training.watch` names stops to improve. `step`: shrink every so many epochs."""

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """What the rate is multiplied by."""

    patience: Annotated[int, Field(ge=1)] = 10
    """Epochs without improvement (`plateau`) or between two shrinkings (`step`)."""

    least: Annotated[float, Field(ge=0)] = 0.0
    """The rate does not fall below."""


class Stage(Part):
    """A part of the training, which ends early and goes on from its best weights."""

    encoders: Literal["frozen", "half", "full"] = "frozen"
    """Which layers of the encoders learn: none, the deeper half, all."""

    epochs: Annotated[int, Field(ge=1)] = 1000
    """At most so many."""

    patience: Annotated[int, Field(ge=1)] = 25
    """Ends after so many epochs without improvement."""

    least_gain: Annotated[float, Field(ge=0)] = 1e-5
    """What counts as improvement of what `training.watch` names."""

    learning_rate: Positive | None = None
    """Another rate than the optimizer's."""


class Training(Part):
    """The course of training."""

    batch: Annotated[int, Field(ge=1)] = 2
    """Slices, tiles or volumes a step."""

    accumulate: Annotated[int, Field(ge=1)] = 1
    """Batches a change of weights."""

    lesion_share: Annotated[float, Field(ge=0, le=1)] | None = 0.5
    """Share of an epoch's slices that show a lesion; all once where nothing is told."""

    draws: Annotated[int, Field(ge=1)] | None = None
    """Slices or volumes an epoch; as many as there are where nothing is told."""

    watch: Literal["loss", "dice"] = "loss"
    """What of those who validate decides which epoch is the best, and when to stop: `dice` is the mean over volumes,
    and of slices over classes."""

    snapshots: Annotated[int, Field(ge=1)] | None = None
    """Keep a model every so many epochs; none where nothing is told."""

    keep_snapshots: Annotated[int, Field(ge=1)] | None = 4
    """How many of the latest are kept; all with null."""

    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the network's arithmetic; weights are float32."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 2
    """Of weights, order, augmentation, and of the split where one is drawn."""

    compile: bool = False
    """Let torch compile the network."""

    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that read samples; 0 reads in the training's own."""


class Split(Part):
    """Who is trained on, who decides when to stop, who is asked at the end."""

    file: str | None = None
    """A split on disk, or `stavanger`, the published one. Where nothing is told one is drawn from the seed."""

    validation: Share = 0.2
    """Share of the persons that decide when to stop."""

    test: Share = 0.2
    """Share of the persons that are kept to the end."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.file is None and (not self.validation or self.validation + self.test >= 1):
            raise ValueError(
                f"validation {self.validation:g} and test {self.test:g} leave nobody to train or to say when to stop; "
                "give both some, and together less than 1"
            )
        return self


class Settings(Part):
    """A training."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.()+,-]*$")]
    """What its model is called."""

    about: str = ""
    """A line for people."""

    input: Input = Input()
    network: AnyNetwork = FusionNetwork()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] = (Stage(),)
    """One after the other."""

    augmentation: Augmentation = Augmentation()
    diffgen: Diffgen = Diffgen()
    training: Training = Training()
    split: Split = Split()
    legacy: bool = False
    """The ancestors' oddities: the last weights, not the best. Of slices raw blue, green, red, and max-norm over a
    kernel's rows; their weights and order are `loss.sample_weights` and `training.lesion_share`. Of volumes skips
    without gradient, and logits that are normalised and never negative; their form is `minmax`."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        weights = self.loss.class_weights
        if weights is not None and len(weights) != self.input.classes:
            raise ValueError(f"{len(weights)} class_weights for {self.input.classes} classes")
        self._check_tile()
        if isinstance(self.network, FusionNetwork):
            self._check_slices(self.network)
        else:
            self._check_volumes()
        rates = [stage.learning_rate or self.optimizer.learning_rate for stage in self.stages]
        if self.schedule.kind != "constant" and self.schedule.least > min(rates):
            raise ValueError(
                f"schedule.least {self.schedule.least:g} is above the learning rate {min(rates):g}, which would rise "
                "to it; lower it"
            )
        return self

    def _check_tile(self) -> None:
        tile, size, step = self.input.tile, self.input.size, 32 if isinstance(self.network, FusionNetwork) else 8
        if tile is not None and (tile % step or tile > size):
            why = ", which VGG16 halves five times" if step == 32 else ""
            raise ValueError(
                f"input: tile {tile} is no multiple of {step} up to {size}, the slice's side{why}; "
                f"take {min(max(step, tile // step * step), size)}, or null for whole slices"
            )

    def _check_slices(self, network: FusionNetwork) -> None:
        if self.legacy and (self.input.form != "colours" or self.input.slices != 1):
            raise ValueError("legacy reads colours of one slice; set input.form and input.slices back")
        side = self.input.tile or self.input.size
        if network.norm == "batch" and side < 2 * _LEAST_SIDE:
            raise ValueError(
                f"norm batch needs more than one voxel at the bottleneck, which a side of {side} has not; "
                "take group, or a side of 64"
            )
        if self.augmentation.lift or self.augmentation.recipe != "chance" or self.diffgen.fraction:
            raise ValueError("lift, rotate_clip_translate and diffgen are of volumes; leave them out, or take unet3d")

    def _check_volumes(self) -> None:
        kind = self.network.kind
        if self.input.form == "colours":
            raise ValueError(f"{kind} sees values, not colours; set input.form to robust")
        if self.input.slices != 1:
            raise ValueError(f"{kind} sees all slices at once; leave input.slices out")
        if any(stage.encoders != "full" for stage in self.stages):
            raise ValueError(f'{kind} learns as a whole; set stages to [{{"encoders": "full"}}]')
        if self.input.clinical and kind != "unet3d":
            raise ValueError(f"{kind} sees no clinical values; leave input.clinical out, or take unet3d")
        if self.diffgen.fraction and self.input.classes != 2:
            raise ValueError(f"diffgen has one kind of lesion, not {self.input.classes - 1}; set input.classes to 2")
        if self.loss.sample_weights != "none":
            raise ValueError("loss.sample_weights are of slices; set them to none")
        self._check_bottleneck()
        if self.augmentation.recipe != "chance" and self.input.form != "minmax":
            raise ValueError("rotate_clip_translate cuts at a brightness of 0 to 1; set input.form to minmax")
        if self.legacy and isinstance(self.network, Unet3dNetwork):
            net, steps = self.network, self.network.steps
            if net.norm != "batch" or net.residual or net.deep or net.dropout or self.input.clinical or steps:
                raise ValueError(
                    "legacy is the published 3-D U-Net: norm batch, and no steps, residual, deep, dropout or clinical"
                )
            side, depth = self.input.tile or self.input.size, self.input.depth
            if side % 8 or depth is None or depth % 8 != 3:
                raise ValueError(
                    f"legacy computes sides of multiples of 8 and depths of 3, 11, 19, 27, … not {side} and {depth}; "
                    "set input.size to 48 and input.depth to 19"
                )

    def _check_bottleneck(self) -> None:
        """A norm of a single voxel says nothing."""
        network, side = self.network, self.input.tile or self.input.size
        assert not isinstance(network, FusionNetwork)
        steps = network.steps or ((2, 2, 2),) * (len(network.filters) - 1)
        stride = max(prod(step[axis] for step in steps) for axis in (1, 2))
        if side < 2 * stride:
            raise ValueError(
                f"a voxel of the bottleneck covers {stride} pixels, and a side of {side} has not two of them; give "
                "fewer network.filters, or a larger input.size or tile"
            )

    @property
    def volumes(self) -> bool:
        """Whether the network sees all slices of a case at once."""
        return not isinstance(self.network, FusionNetwork)

    @property
    def norms_of_batches(self) -> bool:
        """Whether norms are of all that is computed together, so that nothing of it may be left out."""
        return self.legacy or getattr(self.network, "norm", None) == "batch"

    @property
    def class_weights(self) -> tuple[float, ...]:
        """A weight for each class, in order."""
        published = {4: (0.0, 0.1, 50.0, 440.0), 3: (0.1, 50.0, 440.0), 2: (1.0, 1.0) if self.volumes else (0.1, 1.0)}
        return published[self.input.classes] if self.loss.class_weights is None else self.loss.class_weights
