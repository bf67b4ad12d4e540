"""Small networks that zennit and we explain: of torch alone, so that `tools/zennit_vectors.py` can make them, too."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

RULES = {
    "epsilon-6": "epsilon:1e-6",
    "epsilon.25": "epsilon:0.25",
    "epsilon-dropped": "epsilon:0.25:dropped",
    "gamma.05": "gamma:0.05",
    "gamma.25": "gamma:0.25",
    "alpha1-beta0": "alpha-beta:1:0",
    "alpha2-beta1": "alpha-beta:2:1",
    "z+": "z+",
    "box": "box",
    "w2": "w2",
    "flat": "flat",
}
"""Names of zennit's rules in the file, and our words for them."""

WITHOUT_BIAS = ("box", "w2", "flat")
"""Rules of which zennit lets the bias have a part, and we do not: they are compared on layers without."""

LOW, HIGH = -4.0, 5.0


class Volumes(nn.Module):
    """A 3D U-Net of two scales: max pooling, a transposed convolution, a skip by `cat`; odd sizes are cropped."""

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv3d(2, 3, 3, padding=1, bias=bias), nn.ReLU())
        self.pool = nn.MaxPool3d(2, ceil_mode=True)
        self.deep = nn.Sequential(nn.Conv3d(3, 4, 3, padding=1, bias=bias), nn.ReLU())
        self.up = nn.ConvTranspose3d(4, 3, 2, stride=2, bias=bias)
        self.end = nn.Sequential(nn.Conv3d(6, 3, 3, padding=1, bias=bias), nn.ReLU(), nn.Conv3d(3, 1, 1, bias=bias))

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down(x)
        k, i, j = skip.shape[2:]
        y: Tensor = self.end(torch.cat([skip, self.up(self.deep(self.pool(skip)))[..., :k, :i, :j]], 1))
        return y


def slices(*, bias: bool) -> nn.Module:
    """Strides, dilation, groups and leaky activations along two axes."""
    return nn.Sequential(
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=bias),
        nn.LeakyReLU(0.1),
        nn.Conv2d(6, 4, 3, padding=2, dilation=2, bias=bias),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, output_padding=1, groups=2, bias=bias),
        nn.LeakyReLU(0.1),
        nn.Conv2d(4, 2, 1, bias=bias),
    )


def dense(*, bias: bool) -> nn.Module:
    """Dense layers."""
    return nn.Sequential(
        nn.Linear(9, 8, bias=bias), nn.ReLU(), nn.Linear(8, 7, bias=bias), nn.ReLU(), nn.Linear(7, 3, bias=bias)
    )


NETS: dict[str, tuple[Callable[..., nn.Module], tuple[int, ...]]] = {
    "volumes": (Volumes, (1, 2, 9, 10, 11)),
    "slices": (slices, (2, 4, 9, 8)),
    "dense": (dense, (3, 9)),
}
"""How a network is made, and the shape of its input."""


class Residual(nn.Module):
    """What came in is added to what was made of it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.around = nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.act, self.last = nn.ReLU(), nn.Conv2d(3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y: Tensor = self.last(x + self.act(self.around(x)))
        return y


def upsampled() -> nn.Module:
    """Trilinear upsampling, as a module, between convolutions."""
    return nn.Sequential(
        nn.Conv3d(1, 2, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.Upsample(scale_factor=2, mode="trilinear"),
        nn.Conv3d(2, 1, 1, bias=False),
    )


def instances() -> nn.Module:
    """A norm of each instance between convolutions, the last one of weights above 0: no relevance dies there."""
    last = nn.Conv3d(3, 1, 1, bias=False)
    last.weight.data.abs_()
    return nn.Sequential(nn.Conv3d(1, 3, 3, padding=1), nn.InstanceNorm3d(3, affine=True), nn.ReLU(), last)


def twice() -> nn.Module:
    """A block in two places, as in MONAI's DynUNet; the statistics of its norm are not 0 and 1."""
    norm = nn.BatchNorm2d(2)
    norm.load_state_dict({**norm.state_dict(), "running_mean": torch.full((2,), 0.3), "running_var": torch.ones(2) / 2})
    block = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), norm)
    return nn.Sequential(nn.Sequential(block), nn.ReLU(), nn.Sequential(block))


WRONG: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "upsampled": (upsampled, (1, 1, 4, 3, 4)),
    "residual": (Residual, (1, 2, 5, 6)),
    "instances": (instances, (1, 1, 4, 5, 4)),
    "twice": (twice, (1, 2, 4, 4)),
}
"""What zennit explains wrongly."""


def drawn(make: Callable[..., nn.Module], seed: int = 7, **more: bool) -> nn.Module:
    """A network in float64 and at rest; on another machine its weights may be others: the file has them."""
    torch.manual_seed(seed)
    return make(**more).double().eval()


def filled(net: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """The network with these weights."""
    net.load_state_dict(state)
    return net
