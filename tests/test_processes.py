"""Work in other processes: in order, a few jobs at a time, with one thread each, and ended at once when left."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from multiprocessing import active_children
from pathlib import Path

import pytest

from strokelens.processes import ONE_THREAD, how_many, in_order, pool, surviving


def threads(_: int) -> list[str | None]:
    return [os.environ.get(name) for name in ONE_THREAD]


def squared(number: int) -> int:
    return number * number


def knows(module: str) -> bool:
    return module in sys.modules


def refused(number: int) -> int:
    raise ValueError(f"not {number}")


def test_results_come_in_order_and_few_jobs_are_taken_before_they_are_wanted() -> None:
    taken: list[int] = []

    def jobs() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    with closing(in_order(squared, jobs(), workers=2)) as results:
        found = []
        for job, result in results:
            found.append((job, result.result()))
            assert len(taken) - len(found) <= 4
    assert found == [(number, number * number) for number in range(20)]


def test_a_process_computes_with_one_thread_and_this_one_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ONE_THREAD[0], "7")
    monkeypatch.delenv(ONE_THREAD[1], raising=False)
    with pool(1) as processes:
        assert processes.submit(threads, 0).result() == ["1"] * len(ONE_THREAD)
    assert os.environ[ONE_THREAD[0]] == "7"
    assert ONE_THREAD[1] not in os.environ


def test_a_process_has_what_its_server_imported() -> None:
    with pool(1) as processes:
        assert processes.submit(knows, "strokelens.comparison").result()  # tests/conftest.py began it


def test_leaving_early_ends_the_processes() -> None:
    before = set(active_children())
    results = in_order(squared, range(100), workers=1)
    next(results)
    results.close()
    assert set(active_children()) <= before


def test_what_a_job_raises_is_its_results() -> None:
    with closing(in_order(refused, [3], workers=1)) as results:
        ((job, result),) = results
        assert job == 3
        with pytest.raises(ValueError, match=r"^not 3$"):
            result.result()


def deadly(number: int) -> int:
    """4 ends its process, whoever else is at work."""
    if number == 4:
        os._exit(9)
    return number * number


def test_a_job_that_ends_its_process_takes_no_other_with_it() -> None:
    taken = list(range(12))
    with closing(surviving(deadly, iter(taken), workers=2)) as results:
        found = [(job, result.exception() or result.result()) for job, result in results]
    assert [job for job, _ in found] == taken
    assert isinstance(found[4][1], BrokenProcessPool)
    assert [value for job, value in found if job != 4] == [job * job for job in taken if job != 4]


def test_the_last_job_may_end_its_process_too() -> None:
    with closing(surviving(deadly, [3, 4], workers=1)) as results:
        found = [result.exception() or result.result() for _, result in results]
    assert found[0] == 9
    assert isinstance(found[1], BrokenProcessPool)


def test_one_process_starts_for_each_core_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 6}, raising=False)
    assert how_many(None, 100) == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert how_many(None, 100) == 64


@pytest.mark.parametrize(("workers", "jobs", "count"), [(3, 2, 2), (1, 9, 1), (2, 0, 1), (None, 1, 1)])
def test_there_are_no_more_processes_than_jobs(workers: int | None, jobs: int, count: int) -> None:
    assert how_many(workers, jobs) == count


FOREIGN = """
import os, sys
from multiprocessing import get_context
from strokelens.processes import ONE_THREAD, in_order

def threads(job):
    import torch
    return torch.get_num_threads(), [os.environ.get(name) for name in ONE_THREAD]

def nothing():
    pass

if __name__ == "__main__":
    process = get_context("forkserver").Process(target=nothing)
    process.start()
    process.join()
    print([result.result() for _, result in in_order(threads, [0], workers=1)])
"""


def test_processes_have_one_thread_each_where_somebody_else_began_the_server(tmp_path: Path) -> None:
    script = tmp_path / "foreign.py"
    script.write_text(FOREIGN)
    many = {name: value for name, value in os.environ.items() if name not in ONE_THREAD}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, env=many)
    assert done.stdout.strip() == str([(1, ["1"] * len(ONE_THREAD))])
