"""Makes a simulated cohort, several cases side by side, each on disk whole or not at all; and goes on where it stopped.

Cases are made in other processes and moved into place by this one, in order. Every process computes with one thread, so
that neither the number of workers nor the machine's cores change a bit.
"""

import json
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic

from strokelens import __version__
from strokelens.cohorts.encode import write_json
from strokelens.cohorts.folder import SIMULATED, alone_in, clear, hidden, refusals, settle
from strokelens.cohorts.written import written
from strokelens.errors import OutputError, StrokelensError
from strokelens.flags import RESEARCH_USE
from strokelens.phantom.groups import Shares, group_in
from strokelens.phantom.kinds import Job, Kind, volumes_ml
from strokelens.phantom.made import STAGE, Made, earlier, places_in
from strokelens.processes import how_many, pool

__all__ = ["Made", "Plan", "make", "write_cohort"]

_TABLES = ".tables"
_TABLES_EVERY_S = 5.0


@dataclass(frozen=True)
class Plan:
    """A cohort to make: its kind, how many cases from which seed on, and the shares of its groups."""

    kind: Kind
    cases: int
    seed: int
    shares: Shares

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The cases in order; the first ones do not depend on how many there are."""
        seeds = range(self.seed, self.seed + self.cases)
        patients = [(seed, group_in(seed, self.shares)) for seed in seeds]
        names = self.kind.names(patients)
        return tuple(Job(name, seed, group) for name, (seed, group) in zip(names, patients, strict=True))

    @property
    def recipe(self) -> dict[str, object]:
        """What must be the same for a cohort to be gone on with."""
        kind = {"layout": self.kind.layout} | asdict(self.kind)  # type: ignore[call-overload]
        told = {"software": f"strokelens {__version__}", "seed": self.seed, "groups": dict(self.shares), "kind": kind}
        plain: dict[str, object] = json.loads(json.dumps(told))
        return plain


def write_cohort(
    out: Path, plan: Plan, *, workers: int | None = None, overwrite: bool = False
) -> Generator[Made, None, None]:
    """Make the cohort in `out`, and tell of each case in order as it is there; of what was there already, too.

    What `out` holds of the same plan, but for the number of its cases, is kept. However this ends, what is in `out` is
    whole; closing the iterator stops the work. A script that calls it needs `if __name__ == "__main__":`, as other
    processes are started. Raises `OutputError` when `out` holds something else (without `overwrite`) or cannot be
    written. A case that cannot be made does not end the others.
    """
    told = (out, plan.jobs, plan.recipe)
    earlier(*told, overwrite=overwrite)  # refuses before anything is done
    with refusals(out, out):
        out.mkdir(parents=True, exist_ok=True)
    with refusals(out, out), alone_in(out):
        kept = earlier(*told, overwrite=overwrite)
        if kept is None:
            clear(out)
        yield from _filled(out, plan, kept or {}, workers)


def _filled(out: Path, plan: Plan, kept: Mapping[str, Made], workers: int | None) -> Generator[Made, None, None]:
    """Make the cases that are not kept, and tell of all in order."""
    with _stage(out) as stage, _Book(out, stage, plan, kept) as book:
        todo = [job for job in plan.jobs if job.name not in kept]
        with _made(stage, plan.kind, todo, workers) as making:
            for job in plan.jobs:
                made = kept.get(job.name) or _result(making[job.name], job)
                book.add(made)
                yield made


def make(stage: Path, kind: Kind, job: Job) -> Made:
    """Make one case in a folder of its own in `stage`; what keeps it from being made is told, not raised."""
    try:
        case = kind.case(job)
        folder = stage / job.name
        folder.mkdir()
        kind.write(folder, job.name, case)
    except StrokelensError as error:
        return Made(job, None, {}, str(error))
    return Made(job, written(job.name, case), volumes_ml(case))


class _Book:
    """Moves cases into place, and keeps the cohort's tables in step with them."""

    def __init__(self, out: Path, stage: Path, plan: Plan, kept: Mapping[str, Made]) -> None:
        self._out, self._stage, self._plan = out, stage, plan
        self._made = dict(kept)
        self._told_at = monotonic()

    def __enter__(self) -> "_Book":
        if not self._made:
            self._tell()  # so that the folder is known as ours from now on
        return self

    def __exit__(self, *_: object) -> None:
        if self._made:
            self._tell()
        else:
            (self._out / SIMULATED).unlink(missing_ok=True)

    def add(self, made: Made) -> None:
        folder = self._stage / made.job.name
        if made.row is not None and folder.is_dir():
            made = replace(made, places=places_in(folder, made.job.name))
            settle(folder, self._out)
            shutil.rmtree(folder)
        self._made[made.job.name] = made
        if monotonic() - self._told_at >= _TABLES_EVERY_S:
            self._tell()

    def _tell(self) -> None:
        folder = self._stage / _TABLES
        folder.mkdir(exist_ok=True)
        cases = [self._made[job.name] for job in self._plan.jobs if job.name in self._made]
        rows = [made.row for made in cases if made.row is not None]
        if rows:
            self._plan.kind.write_tables(folder, rows)
        told = {
            "disclaimer": RESEARCH_USE,
            "simulated": True,
            "recipe": self._plan.recipe,
            "cases": [made.record for made in cases],
        }
        write_json(folder / SIMULATED, told)
        settle(folder, self._out)
        self._told_at = monotonic()


@contextmanager
def _stage(out: Path) -> Iterator[Path]:
    """A hidden folder in `out` for what is not whole yet; `out` goes with it where it holds nothing else."""
    try:
        with hidden(out, STAGE) as stage:
            yield stage
    finally:
        with suppress(OSError):  # it stays where it holds something
            out.rmdir()


@contextmanager
def _made(stage: Path, kind: Kind, jobs: Sequence[Job], workers: int | None) -> Iterator[dict[str, Future[Made]]]:
    """The cases as they are being made, by name; leaving early ends the processes at once."""
    with pool(how_many(workers, len(jobs))) as processes:
        yield {job.name: processes.submit(partial(make, stage, kind), job) for job in jobs}


def _result(future: Future[Made], job: Job) -> Made:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise OutputError(
            f"the process that made {job.name} was ended, perhaps for want of memory; run the same command again with "
            "fewer --workers: what is there is kept"
        ) from error
