"""What can be set of the loss."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from strokelens.settings.parts import Part, Positive

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


class Guidance(Part):
    """What is asked of the network's relevance: that what speaks for the gravest class lies where the truth has it."""

    weight: Positive = 0.01
    """How much it counts beside the loss."""

    composite: Literal["epsilon", "gamma", "epsilon-plus", "alpha2-beta1"] = "epsilon"
    """By which rules relevance is told."""


class Loss(Part):
    """What training makes small."""

    name: LossName = "focal_tversky"
    """The formulas are in `strokelens.losses`."""

    class_weights: tuple[Annotated[float, Field(ge=0)], ...] | None = None
    """One for each class in order; where nothing is told 0.1, 50, 440 (four classes: 0 before them; two: 0.1, 1, and of
    volumes 1, 1)."""

    alpha: Annotated[float, Field(ge=0, le=1)] | None = None
    """Of the losses that have one: the weight of what is missed."""

    gamma: Positive | None = None
    """Of the losses that have one: how much hard cases count."""

    sample_weights: Literal["none", "severity"] = "none"
    """`severity` is the ancestor's: the mean class weight of a slice's pixels, sixfold for lesions of Non-LVO."""

    relevance: Guidance | None = None
    """Where the network's reasons are to lie, too; nothing is asked of them if not told."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.class_weights is not None and not any(self.class_weights[1:]):
            raise ValueError("class_weights are 0 but for the background, so nothing would be learned; raise one")
        for option, losses in _OPTIONS.items():
            if getattr(self, option) is not None and self.name not in losses:
                raise ValueError(f"{self.name} has no {option}; set it to null, or take {' or '.join(losses)}")
        return self
