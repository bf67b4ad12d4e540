"""From a series to maps: simulated patients, the FAU phantom, MR, odd time axes, motion, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from jaxtyping import Float

from strokelens.case import Case
from strokelens.errors import CaseError, SeriesError
from strokelens.grid import Grid
from strokelens.perfusion.arterial import Vessels
from strokelens.perfusion.curves import Bolus, area, enhancement_hu, find_bolus
from strokelens.perfusion.deconvolve import BCSVD, OSVD, Deconvolution
from strokelens.perfusion.maps import MapSettings, PerfusionMaps, compute_maps, maps_of_curves, smoothing_for
from strokelens.perfusion.masks import tissue
from strokelens.perfusion.working import Blur
from strokelens.phantom.patient import Patient, simulate
from strokelens.phantom.scanner import CtProtocol, DscProtocol

QUICK = MapSettings(still=True)


@pytest.fixture(scope="module")
def patient() -> Patient:
    return simulate(51, protocol=CtProtocol(slices=6, noise_hu=3.0), motion=False)


@pytest.fixture(scope="module")
def perfusion(patient: Patient) -> PerfusionMaps:
    return compute_maps(patient.case, QUICK)


def pure(patient: Patient, tissue: str) -> Float[np.ndarray, "i j k"]:
    """Voxels of healthy tissue of one kind."""
    healthy = patient.tissues["penumbra"] + patient.tissues["core"] < 0.01
    inside: np.ndarray = healthy & (patient.tissues[tissue] > 0.95)
    return inside


def test_maps_have_the_cases_grid_and_are_nan_outside_the_brain(patient: Patient, perfusion: PerfusionMaps) -> None:
    assert set(perfusion.maps) == {"CBF", "CBV", "MTT", "TTP", "Tmax"}
    for volume in perfusion.maps.values():
        assert volume.shape == patient.case.grid.shape
        assert volume.dtype == np.float32
        assert np.isnan(volume[~perfusion.brain]).all()


def test_blood_volume_is_right_in_grey_and_white_matter(patient: Patient, perfusion: PerfusionMaps) -> None:
    for kind, true in (("grey", 3.3), ("white", 1.9)):
        assert np.nanmedian(perfusion.maps["CBV"][pure(patient, kind)]) == pytest.approx(true, rel=0.25)


def test_flow_is_ordered_as_it_is_though_truncation_lowers_it(patient: Patient, perfusion: PerfusionMaps) -> None:
    labels = patient.case.truth.labels if patient.case.truth else np.zeros(0)
    flow = perfusion.maps["CBF"]
    medians = [np.nanmedian(flow[region]) for region in (pure(patient, "grey"), labels == 1, labels == 2)]
    assert medians == sorted(medians, reverse=True)
    assert 0.2 < medians[0] / 53 < 0.9


def test_tmax_is_late_where_it_is_late(patient: Patient, perfusion: PerfusionMaps) -> None:
    labels = patient.case.truth.labels if patient.case.truth else np.zeros(0)
    late, normal = (np.nanmedian(perfusion.maps["Tmax"][labels == label]) for label in (1, 0))
    assert normal < 5
    assert late > 6


def test_volume_over_flow_is_transit_time(perfusion: PerfusionMaps) -> None:
    cbf, cbv, mtt = (perfusion.maps[name][perfusion.brain] for name in ("CBF", "CBV", "MTT"))
    flows = cbf > 1
    assert mtt[flows] == pytest.approx(60 * cbv[flows] / cbf[flows], rel=1e-4)


def test_an_oblique_or_flipped_affine_changes_no_value(patient: Patient, perfusion: PerfusionMaps) -> None:
    turned = np.diag([-1.0, 1.0, 1.0, 1.0]) @ patient.case.grid.affine
    elsewhere = compute_maps(replace(patient.case, grid=Grid(patient.case.grid.shape, turned), truth=None), QUICK)
    assert np.array_equal(elsewhere.maps["CBF"], perfusion.maps["CBF"], equal_nan=True)


def test_fine_pixels_are_averaged_and_the_maps_come_back_on_them() -> None:
    fine = simulate(52, protocol=CtProtocol(matrix=512, slices=3, frames=30, noise_hu=3.0), motion=False)
    perfusion = compute_maps(fine.case, QUICK)
    assert perfusion.maps["Tmax"].shape == (512, 512, 3)
    assert np.isfinite(perfusion.maps["CBV"][perfusion.brain]).mean() > 0.99


def test_irregular_frames_give_the_same_maps(patient: Patient, perfusion: PerfusionMaps) -> None:
    keep = np.r_[0:24, 24:40:2]
    series = patient.case["CTP"][..., keep]
    assert patient.case.time_s is not None
    thinned = replace(patient.case, channels={"CTP": series}, time_s=patient.case.time_s[keep])
    again = compute_maps(thinned, replace(QUICK, smoothing_mm=perfusion.smoothing_mm))
    inside = again.brain & perfusion.brain
    first, second = (np.nan_to_num(maps.maps["CBV"][inside]) for maps in (perfusion, again))
    assert np.corrcoef(first, second)[0, 1] >= 0.95


def test_a_frame_of_nan_is_passed_over(patient: Patient, perfusion: PerfusionMaps) -> None:
    series = patient.case["CTP"].copy()
    series[:5] = np.nan
    broken = compute_maps(replace(patient.case, channels={"CTP": series}), QUICK)
    inside = broken.brain & perfusion.brain
    first, second = (np.nan_to_num(maps.maps["CBF"][inside]) for maps in (perfusion, broken))
    assert np.corrcoef(first, second)[0, 1] >= 0.99


def test_a_voxel_without_value_in_one_frame_is_interpolated(patient: Patient, perfusion: PerfusionMaps) -> None:
    series = patient.case["CTP"].copy()
    voxel = tuple(np.argwhere(pure(patient, "grey"))[500])
    series[(*voxel, 12)] = np.nan
    gap = compute_maps(replace(patient.case, channels={"CTP": series}), replace(QUICK, smoothing_mm=0.0))
    whole = compute_maps(patient.case, replace(QUICK, smoothing_mm=0.0))
    assert gap.maps["CBV"][voxel] == pytest.approx(whole.maps["CBV"][voxel], rel=0.15)


def test_a_voxel_without_most_of_its_frames_is_not_brain(patient: Patient) -> None:
    series = patient.case["CTP"].copy()
    voxel = tuple(np.argwhere(pure(patient, "grey"))[500])
    series[(*voxel, slice(10, 40))] = np.nan
    assert np.isnan(compute_maps(replace(patient.case, channels={"CTP": series}), QUICK).maps["CBF"][voxel])


@pytest.mark.parametrize("nothing", [0.0, np.nan])
def test_blank_frames_are_left_out_and_told(patient: Patient, perfusion: PerfusionMaps, nothing: float) -> None:
    series = patient.case["CTP"].copy()
    series[..., [3, 39]] = nothing
    left = compute_maps(replace(patient.case, channels={"CTP": series}), MapSettings())
    assert "frames 4, 40 hold nothing and are left out" in {flag.message for flag in left.flags}
    inside = left.brain & perfusion.brain
    first, second = (np.nan_to_num(maps.maps["CBV"][inside]) for maps in (perfusion, left))
    assert np.corrcoef(first, second)[0, 1] >= 0.95


def test_dsc_mr_gives_maps_with_and_without_echo_time() -> None:
    patient = simulate(53, protocol=DscProtocol(slices=6), motion=False)
    with_te = compute_maps(patient.case, QUICK)
    without = compute_maps(replace(patient.case, echo_time_s=None), QUICK)
    inside = tissue(with_te.brain, with_te.maps, with_te.baseline, "MR")
    flow, again = (np.nan_to_num(maps.maps["CBF"][inside]) for maps in (with_te, without))
    assert np.corrcoef(flow, np.nan_to_num(patient.maps["CBF"][inside]))[0, 1] >= 0.6
    assert again == pytest.approx(flow, rel=1e-2, abs=1e-2)
    assert (with_te.vessels.unit, without.vessels.unit) == ("1/s", "a.u.")


def test_motion_is_corrected_before_maps_are_made() -> None:
    patient = simulate(54, protocol=CtProtocol(slices=8, noise_hu=3.0), motion=True)
    still = simulate(54, protocol=CtProtocol(slices=8, noise_hu=3.0), motion=False)
    truth, corrected, raw = (
        np.nan_to_num(compute_maps(case, settings).maps["CBV"])
        for case, settings in ((still.case, QUICK), (patient.case, MapSettings()), (patient.case, QUICK))
    )
    inner = pure(still, "white")
    assert np.abs(corrected[inner] - truth[inner]).mean() < 0.7 * np.abs(raw[inner] - truth[inner]).mean() + 0.05


def test_a_noisier_series_is_blurred_more() -> None:
    grid = Grid((40, 40, 4), np.diag([0.9, 0.9, 5.0, 1.0]))
    mask = np.ones(grid.shape, bool)
    after_s = np.clip(np.arange(40) * 1.5 - 9, 0, None) / 7.5
    bolus = 8 * (after_s * np.exp(1 - after_s)) ** 2.5
    noise = np.random.default_rng(0).normal(size=(mask.sum(), 40)).astype(np.float32)
    widths = [smoothing_for(bolus.astype(np.float32) + s * noise, mask, Blur(mask, grid, 2.0)) for s in (1, 15, 60)]
    assert widths[0] == 2.0 < widths[1] < widths[2] == 3.0


@pytest.mark.parametrize("method", [BCSVD(0.1), BCSVD(0.2), OSVD()], ids=lambda method: method.name)
def test_on_the_fau_phantom_flow_and_volume_follow_the_truth(shared_data: Path, method: Deconvolution) -> None:
    slice_ = scipy.io.loadmat(shared_data / "fau_ctp_phantom_slice" / "phantom.mat")
    tissue = np.isin(slice_["brain"], range(1, 7))
    values = np.moveaxis(slice_["ctp"], 0, -1)[tissue].astype(np.float32)
    aif = slice_["aif"].ravel().astype(float)
    nowhere = np.zeros((0, 3), int)
    vessels = Vessels(np.arange(50.0), aif, aif, 1.0, nowhere, nowhere, "HU")
    columns = maps_of_curves(enhancement_hu(values, Bolus(7, 19)), vessels, method)
    assert np.corrcoef(columns["CBF"], slice_["cbf"][tissue])[0, 1] >= 0.98
    assert np.corrcoef(columns["CBV"], slice_["cbv"][tissue])[0, 1] >= 0.98


def test_on_real_dsc_curves_white_matter_has_a_plausible_delay(shared_data: Path) -> None:
    curves = scipy.io.loadmat(shared_data / "dsc_roi_curves_real" / "osipi_LCB_dualecho_roi.mat")
    echoes_s = [float(curves[name].item()) for name in ("TE1", "TE2")]
    unit_s = 1e-3 if echoes_s[1] > 1 else 1.0
    gap_s = (echoes_s[1] - echoes_s[0]) * unit_s
    tr_s = float(curves["TR"].item()) * (1e-3 if float(curves["TR"].item()) > 100 else 1.0)

    def change(name: str) -> Float[np.ndarray, "t"]:
        ratio = np.log(curves[name][0] / curves[name][1]) / gap_s
        rate: np.ndarray = ratio - ratio[:20].mean()
        return rate

    aif, white = change("AIF_SIt"), change("NAWM_SIt")
    nowhere = np.zeros((0, 3), int)
    vessels = Vessels(np.arange(aif.size) * tr_s, aif, aif, 1.0, nowhere, nowhere, "1/s")
    columns = maps_of_curves(white[None].astype(np.float32), vessels, BCSVD(0.1))
    assert -3 <= columns["Tmax"][0] <= 6
    assert 0 < area(white[None], tr_s)[0] < area(aif[None], tr_s)[0]
    first, second = (find_bolus(curves[name][1].astype(float), rising=False) for name in ("AIF_SIt", "NAWM_SIt"))
    assert 0 <= second.arrival - first.arrival <= 4


def test_a_case_without_series_is_refused() -> None:
    grid = Grid((4, 4, 4), np.diag([2.0, 2.0, 5.0, 1.0]))
    with pytest.raises(CaseError, match=r"x: perfusion maps need one CTP or PWI series; the case has \['ADC'\]"):
        compute_maps(Case("x", grid, {"ADC": np.ones(grid.shape)}))


def test_a_series_without_times_names_the_option(patient: Patient) -> None:
    with pytest.raises(SeriesError, match="the series has no frame times; give them with --frame-interval SECONDS"):
        compute_maps(replace(patient.case, time_s=None))


def test_a_series_of_four_frames_is_refused(patient: Patient) -> None:
    assert patient.case.time_s is not None
    short = replace(patient.case, channels={"CTP": patient.case["CTP"][..., :4]}, time_s=patient.case.time_s[:4])
    with pytest.raises(SeriesError, match="4 frames cannot hold a bolus; at least 8 are needed"):
        compute_maps(short)


def test_a_series_before_the_bolus_is_refused(patient: Patient) -> None:
    rng = np.random.default_rng(0)
    head = patient.case["CTP"][..., :1] + rng.normal(0, 3, (*patient.case.grid.shape, 20))
    assert patient.case.time_s is not None
    unenhanced = replace(patient.case, channels={"CTP": head}, time_s=patient.case.time_s[:20])
    with pytest.raises(SeriesError, match="no bolus in the series"):
        compute_maps(unenhanced, QUICK)


def test_each_step_is_told(patient: Patient) -> None:
    told: list[str] = []
    compute_maps(patient.case, QUICK, told.append)
    assert told == ["motion", "brain", "frames", "vessels", "smoothing", "deconvolution"]
