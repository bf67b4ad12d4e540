"""Write `tests/golden/zennit.npz`: what zennit says of small networks, in float64, right and wrong.

Run once, in an environment of its own, as zennit requires a torchvision that replaces torch:
`pip install torch==2.13.0 numpy && pip install --no-deps zennit==0.5.1`, then `python tools/zennit_vectors.py`.
zennit is LGPL-3.0-or-later; nothing of it is in this repository but its numbers.
"""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "tests/golden/zennit.npz"


def zennit() -> dict[str, Any]:
    """The modules of zennit; of torchvision and PIL it wants no more than names here."""
    for name, inside in {
        "torchvision": (),
        "torchvision.models": (),
        "torchvision.models.resnet": ("BasicBlock", "Bottleneck"),
        "PIL": ("Image",),
    }.items():
        module = sys.modules[name] = ModuleType(name)
        for each in inside:
            setattr(module, each, type(each, (nn.Module,), {}))
    return {each: import_module(f"zennit.{each}") for each in ("rules", "composites", "types", "canonizers")}


def rules_of(rules: Any, low: float, high: float) -> dict[str, Any]:
    """Its rules by our names; stabilisers are as small as they may be where ours has none."""
    tiny = {"stabilizer": 1e-15}
    return {
        "epsilon-6": rules.Epsilon(1e-6),
        "epsilon.25": rules.Epsilon(0.25),
        "epsilon-dropped": rules.Epsilon(0.25, zero_params="bias"),
        "gamma.05": rules.Gamma(0.05, stabilizer=1e-6),
        "gamma.25": rules.Gamma(0.25, stabilizer=1e-6),
        "alpha1-beta0": rules.AlphaBeta(1, 0, **tiny),
        "alpha2-beta1": rules.AlphaBeta(2, 1, **tiny),
        "z+": rules.ZPlus(**tiny),
        "box": rules.ZBox(low, high, **tiny),
        "w2": rules.WSquare(**tiny),
        "flat": rules.Flat(**tiny),
        "lrp-0": rules.Epsilon(1e-14),
        "z+-dropped": rules.ZPlus(**tiny, zero_params="bias"),
    }


def explained(parts: dict[str, Any], net: nn.Module, rule: Any, x: Tensor, seed: Tensor) -> np.ndarray:
    """The map of one rule at all layers; of a box at the first, and of ε at the others."""
    types, rules, composites = (parts[each] for each in ("types", "rules", "composites"))
    at, leaf = [(types.Activation, rules.Pass())], x.clone().requires_grad_()
    if isinstance(rule, rules.ZBox):
        at.append((types.Linear, rules.Epsilon(1e-6)))
        composite = composites.SpecialFirstLayerMapComposite(at, [(types.Linear, rule)])
    else:
        composite = composites.LayerMapComposite([*at, (types.Linear, rule)])
    with composite.context(net) as hooked:
        (found,) = torch.autograd.grad(hooked(leaf), leaf, seed)
    numbers: np.ndarray = found.numpy()
    return numbers


def main() -> None:
    """Make and write all vectors."""
    sys.path.insert(0, str(ROOT))
    from tests import foreign_nets as nets  # noqa: PLC0415  # tests is no package of this environment

    parts = zennit()
    rules = rules_of(parts["rules"], nets.LOW, nets.HIGH)
    held: dict[str, Any] = {}

    def keep(name: str, net: nn.Module, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        torch.manual_seed(11)
        x = torch.randn(shape, dtype=torch.float64).clamp(nets.LOW, nets.HIGH)
        with torch.no_grad():
            seed = net(x).clamp(min=0)
        held.update({f"{name}/weights/{key}": each.numpy().copy() for key, each in net.state_dict().items()})
        held.update({f"{name}/x": x.numpy(), f"{name}/seed": seed.numpy()})
        return x, seed

    for name, (make, shape) in nets.NETS.items():
        for bias in (True, False):
            net = nets.drawn(make, bias=bias)
            x, seed = keep(f"{name}/{bias}", net, shape)
            for word in nets.RULES:
                if (word in nets.WITHOUT_BIAS) != bias:
                    held[f"{name}/{bias}/{word}"] = explained(parts, net, rules[word], x, seed)
    for name, (wrong, shape) in nets.WRONG.items():
        net = nets.drawn(wrong)
        x, seed = keep(name, net, shape)
        if name != "twice":
            rule = rules["z+-dropped" if name == "instances" else "lrp-0"]
            held[f"{name}/map"] = explained(parts, net, rule, x, seed)
            continue
        canonizer = parts["canonizers"].SequentialMergeBatchNorm()
        with parts["composites"].LayerMapComposite([], canonizers=[canonizer]).context(net) as merged, torch.no_grad():
            held[f"{name}/answer"] = merged(x).numpy()
        held.update({f"{name}/after/{key}": each.numpy().copy() for key, each in net.state_dict().items()})
    np.savez_compressed(TARGET, **held)
    print(f"{TARGET}: {len(held)} arrays, {TARGET.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
