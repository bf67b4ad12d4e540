"""Time curves: times, bolus, concentration, peaks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float

from strokelens.errors import SeriesError
from strokelens.perfusion.curves import (
    Bolus,
    area,
    enhancement_hu,
    find_bolus,
    interpolation,
    peak_times_s,
    relaxation_change,
    uniform_times,
    width_s,
)
from tests.test_deconvolve import bolus


def test_uniform_times_leave_a_regular_series_as_it_is() -> None:
    time_s = 3.0 + 1.5 * np.arange(20)
    assert np.array_equal(uniform_times(time_s), time_s)


def test_uniform_times_use_the_median_interval_and_stay_within_the_scan() -> None:
    time_s = np.r_[np.arange(30) * 1.0, 30 + 2.0 * np.arange(10)]
    uniform_s = uniform_times(time_s)
    assert np.diff(uniform_s) == pytest.approx(1.0)
    assert time_s[-1] - uniform_s[-1] < 1.0


def test_interpolation_equals_numpy_curve_by_curve() -> None:
    rng = np.random.default_rng(3)
    time_s = np.cumsum(rng.uniform(0.5, 2.5, 30))
    curves = rng.normal(size=(7, 30))
    wanted_s = uniform_times(time_s)
    expected = [np.interp(wanted_s, time_s, curve) for curve in curves]
    assert curves @ interpolation(time_s, wanted_s) == pytest.approx(np.array(expected), abs=1e-5)


@pytest.mark.parametrize("onset", [3, 6, 15])
def test_the_bolus_arrives_one_or_two_frames_before_it_can_be_seen(onset: int) -> None:
    curve = 35 + 8 * np.r_[np.zeros(onset), bolus(frames=60)[6 : 6 + 40 - onset]]
    found = find_bolus(curve + np.random.default_rng(0).normal(0, 0.02, 40), rising=True)
    assert onset - 2 <= found.arrival <= onset + 1


def test_a_falling_signal_gives_the_same_bolus_as_a_rising_one() -> None:
    curve = 10 * bolus()
    assert find_bolus(300 - curve, rising=False) == find_bolus(300 + curve, rising=True)


@pytest.mark.parametrize(
    "curve",
    [np.full(40, 35.0), 35 + np.random.default_rng(1).normal(0, 1, 40), np.linspace(35, 35.01, 40)],
    ids=["constant", "noise", "drift of the detector"],
)
def test_a_series_without_bolus_is_refused(curve: Float[np.ndarray, "t"]) -> None:
    with pytest.raises(SeriesError, match="no bolus in the series"):
        find_bolus(curve, rising=True)


def test_a_series_of_seven_frames_is_refused() -> None:
    with pytest.raises(SeriesError, match="a series of 7 frames cannot hold a bolus; at least 8 are needed"):
        find_bolus(np.arange(7.0), rising=True)


def test_ct_enhancement_is_what_was_added_to_the_baseline() -> None:
    added = np.outer([1.0, 4.0], 10 * bolus())
    assert enhancement_hu(np.array([[30.0], [38.0]]) + added, Bolus(5, 20)) == pytest.approx(added)


@given(st.floats(50, 2000), st.floats(0.01, 0.06), st.floats(0.5, 30))
def test_relaxation_change_inverts_the_signal_equation(signal: float, echo_time_s: float, peak_per_s: float) -> None:
    change = peak_per_s * bolus()[None]
    series = signal * np.exp(-echo_time_s * change)
    found = relaxation_change(series, Bolus(5, 20), echo_time_s=echo_time_s)
    assert found == pytest.approx(change, rel=1e-5, abs=1e-6)


def test_relaxation_change_saturates_where_the_signal_is_gone() -> None:
    series = np.array([[100.0, 100.0, 100.0, 0.0, -3.0]])
    change = relaxation_change(series, Bolus(3, 4), echo_time_s=0.03)
    assert change[0, 3:] == pytest.approx([-np.log(0.02) / 0.03] * 2)


def test_a_voxel_without_signal_has_no_relaxation_change() -> None:
    assert not relaxation_change(np.zeros((2, 10)), Bolus(3, 4), echo_time_s=0.03).any()


def test_without_echo_time_relaxation_is_in_units_of_it() -> None:
    series = 500 * np.exp(-0.03 * bolus()[None])
    with_te, without = (relaxation_change(series, Bolus(5, 20), echo_time_s=te) for te in (0.03, None))
    assert without == pytest.approx(0.03 * with_te, rel=1e-5, abs=1e-9)


def test_area_is_the_trapezoidal_rule() -> None:
    curves = np.random.default_rng(5).normal(size=(4, 40))
    assert area(curves, 1.5) == pytest.approx(np.trapezoid(curves, dx=1.5, axis=1))


def test_peak_time_of_a_parabola_is_exact_between_frames() -> None:
    time_s = np.arange(20) * 1.5
    peaks_s = np.array([6.2, 9.0, 20.1])
    assert peak_times_s(-((time_s - peaks_s[:, None]) ** 2), 1.5) == pytest.approx(peaks_s, abs=1e-4)


def test_peak_at_the_end_of_the_scan_stays_there() -> None:
    assert peak_times_s(np.arange(20.0)[None], 1.5)[0] == pytest.approx(28.5)


def test_width_of_a_box_is_its_length() -> None:
    box = np.zeros((1, 30))
    box[0, 10:18] = 4.0
    assert width_s(box, 1.5)[0] == pytest.approx(12.0)
