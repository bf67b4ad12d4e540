"""A step of training the full-width network, and the loader beside it.

The published design (four maps, slow fusion, width 1) takes steps on one batch of two simulated 512×512 slices: loss,
penalty, backward, clipped gradients, Adam, and the largest norm of filters. The reference is the same arithmetic in
float32, with axes as they come (NCHW) and slices whole. Ours cuts off what shows nothing (the share that is computed is
told), has channels last, and with bfloat16 computes in that. Augmentation is off in both. A step warms up, the others
are timed, each way in a process of its own; memory is the most that it held at once.

The loader is timed on prepared slices of one patient, which the system keeps in memory: slices a second copied out of
the mapped file into batches, and the same with augmentation, against those that the fastest way trains.

On a GPU the step in bfloat16 is also told as a part of the rate of a bfloat16 product of matrices in the same process.

Run: .venv/bin/python benchmarks/bench_training.py [--steps 2] [--batch 2] [--no-write]
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from tempfile import TemporaryDirectory
from time import perf_counter
from types import SimpleNamespace
from typing import Any, Final, cast

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.results import environment, write_results

from strokelens.augment import apply, decide
from strokelens.cohorts.layouts import open_cohort
from strokelens.losses import loss_named
from strokelens.model import recipe_of
from strokelens.networks.built import built
from strokelens.networks.crops import Box
from strokelens.networks.inputs import standardised, unit
from strokelens.networks.regular import limit_norms, penalty
from strokelens.phantom.batch import Plan, write_cohort
from strokelens.phantom.kinds import Slices as Pictures
from strokelens.phantom.scanner import CtProtocol
from strokelens.settings.chances import Augmentation
from strokelens.settings.schema import Settings, Stage
from strokelens.training.learner import Learner, Place
from strokelens.training.optimizers import optimizer_of
from strokelens.training.samples import Batch, Collated, Draw, Slices, chances
from strokelens.training.store import Prepared, prepared

SETTINGS: Final = Settings(
    name="full",
    stages=(Stage(encoders="full"),),
    augmentation=Augmentation.model_validate(dict.fromkeys(Augmentation.model_fields.keys() - {"recipe"}, 0)),
)
WAYS: Final = ("plain, float32, NCHW", "strokelens, float32", "strokelens, bfloat16")
GPU_WAY: Final = "strokelens, bfloat16, GPU"
FORWARD_FLOP: Final = 863e9
BATCH, LOADER_SLICES = 2, 400


def option(name: str, default: int) -> int:
    """The number after an option."""
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


def slices_of(folder: Path) -> Slices:
    """The prepared slices of one simulated patient, made where they are not there yet."""
    place = folder / "cohort"
    if not place.is_dir():
        plan = Plan(Pictures(CtProtocol(matrix=512, slices=8, frames=30)), 1, 7, {"LVO": 1, "Non-LVO": 0, "WIS": 0})
        list(write_cohort(place, plan, workers=1))
    cases = list(prepared(open_cohort(place), recipe_of(SETTINGS), folder / "prepared", workers=1))
    return Slices([cast(Prepared, case) for case in cases])


def plain_loss(net: nn.Module, batch: Batch) -> torch.Tensor:
    """The loss of whole slices, as the formula has it."""
    logits = net(standardised(unit(batch.x), form="colours"))
    settings = SETTINGS.optimizer
    loss = loss_named(SETTINGS.loss.name, SETTINGS.class_weights)(logits, batch.y.long()).mean()
    return loss + penalty(cast(Any, net), l1=settings.l1, l2=settings.l2)


def learner_of(slices: Slices, device: torch.device) -> Learner:
    """What training runs, outside of Lightning."""
    net = built(SETTINGS).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    learner = Learner(net, SETTINGS, Place(0, 1, 0), (slices, slices))
    learner._trainer = cast(Any, SimpleNamespace(current_epoch=0, global_rank=0, world_size=1))
    learner.log = lambda *_, **__: None  # type: ignore[method-assign]
    return learner


def measure(way: str, folder: Path) -> None:
    """Some steps of one way, in this process: the fastest one's seconds, and memory, to standard output."""
    slices, device = slices_of(folder), torch.device("cuda" if way == GPU_WAY else "cpu")
    batch = batch_of(slices).to(device)
    net: nn.Module
    loss_of: Callable[[Batch], torch.Tensor]
    if way == WAYS[0]:
        net = built(SETTINGS)
        loss_of = partial(plain_loss, net)
    else:
        learner = learner_of(slices, device)
        net, loss_of = learner.net, lambda each: learner.training_step(each, 0)
    weights = list(net.parameters())
    optimizer = optimizer_of(SETTINGS.optimizer, weights)
    times = []
    for _ in range(1 + option("--steps", 2)):
        start = perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled="bfloat16" in way):
            loss = loss_of(batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_value_(weights, 0.5)
        optimizer.step()
        limit_norms(cast(Any, net), 2.0)
        told = round(loss.item(), 5)  # waits for the GPU
        times.append(perf_counter() - start)
    peak_mib = getrusage(RUSAGE_SELF).ru_maxrss / 1024
    if device.type == "cuda":
        peak_mib = torch.cuda.max_memory_allocated() / 2**20
    row = {"wall_s": round(min(times[1:]), 3), "peak_mib": round(peak_mib), "loss": told}
    print(json.dumps(row | (gpu_figures(min(times[1:]), len(batch.y)) if device.type == "cuda" else {})))


def gpu_figures(step_s: float, slices: int) -> dict[str, object]:
    """The step as a part of what a product of matrices reaches: three times the forward's 863 GFLOP a slice."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(10):
        torch.cuda.synchronize()
        start = perf_counter()
        a @ b
        torch.cuda.synchronize()
        times.append(perf_counter() - start)
    rate = 2 * 8192**3 / min(times)
    needed = 3 * FORWARD_FLOP * slices
    return {
        "device": torch.cuda.get_device_name(),
        "matrix_tflop_per_s": round(rate / 1e12, 1),
        "share_of_matrix_rate": round(needed / step_s / rate, 3),
    }


def batch_of(slices: Slices) -> Batch:
    """Slices through the middle of the brain, as the loader gives them."""
    collated = Collated(slices, 1, 4, SETTINGS.augmentation)
    return collated([Draw(2 + at % 5, 0, 0) for at in range(option("--batch", 2))])


def computed_share(slices: Slices) -> float:
    """How much of the batch's pixels the box holds."""
    x = batch_of(slices).x
    box = Box.around((x != 0).any(1).any(0).numpy())
    return float((box.i.stop - box.i.start) * (box.j.stop - box.j.start) / x[0, 0].numel())


def loader_rate(folder: Path) -> tuple[float, float]:
    """Slices a second out of the mapped file, and with augmentation as the settings' defaults have it."""
    slices = slices_of(folder)
    rates = []
    for augmented in (False, True):
        start = perf_counter()
        for number in range(0, LOADER_SLICES, BATCH):
            batch = slices.collate([number % len(slices), (number + 1) % len(slices)])
            if augmented:
                changes = [decide(chances(1, 0, number + at), Augmentation(), 4) for at in range(BATCH)]
                apply(unit(batch.x), batch.y, changes, maps=4)
        rates.append(LOADER_SLICES / (perf_counter() - start))
    return rates[0], rates[1]


def main() -> None:
    """Measure each way, print, write JSON."""
    if "--way" in sys.argv:
        at = sys.argv.index("--way")
        measure(sys.argv[at + 1], Path(sys.argv[at + 2]))
        return
    rows: list[dict[str, object]] = []
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        slices_of(folder)
        share = computed_share(slices_of(folder))
        for way in (*WAYS, *([GPU_WAY] if torch.cuda.is_available() else [])):
            words = [sys.executable, __file__, "--way", way, str(folder), *sys.argv[1:]]
            told = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
            rows.append({"way": way, **told})
            print(rows[-1], flush=True)
        disk, augmented = loader_rate(folder)
    first = float(str(rows[0]["wall_s"]))
    for row in rows:
        row["ratio"] = round(first / float(str(row["wall_s"])), 2)
        row["slices_per_s"] = round(option("--batch", 2) / float(str(row["wall_s"])), 3)
        print(row)
    loader: dict[str, object] = {"copied_per_s": round(disk, 1), "augmented_per_s": round(augmented, 1)}
    for place, of_it in (("cpu", rows[: len(WAYS)]), ("gpu", rows[len(WAYS) :])):
        if of_it:
            trained = max(float(str(row["slices_per_s"])) for row in of_it)
            loader[f"copied_by_training_on_{place}"] = round(disk / trained, 1)
            loader[f"augmented_by_training_on_{place}"] = round(augmented / trained, 1)
    print(f"{share:.0%} of the pixels are computed")
    print(environment(), f"torch {torch.__version__}, {torch.get_num_threads()} threads", loader)
    if "--no-write" not in sys.argv:
        figures = {
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "computed_share": round(share, 3),
            "rows": rows,
        }
        write_results("training", {**figures, "loader": loader, "load_average": round(os.getloadavg()[0], 2)})


if __name__ == "__main__":
    main()
