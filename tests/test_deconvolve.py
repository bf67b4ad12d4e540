"""Deconvolution against explicit matrices, the OSIPI reference object, and shifted arteries."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float

from strokelens.errors import SeriesError
from strokelens.perfusion.deconvolve import BCSVD, METHODS, OSVD, SSVD, Deconvolution, Tikhonov
from strokelens.perfusion.fit import fit_curves
from tests.oracles.deconvolution import (
    block_circulant,
    least_oscillating_response,
    refined_peak,
    truncated_response,
    weighted,
)

OSIPI = Path(__file__).parents[2] / "shared/data/osipi_dsc_dro/dsc_data.csv"
INTERVAL_S = 1.5
FRAMES = 40


def bolus(delay_s: float = 0.0, *, frames: int = FRAMES) -> Float[np.ndarray, "t"]:
    """A gamma variate of 11 s width at half maximum, arriving at 9 s, with a second pass."""
    time_s = np.arange(frames) * INTERVAL_S - 9.0 - delay_s

    def gamma(after_s: Float[np.ndarray, "t"]) -> Float[np.ndarray, "t"]:
        late = np.clip(after_s, 0, None) / 7.5
        curve: np.ndarray = (late * np.exp(1 - late)) ** 2.5
        return curve

    total: np.ndarray = gamma(time_s) + 0.2 * gamma(time_s - 14.0)
    return total


def tissue(cbf: float, mtt_s: float, delay_s: float) -> Float[np.ndarray, "t"]:
    """The curve of a well mixed compartment, integrated at a twentieth of a frame."""
    fine_s = np.arange(FRAMES * 20) * INTERVAL_S / 20
    artery = np.interp(fine_s - delay_s, np.arange(-40, FRAMES) * INTERVAL_S, np.r_[np.zeros(40), bolus()])
    curve: np.ndarray = np.convolve(artery, np.exp(-fine_s / mtt_s))[: fine_s.size] * INTERVAL_S / 20
    return cbf / 6000 * curve[::20]


def noisy_curves(count: int, *, noise: float, seed: int = 1) -> Float[np.ndarray, "n t"]:
    rng = np.random.default_rng(seed)
    clean = [tissue(rng.uniform(5, 60), rng.uniform(3, 12), rng.uniform(0, 8)) for _ in range(count)]
    return np.array(clean) + rng.normal(0, noise, (count, FRAMES))


@pytest.mark.parametrize("cutoff", [0.05, 0.1, 0.2, 0.3])
def test_bcsvd_equals_the_explicit_decomposition(cutoff: float) -> None:
    curves = noisy_curves(20, noise=0.003)
    expected = [refined_peak(truncated_response(curve, bolus(), INTERVAL_S, cutoff)) for curve in curves]
    assert BCSVD(cutoff)(curves, bolus(), interval_s=INTERVAL_S).flow_per_s == pytest.approx(expected, rel=1e-4)


def test_bcsvd_finds_the_lag_of_the_explicit_decomposition() -> None:
    curves = noisy_curves(20, noise=0.001)
    lags = np.array([truncated_response(curve, bolus(), INTERVAL_S, 0.2).argmax() for curve in curves])
    delay_s = BCSVD(0.2)(curves, bolus(), interval_s=INTERVAL_S).delay_s
    expected_s = np.where(lags >= FRAMES, lags - 2 * FRAMES, lags) * INTERVAL_S
    assert np.abs(delay_s - expected_s).max() <= 0.5 * INTERVAL_S + 1e-4


@pytest.mark.parametrize("noise", [0.0, 0.002, 0.006, 0.02])
def test_osvd_equals_the_scan_of_all_cut_offs_voxel_by_voxel(noise: float) -> None:
    curves = noisy_curves(60, noise=noise)
    expected = [refined_peak(least_oscillating_response(curve, bolus(), INTERVAL_S, 0.035)) for curve in curves]
    assert OSVD(0.035)(curves, bolus(), interval_s=INTERVAL_S).flow_per_s == pytest.approx(expected, rel=1e-3)


def test_ssvd_equals_the_explicit_triangular_matrix() -> None:
    curves = noisy_curves(10, noise=0.002)
    aif = weighted(bolus())
    matrix = np.array([[aif[i - j] if i >= j else 0.0 for j in range(FRAMES)] for i in range(FRAMES)]) * INTERVAL_S
    inverse = np.linalg.pinv(matrix, rcond=0.2)
    flow = SSVD(0.2)(curves, bolus(), interval_s=INTERVAL_S).flow_per_s
    tops = (curves @ inverse.T).max(axis=1)
    assert ((flow >= tops * 0.9999) & (flow <= tops * 1.03)).all()


def test_ssvd_of_tissue_without_delay_has_none() -> None:
    """Lags of the triangular matrix are not periodic: the last is no neighbour of the first."""
    aif = np.exp(-np.arange(FRAMES) / 3.0)
    column = weighted(aif)
    matrix = np.array([[column[i - j] if i >= j else 0.0 for j in range(FRAMES)] for i in range(FRAMES)])
    curve = INTERVAL_S * matrix @ np.exp(-np.arange(FRAMES) / 2.0)
    assert SSVD(1e-6)(curve[None], aif, interval_s=INTERVAL_S).delay_s[0] == 0.0


def test_tikhonov_equals_the_normal_equations() -> None:
    curves = noisy_curves(10, noise=0.002)
    matrix = block_circulant(bolus(), INTERVAL_S)
    penalty = (0.1 * np.linalg.svd(matrix, compute_uv=False)[0]) ** 2
    padded = np.hstack([curves, np.zeros_like(curves)])
    expected = np.linalg.solve(matrix.T @ matrix + penalty * np.eye(2 * FRAMES), matrix.T @ padded.T).T
    flow = Tikhonov(0.1)(curves, bolus(), interval_s=INTERVAL_S).flow_per_s
    assert flow == pytest.approx([refined_peak(response) for response in expected], rel=1e-4)


@pytest.mark.parametrize("method", [BCSVD(0.1), BCSVD(0.2), OSVD()], ids=lambda method: method.name)
def test_flow_does_not_depend_on_arterial_delay(method: Deconvolution) -> None:
    delays_s = np.arange(-4, 8.01, 0.25)
    curves = np.array([tissue(50.0, 4.0, delay_s) for delay_s in delays_s])
    flow = method(curves, bolus(), interval_s=INTERVAL_S).flow_per_s
    assert np.abs(flow / flow[delays_s == 0] - 1).max() <= 0.03


def test_delay_follows_the_arterial_delay_within_a_fifth_of_a_frame() -> None:
    delays_s = np.arange(-4, 8.01, 0.25)
    curves = np.array([tissue(50.0, 4.0, delay_s) for delay_s in delays_s])
    delay_s = BCSVD(0.2)(curves, bolus(), interval_s=INTERVAL_S).delay_s
    assert np.abs(delay_s - delay_s[delays_s == 0] - delays_s).max() <= 0.3


@given(st.floats(0.1, 50))
def test_flow_scales_with_the_tissue_curve(factor: float) -> None:
    curves = noisy_curves(5, noise=0.002)
    once = BCSVD()(curves, bolus(), interval_s=INTERVAL_S)
    scaled = BCSVD()(factor * curves, bolus(), interval_s=INTERVAL_S)
    assert scaled.flow_per_s == pytest.approx(factor * once.flow_per_s, rel=1e-3)
    assert scaled.delay_s == pytest.approx(once.delay_s, abs=1e-2)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_a_voxel_without_contrast_agent_has_no_flow(method: Deconvolution) -> None:
    response = method(np.zeros((3, FRAMES)), bolus(), interval_s=INTERVAL_S)
    assert np.isnan(response.flow_per_s).all()
    assert np.isnan(response.delay_s).all()


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_an_artery_without_bolus_is_refused(method: Deconvolution) -> None:
    with pytest.raises(SeriesError, match="the arterial curve has no bolus"):
        method(np.ones((3, FRAMES)), np.zeros(FRAMES), interval_s=INTERVAL_S)


def osipi_cases() -> Iterator[tuple[Float[np.ndarray, "1 t"], Float[np.ndarray, "t"], float, float, float]]:
    with OSIPI.open() as file:
        for row in csv.DictReader(file):
            curve, artery = (np.array(row[column].split(), float) for column in ("C_tis", "C_aif"))
            yield curve[None], artery, float(row["tr"]), float(row["cbf"]), float(row["cbv"])


@pytest.mark.skipif(not OSIPI.exists(), reason="no shared data")
@pytest.mark.parametrize(("method", "least"), [(OSVD(), 14), (BCSVD(0.1), 13)], ids=["oSVD", "bcSVD 0.1"])
def test_osipi_flow_is_within_the_official_tolerance(method: Deconvolution, least: int) -> None:
    good = 0
    for curve, artery, interval_s, cbf, _ in osipi_cases():
        error = abs(6000 * method(curve, artery, interval_s=interval_s).flow_per_s[0] - cbf)
        good += error <= max(15.0, 0.1 * cbf)
    assert good >= least


@pytest.mark.skipif(not OSIPI.exists(), reason="no shared data")
def test_osipi_volume_is_within_the_official_tolerance_in_all_fourteen_cases() -> None:
    errors = [
        abs(100 * fit_curves(curve, artery, interval_s=interval_s).volume[0] - cbv) / max(1.0, 0.1 * cbv)
        for curve, artery, interval_s, _, cbv in osipi_cases()
    ]
    assert len(errors) == 14
    assert max(errors) <= 1.0
