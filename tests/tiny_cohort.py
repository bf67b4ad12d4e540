"""A small simulated cohort, and the changes that make a setting train on it in seconds."""

from pathlib import Path

from strokelens.phantom.batch import Plan, write_cohort
from strokelens.phantom.kinds import Slices
from strokelens.phantom.scanner import CtProtocol

SMALL = (
    "input.size=64", "network.width=0.03125", "network.pretrained=null", "training.batch=4", "stages.all.epochs=1",
)  # fmt: skip

SET = tuple(word for change in SMALL for word in ("--set", change))
"""The same as words of a command."""


def write_tiny_cohort(place: Path, cases: int = 8) -> Path:
    """The folder, with this many patients of `ctp_slices`, half of them LVO and half Non-LVO."""
    plan = Plan(Slices(CtProtocol(matrix=96, slices=4, frames=30)), cases, 1, {"LVO": 1, "Non-LVO": 1, "WIS": 0})
    assert all(made.failure is None for made in write_cohort(place, plan, workers=1))
    return place
