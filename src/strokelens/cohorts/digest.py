"""What is made from a case has a key: another one as soon as anything that it was made from is another."""

from collections.abc import Sequence, Set
from dataclasses import fields, is_dataclass
from hashlib import sha256
from typing import Final

from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.encode import sidecar_path

_BLOCK: Final = 1 << 20


def digest_of(entry: Entry, channels: Sequence[str], *told: object) -> str:
    """The SHA-256 of how a case is read, and of the bytes of these channels, its truth, and their sidecars.

    `told` is what else decides, such as a recipe or a rule. The id and clinical values are not in it, nor is the order
    of sets, which is another in each process.

    Raises `OSError` where a file cannot be read.
    """
    truth = entry.truth
    scheme = None if truth is None else (truth.scheme.names, dict(truth.values))
    digest = sha256(repr((tuple(channels), _steady(entry.reader), scheme, _steady(told))).encode())
    named = {name: entry.files[name] for name in channels if name in entry.files}
    for name, files in sorted((named | ({} if truth is None else {"truth": truth.files})).items()):
        for path in files:
            for file in (path, sidecar_path(path)):
                if file == path or file.is_file():
                    digest.update(f"{name} {file.stat().st_size} ".encode())
                    with file.open("rb") as opened:
                        while block := opened.read(_BLOCK):
                            digest.update(block)
    return digest.hexdigest()


def _steady(value: object) -> object:
    """What a value's `repr` tells, with sets in order."""
    if is_dataclass(value) and not isinstance(value, type):
        parts = [(each.name, _steady(getattr(value, each.name))) for each in fields(value)]
        return (type(value).__name__, parts)
    if isinstance(value, Set):
        return sorted(repr(_steady(each)) for each in value)
    if isinstance(value, tuple | list):
        return [_steady(each) for each in value]
    return repr(value)
