"""What tests look at in the folder of a run."""

import csv
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor


def weights(run: Path) -> dict[str, Tensor]:
    """The weights of its model."""
    return load_file(run / "model" / "weights.safetensors")


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two models have the same weights, bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def rows(run: Path) -> list[dict[str, str]]:
    """Its history, an epoch a row."""
    with (run / "history.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
