"""The forward model against a slow convolution, laws of the residue function, and boluses against 93 patients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strokelens.phantom.haemodynamics import (
    BOX,
    DENSITY_G_PER_ML,
    EXPONENTIAL,
    GAMMA,
    HAEMATOCRIT_FACTOR,
    LATTICE,
    STEP_S,
    Bolus,
    Residue,
    dispersed,
    draw_bolus,
    gamma_variate,
    responses,
)

FINE_S = 0.01
RESIDUES = {"exponential": EXPONENTIAL, "gamma": GAMMA, "box": BOX}


def plain_bolus(duration_s: float = 200.0) -> Bolus:
    """A bolus that comes and goes: no second pass, no plateau."""
    time_s = np.arange(0, duration_s, STEP_S)
    artery = 200 * gamma_variate(time_s - 8.0, shape=3.0, width_s=10.0)
    return Bolus(time_s, artery, artery, 0.3)


def node(mtt_s: float, dispersion_s: float, delay_s: float) -> np.ndarray:
    return LATTICE.nodes(*(np.array([value], np.float32) for value in (mtt_s, dispersion_s, delay_s)))


def slow_tissue(bolus: Bolus, residue: Residue, frame_s: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Concentration per flow by two plain convolutions on steps of 10 ms."""
    mtt_s, dispersion_s, delay_s = (float(value[0]) for value in LATTICE.values(at))
    time_s = np.arange(0, frame_s[-1] + 2, FINE_S)
    artery = np.interp(time_s, bolus.time_s, bolus.artery)
    remaining = residue(time_s, mtt_s)
    remaining[0] /= 2  # half of the first step lies before time 0
    tissue = np.convolve(artery, remaining)[: time_s.size] * FINE_S
    if dispersion_s:
        kernel = np.exp(-time_s / dispersion_s)
        tissue = np.convolve(tissue, kernel / kernel.sum())[: time_s.size]
    flow = DENSITY_G_PER_ML / HAEMATOCRIT_FACTOR / 6000
    return flow * np.interp(frame_s - delay_s, time_s, tissue, left=0.0)


@pytest.mark.parametrize("name", RESIDUES)
@pytest.mark.parametrize(("mtt_s", "dispersion_s", "delay_s"), [(3.7, 0.0, 0.4), (4.5, 0.5, -0.7), (11.5, 2.0, 6.3)])
def test_the_forward_model_is_a_plain_convolution(name: str, mtt_s: float, dispersion_s: float, delay_s: float) -> None:
    bolus, frame_s, at = plain_bolus(80.0), np.arange(40) * 1.37, node(mtt_s, dispersion_s, delay_s)
    found, _ = responses(bolus, frame_s, RESIDUES[name], at)
    expected = slow_tissue(bolus, RESIDUES[name], frame_s, at)
    assert np.abs(found[0] - expected).max() < 0.006 * expected.max()


@given(shape=st.sampled_from([1.0, 2.0, 4.0, 30.0, np.inf]), mtt_s=st.floats(1.5, 20.0))
def test_a_residue_starts_at_one_falls_and_has_the_transit_time_as_its_area(shape: float, mtt_s: float) -> None:
    residue, time_s = Residue(shape), np.linspace(0, 25 * mtt_s, 20001)
    remaining = residue(time_s, mtt_s)
    assert remaining[0] == 1
    assert (np.diff(remaining) <= 1e-12).all()
    assert np.trapezoid(remaining, time_s) == pytest.approx(mtt_s, rel=2e-3)
    assert float(residue.integral(time_s[-1:], mtt_s)[0]) == pytest.approx(mtt_s, rel=1e-6)


@given(time=st.floats(0.01, 60.0), mtt_s=st.floats(1.5, 20.0))
def test_the_integral_of_a_residue_grows_as_fast_as_the_residue_says(time: float, mtt_s: float) -> None:
    around = np.array([time - 1e-4, time + 1e-4])
    grown = np.diff(GAMMA.integral(around, mtt_s))[0] / 2e-4
    assert grown == pytest.approx(float(GAMMA(np.array(time), mtt_s)), abs=1e-3)


@settings(max_examples=12, deadline=None)
@given(
    name=st.sampled_from(sorted(RESIDUES)),
    cbf=st.floats(2.0, 70.0),
    mtt_s=st.floats(2.0, 14.0),
    dispersion_s=st.floats(0.0, 3.0),
    delay_s=st.floats(-1.0, 12.0),
)
def test_the_areas_of_tissue_and_artery_give_the_blood_volume(
    name: str, cbf: float, mtt_s: float, dispersion_s: float, delay_s: float
) -> None:
    bolus, at = plain_bolus(), node(mtt_s, dispersion_s, delay_s)
    frame_s = np.arange(0, 199, 0.5)
    curve = cbf * responses(bolus, frame_s, RESIDUES[name], at)[0][0]
    area_artery = np.interp(frame_s, bolus.time_s, bolus.artery).sum()
    cbv = HAEMATOCRIT_FACTOR / DENSITY_G_PER_ML * 100 * curve.sum() / area_artery
    assert cbv == pytest.approx(cbf * LATTICE.values(at)[0][0] / 60, rel=0.005)


