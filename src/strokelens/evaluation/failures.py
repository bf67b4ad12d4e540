"""What ends a case but no batch: an error of ours, want of memory, or a process that was ended."""

import logging
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from strokelens.errors import StrokelensError
from strokelens.evaluation.results import Failure

_log = logging.getLogger(__name__)

Result = TypeVar("Result")


def attempt(case_id: str, work: Callable[[], Result]) -> Result | Failure:
    """What the work gives. What is no mistake of the user ends no batch: it is a failure of its case.

    Here alone everything is caught, on purpose; --verbose shows where it came from. Raises what is the user's to mend.
    """
    try:
        return work()
    except StrokelensError:
        raise
    except Exception as error:
        _log.info("%s", case_id, exc_info=error)
        return _crash(case_id, error)


def _crash(case_id: str, error: Exception) -> Failure:
    told = " ".join(str(error).split())[:200]
    message = f"{case_id} ended in {type(error).__name__}{f' ({told})' if told else ''}"
    return Failure("crashed", f"{message}, which is our bug or want of memory; report it, --verbose tells more")


def was_ended(result: Future[Any]) -> bool:
    """Whether there is no result, as its process was ended."""
    return isinstance(result.exception(), BrokenProcessPool)


def lost(case_id: str) -> Failure:
    """The failure of a case whose process was ended."""
    message = f"the process that scored {case_id} was ended, alone too (BrokenProcessPool), perhaps for want of memory"
    return Failure("crashed", f"{message}; score it on a machine with more, or take it out")
