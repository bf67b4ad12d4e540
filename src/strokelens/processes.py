"""Work done side by side in other processes; each computes with one thread, so that no number of them changes a bit.

Where the system can, they are forked from a server that has imported once what all need, and that runs nothing else.
A script that uses it needs `if __name__ == "__main__":`, as processes start afresh.
"""

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from multiprocessing import active_children, get_all_start_methods, get_context
from multiprocessing.forkserver import ensure_running, set_forkserver_preload
from multiprocessing.process import BaseProcess
from threading import Event
from time import monotonic, sleep
from typing import TypeVar

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""The variables that a process reads at its start for how many threads linear algebra takes."""

_AHEAD = 2
"""How many jobs a process has waiting: enough to be never idle, few enough for any number of them."""

_PATIENCE_S = 5.0

_START = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"

Job = TypeVar("Job")
Result = TypeVar("Result")


class Pool:
    """Processes that take jobs; made by `pool`."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def submit(self, work: Callable[[Job], Result], job: Job) -> Future[Result]:
        """Have a job done; processes start as they are needed. Where one was ended, the result is that error."""
        begin(getattr(work, "func", work).__module__)
        with _one_thread_each():
            try:
                return self._executor.submit(work, job)
            except BrokenProcessPool as error:
                lost: Future[Result] = Future()
                lost.set_exception(error)
                return lost


def begin(*modules: str) -> None:
    """Start the server that processes are forked from, with these modules in it; it does so once."""
    if _START == "forkserver":
        with _one_thread_each():
            set_forkserver_preload(list(modules))
            ensure_running()


def how_many(workers: int | None, jobs: int) -> int:
    """The processes for so many jobs: as told, else one a core; never more than jobs.

    >>> how_many(4, 2), how_many(2, 0)
    (2, 1)
    """
    return max(1, min(workers or _cores(), jobs))


def _cores() -> int:
    """The cores that this process may use, where the system tells; else those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def pool(workers: int) -> Iterator[Pool]:
    """So many processes; leaving early ends them at once."""
    before = set(active_children())
    executor = ProcessPoolExecutor(workers, mp_context=get_context(_START), initializer=_begun)
    try:
        yield Pool(executor)
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        for child in set(active_children()) - before:
            _end(child)
        raise
    executor.shutdown()


def in_order(
    work: Callable[[Job], Result], jobs: Iterable[Job], *, workers: int
) -> Generator[tuple[Job, Future[Result]], None, None]:
    """Each job with its result to come, in order; only a few are taken from `jobs` before they are wanted."""
    with pool(workers) as processes:
        waiting: deque[tuple[Job, Future[Result]]] = deque()
        for job in jobs:
            waiting.append((job, processes.submit(work, job)))
            if len(waiting) > _AHEAD * workers:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()


def surviving(
    work: Callable[[Job], Result], jobs: Iterable[Job], *, workers: int
) -> Generator[tuple[Job, Future[Result]], None, None]:
    """As `in_order`; when a process is ended from outside, the jobs under way are done again, each alone.

    Only a job that ends its process alone too has `BrokenProcessPool` as its result; processes then start anew.
    """
    left, broken = iter(jobs), Event()
    while True:
        broken.clear()
        with closing(in_order(work, _until(broken, left), workers=workers)) as results:
            for job, result in results:
                if isinstance(result.exception(), BrokenProcessPool):
                    broken.set()
                    yield job, _alone(work, job)
                else:
                    yield job, result
        if not broken.is_set():
            return


def _until(stop: Event, jobs: Iterator[Job]) -> Iterator[Job]:
    for job in jobs:
        yield job
        if stop.is_set():
            return


def _alone(work: Callable[[Job], Result], job: Job) -> Future[Result]:
    with pool(1) as processes:
        return processes.submit(work, job)


def _end(child: BaseProcess) -> None:
    """End a process and wait until it is known to have ended.

    Its exit code may have gone to the executor's own thread, which then takes a moment to write it down.
    """
    child.terminate()
    child.join()
    deadline = monotonic() + _PATIENCE_S
    while child.exitcode is None and monotonic() < deadline:
        sleep(0.001)


def _begun() -> None:
    """Ctrl-C reaches every process; those that do jobs end without a word.

    They compute with one thread, too, where the server was somebody else's, who started it without our variables.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that start within it compute with one thread."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
