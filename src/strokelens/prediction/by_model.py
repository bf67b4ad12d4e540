"""One case in, one finding out: by networks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Final

from strokelens.case import Case
from strokelens.finding import Finding, Method
from strokelens.model import Model
from strokelens.perfusion.maps import MapSettings, Progress
from strokelens.prediction.doubts import CLINICAL_WORDS, clinical_facts, model_flags
from strokelens.prediction.networks import PLAIN, How, check_alike, predicted
from strokelens.prediction.samples import Seen, seen
from strokelens.prediction.scene import (
    PERFUSION_MAPS,
    Scene,
    case_flags,
    echo_flags,
    measured,
    scene_of_maps,
    scene_of_series,
)
from strokelens.prepare import Colours, Form, Recipe, segmentation

_DEFAULTS = MapSettings()
_FORMS: Final[Mapping[Form, str]] = {
    "colours": "in colours",
    "values": "in their units",
    "relative": "relative to the head's median",
    "robust": "in standard deviations over the head",
}


def segment_with(
    models: Sequence[Model],
    case: Case,
    how: How = PLAIN,
    *,
    colours: Mapping[str, Colours] | None = None,
    maps: MapSettings = _DEFAULTS,
    weights_sha256: Sequence[str] = (),
    progress: Progress | None = None,
) -> Finding:
    """What networks find in a case; several are averaged. The finding is as `segment` gives it by thresholds.

    A perfusion series gives maps first, in the vendors' calibration; `colours` are the case's own pictures, which a
    model of colours then sees. `weights_sha256` are the hashes of the models' files, to be told. Raises `CaseError`
    when a map is lacking, and what `predicted` and `compute_maps` raise.
    """
    started = perf_counter()
    check_alike(models)
    case = replace(case, truth=None)
    found = seen(case, models[0].recipe, colours, maps=maps, progress=progress)
    asked = perf_counter()
    prediction = predicted(models, found.sample, replace(how, doubts=False))
    told = perf_counter()
    if progress is not None:
        progress("network")
    likely = segmentation(prediction.probabilities, found.sample.frame, models[0].scheme)
    finding = measured(_scene(found, models[0].recipe), likely, _method(models))
    finding = replace(
        finding,
        flags=(*case_flags(case), *model_flags(models, found), *finding.flags),
        sources=case.sources,
        settings={**finding.settings, **_facts(how, weights_sha256), **clinical_facts(models, case)},
        timings_s={"network": told - asked, "total": perf_counter() - started},
    )
    return finding if found.perfusion is None else _of_series(finding, found, maps)


def _scene(found: Seen, recipe: Recipe) -> Scene:
    if found.perfusion is not None:
        return scene_of_series(found.case, found.perfusion)
    names = dict.fromkeys((*recipe.maps, *PERFUSION_MAPS, "ADC", "DWI"))
    return scene_of_maps(found.case, {name: found.case[name] for name in names if name in found.case.channels})


def _of_series(finding: Finding, found: Seen, maps: MapSettings) -> Finding:
    """With all that a series tells besides."""
    perfusion = found.perfusion
    assert perfusion is not None
    return replace(
        finding,
        backdrop=perfusion.average,
        vessels=perfusion.vessels,
        flags=(*perfusion.flags, *echo_flags(found.case), *finding.flags),
        settings={**finding.settings, **maps.facts(perfusion.smoothing_mm)},
        timings_s={**perfusion.timings_s, **finding.timings_s},
    )


def _method(models: Sequence[Model]) -> Method:
    """What the models are called, see, and were trained on."""
    first = models[0]
    beside = [CLINICAL_WORDS[name] for name in first.recipe.clinical]
    saw = f"{', '.join(first.recipe.maps)} {_FORMS[first.recipe.form]}{''.join(f', {word}' for word in beside)}"
    told = "; ".join(dict.fromkeys(model.card.trained_on for model in models))
    mean = f"mean of {len(models)} networks" if len(models) > 1 else "network"
    names = "+".join(dict.fromkeys(model.settings.name for model in models))
    source = f"strokelens train {first.card.version}, split {first.card.split_sha256[:12] or 'unknown'}"
    return Method(f"network:{names}", f"{mean} on {saw}; {told}", source, {})


def _facts(how: How, weights_sha256: Sequence[str]) -> dict[str, float | str]:
    hashes: dict[str, float | str] = {"weights_sha256": ", ".join(weights_sha256)} if weights_sha256 else {}
    return hashes | {
        "mirrored": "on" if how.mirrored else "off",
        "dropout_samples": how.dropout_samples,
        "precision": how.precision,
    }
