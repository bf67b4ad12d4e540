"""The DICOM files in folders and zip archives, told by their content; archives are read in place and never unpacked.

As nothing is written, no member can leave its folder; yet an archive that tries to is refused, as are links,
archives in it, and more than is sane.
"""

import errno
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Protocol, cast
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from strokelens.cohorts.study import walk
from strokelens.errors import FileError

MOST_FILES = 50_000
"""No study or archive has more files."""

MOST_BYTES = 16 << 30
"""No archive holds more, unpacked."""

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_HEAD_BYTES = 132
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")  # file meta; identification, in both byte orders
_DAMAGED_ZIP = (BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


class _Opener(Protocol):
    def __call__(self) -> IO[bytes]: ...


@dataclass(frozen=True, eq=False)
class Member:
    """One file that looks like DICOM: on disk, or in the archive at `path`; `place` is for sorting and never shown."""

    path: Path
    place: str
    name: str
    opener: _Opener

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The file; whatever disk or archive refuses is a `FileError`."""
        try:
            with self.opener() as file:
                yield file
        except _DAMAGED_ZIP as error:
            if self.place == str(self.path):
                raise
            raise FileError(f"{self.path.name}: a file in it is damaged; copy or download the archive again") from error
        except OSError as error:
            reason = errno.errorcode.get(error.errno or 0, "unknown")
            raise FileError(f"{self.name} cannot be read: {error.strerror or error} ({reason})") from error

    def content(self) -> bytes:
        """All bytes of the file."""
        with self.opened() as file:
            return file.read()


def is_zip(path: Path) -> bool:
    """Whether a file begins as a zip archive does."""
    return _head(path, 4) in _ZIP


def is_dicom_file(path: Path) -> bool:
    """Whether a file has DICOM's magic, or begins with an element that a DICOM file without it begins with."""
    return looks_like_dicom(_head(path, _HEAD_BYTES))


def looks_like_dicom(head: bytes) -> bool:
    """Whether the first 132 bytes of a file may be DICOM's.

    >>> looks_like_dicom(bytes(128) + b"DICM"), looks_like_dicom(b"Dear doctor"), looks_like_dicom(b"")
    (True, False, False)
    """
    if head[128:132] == b"DICM":
        return True
    return len(head) >= 8 and head[:2] in _FIRST_GROUPS and max(head[2:4]) < 0x20 and (head[2] == 0 or head[3] == 0)


def holds_dicom(path: Path) -> bool:
    """Whether a file or folder is one that `members` reads: DICOM, a zip archive, or a folder with one of them."""
    if path.is_dir():
        return any(is_dicom_file(file) or _is_named_zip(file) for file in walk(path))
    return is_dicom_file(path) or is_zip(path)


def loose(file: Path) -> Member:
    """A file on disk as a member."""
    place = str(file)
    return Member(file, place, file.name, partial(open, place, "rb"))


@contextmanager
def members(paths: Sequence[Path]) -> Iterator[tuple[Member, ...]]:
    """The files that look like DICOM in these files, folders and archives, sorted by name; open while the block lasts.

    Raises `FileError` when an archive is not to be trusted, and when there are too many files.
    """
    with ExitStack() as stack:
        found: list[Member] = []
        for path in paths:
            for file in walk(path) if path.is_dir() else (path,):
                if _is_named_zip(file) or (file == path and is_zip(file)):
                    found += _archived(file, stack)
                elif is_dicom_file(file):
                    found.append(loose(file))
                if len(found) > MOST_FILES:
                    raise FileError(
                        f"{path.name} holds more than {MOST_FILES} DICOM files; give the folder of one study"
                    )
        yield tuple(sorted(found, key=lambda member: member.place))


def _is_named_zip(file: Path) -> bool:
    return file.suffix.lower() == ".zip" and is_zip(file)


def _head(path: Path, count: int) -> bytes:
    """The first bytes of a file; none where it cannot be read, or is no regular file."""
    try:
        place = str(path)
        if not stat.S_ISREG(os.stat(place).st_mode):
            return b""
        with open(place, "rb", buffering=0) as file:
            return file.read(count)
    except OSError:
        return b""


def _archived(path: Path, stack: ExitStack) -> list[Member]:
    """The DICOM files of an archive, which stays open as long as the stack."""
    try:
        archive = stack.enter_context(ZipFile(path))
    except (*_DAMAGED_ZIP, OSError) as error:
        raise FileError(f"{path.name} is a damaged zip archive; copy or download it again") from error
    infos = [info for info in archive.infolist() if not info.is_dir()]
    _check_archive(path, infos)
    found = []
    for info in infos:
        opener = cast(_Opener, partial(archive.open, info))
        member = Member(path, f"{path}/{info.filename}", f"a file in {path.name}", opener)
        with member.opened() as file:
            head = file.read(_HEAD_BYTES)
        if head[:4] in _ZIP:
            raise FileError(f"{path.name} holds another archive; unpack it and give the folder")
        if looks_like_dicom(head) and not PurePosixPath(info.filename).name.startswith("."):
            found.append(member)
    return found


def _check_archive(path: Path, infos: Sequence[ZipInfo]) -> None:
    """Refuse an archive that is too large, encrypted, or has members outside of it, links, or strange compression."""
    total = sum(info.file_size for info in infos)
    if len(infos) > MOST_FILES or total > MOST_BYTES:
        raise FileError(
            f"{path.name} holds {len(infos)} files of {total / (1 << 30):.1f} GiB, more than {MOST_FILES} or "
            f"{MOST_BYTES >> 30} GiB; give an archive of one study"
        )
    for info in infos:
        if _escapes(info):
            raise FileError(f"{path.name} has a member that points outside of it; do not trust this archive")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise FileError(f"{path.name} has a symbolic link in it; pack the files themselves")
        if info.flag_bits & 1:
            raise FileError(f"{path.name} is encrypted; unpack it and give the folder")
        if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise FileError(f"{path.name} is compressed in a way that is not read; unpack it and give the folder")


def _escapes(info: ZipInfo) -> bool:
    """Whether a member's name leads elsewhere than below the archive's folder, on any system."""
    names = {info.filename, info.orig_filename}
    return any(
        name.startswith(("/", "\\"))
        or PureWindowsPath(name).drive != ""
        or ".." in PurePosixPath(name.replace("\\", "/")).parts
        or "\0" in name.rstrip("\0")
        for name in names
    )
