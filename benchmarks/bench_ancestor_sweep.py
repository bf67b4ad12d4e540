"""The ancestor's sixteen maps of one case: ours, from one forward pass, beside sixteen plain passes of its rules.

The network is the published one of 19 million parameters, its weights drawn, and the case 19 slices of 48×48. A plain
pass is that of `tests/oracles`, which computes the network once; the ancestor computed it twice, which is told beside.
Seconds are of the processor, with one thread, ours the best of three. Each is measured in a process of its own, whose
memory is the most that it held.

Run: .venv/bin/python benchmarks/bench_ancestor_sweep.py [--no-write]
"""

import json
import subprocess
import sys
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from time import process_time
from typing import Final

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.results import environment, write_results
from tests.oracles.ancestor_relevance import relevance_of

from strokelens.explain.ancestor import ancestors_relevance
from strokelens.explain.filters import GRID
from strokelens.networks.unet3d import Unet3d, Unet3dDesign

SHAPE: Final = (1, 6, 19, 48, 48)
OURS, PLAIN, FORWARD = "sixteen maps, ours", "sixteen plain passes", "a forward pass"
REPEATS: Final = 3
"""Of ours, the best of them; the plain passes are sixteen by themselves."""
DEMANDED: Final = 6.0
"""How many times faster than sixteen plain passes."""


def computed(name: str, net: Unet3d, x: Tensor) -> None:
    """Do what is measured."""
    if name == OURS:
        ancestors_relevance(net, x, GRID, first="published")
    elif name == PLAIN:
        for each in GRID:
            relevance_of(net, x, each, first="published")
    else:
        with torch.no_grad():
            net(x)


def measure(name: str) -> None:
    """The seconds and the memory of one of them, to standard output."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net, x = Unet3d(Unet3dDesign(legacy=True)).eval(), torch.rand(SHAPE)
    computed(FORWARD, net, x)  # torch makes ready what it needs
    before_mib = getrusage(RUSAGE_SELF).ru_maxrss / 1024
    times = []
    for _ in range(1 if name == PLAIN else REPEATS):
        start = process_time()
        computed(name, net, x)
        times.append(process_time() - start)
    peak_mib = getrusage(RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps({"s": round(min(times), 2), "peak_mib": round(peak_mib), "more_mib": round(peak_mib - before_mib)})
    )


def main() -> None:
    """Measure all, print it, and keep it."""
    figures: dict[str, dict[str, float]] = {}
    for name in (OURS, PLAIN, FORWARD):
        command = [sys.executable, __file__, "--measure", name]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        figures[name] = json.loads(told.splitlines()[-1])
        print(f"{name}: {figures[name]}")
    ours, passes, forward = (figures[name]["s"] for name in (OURS, PLAIN, FORWARD))
    ratio = round(passes / ours, 2)
    twice = round((passes + len(GRID) * forward) / ours, 2)
    print(f"faster than sixteen plain passes: {ratio} × (≥ {DEMANDED} × {'ok' if ratio >= DEMANDED else 'MISSED'})")
    print(f"faster than the same with two forward passes each, as the ancestor had: {twice} ×")
    print(environment())
    if "--no-write" not in sys.argv:
        told_of = {"volume": list(SHAPE), "maps": len(GRID), "torch": torch.__version__, "measured": figures}
        write_results("ancestor_sweep", {**told_of, "faster": ratio, "faster_than_with_two_forward_passes": twice})


if __name__ == "__main__":
    if "--measure" in sys.argv:
        measure(sys.argv[sys.argv.index("--measure") + 1])
    else:
        main()
