"""Scores of one pair of masks, 256×256×64, one thread, CPU milliseconds, against MedPy and MONAI on the same arrays.

The masks are an infarct of some 75 ml and small lesions around it; the prediction misses some of them and makes up
others. All our surface scores together are set against HD95 alone of each peer, which is the only way to get it there;
the four ISLES'22 numbers against the challenge's loop over lesions, with scipy's labels. The floor is one pass over
both masks: the count of their common voxels. A peer that is not installed is left out, and a line says so.

Run: OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 .venv/bin/python benchmarks/bench_scores.py
"""

import sys
import tracemalloc
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.results import environment, write_results
from tests.oracles.scores import isles22_official

from strokelens.arrays import Mask
from strokelens.metrics import overlap, scores, surface

SHAPE, SPACING_MM = (256, 256, 64), (0.9, 0.9, 2.0)
PEERS = ("medpy", "monai")
DEMANDS = {"surface scores / MedPy hd95": 25.0, "surface scores / MONAI hd95": 2.5, "ISLES'22 ms": 15.0}
Work = Callable[[], object]


def noise(rng: np.random.Generator) -> Float[np.ndarray, "i j k"]:
    """A smooth field of unit variance: it makes outlines uneven."""
    field: np.ndarray = ndimage.gaussian_filter(rng.normal(size=SHAPE), (4, 4, 2))
    field /= field.std()
    return field


def ball(centre_mm: Float[np.ndarray, "3"], radius_mm: float, outline: Float[np.ndarray, "i j k"]) -> Mask:
    """A ball with an uneven outline."""
    axes = np.ogrid[tuple(slice(0, size) for size in SHAPE)]
    squares = sum(
        (axis * length - middle) ** 2 for axis, length, middle in zip(axes, SPACING_MM, centre_mm, strict=True)
    )
    inside: Mask = np.sqrt(squares) + 1.5 * outline < radius_mm
    return inside


def masks() -> tuple[Mask, Mask]:
    """Truth and prediction, the same ones each time."""
    rng = np.random.default_rng(0)
    first, second = noise(rng), noise(rng)
    truth = ball(np.array([80.0, 120.0, 64.0]), 25.0, first)
    prediction = ball(np.array([82.0, 121.0, 63.0]), 23.5, 0.6 * first + 0.8 * second)
    for number in range(18):
        centre_mm = rng.uniform((40, 40, 20), (190, 190, 110))
        radius_mm = rng.uniform(3.0, 6.0)
        if number < 10:
            truth |= ball(centre_mm, radius_mm, first)
        if number > 2:
            prediction |= ball(centre_mm + rng.normal(0, 1.2, 3), radius_mm, second)
    return truth, prediction


