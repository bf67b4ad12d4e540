"""Small simulated MR patients, and settings that learn and answer on them in a moment."""

from pathlib import Path

from strokelens.cohorts.cohort import Cohort
from strokelens.cohorts.layouts import open_cohort
from strokelens.model import Card, Model
from strokelens.networks.built import built
from strokelens.phantom.batch import Plan, write_cohort
from strokelens.phantom.kinds import Isles
from strokelens.phantom.scanner import DscProtocol
from strokelens.settings.schema import Settings
from strokelens.training.course import train
from strokelens.training.machine import Machine

MAPS = ("ADC", "Tmax")
TINY: dict[str, object] = {
    "name": "tiny",
    "input": {"maps": MAPS, "form": "robust", "classes": 2, "target": "lesion", "size": 32},
    "network": {"kind": "unet3d", "filters": ((2, 3), (3, 4)), "steps": ((1, 2, 2),)},
    "loss": {"name": "dice_cross_entropy"},
    "optimizer": {"learning_rate": 0.01},
    "stages": ({"encoders": "full", "epochs": 2},),
    "training": {"batch": 1},
}
CARD = Card({"train": 2, "validation": 1}, True, "a" * 64, "b" * 64)


def tiny_volume(**told: object) -> Settings:
    """Settings of a network of some hundred weights, some of whose parts are told otherwise."""
    whole = dict(TINY)
    for name, part in told.items():
        before = whole.get(name)
        another = isinstance(part, dict) and "kind" in part
        whole[name] = before | part if isinstance(before, dict) and isinstance(part, dict) and not another else part
    return Settings.model_validate(whole)


def tiny_model(**told: object) -> Model:
    """A model of these with drawn weights."""
    settings = tiny_volume(**told)
    return Model(built(settings).eval(), settings, CARD)


def trained(cohort: Cohort, place: Path, **training: object) -> Path:
    """The folder of a run of two epochs, in which a third of the patients validates."""
    settings = tiny_volume(training=training, split={"validation": 0.3, "test": 0.0})
    train(settings, cohort, place, machine=Machine("cpu", 1), workers=1)
    return place


def write_tiny_volumes(place: Path, cases: int = 4, seed: int = 1) -> Cohort:
    """So many patients with a lesion, of five slices of 48 × 48 pixels."""
    protocol = DscProtocol(matrix=48, slices=5, slice_mm=6.5, frames=40)
    plan = Plan(Isles(protocol), cases, seed, {"LVO": 1, "Non-LVO": 0, "WIS": 0})
    assert all(made.failure is None for made in write_cohort(place, plan, workers=1))
    return open_cohort(place)
