"""Makes a simulated cohort, several cases side by side, each on disk whole or not at all; and goes on where it stopped.

Cases are made in other processes and moved into place by this one, in order. Every process computes with one thread, so
that neither the number of workers nor the machine's cores change a bit.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import monotonic

from strokelens import __version__
from strokelens.cohorts.encode import write_json
from strokelens.cohorts.folder import SIMULATED, check_out, refusals, settle
from strokelens.cohorts.written import Written, written
from strokelens.errors import OutputError, StrokelensError
from strokelens.flags import RESEARCH_USE
from strokelens.phantom.groups import Shares, group_in
from strokelens.phantom.kinds import Job, Kind, volumes_ml
from strokelens.processes import how_many, pool

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


@dataclass(frozen=True)
class Made:
    """A case that is on disk, or why there is none."""

    job: Job
    row: Written | None
    volumes_ml: Mapping[str, float]
    failure: str | None = None

    @property
    def record(self) -> dict[str, object]:
        """Plain values for JSON."""
        told: dict[str, object] = {"name": self.job.name, "seed": self.job.seed, "simulated": True}
        if self.row is None:
            return told | {"failure": self.failure}
        return told | {"volumes_ml": dict(self.volumes_ml), "row": asdict(self.row)}


def write_cohort(
    out: Path, plan: Plan, *, workers: int | None = None, overwrite: bool = False
) -> Generator[Made, None, None]:
    """Make the cohort in `out`, and tell of each case in order as it is there; of what was there already, too.

    What `out` holds of the same plan, but for the number of its cases, is kept. However this ends, what is in `out` is
    whole; closing the iterator stops the work. A script that calls it needs `if __name__ == "__main__":`, as other
    processes are started. Raises `OutputError` when `out` holds something else (without `overwrite`) or cannot be
    written. A case that cannot be made does not end the others.
    """
    jobs = plan.jobs
    kept = _kept(out, plan, overwrite=overwrite)
    with refusals(out, out):
        out.mkdir(parents=True, exist_ok=True)
    with refusals(out, out), _stage(out) as stage, _Book(out, stage, plan) as book:
        todo = [job for job in jobs if job.name not in kept]
        with _made(stage, plan.kind, todo, workers) as making:
            for job in jobs:
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

    def __init__(self, out: Path, stage: Path, plan: Plan) -> None:
        self._out, self._stage, self._plan = out, stage, plan
        self._made: list[Made] = []
        self._told_at = -_TABLES_EVERY_S

    def __enter__(self) -> "_Book":
        return self

    def __exit__(self, *_: object) -> None:
        if self._made:
            self._tell()

    def add(self, made: Made) -> None:
        folder = self._stage / made.job.name
        if made.row is not None and folder.is_dir():
            settle(folder, self._out)
            shutil.rmtree(folder)
        self._made.append(made)
        if monotonic() - self._told_at >= _TABLES_EVERY_S:
            self._tell()

    def _tell(self) -> None:
        folder = self._stage / _TABLES
        folder.mkdir(exist_ok=True)
        rows = [made.row for made in self._made if made.row is not None]
        if rows:
            self._plan.kind.write_tables(folder, rows)
        told = {
            "disclaimer": RESEARCH_USE,
            "simulated": True,
            "recipe": self._plan.recipe,
            "cases": [made.record for made in self._made],
        }
        write_json(folder / SIMULATED, told)
        settle(folder, self._out)
        self._told_at = monotonic()


def _kept(out: Path, plan: Plan, *, overwrite: bool) -> dict[str, Made]:
    """The cases of the same plan that are in `out`; something else in it is refused, or removed where that is asked."""
    if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
        return {}
    found = _read(out / SIMULATED) if not overwrite else None
    of = {job.name: job for job in plan.jobs}
    if found is None or found.get("recipe") != plan.recipe:
        check_out(out, marker=SIMULATED, overwrite=overwrite)
        with refusals(out, out):
            shutil.rmtree(out)
        return {}
    cases = found["cases"]
    assert isinstance(cases, list)
    if not {case["name"] for case in cases} <= of.keys():
        raise OutputError(f"{out} has {len(cases)} cases of this cohort; ask for as many --cases, or --overwrite it")
    rows = {case["name"]: (case["row"], case["volumes_ml"]) for case in cases if "row" in case}
    return {
        name: Made(of[name], Written(**row | {key: tuple(row[key]) for key in _TUPLES}), volumes)
        for name, (row, volumes) in rows.items()
    }


_TUPLES = ("spacing_mm", "channels", "classes")


def _read(path: Path) -> dict[str, object] | None:
    """What an earlier run told; None where there was none, or it is damaged."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and isinstance(told.get("cases"), list) else None


@contextmanager
def _stage(out: Path) -> Iterator[Path]:
    """A hidden folder in `out` for what is not whole yet; what a killed run left of its own goes first."""
    for old in out.glob(".phantom-*"):
        shutil.rmtree(old, ignore_errors=True)
    stage = Path(tempfile.mkdtemp(prefix=".phantom-", dir=out))
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
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
