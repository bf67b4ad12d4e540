"""Cases that are one under two names: their first images are the same, byte for byte."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from filecmp import cmp
from hashlib import sha256
from pathlib import Path

from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.study import ORDER

_PIECE = 1 << 16


@dataclass(frozen=True, eq=False)
class Copy:
    """The case that came first, and the channel that is the same."""

    first: Entry
    channel: str


def copies(entries: Iterable[Entry]) -> Iterator[tuple[Entry, Copy]]:
    """Each case that is a copy of one before it, told by the middle of an image and then by every byte."""
    sizes: dict[tuple[str, int], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.files:
            name = min(entry.files, key=ORDER.index)
            sizes[name, _size(_middle(entry.files[name]))].append(entry)
    for (name, size), alike in sizes.items():
        seen: dict[str, list[Entry]] = defaultdict(list)
        for entry in alike if len(alike) > 1 and size > 0 else ():
            before = seen[_fingerprint(_middle(entry.files[name]), size)]
            first = next((each for each in before if _equal(each.files[name], entry.files[name])), None)
            if first is None:
                before.append(entry)
            else:
                yield entry, Copy(first, name)


def _middle(files: tuple[Path, ...]) -> Path:
    return files[len(files) // 2]


def _equal(some: tuple[Path, ...], others: tuple[Path, ...]) -> bool:
    """Whether files are other ones with the same bytes; what lies in one archive is not compared."""
    if len(some) != len(others) or not set(some).isdisjoint(others):
        return False
    try:
        return all(cmp(one, other, shallow=False) for one, other in zip(some, others, strict=True))
    except OSError:
        return False


def _size(path: Path) -> int:
    """The size of a file; 0 where it cannot be told, which is for the headers to tell."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _fingerprint(path: Path, size: int) -> str:
    """The hash of up to 64 KiB in the middle of a file, where the brain is; its name where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, (size - _PIECE) // 2))
            return sha256(file.read(_PIECE)).hexdigest()
    except OSError:
        return str(path)


def persons(entries: Iterable[Entry], found: Iterable[tuple[Entry, Copy]] | None = None) -> dict[str, str]:
    """The person of each case: a case that is a copy of another is of its person, and so are all others of its own.

    `found` are the copies among the cases, where they are known already.
    """
    every = list(entries)
    same = {entry.person: entry.person for entry in every}
    for entry, copy in copies(every) if found is None else found:
        one, other = same[copy.first.person], same[entry.person]
        same = {name: one if of == other else of for name, of in same.items()}
    return {entry.id: same[entry.person] for entry in every}
