"""Which cases train, validate and test: drawn by person, stratified by group, from a seed; kept with a hash.

A person is in one part with all scans, and cases with the same image, byte for byte, are of one person. Mirrored copies
may train; where their person validates or tests they are left out, for they are no further patients.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.resources import files
from math import floor
from pathlib import Path
from random import Random
from typing import Final

from strokelens.cohorts.cohort import Cohort, Entry
from strokelens.cohorts.copies import persons
from strokelens.cohorts.encode import write_json
from strokelens.cohorts.json_files import is_names, read_json
from strokelens.errors import CohortError, FileError, shortened

FORMAT: Final = "strokelens split 2"
"""What a file of a split calls itself."""

TRAIN, VALIDATION, TEST = "train", "validation", "test"

_NO_SPLIT = "{} is no split by strokelens; give the file that it wrote"
_PUBLISHED = "stavanger.json"
_BY_PERSON = "draw it by person"
_COPY = "a copy, byte for byte, of"


@dataclass(frozen=True, eq=False)
class Split:
    """The ids of each part, sorted; `method` tells how they were drawn, and `left_out` who is in no part.

    Raises `CohortError` at birth when an id is in two parts, or twice in one.
    """

    parts: Mapping[str, tuple[str, ...]]
    method: str = ""
    seed: int | None = None
    left_out: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        parts = {name: tuple(sorted(ids)) for name, ids in self.parts.items()}
        seen: dict[str, str] = {}
        for name, ids in parts.items():
            for case_id in ids:
                if seen.get(case_id) == name:
                    raise CohortError(f"{case_id} is twice in {name}; give each case once")
                if case_id in seen:
                    raise CohortError(
                        f"{case_id} is in two parts of the split, {seen[case_id]} and {name}; leave it in one"
                    )
                seen[case_id] = name
        object.__setattr__(self, "parts", parts)

    def __getitem__(self, part: str) -> tuple[str, ...]:
        if part not in self.parts:
            raise CohortError(f"the split has no part {part!r}; it has {', '.join(self.parts)}")
        return self.parts[part]

    @property
    def sha256(self) -> str:
        """The hash of all that the split tells: who is in which part or in none, seed and method; in whatever order."""
        parts = {name: list(ids) for name, ids in sorted(self.parts.items())}
        text = json.dumps([parts, sorted(self.left_out), self.seed, self.method], separators=(",", ":"))
        return sha256(text.encode()).hexdigest()


def split(cohort: Cohort | Iterable[Entry], *, validation: float = 0.2, test: float = 0.2, seed: int) -> Split:
    """Draw parts of the persons: these shares of them validate and test, in each group alike; the others train.

    Cases that cannot be used are left out. The total of a part is the nearest whole number; groups with the largest
    remainders get what rounding leaves. The same persons and seed give the same split, in whatever order they come.

    Raises `CohortError` when the shares leave nobody to train.
    """
    if not 0 <= validation < 1 or not 0 <= test < 1 or validation + test >= 1:
        raise CohortError(f"shares of {validation:g} and {test:g} leave nobody to train; give less than 1 together")
    (persons, unusable), order = _persons(cohort), Random(seed)
    groups = _groups(persons, order)
    testing = _taken(groups, test, sum(map(len, groups.values())))
    total = sum(map(len, groups.values()))
    rest = {group: names[testing[group] :] for group, names in groups.items()}
    validating = _taken(rest, validation * total / max(1, sum(map(len, rest.values()))), sum(map(len, rest.values())))
    chosen = {
        TEST: [name for group, names in groups.items() for name in names[: testing[group]]],
        VALIDATION: [name for group, names in rest.items() for name in names[: validating[group]]],
    }
    method = f"by person, stratified by group, {validation:g} to validate, {test:g} to test"
    return _split(persons, chosen, method, seed, unusable)


def folds(cohort: Cohort | Iterable[Entry], count: int, *, seed: int) -> tuple[Split, ...]:
    """Draw `count` splits in each of which another part of the persons validates, of each group alike.

    Raises `CohortError` when there are fewer persons than folds, or fewer than two folds.
    """
    persons, unusable = _persons(cohort)
    dealt = [name for names in _groups(persons, Random(seed)).values() for name in names]
    if not 2 <= count <= len(dealt):
        raise CohortError(f"{count} folds of {len(dealt)} persons are not possible; give 2 to {len(dealt)}")
    method = f"fold {{}} of {count}, by person, stratified by group"
    chosen = [{VALIDATION: dealt[at::count]} for at in range(count)]
    return tuple(_split(persons, each, method.format(at + 1), seed, unusable) for at, each in enumerate(chosen))


def leaks(drawn: Split, cohort: Cohort) -> tuple[str, ...]:
    """What is wrong with a split of this cohort: persons in two parts, also by copies of any kind; ids not there.

    Then the cases that are in no part and not left out, for nobody would miss them; mirrored copies need no part.
    """
    return tuple(said for said, _ in _wrong(drawn, cohort))


def checked(drawn: Split, cohort: Cohort) -> Split:
    """The split, if it fits the cohort and does not leak; `CohortError` tells the first of what is wrong."""
    found = _wrong(drawn, cohort)
    if found:
        said, cure = found[0]
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise CohortError(f"the split does not fit: {said}{more}; {cure}")
    return drawn


def _wrong(drawn: Split, cohort: Cohort) -> list[tuple[str, str]]:
    """What `leaks` tells, each with its cure."""
    known = {entry.id for entry in cohort}
    strange = [f"{name} ({part}) is not in {cohort.folder}" for name, part in _placed(drawn) if name not in known]
    placed = {name for name, _ in _placed(drawn)} | set(drawn.left_out)
    lost = [f"{entry.id} is in no part" for entry in cohort if not entry.mirrored and entry.id not in placed]
    kinds = (
        (_twice(drawn, cohort), _BY_PERSON),
        (strange, "give the cohort that was split"),
        (lost, "draw it anew with all cases"),
    )
    return [(said, cure) for findings, cure in kinds for said in findings]


def cases_of(drawn: Split, part: str, cohort: Cohort) -> tuple[Entry, ...]:
    """The cases of a part of a split, in the cohort's order; other parts may be elsewhere.

    Raises `CohortError` when there is no such part, cases of it are not in the cohort, or the split leaks.
    """
    ids, known = set(drawn[part]), {entry.id for entry in cohort}
    lacking = sorted(ids - known)
    if lacking:
        shown = shortened(lacking, most=3)
        told = f"{len(lacking)} of {len(ids)} cases of the part {part} are not in {cohort.folder} ({shown})"
        raise CohortError(f"{told}; give the cohort that was split")
    if twice := _twice(drawn, cohort):
        raise CohortError(f"the split leaks: {twice[0]}; {_BY_PERSON}")
    return tuple(entry for entry in cohort if entry.id in ids)


def _placed(drawn: Split) -> list[tuple[str, str]]:
    """Each id with its part."""
    return [(name, part) for part, names in drawn.parts.items() for name in names]


def _twice(drawn: Split, cohort: Cohort) -> list[str]:
    """The cases of a cohort whose person is in another part, too."""
    found = []
    first_of: dict[str, tuple[Entry, str]] = {}
    entries = {entry.id: entry for entry in cohort}
    person_of = persons(cohort)
    for name, part in _placed(drawn):
        if name not in entries:
            continue
        entry = entries[name]
        first, its_part = first_of.setdefault(person_of[name], (entry, part))
        if its_part != part:
            mirrored = entry.mirrored or first.mirrored
            how = "a mirrored copy of" if mirrored else "the same person as" if entry.person == first.person else _COPY
            found.append(f"{name} ({part}) is {how} {first.id} ({its_part})")
    return found


def content_of(drawn: Split) -> dict[str, object]:
    """A split as plain values for JSON, with its hash."""
    return {
        "format": FORMAT,
        "method": drawn.method,
        "seed": drawn.seed,
        "sha256": drawn.sha256,
        "parts": {name: list(ids) for name, ids in drawn.parts.items()},
        "left_out": list(drawn.left_out),
    }


def write_split(path: Path, drawn: Split) -> None:
    """Write a split as JSON with its hash."""
    write_json(path, content_of(drawn))


def read_split(path: Path) -> Split:
    """A split from its file.

    Raises `FileError` when it is none, `CohortError` when it is not what was written.
    """
    return _parsed(read_json(path, what="split", otherwise=_NO_SPLIT.format(path.name)), path.name)


@cache
def published_split() -> Split:
    """The split of the 152 Stavanger patients in the released code: 89 train, 30 validate, 33 test.

    The testing patients are those that two neuroradiologists annotated. The validating ones are reproduced from the
    others by Python's random numbers: sorted, shuffled and sampled with seed 2; a test does so.
    """
    return _parsed(json.loads((files("strokelens.cohorts") / _PUBLISHED).read_text(encoding="utf-8")), _PUBLISHED)


def _parsed(content: object, name: str) -> Split:
    content = content if isinstance(content, dict) and content.get("format") == FORMAT else {}
    parts = content.get("parts")
    if not isinstance(parts, dict) or not all(is_names(ids) for ids in (*parts.values(), content.get("left_out", []))):
        raise FileError(_NO_SPLIT.format(name))
    seed = content.get("seed")
    found = Split(
        {str(part): tuple(ids) for part, ids in parts.items()},
        str(content.get("method", "")),
        seed if isinstance(seed, int) else None,
        tuple(content.get("left_out", [])),
    )
    if content.get("sha256") != found.sha256:
        raise CohortError(f"{name} was changed after it was written: its hash is {found.sha256[:12]}…; draw it anew")
    return found


def _persons(cohort: Cohort | Iterable[Entry]) -> tuple[dict[str, list[Entry]], list[str]]:
    """The usable entries of each person, sorted by name, and the ids of the others; copies are of one person."""
    found: dict[str, list[Entry]] = defaultdict(list)
    unusable = []
    entries = list(cohort)
    person_of = persons(entries)
    for entry in entries:
        if entry.usable:
            found[person_of[entry.id]].append(entry)
        else:
            unusable.append(entry.id)
    if not found:
        raise CohortError(f"there is nobody to split: of {len(entries)} cases none can be used; inspect the cohort")
    return {name: sorted(found[name], key=lambda entry: entry.id) for name in sorted(found)}, unusable


def _groups(persons: Mapping[str, list[Entry]], order: Random) -> dict[str, list[str]]:
    """The persons of each group: sorted, then shuffled; those who are only there as mirrored copies can only train."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, entries in persons.items():
        if all(entry.mirrored for entry in entries):
            continue
        groups[entries[0].group or ""].append(name)
    shuffled = {}
    for group in sorted(groups):
        names = sorted(groups[group])
        order.shuffle(names)
        shuffled[group] = names
    return shuffled


