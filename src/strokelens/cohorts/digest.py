"""What is made from a case has a key: another one as soon as anything that it was made from is another."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.encode import sidecar_path

_BLOCK: Final = 1 << 20


def digest_of(entry: Entry, channels: Sequence[str], *told: object) -> str:
    """The SHA-256 of how a case is read, and of the bytes of these channels, its truth, and their sidecars.

    `told` is what else decides, by its `repr`: a recipe, a rule. The id and clinical values are not in it.

    Raises `OSError` where a file cannot be read.
    """
    truth = entry.truth
    scheme = None if truth is None else (truth.scheme.names, dict(truth.values))
    digest = sha256(repr((tuple(channels), repr(entry.reader), scheme, told)).encode())
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
