"""Whether relevance depends on what the network learned: its layers lose that, from the output on.

A map that stays as it was shows the image and not the network. It is compared within the support of what was
explained, because outside of it all maps are alike, being near 0, and would agree whatever the network is.

References:
    Adebayo et al. 2018, NeurIPS 31 (cascading randomisation of parameters).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from strokelens.explain.faithful import spearman


@dataclass(frozen=True)
class Randomised:
    """Spearman's ρ of a map with the original, when this layer and all nearer to the output are random.

    `signed` is of R, near −1 when only its sign turned; `absolute` is of |R|. NaN where a map is constant.
    """

    layer: str
    signed: float
    absolute: float


def cascade(
    net: nn.Module,
    explain: Callable[[], Float[Tensor, "c *space"]],
    mask: Bool[Tensor, "*space"],
    *,
    layers: Sequence[str],
    rng: np.random.Generator,
) -> tuple[Randomised, ...]:
    """Explain anew after each layer, in order, got random parameters; compared within the mask, over all channels.

    `layers` are names of modules, such as `outermost` finds. Each of a module's own parameters is drawn from a normal
    distribution of its mean and standard deviation; one that is constant, such as a norm's at the start, stays as it
    is, and so do buffers. The mask should be what was explained, dilated. The network is restored to the bit, also
    when `explain` fails.

    >>> net, x = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)), torch.ones(1, 2)
    >>> run = lambda: net(x).detach()
    >>> layers = outermost(net, run)
    >>> found = cascade(net, run, torch.ones(1, dtype=torch.bool), layers=layers, rng=np.random.default_rng(0))
    >>> [each.layer for each in found]
    ['1', '0']
    """
    with _restored(net):
        before = _within(explain(), mask)
        found = []
        for layer in layers:
            _randomise(net.get_submodule(layer), rng)
            after = _within(explain(), mask)
            absolute = spearman(np.abs(before), np.abs(after))
            found.append(Randomised(layer, spearman(before, after), absolute))
    return tuple(found)


def outermost(net: nn.Module, run: Callable[[], object]) -> tuple[str, ...]:
    """The names of the modules that have parameters of their own, the last that `run` executed first.

    A module that is called several times has the place of its last call. One whose `forward` is not called, because
    another module uses its parameters, is left out.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> outermost(net, lambda: net(torch.ones(1, 2)))
    ('2', '0')
    """
    called: dict[str, None] = {}

    def remember(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_: nn.Module, __: object, ___: object) -> None:
            called.pop(name, None)
            called[name] = None

        return hook

    own = [
        (name, module) for name, module in net.named_modules() if any(True for _ in module.parameters(recurse=False))
    ]
    hooks = [module.register_forward_hook(remember(name)) for name, module in own]
    try:
        with _restored(net):
            run()
    finally:
        for each in hooks:
            each.remove()
    return tuple(reversed(called))


def random_map(shape: tuple[int, ...], rng: np.random.Generator) -> Float[Tensor, "*any"]:
    """Relevance that knows nothing: Gaussian noise, float32; what every measure should be compared with.

    >>> tuple(random_map((2, 3, 3), np.random.default_rng(0)).shape)
    (2, 3, 3)
    """
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def constant_map(shape: tuple[int, ...]) -> Float[Tensor, "*any"]:
    """Relevance that is 1 everywhere, float32: it has the mask's share of the mass and a recall of 1.

    >>> constant_map((1, 2)).tolist()
    [[1.0, 1.0]]
    """
    return torch.ones(shape)


@contextmanager
def _restored(net: nn.Module) -> Iterator[None]:
    """The network as it was afterwards: every parameter, and every buffer whether or not it is stored."""
    held = [*net.parameters(), *net.buffers()]
    kept = [each.detach().clone() for each in held]
    try:
        yield
    finally:
        with torch.no_grad():
            for now, before in zip(held, kept, strict=True):
                now.copy_(before)


def _randomise(module: nn.Module, rng: np.random.Generator) -> None:
    with torch.no_grad():
        for parameter in module.parameters(recurse=False):
            mean, deviation = float(parameter.mean()), float(parameter.std(correction=0))
            parameter.copy_(torch.from_numpy(rng.normal(mean, deviation, tuple(parameter.shape))))


def _within(relevance: Float[Tensor, "c *space"], mask: Bool[Tensor, "*space"]) -> Float[np.ndarray, "n"]:
    return relevance.detach()[:, mask].flatten().double().cpu().numpy()