def test_the_true_tmax_of_a_dispersed_exponential_is_its_closed_form() -> None:
    at = node(11.5, 2.0, 5.0)
    mtt_s, tau_s, delay_s = (float(value[0]) for value in LATTICE.values(at))
    peak_s = tau_s * mtt_s / (mtt_s - tau_s) * np.log(mtt_s / tau_s)
    assert responses(plain_bolus(), np.arange(5.0), EXPONENTIAL, at)[1][0] == pytest.approx(delay_s + peak_s, abs=0.1)


def test_without_dispersion_the_true_tmax_is_the_delay() -> None:
    for residue in RESIDUES.values():
        assert responses(plain_bolus(), np.arange(5.0), residue, node(4.0, 0.0, 1.3))[1][0] == pytest.approx(1.3)


@given(mtt_s=st.floats(1.6, 19.0), dispersion_s=st.floats(0, 4), delay_s=st.floats(-1, 16))
def test_the_nearest_node_is_within_half_a_step(mtt_s: float, dispersion_s: float, delay_s: float) -> None:
    found = [float(value[0]) for value in LATTICE.values(node(mtt_s, dispersion_s, delay_s))]
    assert found[0] == pytest.approx(mtt_s, rel=0.0101)
    assert found[1:] == [pytest.approx(dispersion_s, abs=0.1251), pytest.approx(delay_s, abs=0.0501)]


@given(shape=st.floats(1.5, 6.0), width_s=st.floats(5.0, 20.0))
def test_a_gamma_variate_has_the_width_it_was_asked_for(shape: float, width_s: float) -> None:
    time_s = np.arange(0, 150, 0.01)
    curve = gamma_variate(time_s, shape=shape, width_s=width_s)
    assert curve.max() == pytest.approx(1.0, abs=1e-4)
    assert (curve >= 0.5).sum() * 0.01 == pytest.approx(width_s, abs=0.03)


def test_dispersion_keeps_the_area_and_delays_the_mean_by_its_constant() -> None:
    bolus = plain_bolus()
    late = dispersed(bolus.artery, 3.0)
    means = [np.average(bolus.time_s, weights=curve) for curve in (bolus.artery, late)]
    assert late.sum() == pytest.approx(bolus.artery.sum(), rel=1e-3)
    assert means[1] - means[0] == pytest.approx(3.0, abs=0.02)


# p5, p25, p75, p95 of the curves of 93 patients of ISLES 2018; frames there are about 1 s
MEASURED = {
    "artery's peak HU": (17, 23, 92, 215),
    "onset": (3.6, 6, 10, 15.8),
    "width": (9, 10, 14, 19.4),
    "artery's peak time": (10, 12, 19, 26.4),
    "vein's peak HU": (61, 118, 215, 397),
    "lag": (4, 5, 7, 9.4),
    "area ratio": (0.11, 0.20, 0.48, 0.81),
    "tail over peak": (0.12, 0.16, 0.26, 0.37),
}


def described(bolus: Bolus) -> dict[str, float]:
    """What the table says about one patient, from 46 frames of one second."""
    time_s = np.arange(0, 46, STEP_S)
    pure, vein = (np.interp(time_s, bolus.time_s, curve) for curve in (bolus.artery, bolus.vein))
    artery = pure * bolus.partial_volume
    high = np.flatnonzero(artery >= artery.max() / 2)
    return {
        "artery's peak HU": artery.max(),
        "onset": np.flatnonzero(artery > 0.05 * artery.max())[0] * STEP_S,
        "width": (high[-1] - high[0]) * STEP_S,
        "artery's peak time": artery.argmax() * STEP_S,
        "vein's peak HU": vein.max(),
        "lag": (vein.argmax() - artery.argmax()) * STEP_S,
        "area ratio": artery.sum() / vein.sum(),
        "tail over peak": artery[-30:].mean() / artery.max(),
    }


@pytest.mark.parametrize("figure", MEASURED)
def test_fifty_drawn_boluses_are_like_those_of_real_patients(figure: str) -> None:
    drawn = [described(draw_bolus(np.random.default_rng(seed), duration_s=60))[figure] for seed in range(50)]
    p5, p25, p75, p95 = MEASURED[figure]
    assert p25 <= np.median(drawn) <= p75
    assert np.mean([p5 <= value <= p95 for value in drawn]) >= 0.75


def test_a_shorter_scan_sees_the_same_bolus() -> None:
    short, long = (draw_bolus(np.random.default_rng(5), duration_s=duration) for duration in (20.0, 70.0))
    assert np.array_equal(short.artery, long.artery)
