"""A case on disk, or in memory, as a network sees it: one way for training and for use."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from strokelens.arrays import Volume
from strokelens.case import SERIES, Case
from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.slice_reader import SliceReader, read_pictures
from strokelens.perfusion.maps import MapSettings, PerfusionMaps, Progress, compute_maps
from strokelens.perfusion.pictured import pictured
from strokelens.prepare import Colours, Recipe, Sample, prepare

_DEFAULTS = MapSettings()


@dataclass(frozen=True, eq=False)
class Seen:
    """A sample, the case that it was made of, and the maps that were computed where the case has a series instead."""

    sample: Sample
    case: Case
    perfusion: PerfusionMaps | None = None


def sample_of(entry: Entry, recipe: Recipe) -> Seen:
    """A case of a cohort as the recipe wants it: its own coloured slices where the recipe is of colours and they are.

    Raises what reading and `seen` raise.
    """
    if colours_are_there(entry, recipe):
        shown = read_pictures(entry, channels=recipe.maps)
        simulated = isinstance(entry.reader, SliceReader) and entry.reader.simulated
        case = Case(shown.id, shown.grid, {}, shown.truth, shown.clinical, shown.group, simulated=simulated)
        return Seen(prepare(case, recipe, shown.channels), case)
    return seen(entry.read(channels=channels_of(entry, recipe)), recipe)


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
    has_series = any(name in case.channels for name in SERIES)
    if not has_series or all(name in case.channels for name in recipe.maps):
        return Seen(prepare(case, recipe, colours), case)
    perfusion = compute_maps(case, maps, progress)
    whole = replace(case, channels={**pictured(case, perfusion), **_maps_of(case)}, time_s=None)
    return Seen(prepare(whole, recipe, colours), case, perfusion)


def colours_are_there(entry: Entry, recipe: Recipe) -> bool:
    """Whether the case's own pictures are what the recipe wants."""
    return recipe.form == "colours" and isinstance(entry.reader, SliceReader)


def channels_of(entry: Entry, recipe: Recipe) -> tuple[str, ...]:
    """What is read of a case: the recipe's maps; where one is lacking and there is a series, that and the others."""
    series = [name for name in entry.files if name in SERIES]
    if not series or all(name in entry.files for name in recipe.maps):
        return recipe.maps
    return (*series[:1], *(name for name in recipe.maps if name in entry.files))


def _maps_of(case: Case) -> dict[str, Volume]:
    return {name: array for name, array in case.channels.items() if name not in SERIES}
