"""Relevance of a 3D U-Net: time and memory beside one forward and backward pass to the input, and beside zennit.

The network has scales of 16, 32, 64 and 128 filters, batch norm and ReLU, 1.6 million weights, and random means; the
input six maps. The unit is one forward pass and the gradient of the answer to the input, by autograd. Each rule is
timed in turn with the unit in one process, one thread, CPU seconds, the best of the repeats; memory is the peak of a
process of its own above what it held before, as a part of a training step's (forward, and gradients of the weights);
of the network of 19 million parameters it is that of the whole process.

zennit 0.5.1 is measured in the same run where it can be imported: `pip install --no-deps zennit==0.5.1`, or its folder
on PYTHONPATH; torchvision, which it wants two names of, is stood in for by `tools/zennit_vectors.py`.

Run: .venv/bin/python benchmarks/bench_relevance.py [--no-write]
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time
from typing import Any, Final

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.results import environment, write_results
from tools.zennit_vectors import zennit

from strokelens.explain.composites import Bounds, Composite
from strokelens.explain.propagate import Asked, relevance
from strokelens.explain.targets import Target
from strokelens.networks.unet3d import Unet3d, Unet3dDesign

SHAPES: Final = ((19, 48, 48), (32, 64, 64), (19, 192, 192))
MEMORY_AT: Final = (32, 64, 64)
CHANNELS: Final = 6
REPEATS: Final = 3
RULES: Final = {"epsilon": "epsilon:1e-6", "z+": "z+", "alpha2-beta1": "alpha-beta:2:1", "gamma": "gamma:0.25"}
DEMANDS: Final = {
    "epsilon": 1.3,
    "z+": 2.7,
    "z+ of what is not below 0": 2.0,
    "gamma": 3.3,
    "alpha2-beta1": 2.9,
    "stroke": 2.6,
    "epsilon, 4 targets": 3.6,
    "gamma, 4 targets": 9.0,
}
MEMORY_DEMANDS: Final = {"epsilon": 1.5, "gamma": 2.2}
PUBLISHED_GIB: Final = 8.0
"""For the network of 19 million parameters, at the last shape: the whole process."""
FASTER_THAN_ZENNIT: Final = 1.8


def network() -> Unet3d:
    """The network, with means and scales of its norms that are no identity."""
    torch.manual_seed(0)
    scales = ((16, 16), (32, 32), (64, 64), (128, 128))
    net = Unet3d(Unet3dDesign(scales=scales, norm="batch", activation="relu")).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            for tensor, low, high in ((module.running_var, 0.5, 2.0), (module.weight.data, 0.5, 1.5)):
                assert tensor is not None
                tensor.uniform_(low, high)
            module.bias.data.normal_(0, 0.1)
    return net


def seeds(times: int) -> Callable[[Tensor], list[Tensor]]:
    """The logits of the second class at all voxels, as so many targets."""
    return lambda answer: [Target(1).seed(answer, torch.ones(answer.shape[2:]))] * times


def asked(composite: str) -> Asked:
    """A rule everywhere, or a named composite."""
    low, high = torch.full((CHANNELS,), -5.0), torch.full((CHANNELS,), 5.0)
    bounds = Bounds(torch.full((CHANNELS,), 0.5), low, high)
    told = Composite("told", (("any", RULES[composite]),)) if composite in RULES else Composite.of(composite)
    return Asked(told, bounds)


def ours(net: Unet3d, x: Tensor, composite: str, times: int = 1) -> Callable[[], object]:
    """Our relevance."""
    return lambda: relevance(net, [x], seeds(times), asked(composite))


def unit(net: Unet3d, x: Tensor) -> Callable[[], object]:
    """One forward pass, and back to the input."""

    def passes() -> None:
        leaf = x.clone().requires_grad_()
        net(leaf)[:, 1].sum().backward()

    return passes


def theirs(parts: dict[str, Any], net: Unet3d, x: Tensor, composite: str, times: int = 1) -> Callable[[], object]:
    """Zennit's relevance by the same rule everywhere, batch norms merged as it does that."""
    types, rules, composites = (parts[each] for each in ("types", "rules", "composites"))
    rule = {
        "epsilon": rules.Epsilon(1e-6),
        "z+": rules.ZPlus(),
        "gamma": rules.Gamma(0.25),
        "alpha2-beta1": rules.AlphaBeta(2, 1),
    }[composite]
    merging = [parts["canonizers"].SequentialMergeBatchNorm()]
    composite_of = composites.LayerMapComposite([(types.Activation, rules.Pass()), (types.Linear, rule)], merging)

    def passes() -> None:
        with composite_of.context(net) as hooked:
            leaf = x.clone().requires_grad_()
            answer = hooked(leaf)
            (seed, *_) = seeds(1)(answer.detach())
            for each in range(times):
                torch.autograd.grad(answer, leaf, seed, retain_graph=each + 1 < times)

    return passes


def seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """The best processor time."""
    best = float("inf")
    for _ in range(repeats):
        start = process_time()
        work()
        best = min(best, process_time() - start)
    return best


def frozen(net: Unet3d) -> Unet3d:
    """Without gradients of weights, as nobody asks for them."""
    for weight in net.parameters():
        weight.requires_grad_(False)
    return net


