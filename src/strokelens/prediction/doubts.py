"""What in a sample is other than what its networks were trained with, before anything is predicted."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from strokelens.arrays import Mask, Volume
from strokelens.case import Case
from strokelens.cohorts.slice_reader import BY_BAR, NO_BAR
from strokelens.flags import Flag
from strokelens.model import Model
from strokelens.perfusion.colormap import BAR_RANGES
from strokelens.perfusion.pictured import FLOW_FACTOR
from strokelens.prediction.samples import Seen
from strokelens.prediction.scene import brain_of_maps, gap_flags
from strokelens.prepare import Recipe

_CALIBRATED: Final = ("colours", "values")
"""The forms in which a factor of a map's values matters."""

_MOST_SCALE: Final = 1.2
"""Training grows and shrinks its slices by a tenth: lesions of twice that are of a size that no network saw."""

_SIMULATED_MODEL: Final = Flag(
    "simulated-model",
    "the model was trained on simulated patients only: what it finds in real ones is evidence of nothing",
    grave=True,
)


CLINICAL_WORDS: Final[Mapping[str, str]] = {
    "nihss": "NIHSS",
    "age_years": "age",
    "female": "sex",
    "since_stroke_min": "time since stroke",
    "to_treatment_min": "time to treatment",
    "tici": "TICI",
    "mrs": "mRS",
}


def model_flags(models: Sequence[Model], found: Seen) -> tuple[Flag, ...]:
    """The remarks on models and what they see: simulated patients, other pixels or scanners, strange flow, gaps.

    Clinical values that a model takes into account, and that are not known, are told, too.
    """
    simulated = (_SIMULATED_MODEL,) if any(model.card.simulated for model in models) else ()
    recipe = models[0].recipe
    other = (*_scale_flags(models, found), *_modality_flags(models, found), *_clinical_flags(recipe, found.case))
    return (*simulated, *other, *_flow_flags(found, recipe), *gaps_of(found, recipe))


def clinical_facts(models: Sequence[Model], case: Case) -> dict[str, float | str]:
    """The clinical values that the models saw."""
    return {f"network_{name}": case.clinical.get(name, "unknown") for name in models[0].recipe.clinical}


def gaps_of(found: Seen, recipe: Recipe) -> tuple[Flag, ...]:
    """Where a map has no value, which is black or 0, a network guesses: say so when that is much of the brain."""
    if found.perfusion is not None:
        maps = {name: each for name, each in found.perfusion.maps.items() if name in recipe.maps}
        return gap_flags(maps, found.perfusion.brain) if maps else ()
    maps = {name: found.case[name] for name in recipe.maps if name in found.case.channels}
    if maps:
        return gap_flags(maps, brain_of_maps(maps)) if _any_value(maps) else ()
    shown = _shown(found, recipe)
    brain: Mask = np.any(list(shown.values()), axis=0) if shown else np.zeros((0, 0, 0), bool)
    return gap_flags({name: np.where(each, np.float32(1), np.nan) for name, each in shown.items()}, brain)


def _any_value(maps: Mapping[str, Volume]) -> bool:
    return any(bool((np.nan_to_num(volume) != 0).any()) for volume in maps.values())


def _shown(found: Seen, recipe: Recipe) -> dict[str, Mask]:
    """Where the case's own pictures show a colour, by map; black is a value of grey ones, which are left out."""
    step = recipe.colours
    return {
        name: np.any(found.sample.x[:, at * step : (at + 1) * step], axis=1)
        for at, name in enumerate(recipe.maps)
        if name in BAR_RANGES
    }


def _scale_flags(models: Sequence[Model], found: Seen) -> tuple[Flag, ...]:
    """A network knows sizes in pixels, not in mm."""
    here = found.sample.frame.pixel_mm
    for model in models:
        trained = model.card.pixel_mm
        if trained is not None and not 1 / _MOST_SCALE <= here / trained <= _MOST_SCALE:
            message = (
                f"a pixel of the network is {here:.2g} mm here and was {trained:.2g} mm where "
                f"{model.settings.name} was trained, and it knows no other size; resample the case to that"
            )
            return (Flag("other-scale", message, grave=True),)
    return ()


def _clinical_flags(recipe: Recipe, case: Case) -> tuple[Flag, ...]:
    lacking = [CLINICAL_WORDS[name] for name in recipe.clinical if name not in case.clinical]
    if not lacking:
        return ()
    told = f"{' and '.join(lacking)} not known to the network, which takes it into account: the mask may change"
    return (Flag("clinical-unknown", told),)


def _modality_flags(models: Sequence[Model], found: Seen) -> tuple[Flag, ...]:
    for model in models:
        trained = model.card.modality
        if trained is not None and found.modality not in (None, trained):
            message = (
                f"this is {found.modality}, and {model.settings.name} was trained on {trained}, whose maps have other "
                f"values; take a model that was trained on {found.modality}"
            )
            return (Flag("other-modality", message, grave=True),)
    return ()


def _flow_flags(found: Seen, recipe: Recipe) -> tuple[Flag, ...]:
    """Whose flow a file holds cannot be seen; ours is calibrated only where the series is given."""
    is_file = found.perfusion is None and "CBF" in recipe.maps and "CBF" in found.case.channels
    if not is_file or _from_pictures(found.case) or recipe.form not in _CALIBRATED:
        return ()
    message = (
        "CBF came as a file, and networks know it as vendors calibrate it, which cannot be seen; `strokelens maps` "
        f"gives 1/{FLOW_FACTOR:.1f} of that: where these are its maps, give the series instead"
    )
    return (Flag("flow-calibration", message),)


def _from_pictures(case: Case) -> bool:
    """Whether the flow was decoded from a vendor's picture."""
    source = case.sources.get("CBF")
    return source is not None and any(each in source.note for each in (BY_BAR, NO_BAR))
