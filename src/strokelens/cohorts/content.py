"""The bytes of one file, read once from the front: inflated where they are gzip, hashed as they lie on disk."""

import hashlib
import zlib
from typing import BinaryIO

from strokelens.errors import FileError

_PIECE = 1 << 20
_MOST_SURPLUS = 16 << 20
_GZIP = b"\x1f\x8b"


class Content:
    """An open file's content in order; `finish` gives the SHA-256 of the file as it lies on disk.

    Memory stays at one piece of 1 MiB (or as told) whatever the file claims to hold. Damage is a `FileError` that names
    the file.
    """

    def __init__(self, file: BinaryIO, name: str, piece: int = _PIECE) -> None:
        self._file = file
        self._name = name
        self._size = piece
        self.position = 0
        """How many bytes of the inflated content were passed so far."""
        self._digest = hashlib.sha256()
        self._pending = self._read()
        if not self._pending:
            raise FileError(f"{name} is empty (0 bytes); copy or download it again")
        self.compressed = self._pending.startswith(_GZIP)
        self._inflater = zlib.decompressobj(wbits=31)

    def fill(self, target: memoryview) -> int:
        """Write the next bytes into `target`; how many they were, fewer than it holds only at the end."""
        done = 0
        while done < len(target):
            piece = self._next(len(target) - done)
            if not piece:
                break
            target[done : done + len(piece)] = piece
            done += len(piece)
        return done

    def take(self, count: int) -> bytes:
        """The next `count` bytes, fewer only at the end."""
        buffer = bytearray(count)
        return bytes(buffer[: self.fill(memoryview(buffer))])

    def skip(self, count: int) -> None:
        """Pass over `count` bytes, or to the end."""
        while count > 0 and (piece := self._next(min(count, _PIECE))):
            count -= len(piece)

    def finish(self) -> str:
        """Read to the end, so that gzip's checksum is verified; the file's SHA-256 in hexadecimal.

        Raises `FileError` where much more is packed behind what was read.
        """
        told = self.position
        while self._next(_PIECE):
            if self.compressed and self.position - told > _MOST_SURPLUS:
                raise FileError(
                    f"{self._name} holds more than {_MOST_SURPLUS >> 20} MiB behind its image, packed; do not trust "
                    "this file, or download it again"
                )
        while self._read():  # what follows the last gzip member
            pass
        return self._digest.hexdigest()

    def _read(self) -> bytes:
        piece = self._file.read(self._size)
        self._digest.update(piece)
        return piece

    def _next(self, limit: int) -> bytes:
        """Up to `limit` further bytes; none at the end."""
        piece = self._inflate(limit) if self.compressed else self._plain(limit)
        self.position += len(piece)
        return piece

    def _plain(self, limit: int) -> bytes:
        if not self._pending:
            self._pending = self._read()
        piece, self._pending = self._pending[:limit], self._pending[limit:]
        return piece

    def _inflate(self, limit: int) -> bytes:
        while not self._inflater.eof or self._next_member():
            if not self._pending:
                self._pending = self._read()
            at_end = not self._pending
            try:
                piece = self._inflater.decompress(self._pending, limit)
            except zlib.error as error:
                raise FileError(
                    f"{self._name}: its gzip data are damaged ({str(error).split(': ')[-1]}); copy or download it again"
                ) from error
            self._pending = self._inflater.unconsumed_tail
            if piece:
                return piece
            if at_end and not self._inflater.eof:
                raise FileError(f"{self._name}: its gzip data end too early; copy or download it again")
        return b""

    def _next_member(self) -> bool:
        """Go on to the gzip member that follows the finished one, past zero padding; False if there is none."""
        rest = (self._inflater.unused_data + self._pending).lstrip(b"\0")
        rest = rest if len(rest) > 1 else rest + self._read()
        self._pending = rest
        if not rest.startswith(_GZIP):
            return False
        self._inflater = zlib.decompressobj(wbits=31)
        return True
