"""What a folder holds: its folders and files, sorted, hidden ones left out, and never more than is sane."""

import os
from pathlib import Path

from strokelens.errors import FileError

_MOST_ENTRIES = 200_000


def regular(path: Path) -> Path:
    """The path, if it is a file or nothing: a pipe or a device would keep its reader waiting for ever.

    Raises `FileError` when it is one of these.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise FileError(f"{path.name} is a pipe or a device and no file; remove it")
    return path


def listing(folder: Path) -> tuple[list[Path], list[Path]]:
    """The folders and the files directly in a folder, each sorted by name, without hidden ones.

    Raises `FileError` when the folder is not there, may not be read, or holds more than 200 000 entries.
    """
    folders: list[Path] = []
    files: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for count, entry in enumerate(entries):
                if count >= _MOST_ENTRIES:
                    raise FileError(f"{folder} holds more than {_MOST_ENTRIES} entries; give the folder of a cohort")
                if not entry.name.startswith("."):
                    (folders if entry.is_dir() else files).append(folder / entry.name)
    except FileNotFoundError as error:
        raise FileError(f"{folder} does not exist; check the path") from error
    except NotADirectoryError as error:
        raise FileError(f"{folder} is a file; a cohort is a folder") from error
    except PermissionError as error:
        raise FileError(f"{folder} may not be read by this user; change its permissions") from error
    except OSError as error:
        raise FileError(f"{folder} cannot be read: {error.strerror}; check the disk") from error
    return sorted(folders), sorted(files)


def folders_in(folder: Path) -> list[Path]:
    """The folders directly in a folder."""
    return listing(folder)[0]


def folders_seen(folder: Path) -> list[Path]:
    """The folders directly in a folder, none where it may not be read, which is for the row of its case to tell."""
    try:
        return folders_in(folder)
    except FileError:
        return []


def files_in(folder: Path) -> list[Path]:
    """The files directly in a folder."""
    return listing(folder)[1]


def files_below(folder: Path, *, depth: int) -> list[Path]:
    """The files in a folder and in the folders below it, `depth` levels of them."""
    folders, files = listing(folder)
    if depth > 0:
        for each in folders:
            files += files_below(each, depth=depth - 1)
    return files