def _taken(groups: Mapping[str, list[str]], share: float, total: int) -> dict[str, int]:
    """How many of each group make `share` of `total`: rounded down, and the largest remainders up."""
    exact = {group: share * len(names) for group, names in groups.items()}
    taken = {group: floor(value + 1e-9) for group, value in exact.items()}
    left = floor(share * total + 0.5) - sum(taken.values())
    for group in sorted(exact, key=lambda group: (taken[group] - exact[group], group))[: max(0, left)]:
        taken[group] += 1
    return taken


def _split(
    persons: Mapping[str, list[Entry]],
    chosen: Mapping[str, list[str]],
    method: str,
    seed: int,
    unusable: Iterable[str],
) -> Split:
    """The parts of the chosen persons; all others train, and the copies of those who do not train are left out."""
    part_of = {name: part for part, names in chosen.items() for name in names}
    parts: dict[str, list[str]] = {TRAIN: [], VALIDATION: [], TEST: []}
    left_out = list(unusable)
    for name, entries in persons.items():
        part = part_of.get(name, TRAIN)
        for entry in entries:
            if entry.mirrored and part != TRAIN:
                left_out.append(entry.id)
            else:
                parts[part].append(entry.id)
    if not parts[TRAIN]:
        raise CohortError(f"nobody is left to train of {len(persons)} persons; give smaller shares")
    kept = {part: tuple(ids) for part, ids in parts.items() if ids or part == TRAIN}
    return Split(kept, method, seed, tuple(sorted(left_out)))
