"""How long it takes to read a CT perfusion study from DICOM, against reading the bytes of its files.

The study has 720 files of 512×512 (16 slices, 45 frames), written in a temporary folder, and also packed in a zip
archive. The floor opens and reads each file (of the archive: inflates each member) and takes the SHA-256 of its bytes,
as every reader here does. The peer is pydicom alone: `dcmread` and `pixel_array` of each file in the order of names,
without sorting, checks or hash. Wall seconds in this process, best of three, in turn, files in the page cache.

Run: .venv/bin/python benchmarks/bench_dicom.py
"""

import os
import sys
import zipfile
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from pydicom import dcmread

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.results import write_results

from strokelens.case import Case
from strokelens.cohorts.dicom_writer import write_dicom
from strokelens.cohorts.nifti import read_study
from strokelens.grid import Grid

SIDE, SLICES, FRAMES, REPEATS = 512, 16, 45, 3


def study() -> Case:
    """A head of noise around 35 HU in air."""
    rng = np.random.default_rng(0)
    series = np.full((SIDE, SIDE, SLICES, FRAMES), -1000, np.float32)
    series[96:416, 96:416] = np.rint(rng.normal(35, 6, (320, 320, SLICES, FRAMES)))
    grid = Grid((SIDE, SIDE, SLICES), np.diag([-0.45, -0.45, 5.0, 1.0]))
    return Case("bench", grid, {"CTP": series}, time_s=1.5 * np.arange(FRAMES), simulated=True)


def floor(paths: Sequence[Path]) -> None:
    """Read and hash every file."""
    digest = sha256()
    for path in paths:
        digest.update(path.read_bytes())


def zip_floor(archive: Path) -> None:
    """Inflate and hash every member."""
    digest = sha256()
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            digest.update(opened.read(name))


def peer(paths: Sequence[Path]) -> np.ndarray:
    """Every file by pydicom alone, in HU."""
    stack = np.empty((SIDE, SIDE, len(paths)), np.float32)
    for at, path in enumerate(paths):
        data = dcmread(path)
        stack[..., at] = data.pixel_array * np.float32(data.RescaleSlope) + np.float32(data.RescaleIntercept)
    return stack


def best_s(*works: Callable[[], object]) -> list[float]:
    """Wall seconds of each, best of some runs, in turn."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(REPEATS):
        for at, work in enumerate(works):
            start = perf_counter()
            work()
            seconds[at].append(perf_counter() - start)
    return [min(each) for each in seconds]


def main() -> None:
    """Write the study, measure, print, write JSON."""
    load = os.getloadavg()[0]
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "study"
        case = study()
        start = perf_counter()
        paths = write_dicom(folder, case, seed=0)
        write_s = perf_counter() - start
        assert np.array_equal(read_study(folder)["CTP"], case["CTP"])
        megabytes = sum(path.stat().st_size for path in paths) / 1e6
        archive = Path(temporary) / "study.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
            for path in paths:
                packed.write(path, path.name)
        ours, least, others = best_s(lambda: read_study(folder), lambda: floor(paths), lambda: peer(paths))
        zipped, zip_least = best_s(lambda: read_study(archive), lambda: zip_floor(archive))
    rows = [
        {"input": "folder", "files": len(paths), "MB": round(megabytes), "read_s": round(ours, 2),
         "floor_s": round(least, 2), "times_floor": round(ours / least, 2), "pydicom_s": round(others, 2)},
        {"input": "zip", "files": len(paths), "MB": round(megabytes), "read_s": round(zipped, 2),
         "floor_s": round(zip_least, 2), "times_floor": round(zipped / zip_least, 2), "pydicom_s": None},
    ]  # fmt: skip
    print("| input | files | MB | read s | floor s | × floor | pydicom alone s |\n|---|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join('–' if value is None else str(value) for value in row.values())} |")
    print(f"written in {write_s:.2f} s")
    write_results("dicom", {"load_average": round(load, 2), "write_s": round(write_s, 2), "rows": rows})


if __name__ == "__main__":
    main()
