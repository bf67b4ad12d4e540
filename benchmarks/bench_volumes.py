"""Networks of volumes: training and inference beside MONAI's BasicUNet of as many parameters; and what is around them.

Each network is timed in a process of its own on the same volume of six maps, 19 slices of 96×96: a step is forward,
Dice and cross-entropy of every scale that the setting holds to the truth, backward, and AdamW, in float32 with two
threads; inference is one forward. Memory is the most
that the process held at once. Ours is the bundled `Isles2017`; the ancestor's four scales are beside it.

Textures of diffgen are timed against the ancestor's 30 s a sample, as its specification tells them, and against loops
over pixels in the same run. 43 cases of 192×192×19 are prepared, cold and again; and one is segmented by the whole
command, from the start of its process.

Run: .venv/bin/python benchmarks/bench_volumes.py [--no-write]
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool3d

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.results import environment, write_results
from tests.oracles import diffgen as loops

from strokelens.cohorts.isles2017 import TOKEN_OF, write_case, write_tables
from strokelens.cohorts.layouts import open_cohort
from strokelens.losses import loss_named
from strokelens.model import Card, Model, recipe_of, save_model
from strokelens.networks.built import built
from strokelens.networks.network import Network
from strokelens.networks.unet3d import Unet3d, Unet3dDesign
from strokelens.phantom.batch import Plan, write_cohort
from strokelens.phantom.diffgen import TEXTURE, draw, generate
from strokelens.phantom.kinds import Isles
from strokelens.phantom.lesion import Group
from strokelens.settings.reading import read_settings
from strokelens.training.store import Prepared, prepared

SHAPE: Final = (1, 6, 19, 96, 96)
PEER, OURS, PUBLISHED = "MONAI BasicUNet", "strokelens Isles2017", "the ancestor's four scales"
TASKS: Final = ("step", "inference")
THREADS: Final = 2
CASES, ANCESTOR_S, TIMES = 43, 30.0, 3
LVO: Final[Mapping[Group, int]] = {"LVO": 1, "Non-LVO": 0, "WIS": 0}
_PEER_FEATURES: Final = (58, 58, 117, 234, 464, 58)


def network(name: str) -> nn.Module:
    """A network by its name."""
    if name == PEER:
        from monai.networks.nets.basic_unet import BasicUNet  # noqa: PLC0415  # only here

        return BasicUNet(3, SHAPE[1], 2, features=_PEER_FEATURES)
    if name == PUBLISHED:
        return Unet3d(Unet3dDesign(norm="instance"))
    return built(read_settings("Isles2017"))


def stepping(net: nn.Module, x: Tensor) -> Callable[[], object]:
    """A step of training."""
    labels = (x[:, 0] > 1).long()
    loss_of = loss_named("dice_cross_entropy", (1.0, 1.0))
    optimizer = torch.optim.AdamW(net.parameters(), 1e-4)

    def step() -> None:
        optimizer.zero_grad()
        finest, *coarser = net.at_scales(x)[::-1] if isinstance(net, Network) else [net(x)]
        loss = loss_of(finest, labels).mean()
        for number, logits in enumerate(coarser, start=1):
            coarse = adaptive_max_pool3d(labels[:, None].float(), logits.shape[2:])[:, 0].long()
            loss = loss + loss_of(logits, coarse).mean() / 2**number
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def measure(name: str, task: str) -> None:
    """The seconds and the memory of one network's task, to standard output."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    net, x = network(name), torch.randn(SHAPE)
    asked: Callable[[], object] = stepping(net, x) if task == "step" else lambda: net.eval()(x)
    times = []
    with torch.inference_mode(task == "inference"):
        for _ in range(1 + TIMES):
            start = perf_counter()
            asked()
            times.append(perf_counter() - start)
    count = sum(each.numel() for each in net.parameters())
    peak_mib = round(getrusage(RUSAGE_SELF).ru_maxrss / 1024)
    print(json.dumps({"parameters": count, "wall_s": round(min(times[1:]), 3), "peak_mib": peak_mib}))


