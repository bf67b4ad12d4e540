"""A head drawn by hand with a lesion in its right half, and networks with drawn weights that find something in it."""

import numpy as np

from strokelens.case import Case, Segmentation
from strokelens.grid import radiological_grid
from strokelens.labels import LESION_ONLY
from strokelens.model import Model
from strokelens.prediction.samples import Seen, seen
from tests.tiny_models import tiny
from tests.tiny_volumes import tiny_model


def study(*names: str, side: int = 32, depth: int = 5, truth: bool = True, seed: int = 5) -> Case:
    """A round head in air, the first slice of which shows nothing; its lesion has higher values in each map."""
    grid, rng = radiological_grid((side, side, depth), (2.0, 2.0, 5.0)), np.random.default_rng(seed)
    i, j, k = np.indices(grid.shape)
    head = ((i - side / 2 + 0.5) ** 2 + (j - side / 2 + 0.5) ** 2 < (side * 0.4) ** 2) & (k > 0)
    labels = np.zeros(grid.shape, np.uint8)
    labels[side // 4 : side // 2 - 2, side // 3 : side // 2, 1:3] = 1
    maps = {
        name: np.where(head, rng.uniform(0.2, 1, grid.shape) + labels, np.nan).astype(np.float32)
        for name in names or ("ADC", "Tmax")
    }
    told = Segmentation(labels, grid, LESION_ONLY) if truth else None
    return Case("one", grid, maps, told, {"nihss": 10.0}, simulated=True)


def volume_model(seed: int = 2, **told: object) -> Model:
    """A 3D U-Net that calls some of the head lesion."""
    return tiny_model(training={"batch": 1, "seed": seed}, **told)


def seen_by(model: Model, *, truth: bool = True, depth: int = 5) -> Seen:
    """The study as a model sees it; models of slices tell other classes than its truth has, and see none."""
    has_truth = truth and "lesion" in model.scheme.names
    maps, side = model.recipe.maps, model.recipe.size
    return seen(study(*maps, side=side, depth=depth, truth=has_truth), model.recipe)


def slice_model(**told: object) -> Model:
    """A fusion network of slices, or of windows of them."""
    return tiny(**told)  # type: ignore[arg-type]
