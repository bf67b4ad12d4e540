"""The network that settings describe."""

import torch

from strokelens.networks.fusion import STRIDE, Fusion, FusionDesign
from strokelens.networks.network import Network
from strokelens.networks.references import dynunet, segresnet
from strokelens.networks.unet3d import Step, Unet3d, Unet3dDesign
from strokelens.settings.networks import FusionNetwork, Unet3dNetwork
from strokelens.settings.schema import Settings


def built(settings: Settings) -> Network:
    """The network with weights drawn from the seed; the caller's own chance is left as it was.

    >>> settings = Settings(name="small", network={"width": 1 / 64})
    >>> one, other = built(settings), built(settings)
    >>> all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.training.seed)
        return described(settings)


def described(settings: Settings) -> Network:
    """The network with weights of the caller's chance."""
    network, seen = settings.network, settings.input
    if isinstance(network, FusionNetwork):
        return Fusion(_fusion(settings, network))
    if isinstance(network, Unet3dNetwork):
        return Unet3d(_unet3d(settings, network))
    steps = network.steps or _halving(len(network.filters))
    if network.kind == "segresnet":
        return segresnet(len(seen.maps), seen.classes, network.filters, dropout=network.dropout)
    return dynunet(len(seen.maps), seen.classes, network.filters, steps, dropout=network.dropout)


def _fusion(settings: Settings, network: FusionNetwork) -> FusionDesign:
    """The map of clinical values has a place for each 32 pixels of a slice or tile."""
    seen = settings.input
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


def _unet3d(settings: Settings, network: Unet3dNetwork) -> Unet3dDesign:
    seen = settings.input
    filters = [tuple(max(1, round(network.width * each)) for each in pair) for pair in network.filters]
    return Unet3dDesign(
        channels=seen.maps,
        clinical=seen.clinical,
        classes=seen.classes,
        scales=tuple((first, second) for first, second in filters),
        steps=network.steps or _halving(len(network.filters)),
        norm=network.norm,
        activation=network.activation,
        residual=network.residual,
        deep=network.deep,
        dropout=network.dropout,
        lens=network.lens,
        detached_skips=network.detached_skips,
        rectified_head=network.rectified_head,
        legacy=settings.legacy,
    )


def _halving(scales: int) -> tuple[Step, ...]:
    return ((2, 2, 2),) * (scales - 1)
