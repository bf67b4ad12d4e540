"""Reads JSON that others wrote: whatever lies there, it is an error in one line, and never a reader that waits."""

import json
from pathlib import Path
from typing import TypeGuard

from strokelens.cohorts.listing import regular
from strokelens.errors import FileError

_LARGEST_BYTES = 16 << 20


def read_json(path: Path, *, what: str, otherwise: str = "") -> object:
    """What a JSON file holds; `what` it should be is for messages, and `otherwise` tells of one that is no JSON.

    Raises `FileError` when it is not there, no file, larger than 16 MiB, not readable, or no JSON.
    """
    try:
        if regular(path).stat().st_size > _LARGEST_BYTES:
            raise FileError(f"{path.name} is larger than 16 MiB, which no {what} is; give another file, or remove it")
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        told = f"{path.name} cannot be read: {error.strerror}; check the path and its permissions"
        raise FileError(told) from error
    except (ValueError, RecursionError) as error:
        line = f"{path.name} is not JSON ({str(error).splitlines()[0]}); correct or remove it"
        raise FileError(otherwise or line) from error


def is_names(value: object) -> TypeGuard[list[str]]:
    """Whether a value is a list of texts.

    >>> is_names(["a", "b"]), is_names([1]), is_names("ab")
    (True, False, False)
    """
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
