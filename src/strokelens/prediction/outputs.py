"""What is written of a case that networks predicted: the segmentation; and, where wanted, doubts and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from strokelens.arrays import Mask, Volume
from strokelens.case import Segmentation
from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.encode import write_image, write_segmentation
from strokelens.cohorts.slices import write_picture
from strokelens.errors import StrokelensError
from strokelens.flags import Flag
from strokelens.frames import Lattice
from strokelens.grid import Grid
from strokelens.labels import BACKGROUND, BRAIN
from strokelens.model import Model
from strokelens.prediction.doubts import model_flags
from strokelens.prediction.networks import How, Prediction, predicted
from strokelens.prediction.samples import Seen, sample_of
from strokelens.prediction.scene import case_flags, echo_flags, region_flags
from strokelens.prepare import Sample, scaled, segmentation
from strokelens.report import slices


@dataclass(frozen=True)
class Outputs:
    """What is written besides the segmentation: probabilities, uncertainty, heat maps of classes, other pictures."""

    probabilities: bool = False
    uncertainty: bool = False
    heatmaps: bool = False
    png: bool = False

    @property
    def draws(self) -> bool:
        """Whether pictures are drawn, which show the truth where there is one."""
        return self.heatmaps or self.png


NOTHING_ELSE = Outputs()
"""The segmentation alone."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """A case that was predicted: its sample, the prediction, both as classes, and the truth if it is to be drawn.

    `flags` are what a reader must know of it.
    """

    sample: Sample
    prediction: Prediction
    segmentation: Segmentation
    simulated: bool
    truth: Segmentation | None = None
    flags: tuple[Flag, ...] = ()


def predict_case(entry: Entry, models: Sequence[Model], how: How, outputs: Outputs) -> Predicted:
    """Read a case and predict it; no truth is needed, and none is looked at but to be drawn.

    Raises what reading and predicting raise.
    """
    found = sample_of(replace(entry, truth=None), models[0].recipe)
    prediction = predicted(models, found.sample, replace(how, doubts=outputs.uncertainty))
    likely = segmentation(prediction.probabilities, found.sample.frame, models[0].scheme)
    flags = _flags(found, models, likely)
    truth = None
    if outputs.draws and entry.truth is not None:
        truth, missed = _drawable(entry, likely.grid)
        flags += missed
    return Predicted(found.sample, prediction, likely, found.case.simulated, truth, flags)


def _flags(found: Seen, models: Sequence[Model], likely: Segmentation) -> tuple[Flag, ...]:
    """What is doubtful about the case, its maps, the models, and what they find."""
    case, perfusion = found.case, found.perfusion
    of_series = () if perfusion is None else (*perfusion.flags, *echo_flags(case))
    region = likely.mask(*(label.name for label in likely.scheme if label not in (BACKGROUND, BRAIN)))
    brain = _restored((found.sample.x != 0).any(axis=1).astype(np.float32), found.sample.frame) > 0.5
    of_region = region_flags(region, brain, likely.grid) if brain.any() else ()
    return (*of_series, *case_flags(case), *model_flags(models, found), *of_region)


def _drawable(entry: Entry, grid: Grid) -> tuple[Segmentation | None, tuple[Flag, ...]]:
    """The truth on the case's grid; where it cannot be drawn, a flag tells why."""
    try:
        truth = entry.read_truth().truth
    except (StrokelensError, OSError) as error:
        return None, (Flag("truth-not-drawn", f"pictures are without the truth: {' '.join(str(error).split())}"),)
    placed = None if truth is None else truth.reordered(grid)
    if placed is None:
        return None, (Flag("truth-not-drawn", "pictures are without the truth: its voxels lie on another grid"),)
    return placed, ()


