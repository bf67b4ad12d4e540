"""The pictures of an evaluation: volumes after Bland and Altman, and Dice against how rare the lesion is."""

import numpy as np

from strokelens.evaluation.results import Evaluation
from strokelens.evaluation.summaries import by_person, dice, prediction_ml, rarity, truth_ml
from strokelens.metrics.agreement import bland_altman
from strokelens.report.figures import figure_png
from strokelens.report.scatter import Cloud, scatter
from strokelens.report.tabular import Picture


def pictures(evaluation: Evaluation) -> tuple[Picture, ...]:
    """Both pictures; none where no case has a score."""
    if not evaluation.classes:
        return ()
    volumes = scatter(agreement(evaluation), across="mean of both, ml", up="prediction − truth, ml")
    rare = scatter(against_rarity(evaluation), across="−log10 of the lesion's share of the image", up="Dice")
    return (
        Picture("Agreement of volumes", "One dot a patient; bias and limits of 95 % dashed.", figure_png(volumes)),
        Picture(
            "Dice against the lesion's size", "Small lesions are to the right, and harder to find.", figure_png(rare)
        ),
    )


def agreement(evaluation: Evaluation) -> list[Cloud]:
    """Difference against mean of the volumes for each model and class, in ml, with bias and limits as lines."""
    clouds = []
    for model in evaluation.models:
        rows = evaluation.of(model)
        for name in evaluation.classes:
            true, predicted = by_person(rows, name, truth_ml), by_person(rows, name, prediction_ml)
            limits = bland_altman(true, predicted)
            lines = (limits.bias, limits.lower, limits.upper)
            clouds.append(Cloud(model, name, (true + predicted) / 2, predicted - true, lines))
    return clouds


def against_rarity(evaluation: Evaluation) -> list[Cloud]:
    """Dice against −log10 of the share of voxels that the truth marks, for each model and class."""
    found = []
    for model in evaluation.models:
        rows = evaluation.of(model)
        for name in evaluation.classes:
            x, y = by_person(rows, name, rarity), by_person(rows, name, dice)
            known = ~np.isnan(x)
            found.append(Cloud(model, name, x[known], y[known]))
    return found
