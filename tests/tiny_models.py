"""Networks with drawn weights, small enough for a test; what they find is meaningless, but not all one class."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from strokelens.model import Card, Model, save_model
from strokelens.networks.built import built
from strokelens.networks.fusion import Fusion
from strokelens.networks.network import Network
from strokelens.settings.schema import Settings

CARD = Card({"train": 2, "validation": 1}, True, "a" * 64, "b" * 64)


def tiny(*, seed: int = 1, name: str = "tiny", legacy: bool = False, **seen: object) -> Model:
    """A model of width 1/16 for slices of 64 pixels, whose last weights are such that its classes are mixed."""
    told: Mapping[str, object] = {
        "name": name,
        "legacy": legacy,
        "input": {"maps": ["CBF", "Tmax"], "size": 64, **seen},
        "network": {"width": 1 / 16},
        "training": {"seed": seed},
    }
    settings = Settings.model_validate(told, strict=False)
    net = built(settings).eval()
    with torch.no_grad():
        last_of(net).weight.mul_(0.05 if legacy else 10)  # raw colours go to 255
    return Model(net, settings, CARD)


def last_of(net: Network) -> nn.Conv2d:
    """The layer that gives the logits."""
    assert isinstance(net, Fusion)
    last = net.head[2]
    assert isinstance(last, nn.Conv2d)
    return last


def saved(model: Model, folder: Path) -> Path:
    """The folder that holds the model now."""
    folder.mkdir(parents=True)
    save_model(model, folder)
    return folder
