"""Work in other processes: in order, a few jobs at a time, with one thread each, and ended at once when left."""

import os
from collections.abc import Iterator
from contextlib import closing
from multiprocessing import active_children

import pytest

from strokelens.processes import ONE_THREAD, how_many, in_order, pool


def threads(_: int) -> list[str | None]:
    return [os.environ.get(name) for name in ONE_THREAD]


def squared(number: int) -> int:
    return number * number


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


@pytest.mark.parametrize(("workers", "jobs", "count"), [(3, 2, 2), (1, 9, 1), (2, 0, 1), (None, 1, 1)])
def test_there_are_no_more_processes_than_jobs(workers: int | None, jobs: int, count: int) -> None:
    assert how_many(workers, jobs) == count
