"""What can be set, what it means, and what is possible.

A setting that is not here is an error; defaults are those of the published networks, put right where those were wrong
(`docs/concepts/networks.md`). `legacy` brings back what was wrong, to compare with the published tables.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_LEAST_SIDE: Final = 32
"""VGG16 halves a side five times."""

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Part(BaseModel):
    """Frozen, strict, and without unknown keys."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class Input(Part):
    """What the network sees of a case."""

    maps: tuple[str, ...] = ("CBF", "CBV", "TTP", "Tmax")
    """Channels in order."""

    clinical: tuple[Literal["nihss", "age_years", "female"], ...] = ()
    """Clinical values beside the maps. A missing one is masked out, not taken for 0."""

    form: Literal["colours", "values", "relative", "robust"] = "colours"
    """`colours`: the red, green and blue of colour-coded maps, 3 channels each. `values`: physical units, 1 each.
    `relative`: flow, volume and transit time as a share of the head's median, time to peak as later than it. `robust`:
    without the tails, less the head's mean, in standard deviations, whatever the unit: for MR."""

    slices: Literal[1, 3, 5] = 1
    """Slices that the network sees at once, the one that it is asked for in the middle; beyond the ends is nothing."""

    classes: Literal[2, 3, 4] = 3
    """4: background, brain, penumbra, core. 3: brain is background. 2: penumbra and core are one: hypoperfused."""

    size: Annotated[int, Field(ge=32, le=4096)] = 512
    """Side of a slice in pixels; larger ones are averaged, smaller ones padded."""

    tile: Annotated[int, Field(ge=1)] | None = None
    """Side of the tiles that a slice is cut into; none for whole slices. A multiple of 32."""

    stride: Annotated[int, Field(ge=1)] | None = None
    """Pixels from tile to tile; a quarter of the tile where nothing is told."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.maps or len(set(self.maps)) != len(self.maps):
            raise ValueError("maps are one or more channels, each once")
        if len(set(self.clinical)) != len(self.clinical):
            raise ValueError("clinical values are named once each")
        if self.tile is not None and (self.tile % 32 or self.tile > self.size):
            nearest = min(max(32, self.tile // 32 * 32), self.size)
            raise ValueError(
                f"tile {self.tile} is no multiple of 32 up to {self.size}, the slice's side, which VGG16 halves "
                f"five times; take {nearest}, or null for whole slices"
            )
        if self.stride is not None and self.tile is None:
            raise ValueError("a stride needs a tile")
        return self

    @property
    def step(self) -> int | None:
        """Pixels from tile to tile; none for whole slices."""
        return None if self.tile is None else self.stride or self.tile // 4


class FusionNetwork(Part):
    """The multi-input network."""

    fusion: Literal["early", "late", "slow"] = "slow"
    """Where the maps meet: `early` before one encoder, `late` after their encoders, `slow` at every scale as well."""

    width: Annotated[float, Field(gt=0, le=4)] = 1.0
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


LossName = Literal[
    "focal_tversky",
    "tversky",
    "squared_dice",
    "dice",
    "tanimoto",
    "dual_tanimoto",
    "jaccard",
    "focal",
    "cross_entropy",
    "dice_cross_entropy",
]
"""Those of `strokelens.losses`."""

_OPTIONS: Final = {"alpha": ("focal_tversky", "tversky", "focal"), "gamma": ("focal_tversky", "focal")}
"""Which losses have a number of their own."""


class Loss(Part):
    """What training makes small."""

    name: LossName = "focal_tversky"
    """The formulas are in `strokelens.losses`."""

    class_weights: tuple[Annotated[float, Field(ge=0)], ...] | None = None
    """One for each class in order; where nothing is told 0.1, 50, 440 (four classes: 0 before them; two: 0.1, 1)."""

    alpha: Annotated[float, Field(ge=0, le=1)] | None = None
    """Of the losses that have one: the weight of what is missed."""

    gamma: Positive | None = None
    """Of the losses that have one: how much hard cases count."""

    sample_weights: Literal["none", "severity"] = "none"
    """`severity` is the ancestor's: the mean class weight of a slice's pixels, sixfold for lesions of Non-LVO."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.class_weights is not None and not any(self.class_weights[1:]):
            raise ValueError("class_weights are 0 but for the background, so nothing would be learned; raise one")
        for option, losses in _OPTIONS.items():
            if getattr(self, option) is not None and self.name not in losses:
                raise ValueError(f"{self.name} has no {option}; set it to null, or take {' or '.join(losses)}")
        return self


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
    """`plateau`: shrink when validation stops to improve. `step`: shrink every so many epochs."""

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
    """What counts as improvement of the validation loss."""

    learning_rate: Positive | None = None
    """Another rate than the optimizer's."""


class Augmentation(Part):
    """Chance changes of each sample, anew each epoch. 0 switches one off."""

    flip: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Chance of a left-right mirrored slice."""

    turn_deg: Annotated[float, Field(ge=0, le=180)] = 10.0
    """Turned by up to so many degrees in the slice."""

    scale: Share = 0.1
    """Grown or shrunk by up to this share."""

    shift: Share = 0.05
    """Moved by up to this share of the side."""

    brightness: Share = 0.1
    """Values multiplied by 1 ± this."""

    noise: Share = 0.02
    """Standard deviation of noise, in parts of the range of values."""

    drop_map: Share = 0.0
    """Chance that a map is lacking, so that the network learns to do without."""


class Training(Part):
    """The course of training."""

    batch: Annotated[int, Field(ge=1)] = 2
    """Slices or tiles a step."""

    accumulate: Annotated[int, Field(ge=1)] = 1
    """Batches a change of weights."""

    lesion_share: Annotated[float, Field(ge=0, le=1)] | None = 0.5
    """Share of an epoch's slices that show a lesion; all once where nothing is told."""

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
    network: FusionNetwork = FusionNetwork()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] = (Stage(),)
    """One after the other."""

    augmentation: Augmentation = Augmentation()
    training: Training = Training()
    split: Split = Split()
    legacy: bool = False
    """The ancestor's oddities: raw blue, green, red; max-norm over a kernel's rows; the last weights, not the best. Its
    weights of slices and its order are `loss.sample_weights` and `training.lesion_share`."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        weights = self.loss.class_weights
        if weights is not None and len(weights) != self.input.classes:
            raise ValueError(f"{len(weights)} class_weights for {self.input.classes} classes")
        if self.legacy and (self.input.form != "colours" or self.input.slices != 1):
            raise ValueError("legacy reads colours of one slice; set input.form and input.slices back")
        side = self.input.tile or self.input.size
        if self.network.norm == "batch" and side < 2 * _LEAST_SIDE:
            raise ValueError(
                f"norm batch needs more than one voxel at the bottleneck, which a side of {side} has not; "
                "take group, or a side of 64"
            )
        rates = [stage.learning_rate or self.optimizer.learning_rate for stage in self.stages]
        if self.schedule.kind != "constant" and self.schedule.least > min(rates):
            raise ValueError(
                f"schedule.least {self.schedule.least:g} is above the learning rate {min(rates):g}, which would rise "
                "to it; lower it"
            )
        return self

    @property
    def class_weights(self) -> tuple[float, ...]:
        """A weight for each class, in order."""
        published = {4: (0.0, 0.1, 50.0, 440.0), 3: (0.1, 50.0, 440.0), 2: (0.1, 1.0)}
        return published[self.input.classes] if self.loss.class_weights is None else self.loss.class_weights
