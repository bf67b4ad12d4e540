"""The network that settings describe."""

import torch

from strokelens.networks.fusion import STRIDE, Fusion, FusionDesign
from strokelens.settings.schema import Settings


def design_of(settings: Settings) -> FusionDesign:
    """What the network is made of; the map of clinical values has a place for each 32 pixels of a slice or tile."""
    seen, network = settings.input, settings.network
    return FusionDesign(
        maps=seen.maps,
        clinical=seen.clinical,
        classes=seen.classes,
        colours=3 if seen.form == "colours" else 1,
        slices=seen.slices,
        fusion=network.fusion,
        width=network.width,
        shared=network.shared,
        norm=network.norm,
        dropout=network.dropout,
        grid=max(1, (seen.tile or seen.size) // STRIDE),
    )


def built(settings: Settings) -> Fusion:
    """The network with weights drawn from the seed; the caller's own chance is left as it was.

    >>> settings = Settings(name="small", network={"width": 1 / 64})
    >>> one, other = built(settings), built(settings)
    >>> all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.training.seed)
        return Fusion(design_of(settings))
