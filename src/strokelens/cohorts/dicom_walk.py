"""The files below a folder, whatever they are: links are followed once, and folders that may not be read are told."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from strokelens.cohorts.folder import MAPS, RESULT


def every_file(folder: Path, refuse: Callable[[OSError], None]) -> Iterator[str]:
    """Every file below a folder in order, without hidden ones and folders of our own results.

    A folder that links lead to again is passed over; one that may not be read goes to `refuse`. Links that lead
    nowhere are given too.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [str(folder)]
    while waiting:
        where = waiting.pop()
        try:
            about = os.stat(where)
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
            folders, files = _listed(where)
        except OSError as error:
            refuse(error)
            continue
        if where != str(folder) and not {RESULT, MAPS}.isdisjoint(files):
            continue
        yield from (os.path.join(where, name) for name in files)
        waiting += (os.path.join(where, name) for name in reversed(folders))


def _listed(where: str) -> tuple[list[str], list[str]]:
    """The names of the folders and of the files in a folder, sorted; pipes and devices are neither."""
    folders: list[str] = []
    files: list[str] = []
    with os.scandir(where) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append(entry.name)
            elif entry.is_file() or entry.is_symlink():
                files.append(entry.name)
    return sorted(folders), sorted(files)
