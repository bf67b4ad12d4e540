"""The files in folders and zip archives that may be DICOM; archives are read in place and never unpacked.

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

from strokelens.cohorts.dicom_walk import every_file
from strokelens.errors import FileError

MOST_FILES = 50_000
"""No study or archive has more files."""

MOST_BYTES = 16 << 30
"""No archive holds more, unpacked."""

MOST_MEMBER_BYTES = 4 << 30
"""No file in an archive has more."""

_LARGE_BYTES = 64 << 20
_MOST_RATIO = 200  # air alone packs better, but no file of this size is air alone
_READING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a pipe does not wait
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_HEAD_BYTES = 132
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")  # file meta; identification, in both byte orders
_DAMAGED_ZIP = (BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


class _Opener(Protocol):
    def __call__(self) -> IO[bytes]: ...


@dataclass(frozen=True, eq=False, slots=True)
class Member:
    """One file on disk, or in an `archive`; `place` is its path, below that of the archive, and never shown.

    `size` is the number of its bytes in an archive, where `opener` opens it.
    """

    place: str
    archive: Path | None = None
    size: int | None = None
    opener: _Opener | None = None

    @property
    def path(self) -> Path:
        """The file on disk, which may be an archive."""
        return Path(self.place) if self.archive is None else self.archive

    @property
    def file(self) -> str:
        """The path of the file on disk."""
        return self.place if self.archive is None else str(self.archive)

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return os.path.basename(self.place) if self.archive is None else f"a file in {self.archive.name}"

    @property
    def folder(self) -> str:
        """The place of the folder that it is in."""
        return os.path.dirname(self.place)

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The file; whatever disk or archive refuses is a `FileError`."""
        try:
            with open(self.place, "rb") if self.opener is None else self.opener() as file:
                yield file
        except _DAMAGED_ZIP as error:
            if self.archive is None:
                raise
            raise FileError(
                f"{self.archive.name}: a file in it is damaged; copy or download the archive again"
            ) from error
        except MemoryError as error:
            raise FileError(f"{self.name} needs more memory than this machine can give; export it again") from error
        except OSError as error:
            reason = errno.errorcode.get(error.errno or 0, "unknown")
            raise FileError(f"{self.name} cannot be read: {error.strerror or error} ({reason})") from error

    def head(self, count: int) -> tuple[bytes, int]:
        """The first bytes of the file, and how many it has; none where it cannot be read, or is no regular file."""
        if self.opener is not None:
            with self.opened() as file:
                return file.read(count), self.size or 0
        try:
            descriptor = os.open(self.place, _READING)
        except OSError:
            return b"", 0
        try:
            about = os.fstat(descriptor)
            return (os.read(descriptor, count), about.st_size) if stat.S_ISREG(about.st_mode) else (b"", 0)
        except OSError:
            return b"", 0
        finally:
            os.close(descriptor)

    def content(self) -> bytes:
        """All bytes of the file."""
        with self.opened() as file:
            return file.read()


def is_zip(path: Path) -> bool:
    """Whether a file begins as a zip archive does."""
    return loose(path).head(4)[0] in _ZIP


def is_dicom_file(path: Path) -> bool:
    """Whether a file has DICOM's magic, or begins with an element that a DICOM file without it begins with."""
    return looks_like_dicom(loose(path).head(_HEAD_BYTES)[0])


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
        below = every_file(path, lambda _: None)
        return any(is_dicom_file(Path(place)) or is_named_zip(place) for place in below)
    return is_dicom_file(path) or is_zip(path)


def loose(file: Path) -> Member:
    """A file on disk as a member."""
    return Member(str(file))


@contextmanager
def members(paths: Sequence[Path]) -> Iterator[tuple[Member, ...]]:
    """The files in these files, folders and archives, sorted by name, whatever they are; open while the block lasts.

    Raises `FileError` when an archive is not to be trusted, and when there are too many files.
    """
    with ExitStack() as stack:
        found: list[Member] = []
        for path in paths:
            for place in every_file(path, _refuse) if path.is_dir() else (str(path),):
                if is_named_zip(place) or (place == str(path) and is_zip(path)):
                    found += _archived(Path(place), stack)
                else:
                    found.append(Member(place))
                if len(found) > MOST_FILES:
                    raise FileError(f"{path.name} holds more than {MOST_FILES} files; give the folder of one study")
        yield tuple(sorted(found, key=lambda member: member.place))


def is_named_zip(place: str) -> bool:
    """Whether a file is a zip archive and called so."""
    return place[-4:].lower() == ".zip" and is_zip(Path(place))


def _refuse(error: OSError) -> None:
    name = Path(str(error.filename)).name
    raise FileError(f"{name} cannot be read: {error.strerror}; check its permissions") from error


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
        name = PurePosixPath(info.filename).name
        opener = cast(_Opener, partial(archive.open, info))
        member = Member(f"{path}/{info.filename}", path, info.file_size, opener)
        if name.lower().endswith(".zip") and member.head(4)[0] in _ZIP:
            raise FileError(f"{path.name} holds another archive; unpack it and give the folder")
        if not name.startswith("."):
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
        if info.file_size > MOST_MEMBER_BYTES or (
            info.file_size > _LARGE_BYTES and info.file_size > _MOST_RATIO * info.compress_size
        ):
            raise FileError(
                f"{path.name} has a file of {info.file_size / (1 << 30):.1f} GiB in "
                f"{info.compress_size / (1 << 20):.1f} MiB, which no image is; do not trust this archive"
            )
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
