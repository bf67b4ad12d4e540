"""A cohort explained case by case: each case's numbers on disk as soon as they are there, going on where it stopped."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, Final, Protocol

from strokelens import __version__
from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.encode import write_json
from strokelens.cohorts.folder import clear, make_folder
from strokelens.crashes import Failure, tried
from strokelens.errors import OutputError
from strokelens.prediction.batch import Plan
from strokelens.prediction.done import key_of

CASES: Final = "cases"
"""The folder of the cases' numbers."""

Numbers = Mapping[str, Any]
"""What is told of a case, plain values."""

Work = Callable[[Entry], Numbers]


class Job(Protocol):
    """What is done with each case."""

    def of(self, entry: Entry) -> Numbers:
        """The numbers of a case."""

    def lacks(self, entry: Entry) -> bool:
        """Whether a case whose numbers are there has to be done again."""


@dataclass(frozen=True)
class Done:
    """A case with its numbers, or why it has none; `kept` ones were there before."""

    case_id: str
    person: str
    numbers: Numbers | None = None
    failure: str | None = None
    kept: bool = False


def recipe_of(plan: Plan, recipe: Mapping[str, object]) -> dict[str, Any]:
    """All that must be the same for a folder to be gone on with, as JSON has it."""
    told: dict[str, Any] = {"software": f"strokelens {__version__}", "models": plan.sha256, **recipe}
    found: dict[str, Any] = json.loads(json.dumps(told))
    return found


def worked(
    entries: Sequence[Entry], plan: Plan, job: Job, out: Path, *, recipe: Mapping[str, object], marker: str
) -> Iterator[Done]:
    """The numbers of each case, in order; those on disk that the same recipe and files gave are kept.

    Raises `OutputError` where `out` is of another recipe, of `recipe_of`, or no folder of this verb.
    """
    _check(out, recipe, marker)
    make_folder(out / CASES)
    if not (out / marker).is_file():
        part = out / f".{marker}"
        write_json(part, {"recipe": recipe})
        part.replace(out / marker)
    for entry in entries:
        path = out / CASES / f"{entry.id}.json"
        key = _key(entry, plan)
        numbers = _earlier(path, key)
        if numbers is not None and not job.lacks(entry):
            yield Done(entry.id, entry.person, numbers, kept=True)
            continue
        done = _attempted(entry, job.of)
        if done.numbers is not None:
            part = path.with_name(f".{path.name}")
            write_json(part, {"key": key, "numbers": plain(done.numbers)})
            part.replace(path)
        yield done if done.numbers is None else replace(done, numbers=plain(done.numbers))


def _key(entry: Entry, plan: Plan) -> str:
    """The SHA-256 of all that has a part in the numbers, the truth too; empty where a file cannot be read."""
    try:
        return key_of(entry, plan.models[0].recipe)
    except OSError:
        return ""


def begin_anew(out: Path, marker: str) -> None:
    """Remove what this verb wrote in a folder; another folder is left alone."""
    if (out / marker).is_file():
        clear(out)


def plain(value: Any) -> Any:
    """The same for JSON: null in place of what is no number, lists in place of tuples.

    >>> plain({"a": float("nan"), "b": (1.0,)})
    {'a': None, 'b': [1.0]}
    """
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _check(out: Path, recipe: Mapping[str, object], marker: str) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        found = json.loads((out / marker).read_text(encoding="utf-8"))["recipe"]
    except (OSError, ValueError, TypeError, KeyError):
        raise OutputError(f"{out} exists, and is none of `strokelens explain`; give another --out") from None
    if found != recipe:
        differ = ", ".join(key for key in recipe if key not in found or found[key] != recipe[key])
        raise OutputError(
            f"{out} was begun with other models or options (of its {marker}, {differ}); "
            "give another --out, or --overwrite"
        )


def _earlier(path: Path, key: str) -> Numbers | None:
    """The numbers of a case that is done, if its files are still the same."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        numbers: Numbers = told["numbers"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return numbers if key and told.get("key") == key else None


def _attempted(entry: Entry, work: Work) -> Done:
    """A case's numbers, or why there are none."""
    found = tried(entry.id, lambda: work(entry))
    if isinstance(found, Failure):
        return Done(entry.id, entry.person, failure=found.message)
    return Done(entry.id, entry.person, found)
