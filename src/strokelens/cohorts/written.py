"""What the tables of a cohort tell of a case that was written: enough to write them without the case."""

from collections.abc import Mapping
from dataclasses import dataclass

from strokelens.case import Case


@dataclass(frozen=True)
class Written:
    """A case on disk: the `name` that its layout gave it, its own `id`, and what is known without its voxels.

    `spacing_mm` is along the grid's axes x, y, z; `classes` are those of its truth, none where there is no truth.
    """

    name: str
    id: str
    group: str | None
    clinical: Mapping[str, float]
    spacing_mm: tuple[float, float, float]
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    simulated: bool


def written(name: str, case: Case) -> Written:
    """What is to be told of a case that was written as `name`."""
    x, y, z = (round(case.grid.spacing_mm[axis], 6) for axis in case.grid.axes)
    classes = () if case.truth is None else case.truth.scheme.names
    return Written(
        name, case.id, case.group, dict(case.clinical), (x, y, z), tuple(case.channels), classes, case.simulated
    )
