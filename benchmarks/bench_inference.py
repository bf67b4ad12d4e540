"""Inference of the full-width network on one study, against the plain forward of every full slice.

A study of 512×512×16 is simulated, its maps are coloured, and the network of the first ancestor's published design
(four maps, slow fusion, width 1; some 863 GFLOP a slice) is asked for it. Its weights are drawn, so what it finds means
nothing: the last layer's biases are set such that some 85, 10 and 5 % of the brain in one slice are background,
penumbra and core; the Dice between two ways of computing the same network then says how far they are apart.

The reference is every slice whole, one after the other, in float32 with its axes as they come. Each way runs in a
process of its own; memory is the most that it held at once. What they share was prepared before, and is not timed.

Run: OMP_NUM_THREADS=2 .venv/bin/python benchmarks/bench_inference.py [--slices 16] [--matrix 512]
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Float, UInt8

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.results import environment, write_results

from strokelens.grid import Grid
from strokelens.model import Card, Model
from strokelens.networks.built import built
from strokelens.networks.crops import Box
from strokelens.networks.inputs import standardised, unit
from strokelens.phantom.patient import simulate
from strokelens.phantom.scanner import CtProtocol
from strokelens.prediction.networks import How, predicted
from strokelens.prediction.samples import seen
from strokelens.prepare import Frame, Sample
from strokelens.settings.schema import Settings

SHARES = (0.85, 0.10, 0.05)
RATIO, LEAST_DICE = 3.0, 0.999
WAYS = {
    "plain forward, float32": None,
    "strokelens, float32": How(precision="float32"),
    "strokelens, bfloat16": How(precision="bfloat16"),
}
CLASSES = ("penumbra", "core")


def option(name: str, default: int) -> int:
    """The number after an option."""
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


def network() -> Model:
    """The published design with drawn weights."""
    settings = Settings.model_validate_json('{"name": "full"}')
    return Model(built(settings).eval(), settings, Card({}, True, "", ""))


def prepare_study(folder: Path) -> None:
    """Simulate a study, and set the biases by its middle slice; both go into the folder."""
    slices, matrix = option("--slices", 16), option("--matrix", 512)
    protocol = CtProtocol(matrix=matrix, slices=slices, frames=30)
    x = seen(simulate(7, protocol=protocol, motion=False).case, network().recipe).sample.x
    np.save(folder / "x.npy", x)
    model, middle = network(), x[len(x) // 2][None]
    inside = torch.from_numpy((middle != 0).any(axis=1)[0])
    images = standardised(unit(torch.from_numpy(middle)), form="colours")
    with torch.inference_mode():
        logits = model.net(images.contiguous(memory_format=torch.channels_last))[0][:, inside]
    logits = logits / logits.std()
    bias = torch.zeros(3)
    for _ in range(200):  # each class's bias goes up while it has less than its share
        found = torch.bincount((logits + bias[:, None]).argmax(0), minlength=3) / logits.shape[1]
        bias += 0.3 * (torch.tensor(SHARES) - found)
    np.savez(folder / "last.npz", bias=bias.numpy(), scale=1 / float(model_scale(model, images, inside)))


def model_scale(model: Model, images: torch.Tensor, inside: torch.Tensor) -> float:
    """The standard deviation of the logits in the brain, by which the last layer is divided."""
    with torch.inference_mode():
        return float(model.net(images.contiguous(memory_format=torch.channels_last))[0][:, inside].std())


def calibrated(folder: Path) -> Model:
    """The network with the last layer that `prepare_study` found."""
    model, told = network(), np.load(folder / "last.npz")
    last = model.net.head[2]
    assert isinstance(last, torch.nn.Conv2d)
    assert last.bias is not None
    with torch.no_grad():
        last.weight.mul_(float(told["scale"]))
        last.bias.copy_(torch.from_numpy(told["bias"]))
    return model


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
    model, x = calibrated(folder), np.load(folder / "x.npy")
    grid = Grid((x.shape[2], x.shape[3], x.shape[0]), np.diag([-0.44, -0.44, 5.0, 1.0]))
    sample = Sample(x, None, np.zeros(0, np.float32), np.zeros(0, bool), Frame.of(grid, x.shape[2]))
    before = getrusage(RUSAGE_SELF)
    start = perf_counter()
    how = WAYS[name]
    likely = plain(model, x) if how is None else predicted([model], sample, how).probabilities
    wall_s, after = perf_counter() - start, getrusage(RUSAGE_SELF)
    np.save(folder / f"{name}.npy", likely.argmax(axis=1).astype(np.uint8))
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    told = {"wall_s": round(wall_s, 1), "cpu_s": round(cpu_s, 1), "peak_mib": round(after.ru_maxrss / 1024)}
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
