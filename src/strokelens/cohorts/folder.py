"""A folder of results appears whole or not at all."""

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from strokelens.errors import OutputError

RESULT = "result.json"
"""The file in every folder of results; with the word strokelens in it, it marks the folder as ours."""

MAPS = "maps.json"
"""The same of a folder of maps."""

PATIENT = "patient.json"
"""The same of a simulated patient."""

SIMULATED = "phantom.json"
"""The same of a simulated cohort."""

PREDICTED = "predictions.json"
"""The same of predictions for a cohort."""

_FULL = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NOWHERE = {errno.ENOENT, errno.EINVAL}
_OURS = {
    *_FULL,
    *_REFUSED,
    errno.EFBIG,
    errno.EIO,
    errno.ENAMETOOLONG,
    errno.ENOTEMPTY,
    errno.EBUSY,
    errno.EXDEV,
    errno.ENOTDIR,
}
_MARKER_BYTES = 16 << 20


@contextmanager
def new_folder(out: Path, *, marker: str, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder beside `out` to write into; it becomes `out` when the block ends well.

    Whatever ends the block otherwise (Ctrl-C too) removes it, and `out` is as it was. With `overwrite` an older `out`
    is replaced at the very end, and put back if that fails; only an empty folder, or one in which strokelens wrote
    the file `marker`, is replaced.

    Raises `OutputError` when `out` exists (without `overwrite`), cannot be made, or does not fit on the disk.
    """
    out = Path(os.path.realpath(out))
    check_out(out, marker=marker, overwrite=overwrite)
    missing: list[Path] = []
    try:
        missing = [folder for folder in (out.parent, *out.parent.parents) if not folder.exists()]
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name[:40]}.", suffix=".part", dir=out.parent))
    except OSError as error:
        _remove_empty(missing)
        raise _refusal(out, error) from error
    try:
        with refusals(out, folder):
            yield folder
            _permit(folder)
            _sync(folder)
            _replace(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _remove_empty(missing)


@contextmanager
def refusals(out: Path, folder: Path) -> Iterator[None]:
    """What the system refuses while `folder` is written, for `out`, becomes an `OutputError`."""
    try:
        yield
    except OSError as error:
        if error.errno in _OURS or _without_room(folder):
            raise _refusal(out, error, full=_without_room(folder)) from error
        raise


def make_folder(out: Path) -> None:
    """Make a folder and those that it lies in; `OutputError` where that cannot be, whatever the reason."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refusal(out, error) from error


def new_file(out: Path, text: str) -> None:
    """Write a text file that is not there yet, whole or not at all; `OutputError` where it is, or cannot be written."""
    if os.path.lexists(out):
        raise OutputError(f"{out} exists, and is not replaced; give another file")
    make_folder(out.parent)
    with refusals(out, out.parent):
        unfinished = out.with_name(f".{out.name}")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(out)


@contextmanager
def hidden(out: Path, prefix: str) -> Iterator[Path]:
    """A hidden folder in `out` for what is not whole yet; what a killed run left of its own goes first."""
    for old in out.glob(f"{prefix}*"):
        shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=out))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def settle(source: Path, target: Path) -> None:
    """Move what is in a folder into another one on the same disk, once the disk has every byte of it.

    What is new is renamed whole, files replace those of their name.
    """
    _sync(source)
    _merge(source, target)


def _merge(source: Path, target: Path) -> None:
    for each in sorted(source.iterdir(), reverse=True):
        there = target / each.name
        if each.is_dir() and there.is_dir():
            _merge(each, there)
        else:
            os.replace(each, there)


def check_out(out: Path, *, marker: str, overwrite: bool, source: Path | None = None) -> None:
    """Refuse an `out` that must not be touched, before any work is done.

    With `overwrite`, an `out` that holds something is replaced only if strokelens wrote the file `marker` in it.
    `source`, which the user gave to be read, must be neither `out` nor in it.

    Raises `OutputError`.
    """
    try:
        if source is not None:
            check_apart(out, source)
        if not os.path.lexists(out):
            return
        if not out.is_dir():
            raise OutputError(f"{out} is a file; give a folder that does not exist yet")
        if not overwrite:
            raise OutputError(f"{out} exists; give another folder, or --overwrite to replace it")
        if any(out.iterdir()) and not _ours(out / marker):
            raise OutputError(f"{out} has no {marker} by strokelens and is not replaced; give another folder")
    except OSError as error:
        raise _refusal(out, error) from error


def check_apart(out: Path, source: Path) -> None:
    """Refuse with `OutputError` an `out` that is or holds what is read."""
    if _within(source, out):
        raise OutputError(f"{out} is or holds the input {source}, which must stay; give another folder")


def clear(out: Path) -> None:
    """Remove all that a folder holds; the folder itself may be a link, and stays."""
    for each in out.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Refuse with `OutputError` where another run works in the folder; the system ends the claim with the process."""
    if sys.platform == "win32":  # a folder cannot be claimed there
        yield
        return
    import fcntl  # noqa: PLC0415 (not everywhere)

    descriptor = os.open(out, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network disks know no claims
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputError(f"another run works in {out}; wait for its end, or give another folder") from error
        yield
    finally:
        os.close(descriptor)


def _within(path: Path, folder: Path) -> bool:
    """Whether a path is a folder or lies in it: as it is written, or where its links lead."""
    place = Path(os.path.realpath(folder))
    written = Path(os.path.abspath(path))
    written = Path(os.path.realpath(written.parent), written.name)
    return any(each.is_relative_to(place) for each in (written, Path(os.path.realpath(path))))


def _ours(marker: Path) -> bool:
    """Whether the file speaks of strokelens."""
    return marker.is_file() and marker.stat().st_size < _MARKER_BYTES and b"strokelens" in marker.read_bytes()


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _permit(folder: Path) -> None:
    """Give the folder the permissions of any new one; a temporary folder is closed to others."""
    mask = os.umask(0)
    os.umask(mask)
    folder.chmod(0o777 & ~mask)


def _sync(folder: Path) -> None:
    """Let the disk have every byte before the name is final, where the system can be asked for it."""
    if os.name != "posix":
        return
    for where, _, names in os.walk(folder, topdown=False):
        for path in (*(os.path.join(where, name) for name in names), where):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _replace(folder: Path, out: Path) -> None:
    """Rename `folder` to `out`; an older `out` steps aside first, and comes back if the renaming fails."""
    if not os.path.lexists(out):
        folder.rename(out)
        return
    aside = folder.with_name(f"{folder.name}.old")
    try:
        out.rename(aside)
        folder.rename(out)
    except BaseException:
        if not os.path.lexists(out):
            aside.rename(out)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _without_room(folder: Path) -> bool:
    """Whether no byte is free on the folder's disk: some libraries report it without its number."""
    with suppress(OSError):
        usage = shutil.disk_usage(folder)
        return usage.total > 0 and usage.free == 0  # /proc and its like have no room, and none taken
    return False


def _refusal(out: Path, error: OSError, *, full: bool = False) -> OutputError:
    if full or error.errno in _FULL:
        return OutputError(f"the disk of {out} is full; nothing was written; make room or give another folder")
    if error.errno in _REFUSED:
        return OutputError(f"{out} may not be written by this user; give another folder")
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return OutputError(f"{out} would lie inside a file; give another folder")
    if error.errno in _NOWHERE:
        return OutputError(f"{out} cannot be written here; give another folder")
    return OutputError(f"{out} cannot be written ({error.strerror or error}); give another folder")
