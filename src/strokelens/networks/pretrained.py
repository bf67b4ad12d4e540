"""Published weights of VGG16 for the encoders of a `Fusion`, as a mapping with torchvision's names `features.N.*`."""

from collections.abc import Mapping
from typing import Final, Literal

from jaxtyping import Float
from torch import Tensor

from strokelens.errors import SettingsError
from strokelens.networks.fusion import Fusion, FusionDesign
from strokelens.networks.vgg16 import Vgg16

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
"""Of red, green and blue from 0 to 1, as the published weights expect them: (value − mean) / std."""

_FEATURES, _FIRST = "features.", "0.weight"


def load_encoders(
    net: Fusion, weights: Mapping[str, Tensor], *, first: Literal["sum", "mean"] = "sum", source: str = "the weights"
) -> None:
    """Fill each encoder with the weights; classifiers and whatever else is in them are left aside.

    Those of a `Fusion` give each encoder its own, in order, and a sole one all of them. A first layer that fits is
    taken as it is. For scalar maps the three input
    channels of the first layer become one: their `sum` sees a value as a grey picture of it, their `mean` keeps the
    size of what comes out. Of several slices each has its equal part of them: the same slice again and again is seen as
    that slice. Raises `SettingsError` when a tensor is lacking or has another shape, or the encoders are of other maps.
    """
    theirs = len({name.split(".")[1] for name in weights if name.startswith("encoders.")})
    if theirs > 1 and theirs != len(net.encoders):
        raise SettingsError(
            f"{source}: its network has {theirs} encoders, and this one {len(net.encoders)}, which would be of other "
            "maps; give weights of one encoder (network.shared), or of a network of the same maps"
        )
    for at, encoder in enumerate(net.encoders):
        assert isinstance(encoder, Vgg16)
        encoder.features.load_state_dict(_fitting(encoder, _of_encoder(weights, at), net.design, first, source))


def _of_encoder(weights: Mapping[str, Tensor], at: int) -> dict[str, Tensor]:
    """The weights of one encoder, by the names in its `features`."""
    for start in (f"encoders.{at}.{_FEATURES}", f"encoders.0.{_FEATURES}", _FEATURES):
        found = {name.removeprefix(start): tensor for name, tensor in weights.items() if name.startswith(start)}
        if found:
            return found
    return {}


def _fitting(
    encoder: Vgg16, weights: Mapping[str, Tensor], design: FusionDesign, first: Literal["sum", "mean"], source: str
) -> dict[str, Tensor]:
    wanted = encoder.features.state_dict()
    lacking = next((name for name in wanted if name not in weights), None)
    if lacking is not None:
        raise SettingsError(f"{source} has no {_FEATURES}{lacking}; give VGG16's weights with torchvision's names")
    fitting = {name: weights[name] for name in wanted} | {
        _FIRST: _first_layer(weights[_FIRST], wanted[_FIRST].shape[1], design, first)
    }
    for name, tensor in fitting.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"{tuple(tensor.shape)}, where {tuple(wanted[name].shape)} is needed"
            raise SettingsError(
                f"{source}: {_FEATURES}{name} has shape {shapes}; set network.width to that of the weights"
            )
    return fitting


def _first_layer(
    weight: Float[Tensor, "f c 3 3"], channels: int, design: FusionDesign, first: Literal["sum", "mean"]
) -> Float[Tensor, "f _ 3 3"]:
    if weight.shape[1] == channels or design.fusion == "early":
        return weight
    if design.colours == 1 and weight.shape[1] != 1:
        weight = weight.sum(1, keepdim=True) if first == "sum" else weight.mean(1, keepdim=True)
    return weight.repeat(1, design.slices, 1, 1) / design.slices
