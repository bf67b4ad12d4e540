"""Core and penumbra in acute ischemic stroke: found, measured, explained. Research use only; not a medical device.

These names are the public surface. Each is imported when it is first asked for, so `import strokelens` costs nothing.
"""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strokelens.case import UNITS, Case, Image, Segmentation
    from strokelens.cohorts.cohort import Cohort, Entry
    from strokelens.cohorts.layouts import open_cohort
    from strokelens.cohorts.nifti import read_study
    from strokelens.cohorts.predictions import Predictions, find_predictions
    from strokelens.errors import StrokelensError
    from strokelens.evaluation.results import Evaluation
    from strokelens.evaluation.scoring import evaluate, score
    from strokelens.finding import Finding, Method
    from strokelens.flags import RESEARCH_USE, Flag
    from strokelens.grid import Grid
    from strokelens.labels import CORE_PENUMBRA, CORE_PENUMBRA_BRAIN, LESION_ONLY, Label, LabelScheme
    from strokelens.metrics.scores import Scores
    from strokelens.perfusion.maps import compute_maps
    from strokelens.perfusion.mismatch import Mismatch
    from strokelens.phantom.patient import simulate
    from strokelens.prediction.segmenting import segment
    from strokelens.report.delivery import deliver

__version__ = "0.1.0"

__all__ = [
    "CORE_PENUMBRA",
    "CORE_PENUMBRA_BRAIN",
    "LESION_ONLY",
    "RESEARCH_USE",
    "UNITS",
    "Case",
    "Cohort",
    "Entry",
    "Evaluation",
    "Finding",
    "Flag",
    "Grid",
    "Image",
    "Label",
    "LabelScheme",
    "Method",
    "Mismatch",
    "Predictions",
    "Scores",
    "Segmentation",
    "StrokelensError",
    "compute_maps",
    "deliver",
    "evaluate",
    "find_predictions",
    "open_cohort",
    "read_study",
    "score",
    "segment",
    "simulate",
]

_HOMES = MappingProxyType(
    {
        "CORE_PENUMBRA": "strokelens.labels",
        "CORE_PENUMBRA_BRAIN": "strokelens.labels",
        "LESION_ONLY": "strokelens.labels",
        "RESEARCH_USE": "strokelens.flags",
        "UNITS": "strokelens.case",
        "Case": "strokelens.case",
        "Cohort": "strokelens.cohorts.cohort",
        "Entry": "strokelens.cohorts.cohort",
        "Evaluation": "strokelens.evaluation.results",
        "Finding": "strokelens.finding",
        "Flag": "strokelens.flags",
        "Grid": "strokelens.grid",
        "Image": "strokelens.case",
        "Label": "strokelens.labels",
        "LabelScheme": "strokelens.labels",
        "Method": "strokelens.finding",
        "Mismatch": "strokelens.perfusion.mismatch",
        "Predictions": "strokelens.cohorts.predictions",
        "Scores": "strokelens.metrics.scores",
        "Segmentation": "strokelens.case",
        "StrokelensError": "strokelens.errors",
        "compute_maps": "strokelens.perfusion.maps",
        "deliver": "strokelens.report.delivery",
        "evaluate": "strokelens.evaluation.scoring",
        "find_predictions": "strokelens.cohorts.predictions",
        "open_cohort": "strokelens.cohorts.layouts",
        "read_study": "strokelens.cohorts.nifti",
        "score": "strokelens.evaluation.scoring",
        "segment": "strokelens.prediction.segmenting",
        "simulate": "strokelens.phantom.patient",
    }
)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'strokelens' has no attribute {name!r}", name=name)
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
