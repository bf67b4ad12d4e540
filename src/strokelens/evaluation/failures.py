"""What ends a case but no batch: an error of ours, want of memory, or a process that was ended."""

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from strokelens import crashes
from strokelens.crashes import Crash
from strokelens.evaluation.results import Failure

Result = TypeVar("Result")


def attempt(case_id: str, work: Callable[[], Result]) -> Result | Failure:
    """What the work gives; an error of ours is a failure of its case. Raises what is the user's to mend."""
    done = crashes.attempt(case_id, work)
    return Failure("crashed", done.message) if isinstance(done, Crash) else done


def was_ended(result: Future[Any]) -> bool:
    """Whether there is no result, as its process was ended."""
    return isinstance(result.exception(), BrokenProcessPool)


def lost(case_id: str) -> Failure:
    """The failure of a case whose process was ended."""
    message = f"the process that scored {case_id} was ended, alone too (BrokenProcessPool), perhaps for want of memory"
    return Failure("crashed", f"{message}; score it on a machine with more, or take it out")
