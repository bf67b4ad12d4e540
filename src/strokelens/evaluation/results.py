"""What an evaluation is: a row of scores for each model and case, or why there are none."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from strokelens.evaluation.ancestors import Theirs
from strokelens.evaluation.calibrated import CalibratedRow
from strokelens.metrics.scores import Scores
from strokelens.metrics.volumes import Volumes

CLASSES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"penumbra": ("penumbra",), "core": ("core",), "hypoperfused": ("penumbra", "core"), "lesion": ("lesion",)}
)
"""The classes that are scored, and the labels that each is made of; or it is a label itself, see `labels_of`."""

GROUPS: Final = ("LVO", "Non-LVO", "WIS")
"""The groups that come first, in this order."""

TRUTH: Final = "truth"
"""What the cohort's own masks are called, beside the name of a second annotator."""

FAILURES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "no-truth": "the case has no truth",
        "truth": "the truth cannot be read",
        "no-prediction": "there is no prediction for the case",
        "prediction": "the prediction cannot be read, or is not the only one",
        "other-grid": "the prediction lies on another grid than the truth",
        "is-truth": "the prediction is the file of the truth itself",
        "labels": "the prediction holds or lacks labels of another scheme than the truth's",
        "crashed": "scoring the case ended in an error of ours, or its process was ended",
    }
)
"""Every code of a `Failure`, and what it says."""

_OF_TRUTH: Final = ("no-truth", "truth")


def labels_of(name: str, known: Collection[str]) -> tuple[str, ...]:
    """The labels, of those that are known, that make up a class; none where they do not tell it.

    >>> labels_of("hypoperfused", ("background", "penumbra", "core")), labels_of("core", ("background", "hypoperfused"))
    (('penumbra', 'core'), ())
    >>> labels_of("hypoperfused", ("background", "hypoperfused"))
    ('hypoperfused',)
    """
    parts = CLASSES[name]
    if name in known:
        return (name, *(each for each in parts if each in known and each != name))
    return parts if set(parts) <= set(known) else ()


@dataclass(frozen=True)
class Failure:
    """Why a case has no scores, or not all: a `code` of `FAILURES` and one line."""

    code: str
    message: str


@dataclass(frozen=True, eq=False)
class Row:
    """A model's scores of one case by class, with the volumes of both; empty, with `failures`, where there are none.

    `person` is the same for repeated scans and mirrored copies of one person. `theirs` are the ancestors' measures by
    class, where they were asked for. `labels` tells who says what the prediction's integers mean.
    """

    model: str
    case_id: str
    person: str
    group: str | None
    simulated: bool = False
    scores: Mapping[str, Scores] = field(default_factory=dict)
    volumes: Mapping[str, Volumes] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    theirs: Mapping[str, Theirs] = field(default_factory=dict)
    labels: str = ""

    @property
    def exact(self) -> bool:
        """Whether every voxel of every class is as in the truth, and there are any."""
        counts = [each.counts for each in self.scores.values()]
        return any(each.tp for each in counts) and not any(each.fp or each.fn for each in counts)


@dataclass(frozen=True, eq=False)
class Annotator:
    """A second annotator: rows of their masks against the truth, and of each model against their masks."""

    name: str
    between: tuple[Row, ...]
    against: tuple[Row, ...]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Every row, and of each model (and annotator) the predictions that belong to no case.

    `left_out` are the cases that have no truth, and for which there is nothing to score. `calibrations` are of the
    cases that have probabilities. `part` tells which part of which split the cases are, and is empty where they are
    the whole cohort. `notes` are sentences that a reader must know besides.
    """

    rows: tuple[Row, ...]
    strangers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    annotator: Annotator | None = None
    calibrations: tuple[CalibratedRow, ...] = ()
    part: str = ""
    notes: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, in the order in which they were given."""
        return tuple(dict.fromkeys(row.model for row in self.rows))

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that any case has scores of."""
        return tuple(name for name in CLASSES if any(name in row.scores for row in self.rows))

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of the cases: LVO, Non-LVO, WIS, then others by name."""
        found = {row.group for row in self.rows if row.group is not None}
        return tuple(sorted(found, key=lambda name: (GROUPS.index(name) if name in GROUPS else len(GROUPS), name)))

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows with a failure; an annotator who did not see a case is none."""
        return (*(row for row in self.rows if row.failures), *self.failed_annotations)

    @property
    def failed_annotations(self) -> tuple[Row, ...]:
        """The rows of the second annotator's masks that could not be scored in full."""
        between = self.annotator.between if self.annotator is not None else ()
        told = {"no-prediction", *_OF_TRUTH}
        return tuple(row for row in between if {failure.code for failure in row.failures} - told)

    @property
    def complete(self) -> bool:
        """Whether every case was scored in full, and every prediction belonged to one."""
        wrong = any(row.failure for row in self.calibrations)
        return not self.failed and not wrong and not any(self.strangers.values())

    @property
    def simulated(self) -> int:
        """How many cases are of simulated patients."""
        return len({row.case_id for row in self.rows if row.simulated})

    @property
    def copies(self) -> tuple[str, ...]:
        """The models that agree with the truth in every voxel of each case that was scored and has a lesion."""
        marked = {model: [row for row in self.of(model) if _marked(row)] for model in self.models}
        return tuple(model for model, rows in marked.items() if rows and all(row.exact for row in rows))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader must know of the scores before he believes them."""
        told = "agrees with the truth in every voxel of every case: is it a copy of it?"
        only = (f"Only a part of the cohort was asked for: {self.part}.",) if self.part else ()
        return (*only, *self.notes, *(f"{model} {told}" for model in self.copies))

    def of(self, model: str, group: str | None = None) -> tuple[Row, ...]:
        """The rows of a model, in one group or all."""
        return tuple(row for row in self.rows if row.model == model and group in (None, row.group))


def _marked(row: Row) -> bool:
    """Whether the truth or the prediction of a case has a lesion."""
    return any(each.counts.tp or each.counts.fp or each.counts.fn for each in row.scores.values())
