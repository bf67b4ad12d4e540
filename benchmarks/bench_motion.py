"""Motion correction: CPU seconds and extra memory of still and moving series, against registering each frame in full.

The reference is the straightforward way: for one frame, `scipy.optimize.minimize` (Powell) over the six parameters of
the mean squared difference from the first frame, which it resamples linearly at full resolution; stopped after 100
evaluations (mostly before it has converged), times the frames. It is measured at 256×256 only.

The moved frames are interpolated between 5 mm slices, which is not what a scanner shows of a head moved across them:
the errors here are upper bounds; tests/test_motion.py has exact frames.

Run: OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/bench_motion.py [--no-reference]
"""

import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy import ndimage, optimize

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.results import environment, write_results

from strokelens.arrays import Series, Volume
from strokelens.grid import Grid
from strokelens.perfusion.motion import Motion, estimate_motion
from strokelens.perfusion.rigid import displacement_mm, voxel_matrix

SIZES = ((256, 40), (512, 45))
SLICES = 16
EVALUATIONS = 100


def head(side: int, grid: Grid, rng: np.random.Generator) -> Volume:
    """A skull of 6 mm with uneven thickness, brain and air, HU."""
    i, j, k = np.ogrid[:side, :side, :SLICES]
    x = (i - side / 2) * grid.spacing_mm[0] / 68
    y = (j - side / 2) * grid.spacing_mm[1] / 84
    z = (k - 4) * grid.spacing_mm[2] / 90
    outside = (np.sqrt(x**2 + y**2 + z**2) * (1 + 0.03 * np.sin(3 * np.arctan2(y, x))) - 1) * 75
    bone = (outside > 0) & (outside < 6 + 2 * np.sin(8 * y))
    hu = np.where(bone, 900.0, np.where(outside < 0, 35.0, np.where(outside < 13, 40.0, -1000.0)))
    blurred = ndimage.gaussian_filter(hu + 10 * rng.normal(size=hu.shape), (0.6 * side / 256, 0.6 * side / 256, 0))
    return np.asfortranarray(blurred.astype(np.float32))


def series_of(side: int, frames: int, grid: Grid, share_moved: float) -> tuple[Series, Float[np.ndarray, "t 6"]]:
    """A still head with noise of 6 HU, and a share of frames moved by about 2 mm and 1 degree."""
    rng = np.random.default_rng(0)
    still = head(side, grid, rng)
    truth = np.zeros((frames, 6))
    for index in np.linspace(2, frames - 2, round(share_moved * frames)).astype(int):
        truth[index] = np.concatenate([rng.normal(scale=1.2, size=3), rng.normal(scale=0.012, size=3)])
    series = np.empty((*grid.shape, frames), np.float32, order="F")
    for index, row in enumerate(truth):
        series[..., index] = still
        if row.any():
            matrix = np.linalg.inv(voxel_matrix(row, grid))
            series[..., index] = ndimage.affine_transform(still, matrix[:3, :3], matrix[:3, 3], order=3, mode="nearest")
        series[..., index] += rng.normal(scale=6.0, size=grid.shape)
    return series, truth


def corrected(series: Series, grid: Grid) -> tuple[Motion, float, float]:
    """The motion; CPU seconds to find it; CPU seconds to ask for every frame once."""
    start = time.process_time()
    motion = estimate_motion(series, grid, modality="CT")
    found = time.process_time()
    for index in range(series.shape[3]):
        motion.steady(series[..., index], index)
    return motion, found - start, time.process_time() - found


def extra_memory_mb(series: Series, grid: Grid) -> float:
    """What is allocated at most while finding the motion and asking for every frame once, besides the series."""
    tracemalloc.start()
    corrected(series, grid)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def reference_cpu_s(series: Series, grid: Grid, index: int) -> float:
    """CPU seconds of one frame, registered to the first at full resolution."""
    first, frame = series[..., 0], series[..., index]

    def difference(scaled: Float[np.ndarray, "6"]) -> float:
        matrix = voxel_matrix(scaled * [1, 1, 1, 0.02, 0.02, 0.02], grid)
        return float(np.square(ndimage.affine_transform(frame, matrix[:3, :3], matrix[:3, 3], order=1) - first).mean())

    start = time.process_time()
    optimize.minimize(difference, np.zeros(6), method="Powell", options={"maxfev": EVALUATIONS})
    return time.process_time() - start


def error_mm(motion: Motion, truth: Float[np.ndarray, "t 6"]) -> tuple[float, float]:
    """Largest of the frames' mean displacement errors over the head in the block: within the slice, and across."""
    rng = np.random.default_rng(1)
    ball = rng.normal(size=(500, 3))
    ball *= 70 * rng.uniform(size=(500, 1)) ** (1 / 3) / np.linalg.norm(ball, axis=1, keepdims=True)
    ball[:, 2] *= 40 / 70  # 16 slices of 5 mm
    pairs = zip(motion.parameters, truth, strict=True)
    gaps = np.array([displacement_mm(found, ball) - displacement_mm(true, ball) for found, true in pairs])
    return float(np.hypot(gaps[..., 0], gaps[..., 1]).mean(axis=1).max()), float(
        np.abs(gaps[..., 2]).mean(axis=1).max()
    )


def measured(side: int, frames: int, share: float, *, reference: bool) -> dict[str, float | str | None]:
    """One series: the best of two runs, its errors, and the reference where it is asked for."""
    grid = Grid((side, side, SLICES), np.diag([230 / side, 230 / side, 5.0, 1.0]))
    series, truth = series_of(side, frames, grid, share)
    motion, estimate_s, frames_s = min((corrected(series, grid) for _ in range(2)), key=lambda run: run[1] + run[2])
    within_mm, across_mm = error_mm(motion, truth)
    row: dict[str, float | str | None] = {
        "series": f"{side}×{side}×{SLICES}×{frames}",
        "frames_moved": int(truth.any(axis=1).sum()),
        "frames_resampled": int(motion.moved.sum()),
        "estimate_cpu_s": round(estimate_s, 3),
        "all_frames_cpu_s": round(frames_s, 3),
        "extra_memory_mb": round(extra_memory_mb(series, grid), 1),
        "series_mb": round(series.nbytes / 1e6, 1),
        "error_within_slice_mm": round(within_mm, 3),
        "error_across_mm": round(across_mm, 3),
        "reference_cpu_s": None,
        "ratio": None,
    }
    if reference:
        whole = reference_cpu_s(series, grid, int(np.flatnonzero(truth.any(axis=1))[0])) * frames
        row |= {"reference_cpu_s": round(whole, 1), "ratio": round(whole / (estimate_s + frames_s), 1)}
    return row


def main() -> None:
    """Measures, prints a table, writes JSON."""
    print(environment())
    print(
        "series, moved, resampled, estimate s, frames s, extra MB, series MB, errors in and across mm, reference s, ×"
    )
    rows = []
    for side, frames in SIZES:
        for share in (0.0, 0.2):
            compare = bool(share) and side == 256 and "--no-reference" not in sys.argv
            rows.append(measured(side, frames, share, reference=compare))
            print("  ".join(f"{value!s:>9}" for value in rows[-1].values()))
    write_results("motion", {"rows": rows})


if __name__ == "__main__":
    main()