def write_outputs(case: Predicted, models: Sequence[Model], outputs: Outputs, folder: Path) -> None:
    """Write a case into a folder of its own: `segmentation.nii.gz` with its table of classes, and what is wanted."""
    likely = case.segmentation
    facts: dict[str, object] = {
        "Model": "; ".join(model.name for model in models),
        "TrainedOn": "; ".join(dict.fromkeys(model.card.trained_on for model in models)),
    }
    write_segmentation(
        folder / "segmentation.nii.gz", likely, facts=facts | ({"Simulated": True} if case.simulated else {})
    )
    if outputs.probabilities:
        for name, values in likely.probabilities.items():
            _write(folder / f"prob_{name}.nii.gz", values, likely, f"probability of {name}")
    if outputs.uncertainty:
        _write_uncertainty(folder, case.prediction, case.sample.frame, likely)
    if outputs.draws:
        _draw_heat(folder / "HEATMAP", case)
    if outputs.png:
        _draw_classes(folder, case, models[0])


def _write(path: Path, values: Volume, likely: Segmentation, description: str) -> None:
    write_image(path, values, likely.grid, description=description)


def _write_uncertainty(folder: Path, prediction: Prediction, frame: Lattice, likely: Segmentation) -> None:
    """The entropy, and with several members their disagreement."""
    _write(folder / "entropy.nii.gz", _restored(prediction.entropy, frame), likely, "entropy, 0 sure to 1 any class")
    if prediction.information is not None:
        information = _restored(prediction.information, frame)
        _write(
            folder / "mutual_information.nii.gz", information, likely, "part of the entropy that members disagree by"
        )
    if prediction.deviation is not None:
        spread = frame.restored(prediction.deviation)
        for at, label in enumerate(likely.scheme):
            if at > 0:
                told = f"standard deviation over members of the probability of {label.name}"
                _write(folder / f"deviation_{label.name}.nii.gz", spread[at], likely, told)


def _draw_heat(folder: Path, case: Predicted) -> None:
    """The probability of each class in heat over the truth, else over what the network saw."""
    likely = case.segmentation
    saw = _restored(scaled(case.sample.x).mean(axis=1), case.sample.frame)
    under = slices.backdrop_slices(likely, saw) if case.truth is None else slices.grey_slices(case.truth)
    for label in likely.scheme:
        if label not in (BACKGROUND, BRAIN):
            for name, each, below in _numbered(slices.slices(likely, likely.probabilities[label.name]), under):
                write_picture(folder / f"{name}_heatmap_{label.name}.png", slices.heat(each, below))


def _draw_classes(folder: Path, case: Predicted, model: Model) -> None:
    """The classes in grey; and where there is a truth, that and its outline."""
    likely, truth = case.segmentation, case.truth
    old = model.settings.legacy
    grey = slices.ancestor_slices(likely, _brain(model, case.sample)) if old else slices.grey_slices(likely)
    for name, each, _ in _numbered(grey, grey):
        write_picture(folder / f"{name}.png", each)
    if truth is not None:
        for name, each, drawn in _numbered(slices.grey_slices(truth), slices.outlined_slices(grey, truth)):
            write_picture(folder / "GT" / f"{name}.tiff", each.astype(np.uint16) * np.uint16(257))
            write_picture(folder / "TMP" / f"{name}.png", drawn)


def _numbered(first: list[np.ndarray], second: list[np.ndarray]) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Slices of two volumes with the number that is their name, from 01 on."""
    return [(f"{at:02d}", *both) for at, both in enumerate(zip(first, second, strict=True), start=1)]


def _brain(model: Model, sample: Sample) -> Mask:
    """Where the projection shows something, as the ancestor had it; where a model sees none, where any map does."""
    maps, colours = model.recipe.maps, model.recipe.colours
    first = maps.index("MIP") * colours if "MIP" in maps else 0
    seen = sample.x[:, first : first + colours] if "MIP" in maps else sample.x
    return _restored((seen != 0).any(axis=1).astype(np.float32), sample.frame) > 0.5


def _restored(values: Float[np.ndarray, "z s s"], frame: Lattice) -> Float32[np.ndarray, "i j k"]:
    restored: Float32[np.ndarray, "i j k"] = frame.restored(values[:, None])[0]
    return restored
