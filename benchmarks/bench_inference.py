"""Inference of the full-width network on one study, against the plain forward of every full slice.

A study of 512×512×16 is simulated, its maps are coloured, and the network of the first ancestor's published design
(four maps, slow fusion, width 1; some 863 GFLOP a slice) is asked for it. What it finds must mean something, or borders
between classes lie in noise: a network of width 1/16 is trained on another study for a minute or two, and widened to
width 1: each filter stands there sixteen times (in the head four times), and counts that much less. It finds the same,
at the published cost; but copies round alike, where filters of another wide network would not. The Dice between two
ways of computing says how far they are apart.

The reference is every slice whole, one after the other, in float32 with its axes as they come. Each way runs in a
process of its own; memory is the most that it held at once. What they share was prepared before, and is not timed.

Run: .venv/bin/python benchmarks/bench_inference.py [--slices 16] [--matrix 512] [--no-write]
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load_file, save_file
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.results import environment, write_results

from strokelens.frames import Frame
from strokelens.grid import Grid
from strokelens.losses import loss_named
from strokelens.model import Card, Model, recipe_of
from strokelens.networks.built import built
from strokelens.networks.crops import Box
from strokelens.networks.fusion import Fusion
from strokelens.networks.inputs import standardised, unit
from strokelens.phantom.patient import simulate
from strokelens.phantom.scanner import CtProtocol
from strokelens.prediction.networks import How, predicted
from strokelens.prediction.samples import seen
from strokelens.prepare import Sample
from strokelens.settings.schema import Settings

NARROW, STEPS = 1 / 16, 150
RATIO, LEAST_DICE = 3.0, 0.999
WAYS = {
    "plain forward, float32": None,
    "strokelens, float32": How(precision="float32"),
    "strokelens, bfloat16": How(precision="bfloat16"),
}
GPU_WAY = "strokelens, bfloat16, GPU"
if torch.cuda.is_available():
    WAYS[GPU_WAY] = How(precision="bfloat16", batch=8)
CLASSES = ("penumbra", "core")


def option(name: str, default: int) -> int:
    """The number after an option."""
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


def settings_of(width: float) -> Settings:
    """The published design, of a width."""
    told = {"name": "full", "network": {"width": width}, "loss": {"name": "dice_cross_entropy"}}
    return Settings.model_validate_json(json.dumps(told))


def prepare_study(folder: Path) -> None:
    """Simulate two studies, and train a narrow network on the second; it and the first go into the folder."""
    slices, matrix = option("--slices", 16), option("--matrix", 512)
    protocol = CtProtocol(matrix=matrix, slices=slices, frames=30)
    settings = settings_of(NARROW)
    asked, taught = (
        seen(simulate(seed, protocol=protocol, motion=False).case, recipe_of(settings)).sample for seed in (7, 8)
    )
    np.save(folder / "x.npy", asked.x)
    net = trained(settings, taught)
    weights = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    save_file(weights, folder / "narrow.safetensors")


def trained(settings: Settings, sample: Sample) -> Fusion:
    """A narrow network that has seen one study many times."""
    assert sample.y is not None
    torch.manual_seed(1)
    net = built(settings).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loss = loss_named("dice_cross_entropy", (1.0, 2.0, 4.0))
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    shown = np.flatnonzero((sample.x != 0).any(axis=(1, 2, 3)))
    box = Box.around((sample.x != 0).any(axis=(0, 1)))
    for step in range(STEPS):
        chosen = np.random.default_rng(step).choice(shown, 2, replace=False)
        x, y = (torch.from_numpy(each[chosen][..., box.i, box.j]) for each in (sample.x, sample.y))
        optimizer.zero_grad()
        loss(net(standardised(unit(x), form="colours")), y.long()).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return cast(Fusion, net.eval())


def network(folder: Path) -> Model:
    """The full-width network that computes what the narrow one does: each of its filters many times."""
    settings = settings_of(1.0)
    net, narrow = built(settings), load_file(folder / "narrow.safetensors")
    transposed = {f"{name}.weight" for name, each in net.named_modules() if isinstance(each, nn.ConvTranspose2d)}
    with torch.no_grad():
        for name, wide in net.named_parameters():
            few = narrow[name]
            times = [new // old for new, old in zip(wide.shape, few.shape, strict=True)]
            enters = 0 if name in transposed else 1
            for axis, count in enumerate(times):
                few = few.repeat_interleave(count, axis)
            wide.copy_(few / times[enters] if few.ndim > 1 else few)
    return Model(net.eval(), settings, Card({}, True, "", ""))


def plain(model: Model, x: UInt8[np.ndarray, "z c s s"]) -> Float[np.ndarray, "z n s s"]:
    """Every slice whole, one after the other."""
    found = []
    for each in x:
        with torch.no_grad():
            logits = model.net(standardised(unit(torch.from_numpy(each[None])), form="colours"))
        found.append(torch.softmax(logits, 1)[0].numpy())
    return np.stack(found)


def measure(name: str, folder: Path) -> None:
    """One way, in this process: its labels go into the folder, its seconds and memory to standard output."""
    model, x = network(folder), np.load(folder / "x.npy")
    grid = Grid((x.shape[2], x.shape[3], x.shape[0]), np.diag([-0.44, -0.44, 5.0, 1.0]))
    sample = Sample(x, None, np.zeros(0, np.float32), np.zeros(0, bool), Frame.of(grid, x.shape[2]))
    how = WAYS[name]
    if name == GPU_WAY and how is not None:
        model = model.on(torch.device("cuda"))
        predicted([model], sample, how)  # the first time chooses kernels
    before = getrusage(RUSAGE_SELF)
    start = perf_counter()
    likely = plain(model, x) if how is None else predicted([model], sample, how).probabilities
    wall_s, after = perf_counter() - start, getrusage(RUSAGE_SELF)
    np.save(folder / f"{name}.npy", likely.argmax(axis=1).astype(np.uint8))
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak_mib = after.ru_maxrss / 1024 if name != GPU_WAY else torch.cuda.max_memory_allocated() / 2**20
    told: dict[str, object] = {"wall_s": round(wall_s, 2), "cpu_s": round(cpu_s, 1), "peak_mib": round(peak_mib)}
    if name == GPU_WAY:
        told["device"] = torch.cuda.get_device_name()
    print(json.dumps(told))


def dice(first: UInt8[np.ndarray, "z s s"], other: UInt8[np.ndarray, "z s s"], value: int) -> float:
    """2|A∩B| / (|A|+|B|) of one class."""
    a, b = first == value, other == value
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def dices(row: dict[str, object]) -> list[float]:
    """The Dice of each class in a row."""
    found = row["dice_in_brain"]
    assert isinstance(found, dict)
    return list(found.values())


def main() -> None:
    """Measure each way, print, write JSON."""
    if "--prepare" in sys.argv:
        prepare_study(Path(sys.argv[sys.argv.index("--prepare") + 1]))
        return
    if "--way" in sys.argv:
        at = sys.argv.index("--way")
        measure(sys.argv[at + 1], Path(sys.argv[at + 2]))
        return
    rows: list[dict[str, object]] = []
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        subprocess.run([sys.executable, __file__, "--prepare", str(folder), *sys.argv[1:]], check=True)
        x = np.load(folder / "x.npy")
        shown = (x != 0).any(axis=1)
        boxes = [Box.around(each) for each in shown if each.any()]
        share = sum((box.i.stop - box.i.start) * (box.j.stop - box.j.start) for box in boxes) / shown.size
        for name in WAYS:
            words = [sys.executable, __file__, "--way", name, str(folder)]
            told = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
            labels, reference = (np.load(folder / f"{each}.npy") for each in (name, next(iter(WAYS))))
            pairs = [(np.where(shown, each, 0)) for each in (reference, labels)]
            scores = {each: round(dice(pairs[0], pairs[1], at), 5) for at, each in enumerate(CLASSES, 1)}
            rows.append({"way": name, **told, "dice_in_brain": scores})
            print(rows[-1], flush=True)
        classes = [float((reference[shown] == at).mean()) for at in range(3)]
    print(environment(), f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"of all pixels {share:.0%} are computed; classes in the brain {[round(each, 3) for each in classes]}")
    for row in rows:
        for clock in ("wall", "cpu"):
            row[f"ratio_{clock}"] = round(float(str(rows[0][f"{clock}_s"])) / float(str(row[f"{clock}_s"])), 2)
        fast, alike = float(str(row["ratio_cpu"])) >= RATIO, all(each >= LEAST_DICE for each in dices(row))
        print(row, f"≥ {RATIO:g} × {'ok' if fast else 'MISSED'}, Dice ≥ {LEAST_DICE:g} {'ok' if alike else 'MISSED'}")
    figures: dict[str, object] = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "study": "×".join(map(str, (*x.shape[2:], x.shape[0]))),
        "computed_share": round(share, 3),
        "classes_in_brain": classes,
        "rows": rows,
        "load_average": round(os.getloadavg()[0], 2),
    }
    if "--no-write" not in sys.argv:
        write_results("inference", figures)


if __name__ == "__main__":
    main()
