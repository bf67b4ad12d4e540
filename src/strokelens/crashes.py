"""What no mistake of the user's is: caught in one place, so that it ends its case, and no batch."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from typing import TypeVar

from strokelens.errors import StrokelensError

_log = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Crash:
    """A case that ended in an error of ours, and what is told of it."""

    message: str


def attempt(
    case_id: str, work: Callable[[], Result], *, passing: tuple[type[Exception], ...] = (StrokelensError,)
) -> Result | Crash:
    """What the work gives, or that it crashed; only what is `passing` is raised, such as what is the user's to mend.

    Here alone everything is caught, on purpose; --verbose shows where it came from.

    >>> attempt("sub-1", lambda: 1 // 1), type(attempt("sub-1", lambda: 1 // 0)).__name__
    (1, 'Crash')
    """
    try:
        return work()
    except passing:
        raise
    except Exception as error:
        _log.info("%s", case_id, exc_info=error)
        return Crash(_told(case_id, error))


@dataclass(frozen=True)
class Failure:
    """Why a case of a batch has no result: the user's to mend, or that it crashed."""

    message: str
    crashed: bool = False


def tried(case_id: str, work: Callable[[], Result]) -> Result | Failure:
    """What the work gives, or in one line why it gives nothing: no case ends a batch.

    >>> tried("sub-1", lambda: 1), tried("sub-1", lambda: [][1:][0]).crashed
    (1, True)
    """
    try:
        found = attempt(case_id, work, passing=(StrokelensError, OSError, MemoryError))
    except StrokelensError as error:
        return Failure(" ".join(str(error).split()))
    except OSError as error:
        return Failure(f"{case_id} cannot be read: {error}; copy it again")
    except MemoryError:
        return Failure(f"{case_id} does not fit into memory; take a machine with more")
    return Failure(found.message, crashed=True) if isinstance(found, Crash) else found


def _told(case_id: str, error: Exception) -> str:
    """Its type, its words, and where it happened."""
    words = " ".join(str(error).split())[:200]
    last = extract_tb(error.__traceback__)[-1]
    message = f"{case_id} ended in {type(error).__name__}{f' ({words})' if words else ''}"
    place = f"{Path(last.filename).name}:{last.lineno}"
    return f"{message}, which is our bug or want of memory; report it with {place}, --verbose tells more"
