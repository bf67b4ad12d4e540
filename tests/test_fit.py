"""Volume and peak by Bayes: against the formula voxel by voxel, on curves whose truth is known, and under noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float

from strokelens.errors import SeriesError
from strokelens.perfusion.curves import area, peak_times_s
from strokelens.perfusion.fit import fit_curves
from strokelens.phantom.haemodynamics import BOX, EXPONENTIAL, GAMMA, Residue
from tests.oracles.fit import entry, volume_and_peak

INTERVAL_S = 1.5
TIME_S = np.arange(40) * INTERVAL_S
FINE_S = np.arange(0, 60, 0.01)
TRANSIT_S = [2.0 * 1.5**n for n in range(6)]
DELAY_S = np.arange(-2.0, 16.0, 1.5).tolist()


def bolus(time_s: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    after: np.ndarray = np.clip(time_s - 9, 0, None) / 9
    artery: np.ndarray = (after * np.exp(1 - after)) ** 3
    return artery


AIF = bolus(TIME_S)


def tissue(volume: float, mtt_s: float, delay_s: float, residue: Residue = EXPONENTIAL) -> Float[np.ndarray, "t"]:
    """Volume/MTT · (a ⊗ R)(t − delay) at the frames, on steps of 10 ms."""
    curve = np.convolve(bolus(FINE_S), residue(FINE_S, mtt_s))[: FINE_S.size] * 0.01
    delayed: np.ndarray = np.interp(TIME_S - delay_s, FINE_S, curve, left=0.0)
    return np.asarray(volume / mtt_s * delayed)


def test_volume_and_peak_are_the_means_that_the_formula_gives() -> None:
    rng = np.random.default_rng(0)
    curves = np.array([tissue(0.04, 4, 1), tissue(0.03, 12, 6), tissue(0.008, 9, 8), 0 * TIME_S])
    curves += rng.normal(0, 0.01, curves.shape)
    noise = [
        np.abs(curves[:, t] - (curves[:, t - 1] + curves[:, t + 1]) / 2) for t in np.linspace(1, 38, 9).astype(int)
    ]
    deviation = float(np.median(noise)) / 0.6745 / np.sqrt(1.5)
    table = [(*entry(AIF, INTERVAL_S, m, d), m) for m in TRANSIT_S for d in DELAY_S]
    found = fit_curves(curves.astype(np.float32), AIF, interval_s=INTERVAL_S)
    for row, curve in enumerate(curves):
        sigma = float(np.hypot(deviation, 0.05 * curve.std()))
        volume, peak_s = volume_and_peak(curve, [(shape, m, peak) for shape, peak, m in table], sigma)
        assert found.volume[row] == pytest.approx(volume, rel=0.02, abs=1e-4)
        assert found.peak_s[row] == pytest.approx(peak_s, abs=0.15)


@pytest.mark.parametrize("residue", [EXPONENTIAL, GAMMA, BOX], ids=["exponential", "gamma", "box"])
@pytest.mark.parametrize(("mtt_s", "delay_s"), [(3.5, 0.0), (4.5, 1.5), (11.5, 5.0), (8.0, 8.0)])
def test_without_noise_both_are_right_whatever_the_residue_function(
    residue: Residue, mtt_s: float, delay_s: float
) -> None:
    curve = tissue(0.03, mtt_s, delay_s, residue)
    found = fit_curves(curve[None].astype(np.float32), AIF, interval_s=INTERVAL_S)
    assert found.volume[0] == pytest.approx(0.03, rel=0.12)
    assert found.peak_s[0] == pytest.approx(peak_times_s(curve[None], INTERVAL_S)[0], abs=1.5)


def test_under_noise_both_are_twice_as_exact_as_those_of_the_raw_curve() -> None:
    rng = np.random.default_rng(1)
    truth = tissue(0.02, 10, 6)
    curves = truth + rng.normal(0, 0.6 * truth.max(), (2000, TIME_S.size))
    curves -= curves[:, :6].mean(axis=1, keepdims=True)
    found = fit_curves(curves.astype(np.float32), AIF, interval_s=INTERVAL_S)
    raw = area(curves, INTERVAL_S) / area(AIF[None], INTERVAL_S)[0]
    assert np.std(found.volume) < 0.5 * np.std(raw)
    assert np.std(found.peak_s) < 0.5 * np.std(peak_times_s(curves, INTERVAL_S))


def test_a_scan_that_ends_early_costs_the_fit_less_than_the_raw_area() -> None:
    curve = tissue(0.03, 12, 8)[:27]  # 39 s, just after the peak
    found = fit_curves(curve[None].astype(np.float32), AIF[:27], interval_s=INTERVAL_S).volume[0]
    raw = area(curve[None], INTERVAL_S)[0] / area(AIF[None, :27], INTERVAL_S)[0]
    assert raw < 0.02
    assert found == pytest.approx(0.03, rel=0.15)


@given(st.floats(-500, 500), st.floats(0.01, 100))
@settings(max_examples=25)
def test_neither_baseline_nor_scale_matters(baseline: float, scale: float) -> None:
    noise = np.random.default_rng(2).normal(0, 0.002, (3, TIME_S.size))
    curves = np.array([tissue(0.03, 5, 1), tissue(0.02, 12, 6), tissue(0.005, 9, 8)]) + noise
    plain = fit_curves(curves, AIF, interval_s=INTERVAL_S)
    moved = fit_curves(scale * (curves + baseline), AIF, interval_s=INTERVAL_S)
    assert moved.volume == pytest.approx(scale * plain.volume, rel=0.02)
    assert moved.peak_s == pytest.approx(plain.peak_s, abs=0.1)


def test_a_curve_that_does_not_change_has_no_volume_and_no_peak() -> None:
    found = fit_curves(np.full((1, 40), 7.0, np.float32), AIF, interval_s=INTERVAL_S)
    assert found.volume.tolist() == [0.0]
    assert np.isnan(found.peak_s).all()


@pytest.mark.parametrize(("frames", "onset_s"), [(8, 2.0), (12, 3.0), (20, 15.0), (27, 12.0), (30, 28.0)])
def test_a_short_scan_or_a_late_bolus_gives_no_absurd_volume(frames: int, onset_s: float) -> None:
    """Of noise as large as the tissue's own peak, no entry makes more than half of the artery's blood."""
    aif = bolus(np.arange(frames) * INTERVAL_S + 9 - onset_s)
    peak = 0.04 * aif.max()
    noise = np.random.default_rng(3).normal(0, peak, (2000, frames)).astype(np.float32)
    found = fit_curves(noise + np.float32(0.04) * aif.astype(np.float32), aif, interval_s=INTERVAL_S)
    assert np.isfinite(found.volume).all()
    assert np.quantile(found.volume, 0.95) < 0.5


def test_a_curve_without_a_value_spoils_no_other() -> None:
    curves = np.array([tissue(0.03, 5, 1), tissue(0.02, 12, 6), np.full(TIME_S.size, np.nan)], np.float32)
    found = fit_curves(curves, AIF, interval_s=INTERVAL_S)
    alone = fit_curves(curves[:2], AIF, interval_s=INTERVAL_S)
    assert found.volume[:2] == pytest.approx(alone.volume, rel=1e-3)
    assert np.isnan(found.volume[2])


def test_an_artery_without_bolus_is_refused() -> None:
    with pytest.raises(SeriesError, match="the arterial curve has no bolus; choose other voxels or check the series"):
        fit_curves(np.ones((1, 40), np.float32), 0 * AIF, interval_s=INTERVAL_S)
