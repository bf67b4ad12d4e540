"""The cases of a simulated cohort that are on disk, as `phantom.json` tells of them, and who may add to them."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from strokelens.cohorts.folder import SIMULATED, check_out
from strokelens.cohorts.written import Written
from strokelens.errors import OutputError
from strokelens.phantom.kinds import Job

STAGE = ".phantom-"
"""How the names of hidden folders begin that hold what is not whole."""

_TUPLES = ("spacing_mm", "channels", "classes")


@dataclass(frozen=True)
class Made:
    """A case that is on disk, or why there is none; `places` has its folders, and how many files each holds."""

    job: Job
    row: Written | None
    volumes_ml: Mapping[str, float]
    failure: str | None = None
    places: Mapping[str, int] = field(default_factory=dict)

    @property
    def record(self) -> dict[str, object]:
        """Plain values for JSON."""
        told: dict[str, object] = {"name": self.job.name, "seed": self.job.seed, "simulated": True}
        if self.row is None:
            return told | {"failure": self.failure}
        return told | {"volumes_ml": dict(self.volumes_ml), "row": asdict(self.row), "places": dict(self.places)}


def places_in(folder: Path, name: str) -> dict[str, int]:
    """The folders of the case `name` below `folder` with the number of their files; else 1 for each file."""
    places: dict[str, int] = {}
    for where, _, files in os.walk(folder):
        place = Path(where).relative_to(folder)
        if name in place.parts:
            places |= {place.as_posix(): len(files)} if files else {}
        else:
            places |= {(place / file).as_posix(): 1 for file in files}
    return dict(sorted(places.items()))


def earlier(out: Path, jobs: Sequence[Job], recipe: Mapping[str, object], *, overwrite: bool) -> dict[str, Made] | None:
    """The cases of the same plan that are whole in `out`; None where something else is there that may be removed.

    Raises `OutputError` where it may not.
    """
    if not os.path.lexists(out) or (out.is_dir() and all(each.name.startswith(STAGE) for each in out.iterdir())):
        return {}
    found = _read(out / SIMULATED) if not overwrite else None
    if found is None or found.get("recipe") != recipe:
        check_out(out, marker=SIMULATED, overwrite=overwrite)
        return None
    cases = found["cases"]
    assert isinstance(cases, list)
    of = {job.name: job for job in jobs}
    named = [case for case in cases if isinstance(case, dict) and isinstance(case.get("name"), str)]
    if not {case["name"] for case in named} <= of.keys():
        raise OutputError(f"{out} has {len(cases)} cases of this cohort; ask for as many --cases, or --overwrite it")
    kept = (_kept(case, of[case["name"]], out) for case in named)
    return {made.job.name: made for made in kept if made is not None}


def _read(path: Path) -> dict[str, object] | None:
    """What an earlier run told; None where there was none, or it is damaged."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and isinstance(told.get("cases"), list) else None


def _kept(case: Mapping[str, object], job: Job, out: Path) -> Made | None:
    """The case that a row tells of; None where the row is damaged, or a file is missing: it is made again."""
    row, volumes, places = (case.get(name) for name in ("row", "volumes_ml", "places"))
    if not (isinstance(row, dict) and isinstance(volumes, dict) and isinstance(places, dict) and places):
        return None
    try:
        told = Written(**row | {key: tuple(row[key]) for key in _TUPLES})
    except (KeyError, TypeError):
        return None
    whole = all(isinstance(count, int) and _holds(out / place, count) for place, count in places.items())
    return Made(job, told, volumes, places=places) if whole else None


def _holds(place: Path, count: int) -> bool:
    """Whether a place is a file, or a folder with so many files."""
    try:
        return place.is_file() or sum(each.is_file() for each in place.iterdir()) >= count
    except OSError:
        return False
