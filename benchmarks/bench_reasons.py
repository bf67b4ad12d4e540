"""Whether relevance is true, where the truth is known: lesions that only two of six channels show.

Three networks learn the task of `planted.py` (3D U-Nets with batch and with instance norm, and MONAI's BasicUNet), and
each method explains the logits of their lesions in new volumes: the share of what speaks for it in the two channels
that show it, how much of it lies in the lesion (mass accuracy), the rank accuracy, the gap between removing the most
and the least relevant blocks first, as a part of that of integrated gradients with 20 steps, and the cost in forward
and backward passes.

Run: .venv/bin/python benchmarks/bench_reasons.py [--no-write]
"""

import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.planted import CAUSAL, CHANNELS, HEALTHY, trained, volume
from benchmarks.results import environment, write_results

from strokelens.explain import places, rivals
from strokelens.explain.composites import COMPOSITES, Bounds
from strokelens.explain.faithful import perturbation
from strokelens.explain.propagate import Asked, relevance
from strokelens.explain.randomised import constant_map, random_map
from strokelens.explain.targets import Target
from strokelens.networks.unet3d import Unet3d, Unet3dDesign

NETWORKS: Final = ("batch", "instance", "BasicUNet")
STEPS: Final = {"batch": 200, "instance": 100, "BasicUNet": 100}
VOLUMES: Final = 6
SCALES: Final = ((16, 16), (32, 32), (64, 64))
BEST: Final = "integrated-gradients"
DEMANDS: Final = {
    "share": dict.fromkeys(NETWORKS, 0.9),
    "mass": {"batch": 0.75, "instance": 0.8, "BasicUNet": 0.8},
    "gap_of_best": dict.fromkeys(NETWORKS, 0.95),
}
MOST_COST: Final = 3.0

Map = Callable[[Tensor, Tensor], Tensor]
"""From an image (c, k, i, j) and the mask that is explained to a map."""


def network(name: str) -> nn.Module:
    """A network before it learned anything."""
    torch.manual_seed(0)
    if name == "BasicUNet":
        from monai.networks.nets.basic_unet import BasicUNet  # noqa: PLC0415  # only here

        return BasicUNet(3, CHANNELS, 2, features=(16, 16, 32, 64, 64, 16))
    norm: Literal["batch", "instance"] = "batch" if name == "batch" else "instance"
    design = Unet3dDesign(scales=SCALES, steps=((1, 2, 2), (2, 2, 2)), norm=norm, activation="relu")
    return Unet3d(design)


def methods(net: nn.Module) -> dict[str, Map]:
    """All composites of ours, and the rivals."""
    base, rng = torch.full((CHANNELS,), HEALTHY), np.random.default_rng(1)
    bounds = Bounds(base, torch.zeros(CHANNELS), torch.ones(CHANNELS))

    def by(name: str) -> Map:
        asked = Asked(COMPOSITES[name], bounds)
        return lambda x, mask: relevance(net, [x[None]], lambda a: [Target(1).seed(a, mask)], asked).inputs[0][0, 0]

    layer = [each for each in net.modules() if isinstance(each, nn.Conv3d)][-2]
    rival: dict[str, Map] = {
        "gradient": lambda x, mask: rivals.gradient(answer(net, mask), x),
        "input-x-gradient": lambda x, mask: rivals.input_x_gradient(answer(net, mask), x, base),
        BEST: lambda x, mask: rivals.integrated_gradients(answer(net, mask), x, base, steps=20),
        "smoothgrad": lambda x, mask: rivals.smoothgrad(answer(net, mask), x, rng, samples=20),
        "grad-cam": lambda x, mask: rivals.grad_cam(answer(net, mask), x, layer),
        "random": lambda x, _: random_map(tuple(x.shape), rng),
        "constant": lambda x, _: constant_map(tuple(x.shape)),
    }
    return {name: by(name) for name, each in COMPOSITES.items() if each.ancestor is None} | rival


def answer(net: nn.Module, mask: Tensor) -> Callable[[Tensor], Tensor]:
    """The lesion's logits over a mask."""
    return lambda images: (net(images)[:, 1] * mask).flatten(1).sum(1)


def scores(net: nn.Module) -> tuple[float, dict[str, dict[str, float]]]:
    """Dice of the network on new volumes, and the means of each method's measures."""
    rng = np.random.default_rng(99)
    pairs = [volume(rng) for _ in range(VOLUMES)]
    with torch.no_grad():
        found = [net(x).argmax(1) == 1 for x, _ in pairs]
    dices = [float(2 * (a & b).sum() / (a.sum() + b.sum())) for a, (_, b) in zip(found, pairs, strict=True)]
    told: dict[str, list[tuple[float, ...]]] = {}
    for (x, lesion), mask in zip(pairs, found, strict=True):
        start = process_time()
        rivals.gradient(answer(net, mask[0]), x[0])
        one = process_time() - start
        for name, method in methods(net).items():
            start = process_time()
            found_map = method(x[0], mask[0]).detach()
            cost = (process_time() - start) / one
            told.setdefault(name, []).append((*_measures(net, x[0], lesion[0], mask[0], found_map), cost))
    names = ("share", "mass", "rank", "gap", "cost")
    means = {name: dict(zip(names, np.mean(each, 0).tolist(), strict=True)) for name, each in told.items()}
    return float(np.mean(dices)), means


def _measures(net: nn.Module, x: Tensor, lesion: Tensor, mask: Tensor, found: Tensor) -> tuple[float, ...]:
    maps = found.numpy()
    share = float(places.shares(maps).positive[list(CAUSAL)].sum())
    base = torch.full((CHANNELS,), HEALTHY)
    gap = perturbation(answer(net, mask), x, found, base, steps=10, batch=2).gap
    truth = lesion.numpy()
    return share, places.mass_accuracy(maps, truth), places.rank_accuracy(maps, truth), gap


def judged(name: str, ours: dict[str, float]) -> list[str]:
    """What is demanded of our default, beside what was measured."""
    told = [(key, ours[key], ours[key] >= by[name], f"at least {by[name]}") for key, by in DEMANDS.items()]
    told.append(("cost", ours["cost"], ours["cost"] <= MOST_COST, f"at most {MOST_COST}"))
    return [
        f"{name}, stroke: {key} {value:.3f} of {wanted}: {'ok' if kept else 'MISSED'}"
        for key, value, kept, wanted in told
    ]


def main() -> None:
    """Train, measure, print, and keep it."""
    torch.set_num_threads(1)
    figures: dict[str, object] = {}
    lines = []
    for name in NETWORKS:
        net = trained(network(name), steps=STEPS[name])
        for weight in net.parameters():
            weight.requires_grad_(False)
        dice, means = scores(net)
        best = means[BEST]["gap"]
        rows = {method: {**each, "gap_of_best": each["gap"] / best} for method, each in means.items()}
        rounded = {method: {key: round(value, 3) for key, value in row.items()} for method, row in rows.items()}
        figures[name] = {"dice": round(dice, 3), "methods": rounded}
        print(f"{name}: Dice {dice:.3f}")
        for method, row in rows.items():
            print(f"  {method:22s}" + "  ".join(f"{key} {value:7.3f}" for key, value in row.items()), flush=True)
        lines += judged(name, rows["stroke"])
    print("\n".join(lines))
    print(environment())
    if "--no-write" not in sys.argv:
        told = {"torch": torch.__version__, "threads": 1, "volumes": VOLUMES, "networks": figures, "demands": lines}
        write_results("reasons", told)


if __name__ == "__main__":
    main()
