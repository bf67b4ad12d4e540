"""A step of training the full-width network on the processor, and the loader beside it.

The published design (four maps, slow fusion, width 1) takes steps on batches of two simulated 512×512 slices: loss,
penalty, backward, clipped gradients, Adam, and the largest norm of filters. The reference is the same arithmetic in
float32, with axes as they come (NCHW) and slices whole. Ours cuts off what shows nothing, has channels last, and with
bfloat16 computes in that. Augmentation is off in both. Each way runs in a process of its own.

The loader is timed on the same prepared slices from disk, with augmentation: slices a second, against those that the
fastest way trains.

Run: .venv/bin/python benchmarks/bench_training.py [--steps 2] [--no-write]
"""

import json
import os
import subprocess
import sys
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
from strokelens.networks.inputs import standardised, unit
from strokelens.networks.regular import limit_norms, penalty
from strokelens.phantom.batch import Plan, write_cohort
from strokelens.phantom.kinds import Slices as Pictures
from strokelens.phantom.scanner import CtProtocol
from strokelens.settings.schema import Augmentation, Settings
from strokelens.training.learner import Learner, Place
from strokelens.training.optimizers import optimizer_of
from strokelens.training.samples import Batch, Collated, Draw, Slices, chances
from strokelens.training.store import Prepared, prepared

SETTINGS: Final = Settings(name="full", augmentation=Augmentation(**dict.fromkeys(Augmentation.model_fields, 0.0)))
WAYS: Final = ("plain, float32, NCHW", "strokelens, float32", "strokelens, bfloat16")
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


def learner_of(slices: Slices) -> Learner:
    """What training runs, outside of Lightning."""
    net = built(SETTINGS).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    learner = Learner(net, SETTINGS, Place(0, 1, 0), (slices, slices))
    learner._trainer = cast(Any, SimpleNamespace(current_epoch=0, global_rank=0, world_size=1))
    learner.log = lambda *_, **__: None  # type: ignore[method-assign]
    return learner


def measure(way: str, folder: Path) -> None:
    """Some steps of one way, in this process: the fastest one's seconds, and memory, to standard output."""
    slices = slices_of(folder)
    collated = Collated(slices, 1, 4, Augmentation())
    pairs = [(2 + 2 * at, 3 + 2 * at) for at in range(option("--steps", 2))]
    batches = [collated([Draw(index, 0, 0) for index in pair]) for pair in pairs]
    learner = learner_of(slices)
    net = built(SETTINGS) if way == WAYS[0] else learner.net
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    optimizer = optimizer_of(SETTINGS.optimizer, weights)
    times = []
    for number, batch in enumerate(batches):
        start = perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=way == WAYS[2]):
            loss = plain_loss(net, batch) if way == WAYS[0] else learner.training_step(batch, number)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_value_(weights, 0.5)
        optimizer.step()
        limit_norms(net, 2.0)
        times.append(perf_counter() - start)
    peak_mib = round(getrusage(RUSAGE_SELF).ru_maxrss / 1024)
    print(json.dumps({"wall_s": round(min(times), 2), "peak_mib": peak_mib, "loss": round(loss.item(), 5)}))


def loader_rate(folder: Path) -> tuple[float, float]:
    """Slices a second from disk, and from disk with augmentation as the settings' defaults have it."""
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
        for way in WAYS:
            words = [sys.executable, __file__, "--way", way, str(folder), "--steps", str(option("--steps", 2))]
            told = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
            rows.append({"way": way, **told})
            print(rows[-1], flush=True)
        disk, augmented = loader_rate(folder)
    first = float(str(rows[0]["wall_s"]))
    for row in rows:
        row["ratio"] = round(first / float(str(row["wall_s"])), 2)
        row["slices_per_s"] = round(BATCH / float(str(row["wall_s"])), 3)
        print(row)
    trained = max(float(str(row["slices_per_s"])) for row in rows)
    loader = {
        "from_disk_per_s": round(disk, 1),
        "augmented_per_s": round(augmented, 1),
        "from_disk_by_training": round(disk / trained, 1),
        "augmented_by_training": round(augmented / trained, 1),
    }
    print(environment(), f"torch {torch.__version__}, {torch.get_num_threads()} threads", loader)
    if "--no-write" not in sys.argv:
        figures = {"torch": torch.__version__, "threads": torch.get_num_threads(), "rows": rows, "loader": loader}
        write_results("training", {**figures, "load_average": round(os.getloadavg()[0], 2)})


if __name__ == "__main__":
    main()
