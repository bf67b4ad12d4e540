"""The layouts that a cohort can have, and which one a folder has."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from strokelens.cohorts.bids_layout import Bids
from strokelens.cohorts.cohort import Cohort, Entry, Layout, Noting
from strokelens.cohorts.ctp_slices import CtpSlices
from strokelens.cohorts.dicom_layout import DicomStudies
from strokelens.cohorts.grand_challenge import GrandChallenge
from strokelens.cohorts.isles2017 import Isles2017
from strokelens.cohorts.isles2022 import Isles2022
from strokelens.cohorts.isles2024 import Isles2024
from strokelens.cohorts.listing import folders_in, listing
from strokelens.cohorts.nifti_folders import NiftiFolders
from strokelens.cohorts.nnunet import NnUnet
from strokelens.cohorts.volumes import VolumeReader
from strokelens.errors import CohortError, hint

LAYOUTS: tuple[Layout, ...] = (
    CtpSlices(),
    Isles2017(),
    Isles2022(),
    Isles2024(),
    NnUnet(),
    GrandChallenge(),
    Bids(),
    DicomStudies(),
    NiftiFolders(),
)
"""Every layout, with the usual settings."""

_LOOKED_INTO = 8


def open_cohort(path: Path, layout: str | Layout | None = None, *, resample: bool = False) -> Cohort:
    """The cohort in a folder; its layout is recognised, or the one that is named or given.

    Only names and tables are read, no voxels. With `resample`, images that lie on other grids, tilted or unevenly are
    brought onto a straight one as they are read, and are no problem for that. A broken case is an entry with an
    unusable problem.

    Raises `CohortError` when no layout fits, two do equally, or none has the name; `FileError` when the folder cannot
    be read.
    """
    folder = Path(path)
    listing(folder)
    chosen = layout_named(layout) if isinstance(layout, str) else layout or recognised(folder)
    if resample and isinstance(chosen, DicomStudies):
        chosen = replace(chosen, reading=replace(chosen.reading, resample=True))
    entries = chosen.entries(folder)
    if resample:
        entries = tuple(_resampled(entry) for entry in entries)
    notes = chosen.notes(folder, entries) if isinstance(chosen, Noting) else ()
    return Cohort(folder, chosen.name, entries, notes)


def _resampled(entry: Entry) -> Entry:
    """The entry, whose images are brought onto one grid."""
    reader = entry.reader
    if not isinstance(reader, VolumeReader):
        return entry
    return replace(entry, reader=replace(reader, reading=replace(reader.reading, resample=True)))


def layout_named(name: str) -> Layout:
    """The layout of a name; `CohortError` with a hint when there is none."""
    named = {layout.name: layout for layout in LAYOUTS}
    if name not in named:
        raise CohortError(f"no layout {name!r}; {hint(name, named)}")
    return named[name]


def recognised(folder: Path, layouts: Sequence[Layout] = LAYOUTS) -> Layout:
    """The most special layout that recognises a folder; `CohortError` when none does, or two equally special ones."""
    found = [layout for layout in layouts if layout.recognises(folder)]
    best = [layout for layout in found if layout.special == max(each.special for each in found)]
    if not best:
        for inner in folders_in(folder)[:_LOOKED_INTO]:
            known = next((layout.name for layout in layouts if layout.recognises(inner)), None)
            if known is not None:
                raise CohortError(f"{folder} is no cohort, but {inner.name} in it is one of layout {known}; give that")
        wanted = "; ".join(f"{layout.name}: {layout.looked_for}" for layout in layouts)
        raise CohortError(f"{folder} has no layout that strokelens knows; looked for {wanted}")
    if len(best) > 1:
        names = " and ".join(layout.name for layout in best)
        raise CohortError(f"{folder} could be of layout {names}; choose one with --layout")
    return best[0]
