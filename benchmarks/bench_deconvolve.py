"""Deconvolution of one brain, 256×256×16×40, one thread, CPU seconds, against one SVD per volume written plainly.

The reference is what a reader of Wu 2003 would write first: the block-circulant matrix, `numpy.linalg.svd` of it, and
for bcSVD one float64 product over the brain; for oSVD a loop over cut-offs for one voxel at a time (a sample of voxels,
carried to the brain). The floor is a single pass over the curves: their sum.

Run: OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 .venv/bin/python benchmarks/bench_deconvolve.py
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import process_time

import numpy as np
from jaxtyping import Float

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.results import environment, write_results
from tests.oracles.deconvolution import block_circulant, least_oscillating_response

from strokelens.perfusion.deconvolve import BCSVD, OSVD, SSVD, Tikhonov

BRAIN_VOXELS, FRAMES, INTERVAL_S = 230_348, 40, 1.5
SAMPLE = 60


def curves() -> tuple[Float[np.ndarray, "n t"], Float[np.ndarray, "t"]]:
    """Tissue curves of a brain with CT noise after smoothing, and their artery."""
    rng = np.random.default_rng(0)
    after_s = np.clip(np.arange(FRAMES) * INTERVAL_S - 9.0, 0, None) / 7.5
    aif = 300 * (after_s * np.exp(1 - after_s)) ** 2.5
    kinds = rng.uniform([5, 3], [60, 12], (400, 2))
    time_s = np.arange(FRAMES) * INTERVAL_S
    clean = np.array([cbf / 6000 * np.convolve(aif, np.exp(-time_s / mtt))[:FRAMES] * INTERVAL_S for cbf, mtt in kinds])
    noise = rng.normal(0, 1.5, (BRAIN_VOXELS, FRAMES))
    return (clean[rng.integers(0, 400, BRAIN_VOXELS)] + noise).astype(np.float32), aif


def reference_bcsvd(tissue: Float[np.ndarray, "n t"], aif: Float[np.ndarray, "t"]) -> Float[np.ndarray, "n"]:
    """One SVD per volume, float64, the padded responses of the whole brain at once."""
    left, values, right = np.linalg.svd(block_circulant(aif, INTERVAL_S))
    inverse = (right.T * np.where(values >= 0.2 * values[0], 1 / values, 0)) @ left.T
    padded = np.pad(tissue.astype(np.float64), ((0, 0), (0, FRAMES)))
    flow: np.ndarray = (padded @ inverse.T).max(axis=1)
    return flow


def cpu_seconds(work: Callable[[], object], *, repeats: int = 5) -> float:
    """The least CPU time of some runs."""
    times = []
    for _ in range(repeats):
        start = process_time()
        work()
        times.append(process_time() - start)
    return min(times)


def main() -> None:
    """Measure, print, write JSON."""
    tissue, aif = curves()
    plain = cpu_seconds(lambda: reference_bcsvd(tissue, aif), repeats=2)
    sample = cpu_seconds(
        lambda: [least_oscillating_response(curve, aif, INTERVAL_S, 0.035) for curve in tissue[:SAMPLE]], repeats=1
    )
    plain_osvd = sample / SAMPLE * BRAIN_VOXELS
    floor = cpu_seconds(lambda: tissue.sum(axis=1))
    ours = {
        method.name: cpu_seconds(partial(method, tissue, aif, interval_s=INTERVAL_S))
        for method in (BCSVD(), OSVD(), SSVD(), Tikhonov())
    }
    reference = {"bcSVD 0.2": plain, "oSVD 0.035": plain_osvd}
    print(f"{BRAIN_VOXELS} voxels × {FRAMES} frames; {environment()}")
    print(f"{'method':14} {'CPU s':>8} {'reference s':>12} {'ratio':>9} {'× floor':>8}")
    for name, seconds in ours.items():
        other = reference.get(name)
        columns = f"{other:12.2f} {other / seconds:8.0f}×" if other else f"{'–':>12} {'–':>9}"
        print(f"{name:14} {seconds:8.3f} {columns} {seconds / floor:8.1f}")
    write_results("deconvolve", {"ours_cpu_s": ours, "reference_cpu_s": reference, "floor_cpu_s": floor})


if __name__ == "__main__":
    main()
