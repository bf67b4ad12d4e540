"""What a picture of a case needs, read from disk: its maps, its truth, and what was predicted."""

from strokelens.case import SERIES
from strokelens.cohorts.cohort import Entry
from strokelens.errors import CaseError
from strokelens.report.atlas import Plate


def plate_of(entry: Entry, prediction: Entry | None = None, *, most_slices: int = 4) -> Plate:
    """A case with its maps, and what a prediction's entry says, where it lies on the same grid.

    Raises `CaseError` when the case has no map, and what reading raises.
    """
    names = [name for name in entry.channels if name not in SERIES]
    if not names:
        raise CaseError(f"{entry.id} has no map; draw what `strokelens maps` makes of its series")
    case = entry.read(channels=names)
    found = None if prediction is None else prediction.read_truth().truth
    placed = None if found is None else found.reordered(case.grid)
    if found is not None and placed is None:
        raise CaseError(f"{entry.id}: what was predicted lies on another grid than its maps; predict it again")
    return Plate(case, placed, most_slices=most_slices)
