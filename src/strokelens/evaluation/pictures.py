"""The pictures of an evaluation: volumes after Bland and Altman, and Dice against how rare the lesion is."""

from collections.abc import Sequence

import numpy as np

from strokelens.evaluation.overview import Overview
from strokelens.evaluation.people import dice, jointly, rarity
from strokelens.evaluation.results import Evaluation
from strokelens.evaluation.summaries import groups, volumes
from strokelens.evaluation.trends import Trend, trends
from strokelens.metrics.agreement import bland_altman
from strokelens.report.figures import figure_png
from strokelens.report.scatter import Axis, Cloud, Words, scatter
from strokelens.report.tabular import Picture

_AGREEMENT_NOTE = (
    "One dot a patient. Above the line at 0 the model finds more than the truth has. Bias and limits of agreement are "
    "those of the table Volumes; limits are drawn from 5 patients on."
)
_RARITY_NOTE = (
    "One dot a patient. Small lesions are to the right, and harder to find: at 2 the lesion is a hundredth of the "
    "image, at 3 a thousandth. Where the truth is empty there is no dot."
)


_RELIABILITY_NOTE = (
    "Of the voxels that a model gives a probability: how many are true. On the diagonal a probability means what it "
    "says; below it the model is too sure. All patients together, a dot a bin, n the patients."
)


def pictures(overview: Overview) -> tuple[Picture, ...]:
    """Both pictures, and the reliability of probabilities where there are any; none where no case has a score."""
    evaluation = overview.evaluation
    if not evaluation.classes:
        return ()
    apart = scatter(
        agreement(evaluation),
        Axis("mean of both, ml"),
        Axis("prediction − truth, ml"),
        Words(lines=("bias", "limits of 95 %"), perfect="no difference"),
    )
    clouds = against_rarity(evaluation, overview.trends)
    rare = scatter(
        clouds,
        Axis("−log10 of the lesion's share of the image", _span(clouds)),
        Axis("Dice", (-0.03, 1.03)),
        Words(unseen="empty truth"),
    )
    return (
        Picture("Agreement of volumes", _AGREEMENT_NOTE, figure_png(apart)),
        Picture("Dice against the lesion's size", _RARITY_NOTE, figure_png(rare)),
        *_reliability(overview),
    )


def reliability(overview: Overview) -> list[Cloud]:
    """How often what has a probability is true, for each model and class, in all cases."""
    everyone = groups(overview.evaluation)[-1]
    return [
        Cloud(
            each.model,
            each.name,
            np.array([one.mean_probability for one in each.bins]),
            np.array([one.frequency for one in each.bins]),
            joined=True,
            persons=each.summaries["brier"].used,
        )
        for each in overview.reliabilities
        if each.group == everyone
    ]


def _reliability(overview: Overview) -> list[Picture]:
    clouds = reliability(overview)
    if not clouds:
        return []
    span = (-0.02, 1.02)
    figure = scatter(
        clouds, Axis("mean probability", span), Axis("share that is true", span), Words(perfect="as it says")
    )
    return [Picture("Reliability of probabilities", _RELIABILITY_NOTE, figure_png(figure))]


def agreement(evaluation: Evaluation) -> list[Cloud]:
    """Difference against mean of the volumes for each model and class, in ml, with bias and limits as lines."""
    clouds = []
    for model in evaluation.models:
        rows = evaluation.of(model)
        for name in evaluation.classes:
            true, predicted = volumes(rows, name).values.T
            limits = bland_altman(true, predicted)
            lines = (limits.bias, limits.lower, limits.upper)
            clouds.append(Cloud(model, name, (true + predicted) / 2, predicted - true, lines))
    return clouds


def against_rarity(evaluation: Evaluation, lines: Sequence[Trend] | None = None) -> list[Cloud]:
    """Dice against −log10 of the share of voxels that the truth marks, for each model and class, scan by scan."""
    found = []
    for trend in trends(evaluation) if lines is None else lines:
        rows = evaluation.of(trend.model)
        both = jointly(trend.name, (rows, rarity), (rows, dice))
        known = ~np.isnan(both[0])
        line = (trend.slope, trend.intercept)
        found.append(Cloud(trend.model, trend.name, both[0][known], both[1][known], unseen=trend.empty, slope=line))
    return found


def _span(clouds: list[Cloud]) -> tuple[float, float] | None:
    """The range of all clouds, with a margin; none without a dot."""
    every = np.concatenate([cloud.x for cloud in clouds])
    return (float(every.min()) - 0.15, float(every.max()) + 0.15) if every.size else None
