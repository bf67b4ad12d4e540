"""A case on disk, or in memory, as a network sees it: one way for training and for use."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from strokelens.arrays import Volume
from strokelens.case import SERIES, Case
from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.slice_reader import SliceReader, read_pictures
from strokelens.model import Modality
from strokelens.perfusion.maps import MapSettings, PerfusionMaps, Progress, compute_maps
from strokelens.perfusion.pictured import pictured
from strokelens.prepare import Colours, Recipe, Sample, lacking, prepare

_DEFAULTS = MapSettings()
_MARKS: Final[tuple[Mapping[Modality, frozenset[str]], ...]] = (
    {"CT": frozenset({"CTP"}), "MR": frozenset({"PWI"})},
    {"CT": frozenset({"NCCT", "CTA"}), "MR": frozenset({"ADC", "DWI", "B0", "FLAIR", "T1", "T2"})},
)
"""The channels that only CT or only MR gives, the most telling ones first."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A sample, the case that it was made of, and the maps that were computed where the case has a series instead.

    `modality` is None where the files do not tell it.
    """

    sample: Sample
    case: Case
    perfusion: PerfusionMaps | None = None
    modality: Modality | None = None


def sample_of(entry: Entry, recipe: Recipe) -> Seen:
    """A case of a cohort as the recipe wants it: its own coloured slices where the recipe is of colours and they are.

    Raises what reading and `seen` raise.
    """
    wanted = channels_of(entry, recipe)
    absent = next((name for name in wanted if name not in entry.files), None)
    if absent is not None and entry.usable:
        raise lacking(entry.id, absent, entry.files)
    if colours_are_there(entry, recipe):
        shown = read_pictures(entry, channels=wanted)
        simulated = isinstance(entry.reader, SliceReader) and entry.reader.simulated
        case = Case(shown.id, shown.grid, {}, shown.truth, shown.clinical, shown.group, simulated=simulated)
        return Seen(prepare(case, recipe, shown.channels), case, modality="CT")
    found = seen(entry.read(channels=wanted), recipe)
    return replace(found, modality=modality_of(entry))


def seen(
    case: Case,
    recipe: Recipe,
    colours: Mapping[str, Colours] | None = None,
    *,
    maps: MapSettings = _DEFAULTS,
    progress: Progress | None = None,
) -> Seen:
    """A case as the recipe wants it; maps that it lacks are computed of its series, where it has one.

    `colours` are its own pictures. Raises `CaseError` when a map is lacking all the same, and what `compute_maps`
    raises.
    """
    modality: Modality | None = "CT" if colours else told_modality(case.channels)
    has_series = any(name in case.channels for name in SERIES)
    if not has_series or all(name in case.channels for name in recipe.maps):
        return Seen(prepare(case, recipe, colours), case, modality=modality)
    perfusion = compute_maps(case, maps, progress)
    whole = replace(case, channels={**pictured(case, perfusion), **_maps_of(case)}, time_s=None)
    return Seen(prepare(whole, recipe, colours), case, perfusion, modality)


def modality_of(entry: Entry) -> Modality | None:
    """What a case of a cohort was scanned with; coloured slices are of CT perfusion."""
    return "CT" if isinstance(entry.reader, SliceReader) else told_modality(entry.files)


def told_modality(channels: Collection[str]) -> Modality | None:
    """What channels were scanned with, by the series if there is one; None where they tell neither, or both.

    >>> told_modality(["CBF", "Tmax", "ADC"]), told_modality(["CTP", "DWI"]), told_modality(["CBF"])
    ('MR', 'CT', None)
    """
    for marks in _MARKS:
        found = [modality for modality, names in marks.items() if not names.isdisjoint(channels)]
        if len(found) == 1:
            return found[0]
    return None


def colours_are_there(entry: Entry, recipe: Recipe) -> bool:
    """Whether the case's own pictures are what the recipe wants."""
    return recipe.form == "colours" and isinstance(entry.reader, SliceReader)


def channels_of(entry: Entry, recipe: Recipe) -> tuple[str, ...]:
    """What is read of a case: the recipe's maps; where one is lacking and there is a series, that and the others."""
    series = [name for name in entry.files if name in SERIES]
    if all(name in entry.files for name in recipe.maps):
        return recipe.maps
    if not series:
        there = tuple(name for name in recipe.maps if name in entry.files)
        return there if recipe.may_lack and there else recipe.maps
    return (*series[:1], *(name for name in recipe.maps if name in entry.files))


def _maps_of(case: Case) -> dict[str, Volume]:
    return {name: array for name, array in case.channels.items() if name not in SERIES}
