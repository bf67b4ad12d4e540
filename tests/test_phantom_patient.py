"""A whole simulated study: same seed same bytes, truth, tissues, curves and maps that agree with each other."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from strokelens.arrays import Mask
from strokelens.phantom.clinical import draw_clinical
from strokelens.phantom.haemodynamics import DENSITY_G_PER_ML, GREY, HAEMATOCRIT_FACTOR, WHITE, TissueTable
from strokelens.phantom.lesion import Group
from strokelens.phantom.patient import Patient, simulate
from strokelens.phantom.scanner import CtProtocol, DscProtocol

CT = CtProtocol(matrix=96, slices=16, frames=30, interval_s=2.0)
SMALL = CtProtocol(matrix=48, slices=4, frames=12, interval_s=4.0)
TINY_MR = DscProtocol(matrix=48, slices=4, frames=24, interval_s=2.0)


@cache
def patient(seed: int = 3, group: Group = "LVO", noise_hu: float = 6.0) -> Patient:
    return simulate(seed, protocol=replace(CT, noise_hu=noise_hu), group=group, motion=False)


@cache
def small(seed: int) -> Patient:
    return simulate(seed, protocol=SMALL)


def mean_curve(one: Patient, mask: Mask) -> np.ndarray:
    """The enhancement in a mask, over the mean of the frames before the bolus."""
    curve = one.case["CTP"][mask].mean(axis=0)
    assert one.case.time_s is not None
    before = one.case.time_s < one.bolus.time_s[one.bolus.artery > 0.01 * one.bolus.artery.max()][0]
    enhancement: np.ndarray = curve - curve[before].mean()
    return enhancement


def pure(one: Patient, tissue: str, state: str, share: float = 0.9) -> Mask:
    """Voxels almost wholly of one tissue in one state, without large vessels."""
    fractions = one.tissues
    blood = fractions["artery"] + fractions["collateral"] + fractions["vein"]
    other = fractions["penumbra"] + fractions["core"]
    in_state = {"healthy": other < 1e-3, "penumbra": fractions["penumbra"] > share, "core": fractions["core"] > share}
    mask: Mask = (fractions[tissue] > share) & (blood < 1e-3) & in_state[state]
    return mask


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_threads() -> None:
    one, three = (simulate(11, protocol=SMALL, motion=True, workers=workers) for workers in (1, 3))
    assert one.case["CTP"].tobytes() == three.case["CTP"].tobytes()
    assert one.case.clinical == three.case.clinical
    for name, volume in one.maps.items():
        assert volume.tobytes() == three.maps[name].tobytes()


def test_another_seed_is_another_patient() -> None:
    one, other = small(4), small(5)
    assert not np.array_equal(one.case["CTP"], other.case["CTP"])
    assert one.occlusion != other.occlusion


def test_another_protocol_scans_the_same_patient() -> None:
    ct, mr = small(4), simulate(4, protocol=TINY_MR)
    assert ct.occlusion == mr.occlusion
    assert np.array_equal(ct.maps["CBF"], mr.maps["CBF"])


def test_the_case_is_what_the_readers_give() -> None:
    case = patient().case
    assert case.id == "sim-3"
    assert case.group == "LVO"
    assert case["CTP"].shape == (96, 96, 16, 30)
    assert case.grid.orientation == "LPS"
    assert case.truth is not None
    assert case.truth.scheme.names == ("background", "penumbra", "core")
    assert case.time_s == pytest.approx(np.arange(30) * 2.0)
    assert 22 <= case.clinical["age_years"] <= 98


def test_ct_values_are_whole_numbers_of_a_head_in_air() -> None:
    values = patient().case["CTP"][..., 0]
    assert np.array_equal(values, np.rint(values))
    assert values[:4, :4].mean() == pytest.approx(-1000, abs=3)
    assert values.max() > 900
    for tissue, expected in (("grey", 35.0), ("white", 29.1), ("fluid", 12.1)):
        assert values[patient().tissues[tissue] > 0.97].mean() == pytest.approx(expected, abs=1.4)


def test_fractions_of_a_voxel_add_up_to_at_most_one() -> None:
    names = ("grey", "white", "fluid", "bone", "scalp", "artery", "collateral", "vein")
    total = sum(patient().tissues[name] for name in names)
    assert isinstance(total, np.ndarray)
    assert 0 <= total.min() <= total.max() < 1.08  # the template's tissues are stored in fifteenths


@pytest.mark.parametrize("noise_hu", [4.0, 12.0])
def test_the_noise_in_the_image_is_the_protocols(noise_hu: float) -> None:
    still = replace(SMALL, noise_hu=noise_hu, matrix=128, field_of_view_mm=115.0)
    series = simulate(5, protocol=still, motion=False).case["CTP"]
    difference = (series[..., 1] - series[..., 0])[4:-4, 4:-4]
    assert difference.std() / np.sqrt(2) == pytest.approx(noise_hu, rel=0.03)


def test_truth_volumes_are_near_those_drawn() -> None:
    for seed in (3, 8):
        one = patient(seed)
        assert one.case.truth is not None
        assert one.case.truth.volume_ml("penumbra", "core") == pytest.approx(one.occlusion.hypoperfused_ml, rel=0.25)
        assert one.case.truth.volume_ml("core") == pytest.approx(one.occlusion.core_ml, rel=0.35)


def test_without_a_stroke_the_truth_is_empty() -> None:
    one = simulate(5, protocol=SMALL, group="WIS")
    assert one.case.truth is not None
    assert not one.case.truth.labels.any()
    assert one.occlusion.side == 0


def test_a_voxel_is_labelled_by_what_most_of_its_tissue_is_in() -> None:
    one = patient()
    assert one.case.truth is not None
    tissue = one.tissues["grey"] + one.tissues["white"]
    core = one.case.truth.mask("core")
    assert (one.tissues["core"][core] >= one.tissues["penumbra"][core]).all()
    assert (tissue[one.case.truth.mask("penumbra", "core")] >= 0.5).all()


@pytest.mark.parametrize("tissue", ["grey", "white"])
@pytest.mark.parametrize(("index", "state"), list(enumerate(("healthy", "penumbra", "core"))))
def test_flow_is_that_of_the_table_by_the_shares_of_grey_and_white(tissue: str, index: int, state: str) -> None:
    one = patient(8)
    mask = pure(one, tissue, state, share=0.93)
    expected = sum(
        one.tissues[name][mask].mean() * table.cbf_ml_per_100g_min[index]
        for name, table in (("grey", GREY), ("white", WHITE))
    )
    table = GREY if tissue == "grey" else WHITE
    assert mask.sum() > 20
    assert one.maps["CBF"][mask].mean() == pytest.approx(expected, abs=table.cbf_sd[index])
    assert one.maps["CBF"][mask].std() < 1.5 * table.cbf_sd[index]


@pytest.mark.parametrize("table", [GREY, WHITE], ids=["grey", "white"])
@pytest.mark.parametrize("state", [0, 1, 2])
def test_transit_times_lie_between_those_of_the_table(table: TissueTable, state: int) -> None:
    name = ("healthy", "penumbra", "core")[state]
    mask = pure(patient(8), "grey" if table is GREY else "white", name, share=0.95)
    slowest, fastest = max(GREY.mtt_s[state], WHITE.mtt_s[state]), min(GREY.mtt_s[state], WHITE.mtt_s[state])
    found = patient(8).maps["MTT"][mask]
    assert fastest - 0.3 < found.mean() < slowest + 0.3
    assert abs(found.mean() - table.mtt_s[state]) < 0.5 * (slowest - fastest) + 0.2


def test_the_penumbra_arrives_late_and_the_core_later() -> None:
    one = patient(8)
    delays = [one.maps["delay"][pure(one, "white", state)] for state in ("healthy", "penumbra", "core")]
    assert delays[0].max() <= 2.01
    assert 4 <= delays[1].mean() <= 10
    assert delays[1].mean() < delays[2].mean() <= 12


def test_the_maps_obey_the_central_volume_theorem() -> None:
    maps = patient().maps
    flowing = maps["CBF"] > 1
    assert maps["CBV"][flowing] == pytest.approx((maps["CBF"] * maps["MTT"] / 60)[flowing], rel=1e-4)
    assert (maps["Tmax"] - maps["delay"])[flowing].min() > -1e-3


def test_blood_volume_can_be_read_from_the_images() -> None:
    one = patient(8, noise_hu=0.0)
    assert one.case.time_s is not None
    artery = np.interp(one.case.time_s, one.bolus.time_s, one.bolus.artery)
    for tissue in ("grey", "white"):
        mask = pure(one, tissue, "healthy")
        area = mean_curve(one, mask).sum() / artery.sum()
        assert 100 * HAEMATOCRIT_FACTOR / DENSITY_G_PER_ML * area == pytest.approx(
            one.maps["CBV"][mask].mean(), rel=0.08
        )


def test_fluid_does_not_enhance() -> None:
    one = patient()
    fractions = one.tissues
    dry = (fractions["fluid"] > 0.99) & (fractions["grey"] + fractions["white"] < 0.005)
    assert dry.sum() > 10
    assert np.abs(mean_curve(one, dry)).max() < 4 * 6.0 / np.sqrt(dry.sum()) + 0.3


def test_the_voxels_that_enhance_most_are_large_vessels() -> None:
    one = patient(noise_hu=0.0)
    enhancement = one.case["CTP"].max(axis=-1) - one.case["CTP"][..., 0]
    hottest = enhancement > np.sort(enhancement, axis=None)[-150]
    blood = one.tissues["artery"] + one.tissues["vein"] + one.tissues["collateral"]
    assert (blood[hottest] > 0.3).all()
    assert one.tissues["vein"].max() > 0.9
    assert enhancement.max() == pytest.approx(one.bolus.vein.max(), rel=0.1)


def test_most_arterial_voxels_are_partly_something_else() -> None:
    for seed in (3, 8):
        artery = patient(seed).tissues["artery"]
        share = patient(seed).bolus.partial_volume
        assert np.median(artery[artery > 0.02]) < 0.3
        assert 0.6 * share < np.sort(artery, axis=None)[-10:].mean() < 2 * share


def test_the_vein_peaks_after_the_artery() -> None:
    one = patient(noise_hu=0.0)
    artery = one.tissues["artery"] > 0.8 * one.tissues["artery"].max()
    vein = one.tissues["vein"] > 0.9
    lag_frames = mean_curve(one, vein).argmax() - mean_curve(one, artery).argmax()
    assert 2 <= 2.0 * lag_frames <= 12


def test_a_moving_head_changes_frames_that_a_still_one_keeps() -> None:
    still, moving = (simulate(6, protocol=replace(SMALL, noise_hu=0.0), motion=motion) for motion in (False, True))
    changed = [t for t in range(12) if not np.array_equal(still.case["CTP"][..., t], moving.case["CTP"][..., t])]
    assert changed == [t for t, pose in enumerate(moving.poses) if not pose.still]
    assert changed
    assert 0 not in changed


def test_small_pixels_are_interpolated_from_the_same_head() -> None:
    fine = simulate(3, protocol=replace(SMALL, matrix=512, slices=1, frames=2, noise_hu=0.0), motion=False)
    plain = simulate(3, protocol=replace(SMALL, matrix=256, slices=1, frames=2, noise_hu=0.0), motion=False)
    assert fine.case["CTP"].shape == (512, 512, 1, 2)
    for name in ("CBF", "delay"):
        halved = fine.maps[name].reshape(256, 2, 256, 2, 1).mean(axis=(1, 3))
        assert np.corrcoef(halved.ravel(), plain.maps[name].ravel())[0, 1] > 0.99


def test_mr_signal_drops_with_the_bolus_by_the_peak_that_was_asked_for() -> None:
    one = simulate(4, protocol=replace(TINY_MR, snr=1000.0, slices=8), motion=False)
    signal = one.case["PWI"][pure(one, "grey", "healthy", share=0.85)]
    rate_per_s = -np.log(signal.mean(axis=0) / signal[:, 0].mean()) / 0.030
    assert one.case.echo_time_s == 0.030
    assert rate_per_s.max() == pytest.approx(10.0, rel=0.25)


def test_mr_air_has_the_mean_of_rician_noise_and_vessels_saturate() -> None:
    one = simulate(4, protocol=replace(TINY_MR, matrix=128), motion=False)
    floor = 600 / 70 * np.sqrt(np.pi / 2)
    assert one.case["PWI"][:5, :5].mean() == pytest.approx(floor, rel=0.03)
    vein = one.case["PWI"][one.tissues["vein"] > 0.8]
    assert vein.mean(axis=0).min() < 0.15 * vein[:, 0].mean()


def test_a_larger_lesion_means_a_higher_nihss_and_some_are_unknown() -> None:
    drawn = {
        volume_ml: [draw_clinical(np.random.default_rng(seed), volume_ml) for seed in range(200)]
        for volume_ml in (15, 120)
    }
    known = {volume_ml: [one["nihss"] for one in several if "nihss" in one] for volume_ml, several in drawn.items()}
    assert np.mean(known[120]) > np.mean(known[15]) + 6
    assert 130 < len(known[15]) < 190
    assert all(22 <= one["age_years"] <= 98 for one in drawn[15])
