"""Units: what the values of each quantity are recognised as, and which are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float

from strokelens.cohorts.units import Conversion, conversion, typical
from strokelens.errors import UnitError

Volume = Float[np.ndarray, "i j k"]


def brain(median: float, background: float = 0.0) -> Volume:
    """A 12³ volume: a cube of 8³ around `median` ± 20 %, in background."""
    rng = np.random.default_rng(0)
    volume = np.full((12, 12, 12), background, np.float32)
    volume[2:10, 2:10, 2:10] = median * rng.uniform(0.8, 1.2, (8, 8, 8))
    return volume


def head(brain_hu: float = 35.0, air_hu: float = -1000.0, offset: float = 0.0, sigma: float = 8.0) -> Volume:
    """A 20³ head in HU: brain in a shell of bone in air, noise of `sigma`."""
    volume = np.full((20, 20, 20), air_hu, np.float32)
    volume[3:17, 3:17, 3:17] = 900.0
    volume[4:16, 4:16, 4:16] = brain_hu
    return volume + np.float32(offset) + np.random.default_rng(0).normal(0, sigma, volume.shape).astype(np.float32)


@pytest.mark.parametrize(
    ("median", "factor", "unit"), [(800.0, 1.0, "10⁻⁶ mm²/s"), (0.8, 1e3, "10⁻³ mm²/s"), (8e-4, 1e6, "mm²/s")]
)
def test_adc_units_are_recognised_converted_and_stated(median: float, factor: float, unit: str) -> None:
    found = conversion("ADC", brain(median), "adc.nii")
    assert found.factor == factor
    assert f"ADC stored in {unit} (median" in found.note


@given(st.floats(250, 3500), st.sampled_from([1.0, 1e3, 1e6]))
def test_an_adc_map_comes_out_the_same_from_every_unit(median: float, factor: float) -> None:
    stored = brain(median) / factor
    assert typical(stored * conversion("ADC", stored, "adc.nii").factor) == pytest.approx(typical(brain(median)))


@pytest.mark.parametrize("median", [30.0, 0.02, 1e5, 1e-7])
def test_adc_of_no_known_unit_is_refused(median: float) -> None:
    with pytest.raises(UnitError, match=r"adc\.nii: ADC with a median of .* fits neither"):
        conversion("ADC", brain(median), "adc.nii")


@pytest.mark.parametrize("channel", ["ADC", "CBF", "CBV", "MTT", "TTP", "Tmax"])
@pytest.mark.parametrize("relative", [False, True])
def test_a_map_without_a_positive_value_is_refused(channel: str, relative: bool) -> None:
    said = rf"^map\.nii: {channel} has no value above 0 \(highest 0\); is this a map of {channel}\?$"
    with pytest.raises(UnitError, match=said):
        conversion(channel, -brain(20.0), "map.nii", relative=relative)


def test_faint_background_does_not_move_the_brain_median() -> None:
    assert typical(brain(800.0, background=1e-3)) == pytest.approx(typical(brain(800.0)), rel=0.01)


@pytest.mark.parametrize(
    ("channel", "median", "factor"),
    [("Tmax", 2.0, 1.0), ("Tmax", 2000.0, 1e-3), ("MTT", 5.0, 1.0), ("MTT", 5000.0, 1e-3), ("TTP", 20.0, 1.0)],
)
def test_times_in_seconds_and_milliseconds_are_told_apart(channel: str, median: float, factor: float) -> None:
    assert conversion(channel, brain(median), "map.nii").factor == factor


def test_tmax_between_seconds_and_milliseconds_is_not_guessed() -> None:
    with pytest.raises(UnitError, match=r"fits neither s .* nor ms"):
        conversion("Tmax", brain(60.0), "tmax.nii")


def test_relative_and_odd_cbf_are_kept_and_noted() -> None:
    assert "relative map (rCBF" in conversion("CBF", brain(1.0), "rcbf.nii", relative=True).note
    assert "only ratios" in conversion("CBF", brain(0.02), "cbf.nii").note
    assert conversion("CBF", brain(50.0), "cbf.nii").note.startswith("CBF taken as ml/100 g/min")


@pytest.mark.parametrize(("offset", "back"), [(0.0, 0.0), (1024.0, -1024.0), (-1024.0, 1024.0)])
@pytest.mark.parametrize("sigma", [0.0, 4.0, 12.0])
def test_hounsfield_offsets_are_recognised(offset: float, back: float, sigma: float) -> None:
    assert conversion("CTP", head(offset=offset, sigma=sigma), "ctp.nii").offset == back


def test_skull_stripped_hounsfield_is_recognised() -> None:
    assert conversion("CTP", brain(35.0), "ctp.nii") == Conversion(note="CTP in HU")


@pytest.mark.parametrize("values", [brain(400.0, 3.0), brain(0.5), -brain(300.0)])
def test_values_that_are_not_hounsfield_are_refused(values: Volume) -> None:
    with pytest.raises(UnitError, match="does not look like HU"):
        conversion("CTP", values, "ctp.nii")


def test_signal_in_arbitrary_units_is_left_as_it_is() -> None:
    assert conversion("DWI", brain(1e5), "dwi.nii") == Conversion()