def times_at(shape: Sequence[int], parts: dict[str, Any] | None) -> dict[str, dict[str, float]]:
    """Units of each rule at one shape, ours and zennit's."""
    net, x = frozen(network()), torch.randn(1, CHANNELS, *shape)
    repeats = 1 if max(shape) > 100 else REPEATS
    one = seconds(unit(net, x), repeats)
    figures: dict[str, dict[str, float]] = {"unit": {"cpu_s": round(one, 3)}}
    asked_for = [*((rule, 1) for rule in RULES), ("stroke", 1), ("epsilon", 4), ("gamma", 4)]
    for rule, many in asked_for if max(shape) <= 100 else asked_for[:5]:
        name = rule if many == 1 else f"{rule}, {many} targets"
        figures[name] = {"units": round(seconds(ours(net, x, rule, many), repeats) / one, 2)}
        if parts is not None and rule in RULES and max(shape) <= 100:
            peer = seconds(theirs(parts, net, x, rule, many), repeats) / one
            figures[name] |= {"zennit": round(peer, 2), "faster": round(peer / figures[name]["units"], 2)}
        print(f"{shape} {name}: {figures[name]}", flush=True)
    units = seconds(ours(net, x.abs(), "z+"), repeats) / one
    figures["z+ of what is not below 0"] = {"units": round(units, 2)}
    return figures


def memory_of(what: str) -> None:
    """The peak of one task above what was held before, in MiB, to standard output."""
    torch.set_num_threads(1)
    net, x = network(), torch.randn(1, CHANNELS, *MEMORY_AT)
    relevance(net, [torch.randn(1, CHANNELS, 8, 8, 8)], seeds(1), asked("epsilon"))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = status("VmRSS")
    if what == "training":
        net.train()
        net(x)[:, 1].sum().backward()
    else:
        ours(frozen(net), x, what)()
    print(json.dumps((status("VmHWM") - before) / 1024))


def published(composite: str) -> None:
    """The most that a process held which explained the published network's answer, in GiB, to standard output."""
    torch.set_num_threads(1)
    net, x = frozen(Unet3d(Unet3dDesign(norm="instance")).eval()), torch.randn(1, CHANNELS, *SHAPES[-1])
    if composite == "the answer alone":
        with torch.no_grad():
            net(x)
    else:
        ours(net, x, composite)()
    print(json.dumps(status("VmHWM") / 2**20))


def status(name: str) -> int:
    """A number of KiB that Linux tells of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def alone(task: str, what: str, **environment: str) -> float:
    """The number that a task of a process of its own tells."""
    command = [sys.executable, __file__, task, what]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment)
    return float(told.stdout.splitlines()[-1])


def memory() -> dict[str, float]:
    """The peaks as parts of a training step's; what is let go of is given back."""
    tasks = ("training", *MEMORY_DEMANDS, "stroke")
    peaks = {what: alone("--memory", what, MALLOC_MMAP_THRESHOLD_="65536") for what in tasks}
    return {what: round(peak / peaks["training"], 2) for what, peak in peaks.items()} | {
        "training_mib": round(peaks["training"])
    }


def judged(
    figures: dict[str, dict[str, dict[str, float]]], kept: dict[str, float], whole: dict[str, float]
) -> list[str]:
    """What is demanded, beside what was measured."""
    lines = []
    for shape, told in figures.items():
        for name, most in DEMANDS.items():
            if name in told:
                units = told[name]["units"]
                lines.append(f"{shape} {name}: {units} of at most {most}: {'ok' if units <= most else 'MISSED'}")
                faster = told[name].get("faster")
                if faster is not None:
                    verdict = "ok" if faster >= FASTER_THAN_ZENNIT else "MISSED"
                    lines.append(f"{shape} {name}: {faster} × zennit of {FASTER_THAN_ZENNIT}: {verdict}")
    for name, most in MEMORY_DEMANDS.items():
        lines.append(f"memory, {name}: {kept[name]} of at most {most}: {'ok' if kept[name] <= most else 'MISSED'}")
    for name, gib in whole.items():
        verdict = "ok" if gib <= PUBLISHED_GIB else "MISSED"
        lines.append(f"GiB of a process, the published network, {name}: {gib} of at most {PUBLISHED_GIB}: {verdict}")
    return lines


def main() -> None:
    """Measure all, print it, and keep it."""
    torch.set_num_threads(1)
    try:
        parts: dict[str, Any] | None = zennit()
    except ImportError:
        parts = None
        print("zennit is not here; ours is measured alone")
    figures = {"×".join(map(str, (CHANNELS, *shape))): times_at(shape, parts) for shape in SHAPES}
    kept = memory()
    whole = {what: round(alone("--published", what), 2) for what in ("the answer alone", "stroke", "gamma")}
    lines = judged(figures, kept, whole)
    print("\n".join(lines))
    print(environment())
    if "--no-write" not in sys.argv:
        told = {
            "torch": torch.__version__,
            "threads": 1,
            "times": figures,
            "memory": kept,
            "gib": whole,
            "demands": lines,
        }
        write_results("relevance", told)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        memory_of(sys.argv[2])
    elif sys.argv[1:2] == ["--published"]:
        published(sys.argv[2])
    else:
        main()