def milliseconds(works: dict[str, Work], *, repeats: int = 7) -> dict[str, float]:
    """The least CPU time of each work of some runs, the works in turn."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(repeats):
        for name, work in works.items():
            start = process_time()
            work()
            best[name] = min(best[name], 1000 * (process_time() - start))
    return best


def peers(truth: Mask, prediction: Mask) -> dict[str, Work]:
    """What the installed peers compute, by name."""
    works: dict[str, Work] = {}
    for name in PEERS:
        if find_spec(name) is None:
            print(f"{name} is not installed, and left out; it is in the extra 'peers'")
    if find_spec("medpy"):
        binary = import_module("medpy.metric.binary")
        works["MedPy dc"] = partial(binary.dc, prediction, truth)
        for score in ("hd", "hd95", "assd"):
            works[f"MedPy {score}"] = partial(getattr(binary, score), prediction, truth, SPACING_MM)
    if find_spec("monai"):
        warnings.simplefilter("ignore")
        metrics, torch = import_module("monai.metrics"), import_module("torch")
        torch.set_num_threads(1)
        pair = [torch.tensor(mask[None, None]) for mask in (prediction, truth)]
        known: dict[str, Any] = {"include_background": True, "spacing": SPACING_MM}
        works["MONAI dice"] = partial(metrics.compute_dice, *(mask.float() for mask in pair))
        works["MONAI hd"] = partial(metrics.compute_hausdorff_distance, *pair, **known)
        works["MONAI hd95"] = partial(metrics.compute_hausdorff_distance, *pair, percentile=95, **known)
        works["MONAI assd"] = partial(metrics.compute_average_surface_distance, *pair, symmetric=True, **known)
    return works


def ours(truth: Mask, prediction: Mask) -> dict[str, Work]:
    """Our scores, and the same on arrays as nibabel gives them, first axis fastest."""
    fortran = np.asfortranarray(truth), np.asfortranarray(prediction)
    return {
        "dice": partial(overlap.dice, truth, prediction),
        "surface scores": partial(surface.evaluate, truth, prediction, SPACING_MM),
        "ISLES'22": partial(scores.isles22, truth, prediction, SPACING_MM),
        "all scores": partial(scores.evaluate, truth, prediction, SPACING_MM),
        "ISLES'22, nibabel's order": partial(scores.isles22, *fortran, SPACING_MM),
        "all scores, nibabel's order": partial(scores.evaluate, *fortran, SPACING_MM),
    }


def differences(truth: Mask, prediction: Mask, works: dict[str, Work]) -> dict[str, float]:
    """How far each peer's number is from ours of the same definition, over ours; MONAI has float32."""
    own = scores.evaluate(truth, prediction, SPACING_MM)
    same = {
        "MedPy dc": "dice",
        "MedPy hd": "hd_mm",
        "MedPy hd95": "hd95_pooled_mm",
        "MedPy assd": "assd_pooled_mm",
        "MONAI dice": "dice",
        "MONAI hd": "hd_mm",
        "MONAI hd95": "hd95_max_mm",
        "MONAI assd": "assd_pooled_mm",
    }
    values: dict[str, Any] = {name: works[name]() for name in same if name in works}
    return {name: abs(float(value) / own[same[name]] - 1) for name, value in values.items()}


def peak_mb(work: Work) -> float:
    """What is allocated at most besides the masks."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def verdicts(times: dict[str, float]) -> dict[str, float]:
    """What is demanded, as measured."""
    found = {"ISLES'22 ms": times["ISLES'22"]}
    for peer in ("MedPy", "MONAI"):
        if f"{peer} hd95" in times:
            found[f"surface scores / {peer} hd95"] = times[f"{peer} hd95"] / times["surface scores"]
    return found


def main() -> None:
    """Measure, print, write JSON."""
    truth, prediction = masks()
    others = peers(truth, prediction)
    official = partial(isles22_official, truth, prediction, float(np.prod(SPACING_MM)) / 1000)
    floor: Work = lambda: np.count_nonzero(truth & prediction)  # noqa: E731  # one of the works
    times = milliseconds({"floor": floor, **ours(truth, prediction)})
    times |= milliseconds({**others, "ISLES'22 loop": official}, repeats=3)
    versions = ", ".join(f"{name} {version(name)}" for name in PEERS if find_spec(name))
    memory_mb = peak_mb(ours(truth, prediction)["all scores"])
    apart = differences(truth, prediction, others)
    print(f"{SHAPE} voxels; {environment()}, {versions}")
    for name, time_ms in times.items():
        print(f"{name:28} {time_ms:9.2f} ms {time_ms / times['floor']:9.1f} × floor")
    for name, value in verdicts(times).items():
        reached = value <= DEMANDS[name] if name.endswith("ms") else value >= DEMANDS[name]
        print(f"{name:28} {value:9.1f}  demand {DEMANDS[name]:g} {'ok' if reached else 'MISSED'}")
    print(f"all scores: {memory_mb:.1f} MB beside the masks' {2 * truth.nbytes / 1e6:.1f} MB")
    print("relative difference:", ", ".join(f"{name} {value:.1g}" for name, value in apart.items()))
    write_results(
        "scores",
        {
            "peers": versions,
            "cpu_ms": {name: round(time_ms, 3) for name, time_ms in times.items()},
            "demanded": {name: round(value, 2) for name, value in verdicts(times).items()},
            "peak_mb": round(memory_mb, 2),
            "masks_mb": round(2 * truth.nbytes / 1e6, 2),
            "relative_difference": apart,
            "scores": dict(scores.evaluate(truth, prediction, SPACING_MM).values),
        },
    )


if __name__ == "__main__":
    main()
