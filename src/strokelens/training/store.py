"""Prepared cases on disk: decoded once, read by mapping, keyed by what is in their files and by the recipe.

A case is three files in the store's folder: `KEY.x.npy`, `KEY.y.npy` where there is a truth, and `KEY.json`, which is
written last. Nothing in them is ever unpickled. What has changed has another key.
"""

import json
import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import time
from typing import BinaryIO, Final

import numpy as np
from jaxtyping import Bool, Float32, Shaped, UInt8

from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.digest import digest_of
from strokelens.cohorts.folder import make_folder
from strokelens.errors import StrokelensError
from strokelens.frames import Lattice, lattice_again
from strokelens.grid import Grid
from strokelens.prediction.samples import channels_of, sample_of
from strokelens.prepare import Recipe, Sample, clinical_of
from strokelens.processes import how_many, in_order

FORMAT: Final = "strokelens prepared 5"
"""Part of every key: another way to prepare makes other keys."""

_ORPHANED_S = 86_400
"""No file takes a day to write."""
_PART: Final = re.compile(r"\.[0-9a-f]{32}\.(?:[xy]\.\d+\.npy|\d+\.json)")
"""What a file of the store is called while it is written; whatever else is in the folder is somebody's."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case of the store, under its key; its arrays are mapped, not read."""

    key: str
    case_id: str
    person: str
    group: str | None
    x: Shaped[np.ndarray, "z c s s"]
    y: UInt8[np.ndarray, "z s s"] | None
    values: Float32[np.ndarray, "v"]
    known: Bool[np.ndarray, "v"]
    frame: Lattice
    simulated: bool


@dataclass(frozen=True)
class Refused:
    """A case that could not be prepared, and why."""

    case_id: str
    message: str


def prepared(
    entries: Iterable[Entry], recipe: Recipe, folder: Path, *, workers: int | None = None
) -> Iterator[Prepared | Refused]:
    """Each case from the store, in the entries' order; what is not there yet is prepared now, by several processes."""
    make_folder(folder)
    _remove_orphans(folder)
    keyed = [(entry, _key(entry, recipe)) for entry in entries]
    lacking = [
        (entry, recipe, folder, key)
        for entry, key in keyed
        if isinstance(key, str) and not (folder / f"{key}.json").is_file()
    ]
    awaited = {entry.id for entry, *_ in lacking}
    with closing(in_order(_stored, lacking, workers=how_many(workers, len(lacking)))) as made:
        for entry, key in keyed:
            found = next(made)[1].result() if entry.id in awaited else key
            yield _whole(entry, recipe, folder, found) if isinstance(found, str) else found


def _whole(entry: Entry, recipe: Recipe, folder: Path, key: str) -> Prepared | Refused:
    """The stored case; one whose files are lacking or torn is prepared anew."""
    try:
        return _opened(entry, recipe, folder, key)
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s: what is stored of it cannot be read (%s); it is prepared anew", entry.id, error)
    again = _stored((entry, recipe, folder, key))
    return _opened(entry, recipe, folder, again) if isinstance(again, str) else again


def _remove_orphans(folder: Path) -> None:
    """Remove parts of files that nobody can be writing any more, left by processes that were killed."""
    for part in folder.glob(".*"):
        with suppress(OSError):
            if _PART.fullmatch(part.name) and part.is_file() and time() - part.stat().st_mtime > _ORPHANED_S:
                part.unlink()


def key_of(entry: Entry, recipe: Recipe) -> str:
    """The SHA-256 of the recipe, of how the case is read, and of the bytes of all its files.

    Clinical values are not stored and not in it. Raises `OSError` where a file cannot be read.
    """
    return digest_of(entry, channels_of(entry, recipe), FORMAT, replace(recipe, clinical=()))[:32]


def _key(entry: Entry, recipe: Recipe) -> str | Refused:
    try:
        return key_of(entry, recipe)
    except (StrokelensError, OSError) as error:
        return Refused(entry.id, str(error))


def _stored(job: tuple[Entry, Recipe, Path, str]) -> str | Refused:
    """The key of a case that is in the store when this returns."""
    entry, recipe, folder, key = job
    try:
        found = sample_of(entry, recipe)
        _write(folder, key, found.sample, found.case.simulated)
    except (StrokelensError, OSError, MemoryError) as error:
        return Refused(entry.id, str(error))
    return key


def _write(folder: Path, key: str, sample: Sample, simulated: bool) -> None:
    """Write a sample under its key, each file whole or not at all, and the one that tells that it is there last."""
    arrays = {"x": sample.x} | ({} if sample.y is None else {"y": sample.y})
    for name, array in arrays.items():
        part = folder / f".{key}.{name}.{os.getpid()}.npy"
        with part.open("wb") as file:
            np.save(file, array, allow_pickle=False)
            _to_disk(file)
        part.replace(folder / f"{key}.{name}.npy")
    frame = sample.frame
    about = {
        "format": FORMAT,
        "shape": list(frame.grid.shape),
        "affine": frame.grid.affine.tolist(),
        "frame": frame.facts,
        "truth": sample.y is not None,
        "simulated": simulated,
    }
    part = folder / f".{key}.{os.getpid()}.json"
    with part.open("wb") as file:
        file.write(json.dumps(about).encode())
        _to_disk(file)
    part.replace(folder / f"{key}.json")


def _to_disk(file: BinaryIO) -> None:
    """See to it that a file is on the disk before another tells that it is there."""
    file.flush()
    os.fsync(file.fileno())


def _opened(entry: Entry, recipe: Recipe, folder: Path, key: str) -> Prepared:
    about = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
    i, j, k = about["shape"]
    frame = lattice_again(Grid((i, j, k), np.array(about["affine"])), about["frame"])
    return Prepared(
        key,
        entry.id,
        entry.person,
        entry.group,
        np.load(folder / f"{key}.x.npy", mmap_mode="r", allow_pickle=False),
        np.load(folder / f"{key}.y.npy", mmap_mode="r", allow_pickle=False) if about["truth"] else None,
        *clinical_of(entry.numbers, recipe),
        frame,
        about["simulated"],
    )
