"""A folder of results appears whole or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from strokelens.errors import OutputError

RESULT = "result.json"
"""The file in every folder of results."""

MARKERS = (RESULT, "patient.json", "maps.json")
"""A folder that holds one of these, with the word strokelens in it, was written by us."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_OURS = {*_FULL, *_REFUSED, errno.EIO, errno.ENAMETOOLONG, errno.ENOTEMPTY, errno.EBUSY, errno.EXDEV, errno.ENOTDIR}
_NEARLY_FULL_BYTES = 1 << 20
_MARKER_BYTES = 16 << 20


@contextmanager
def new_folder(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder beside `out` to write into; it becomes `out` when the block ends well.

    Whatever ends the block otherwise (Ctrl-C too) removes it, and `out` is as it was. With `overwrite` an older `out`
    is replaced at the very end, and put back if that fails; only an empty folder, or one that strokelens wrote (see
    `MARKERS`), is replaced.

    Raises `OutputError` when `out` exists (without `overwrite`), cannot be made, or does not fit on the disk.
    """
    out = Path(os.path.realpath(out))
    check_out(out, overwrite=overwrite)
    try:
        made = _make_parents(out.parent)
    except OSError as error:
        raise _refusal(out, error) from error
    try:
        with _temporary(out) as folder:
            yield folder
            _permit(folder)
            _sync(folder)
            _replace(folder, out)
    except OSError as error:
        _remove_empty(made)
        if error.errno in _OURS or _nearly_full(out.parent):
            raise _refusal(out, error) from error
        raise
    except BaseException:
        _remove_empty(made)
        raise


@contextmanager
def _temporary(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out`, gone afterwards unless it was renamed."""
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name[:40]}.", suffix=".part", dir=out.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_out(out: Path, *, overwrite: bool) -> None:
    """Refuse an `out` that must not be touched, before any work is done."""
    try:
        if not os.path.lexists(out):
            return
        if not out.is_dir():
            raise OutputError(f"{out} is a file; give a folder that does not exist yet")
        if not overwrite:
            raise OutputError(f"{out} exists; give another folder, or --overwrite to replace it")
        if any(out.iterdir()) and not _ours(out):
            raise OutputError(f"{out} was not written by strokelens and is not replaced; give another folder")
    except OSError as error:
        raise _refusal(out, error) from error


def _ours(out: Path) -> bool:
    """Whether a marker in the folder speaks of strokelens."""
    for marker in (out / name for name in MARKERS):
        if marker.is_file() and marker.stat().st_size < _MARKER_BYTES and b"strokelens" in marker.read_bytes():
            return True
    return False


def _make_parents(parent: Path) -> list[Path]:
    """Make what is missing of `parent`; the folders that were made, the innermost first."""
    missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    parent.mkdir(parents=True, exist_ok=True)
    return missing


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


def _nearly_full(parent: Path) -> bool:
    """Whether the disk has no room: some libraries report it without its number."""
    with suppress(OSError):
        return shutil.disk_usage(parent).free < _NEARLY_FULL_BYTES
    return False


def _refusal(out: Path, error: OSError) -> OutputError:
    if error.errno in _FULL or (error.errno not in _OURS and _nearly_full(out.parent)):
        return OutputError(f"the disk of {out} is full; nothing was written; make room or give another folder")
    if error.errno in _REFUSED:
        return OutputError(f"{out} may not be written by this user; give another folder")
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return OutputError(f"{out} would lie inside a file; give another folder")
    return OutputError(f"{out} cannot be written ({error.strerror or error}); give another folder")