def networks() -> dict[str, object]:
    """Each network's tasks, one process after the other, and ours as parts of the peer's."""
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for name in (PEER, OURS, PUBLISHED):
        figures[name] = {}
        for task in TASKS:
            command = [sys.executable, __file__, "--measure", name, task]
            told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            figures[name][task] = json.loads(told.splitlines()[-1])
            print(f"{name}, {task}: {figures[name][task]}")
    parts = {
        f"{name}, {task}, {key}": round(figures[name][task][key] / figures[PEER][task][key], 3)
        for name in (OURS, PUBLISHED)
        for task in TASKS
        for key in ("wall_s", "peak_mib")
    }
    return {"volume": list(SHAPE), "networks": figures, "parts_of_peer": parts}


def textures() -> dict[str, object]:
    """Seconds a sample of 6×192×192×19, by us and by loops over pixels."""
    times = []
    for seed in range(5):
        start = perf_counter()
        generate(np.random.default_rng(seed))
        times.append(perf_counter() - start)
    rng = np.random.default_rng(0)
    start = perf_counter()
    for _ in range(SHAPE[1]):
        loops.texture(draw(rng, TEXTURE, TEXTURE.jitter), TEXTURE, (192, 192))
    looped = perf_counter() - start
    ours = float(np.median(times))
    return {
        "wall_s": round(ours, 3),
        "loops_s": round(looped, 2),
        "faster_than_loops": round(looped / ours, 1),
        "faster_than_the_ancestors_30_s": round(ANCESTOR_S / ours, 1),
    }


def cohort_in(folder: Path) -> Path:
    """43 cases of 192×192×19: one simulated patient, each time with other noise, and without the series."""
    one = folder.with_name("one")
    assert all(made.failure is None for made in write_cohort(one, Plan(Isles(), 1, 7, LVO), workers=1))
    (entry,) = open_cohort(one)
    case = entry.read(channels=tuple(TOKEN_OF))
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(1, CASES + 1):
        noisy = {
            name: (each * rng.normal(1, 0.05, each.shape)).astype(np.float32) for name, each in case.channels.items()
        }
        write_case(folder, f"training_{number}", replace(case, channels=noisy))
    write_tables(folder, [])
    return folder


def preparation(cohort: Path, folder: Path) -> dict[str, object]:
    """Seconds to prepare all cases, and to open them again."""
    entries, recipe, told = tuple(open_cohort(cohort)), recipe_of(read_settings("Isles2017")), {}
    for name in ("cold_s", "again_s"):
        start = perf_counter()
        found = list(prepared(entries, recipe, folder))
        told[name] = round(perf_counter() - start, 2)
        assert all(isinstance(each, Prepared) for each in found)
    return {"cases": len(entries), **told}


def segmenting(cohort: Path, folder: Path) -> dict[str, object]:
    """Seconds of the command with the full network, whose weights are drawn, for one case."""
    told: dict[str, object] = {}
    for name in ("Isles2017", "Isles2017_patches"):
        settings = read_settings(name)
        place = folder / name
        place.mkdir()
        save_model(Model(built(settings).eval(), settings, Card({"train": 1}, True, "", "")), place)
        command = ["segment", str(cohort / "training_1"), "--method", str(place), "-o", str(folder / f"of {name}")]
        start = perf_counter()
        subprocess.run([sys.executable, "-m", "strokelens", *command], check=True, capture_output=True)
        told[f"{name}_s"] = round(perf_counter() - start, 1)
    return told


def main() -> None:
    """Measure all, print it, and keep it."""
    figures: dict[str, object] = {"torch": torch.__version__, "threads": THREADS, **networks()}
    figures["diffgen"] = textures()
    print(figures["diffgen"])
    with TemporaryDirectory() as made:
        cohort = cohort_in(Path(made) / "isles")
        figures["preparation"] = preparation(cohort, Path(made) / "prepared")
        print(figures["preparation"])
        figures["segment"] = segmenting(cohort, Path(made))
        print(figures["segment"])
    print(environment())
    if "--no-write" not in sys.argv:
        write_results("volumes", figures)


if __name__ == "__main__":
    if "--measure" in sys.argv:
        measure(*sys.argv[sys.argv.index("--measure") + 1 :])
    else:
        main()
