"""Arteries and veins: on simulated patients with known blood, and among curves made by hand."""

import numpy as np
import pytest
from jaxtyping import Float

from strokelens.errors import SeriesError
from strokelens.perfusion.arterial import Vessels, find_vessels, partial_volume
from strokelens.perfusion.curves import Bolus, area
from strokelens.perfusion.maps import MapSettings, compute_maps
from strokelens.perfusion.quality import series_flags
from strokelens.phantom.patient import simulate
from tests.test_deconvolve import FRAMES, INTERVAL_S, bolus

TIME_S = np.arange(FRAMES) * INTERVAL_S


def brain_curves(noise_hu: float = 2.0) -> Float[np.ndarray, "n t"]:
    """1000 voxels: 10 arterial (first), 30 venous (next), the rest tissue that fills 3 s after the artery."""
    rng = np.random.default_rng(4)
    artery, vein = 80 * bolus(), 200 * bolus(6.0)
    tissue = 8 * np.convolve(bolus(1.5), np.exp(-TIME_S / 4))[:FRAMES] / 3
    rows = [artery] * 10 + [vein] * 30 + [tissue] * 960
    return (np.array(rows) + rng.normal(0, noise_hu, (1000, FRAMES))).astype(np.float32)


def vessels_of(curves: Float[np.ndarray, "n t"]) -> Vessels:
    voxels = np.stack([np.arange(len(curves)), np.zeros(len(curves), int), np.zeros(len(curves), int)], axis=1)
    return find_vessels(curves, voxels, time_s=TIME_S, unit="HU")


@pytest.mark.parametrize("noise_hu", [0.5, 2.0, 6.0])
def test_arteries_and_veins_are_told_apart(noise_hu: float) -> None:
    vessels = vessels_of(brain_curves(noise_hu))
    assert (vessels.aif_voxels[:, 0] < 10).all()
    assert ((vessels.vof_voxels[:, 0] >= 10) & (vessels.vof_voxels[:, 0] < 40)).all()


def test_a_curve_that_jumps_when_the_head_moves_is_no_artery() -> None:
    curves = brain_curves()
    curves[500:508, 4:9] += 600.0
    curves[508:516, 10:14] -= 400.0
    curves[516:524, 4:] += 300.0 * np.sign(np.sin(np.arange(36)))
    vessels = vessels_of(curves)
    assert (vessels.aif_voxels[:, 0] < 10).all()


def test_the_partial_volume_is_the_ratio_of_the_areas() -> None:
    assert vessels_of(brain_curves(0.1)).partial_volume == pytest.approx(0.4, abs=0.02)


def test_a_scan_that_stops_early_gives_the_same_partial_volume() -> None:
    aif, vof = 50 * bolus(), 200 * bolus(6.0)
    shorter = [partial_volume(aif[:end], vof[:end], INTERVAL_S) for end in (40, 34, 30)]
    assert shorter == pytest.approx([0.25] * 3, abs=0.01)


def test_an_artery_of_more_area_than_the_vein_counts_as_pure_blood() -> None:
    assert partial_volume(3 * bolus(), bolus(4.0), INTERVAL_S) == 1.0


def test_without_a_vein_the_artery_is_not_scaled() -> None:
    curves = np.zeros((1000, FRAMES), np.float32)
    curves[:10], curves[10:500] = 80 * bolus(), 5 * bolus(3.0)
    vessels = vessels_of(curves)
    assert vessels.partial_volume == 1.0


def test_curves_without_a_bolus_have_no_artery() -> None:
    with pytest.raises(SeriesError, match="no artery found"):
        vessels_of(np.tile(np.linspace(0, 30, FRAMES, dtype=np.float32), (100, 1)))


@pytest.mark.parametrize("seed", [41, 42, 43])
def test_on_simulated_patients_the_artery_is_early_and_its_share_of_blood_is_right(seed: int) -> None:
    patient = simulate(seed, motion=False)
    vessels = compute_maps(patient.case, MapSettings(still=True)).vessels
    blood = np.interp(vessels.time_s, patient.bolus.time_s, patient.bolus.artery)
    share = area(vessels.aif, vessels.interval_s) / area(blood, vessels.interval_s)
    assert np.corrcoef(vessels.aif, blood)[0, 1] >= 0.95
    assert vessels.partial_volume == pytest.approx(share, rel=0.2)


def flags_of(aif: Float[np.ndarray, "t"], vof: Float[np.ndarray, "t"], *, arrival: int = 6) -> set[str]:
    time_s = np.arange(aif.size) * INTERVAL_S
    rows = np.zeros((8, 3), int)
    vessels = Vessels(time_s, aif, vof, 0.3, rows, rows, "HU")
    return {flag.code for flag in series_flags(vessels, Bolus(arrival, 15), time_s)}


def test_a_good_series_has_no_flags() -> None:
    assert flags_of(80 * bolus(), 200 * bolus(6.0)) == set()


@pytest.mark.parametrize(
    ("aif", "vof", "arrival", "code"),
    [
        (80 * bolus()[:22], 200 * bolus(6.0)[:22], 6, "truncated"),
        (80 * bolus()[:28], 200 * bolus(6.0)[:28], 6, "short"),
        (80 * bolus(), 200 * bolus(6.0), 2, "baseline"),
        (80 * bolus(8.0), 200 * bolus(2.0), 6, "aif-late"),
        (80 * bolus() + 20 * (-1.0) ** np.arange(FRAMES), 200 * bolus(6.0), 6, "aif-noise"),
    ],
)
def test_each_fault_of_a_series_is_flagged(
    aif: Float[np.ndarray, "t"], vof: Float[np.ndarray, "t"], arrival: int, code: str
) -> None:
    assert code in flags_of(aif, vof, arrival=arrival)


def test_slow_frames_and_a_missing_vein_are_flagged() -> None:
    time_s = np.arange(20) * 3.5
    curve = np.interp(time_s, TIME_S, bolus())
    vessels = Vessels(time_s, curve, curve, 1.0, np.zeros((8, 3), int), np.zeros((0, 3), int), "HU")
    codes = {flag.code for flag in series_flags(vessels, Bolus(3, 8), time_s)}
    assert {"slow", "no-vein"} <= codes
