"""Brain, vessels and fluid, on simulated heads whose tissues are known and on shapes that can be judged by eye."""

import numpy as np
import pytest
from jaxtyping import Float

from strokelens.errors import SeriesError
from strokelens.grid import Grid
from strokelens.perfusion.masks import ct_brain, opened, signal_brain, tissue, without_vessels
from strokelens.phantom.patient import Patient, simulate
from strokelens.phantom.scanner import CtProtocol, DscProtocol

GRID = Grid((96, 96, 8), np.array([[-2.0, 0, 0, 96], [0, 2.0, 0, -96], [0, 0, 5.0, 0], [0, 0, 0, 1]]))


def dice(first: Float[np.ndarray, "..."], second: Float[np.ndarray, "..."]) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


@pytest.fixture(scope="module")
def patient() -> Patient:
    return simulate(21, protocol=CtProtocol(matrix=128, slices=8, frames=10), motion=False)


def true_brain(patient: Patient) -> Float[np.ndarray, "i j k"]:
    parts = [patient.tissues[name] for name in ("grey", "white", "fluid", "artery", "collateral", "vein")]
    inside: np.ndarray = np.sum(parts, axis=0) > 0.5
    return inside


def test_the_brain_on_ct_is_what_lies_inside_the_skull(patient: Patient) -> None:
    found = ct_brain(patient.case["CTP"][..., :3].mean(axis=3), patient.case.grid)
    assert dice(found, true_brain(patient)) >= 0.97


def test_the_brain_on_ct_does_not_need_a_skull(patient: Patient) -> None:
    stripped = np.where(true_brain(patient), patient.case["CTP"][..., :3].mean(axis=3), 0.0).astype(np.float32)
    assert dice(ct_brain(stripped, patient.case.grid), true_brain(patient)) >= 0.95


def test_the_brain_on_perfusion_mr_is_the_bright_part() -> None:
    patient = simulate(22, protocol=DscProtocol(slices=8, frames=10), motion=False)
    found = signal_brain(patient.case["PWI"][..., :3].mean(axis=3), patient.case.grid)
    tissues = patient.tissues["grey"] + patient.tissues["white"]
    assert found[tissues > 0.9].mean() >= 0.99
    assert dice(found, true_brain(patient)) >= 0.90


def test_a_slice_of_air_has_no_brain() -> None:
    with pytest.raises(
        SeriesError, match=r"no brain found: the largest part of soft tissue of -5 to 100 HU has 0\.0 ml"
    ):
        ct_brain(np.full(GRID.shape, -1000.0, np.float32), GRID)


def test_a_ball_of_water_of_five_ml_is_no_brain() -> None:
    image = np.full(GRID.shape, -1000.0, np.float32)
    image[40:50, 40:50, 2:5] = 30.0
    with pytest.raises(SeriesError, match="no brain found"):
        ct_brain(image, GRID)


def test_nan_outside_of_the_field_is_not_brain(patient: Patient) -> None:
    image = patient.case["CTP"][..., :3].mean(axis=3)
    image[:20] = np.nan
    assert not ct_brain(image, patient.case.grid)[:20].any()


def healthy(**changes: float) -> dict[str, Float[np.ndarray, "i j k"]]:
    maps = {"CBV": np.full((6, 6, 6), 3.0, np.float32)}
    for name, value in changes.items():
        maps[name][0, 0, 0] = value
    return maps


def test_a_voxel_with_more_than_three_times_the_usual_volume_is_a_vessel() -> None:
    brain = np.ones((6, 6, 6), bool)
    assert not tissue(brain, healthy(CBV=9.1), None, None)[0, 0, 0]
    assert tissue(brain, healthy(CBV=8.9), None, None).all()


def test_fluid_is_dark_on_ct_and_bright_on_mr() -> None:
    brain = np.ones((6, 6, 6), bool)
    head = np.full((6, 6, 6), 34.0, np.float32)
    head[0, 0, 0], head[1, 0, 0] = 12.0, 70.0
    assert np.argwhere(~tissue(brain, healthy(), head, "CT")).tolist() == [[0, 0, 0]]
    assert np.argwhere(~tissue(brain, healthy(), head, "MR")).tolist() == [[1, 0, 0]]


def test_without_volume_or_baseline_all_of_the_brain_is_tissue() -> None:
    brain = np.ones((6, 6, 6), bool)
    assert tissue(brain, {}, None, None).all()


def test_a_map_of_zeros_has_no_vessels() -> None:
    assert tissue(np.ones((6, 6, 6), bool), {"CBV": np.zeros((6, 6, 6), np.float32)}, None, None).all()


def test_what_enhances_three_times_as_much_as_tissue_is_a_vessel_with_its_rim() -> None:
    grid = Grid((9, 9, 3), np.diag([0.9, 0.9, 5.0, 1.0]))
    brain = np.ones(grid.shape, bool)
    enhancement = np.full(grid.shape, 2.0, np.float32) + np.linspace(-0.1, 0.1, brain.size).reshape(grid.shape)
    enhancement[4, 4, 1], enhancement[1, 1, 1] = 6.5, 5.5
    gone = np.argwhere(~without_vessels(brain, enhancement[brain].astype(np.float32), grid)).tolist()
    assert gone == [[3, 4, 1], [4, 3, 1], [4, 4, 1], [4, 5, 1], [5, 4, 1]]


def test_noise_is_no_vessel() -> None:
    """Where the bolus is weak, three times the median is within the noise: four deviations are asked for besides."""
    grid = Grid((40, 40, 4), np.diag([2.0, 2.0, 5.0, 1.0]))
    brain = np.ones(grid.shape, bool)
    enhancement = np.random.default_rng(0).normal(1.0, 1.0, brain.sum()).astype(np.float32)
    assert without_vessels(brain, enhancement, grid).mean() > 0.998


@pytest.mark.parametrize(("deviations", "vessel"), [(3.9, False), (4.1, True)])
def test_a_vessel_stands_four_deviations_over_the_median(deviations: float, vessel: bool) -> None:
    grid = Grid((10, 10, 10), np.diag([2.0, 2.0, 5.0, 1.0]))
    enhancement = np.linspace(-1, 1, 1000, dtype=np.float32)  # median 0, robust deviation 0.5 / 0.6745
    enhancement[500] = deviations * 0.5 / 0.6745
    assert without_vessels(np.ones(grid.shape, bool), enhancement, grid).all() != vessel


def test_a_brain_without_vessels_stays_whole() -> None:
    brain = np.ones((4, 4, 4), bool)
    assert without_vessels(brain, np.ones(64, np.float32), Grid((4, 4, 4), np.diag([2.0, 2.0, 5.0, 1.0]))).all()


def test_an_opening_takes_strips_and_leaves_discs() -> None:
    grid = Grid((60, 60, 2), np.diag([1.0, 1.0, 5.0, 1.0]))
    i, j, _ = np.indices(grid.shape)
    disc, strip = np.hypot(i - 20, j - 30) <= 12, (i >= 45) & (i < 49)
    kept = opened(disc | strip, 3.0, grid)
    assert not kept[strip].any()
    assert kept[disc].mean() > 0.97
