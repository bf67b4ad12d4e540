"""An evaluation with all that its rows tell together, each computed once, whoever asks for it."""

from dataclasses import dataclass
from functools import cached_property

from strokelens.evaluation import legacy, reliabilities, summaries
from strokelens.evaluation.interrater import Interrater
from strokelens.evaluation.legacy import LegacyCell
from strokelens.evaluation.reliabilities import Reliabilities
from strokelens.evaluation.results import Evaluation
from strokelens.evaluation.summaries import Agreement, Cell, Comparison
from strokelens.evaluation.trends import Trend, trends


@dataclass(frozen=True, eq=False)
class Overview:
    """An evaluation and all that its rows tell together."""

    evaluation: Evaluation

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The scores of each model, group and class."""
        return summaries.cells(self.evaluation)

    @cached_property
    def agreements(self) -> tuple[Agreement, ...]:
        """The agreement of volumes of each model, group and class."""
        return summaries.agreements(self.evaluation)

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Each two models in each group and class."""
        return summaries.comparisons(self.evaluation)

    @cached_property
    def interrater(self) -> Interrater | None:
        """What a second annotator's masks tell; None without one."""
        return Interrater.of(self.evaluation)

    @cached_property
    def trends(self) -> tuple[Trend, ...]:
        """How Dice goes with the lesion's size, by each model and class."""
        return trends(self.evaluation)

    @cached_property
    def legacy(self) -> tuple[LegacyCell, ...]:
        """The first ancestor's own numbers beside the right ones."""
        return legacy.cells(self.evaluation)

    @cached_property
    def reliabilities(self) -> tuple[Reliabilities, ...]:
        """What the probabilities of each model, group and class tell; none without probabilities."""
        return reliabilities.of(self.evaluation)
