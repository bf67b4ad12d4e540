"""The template, heads drawn from it, vessels, and lesions: shapes, shares and volumes."""

from pathlib import Path

import numpy as np
import pytest

import strokelens.phantom
from strokelens.grid import Grid
from strokelens.phantom.anatomy import Head, draw_head, load_template, sample, sample_slice, smooth_field
from strokelens.phantom.lesion import MCA, Group, Occlusion, draw_fields, draw_occlusion
from strokelens.phantom.scanner import CtProtocol, scan_grid
from strokelens.phantom.vessels import STEP_MM, draw_vessels

DATA = Path(strokelens.phantom.__file__).parent / "data"


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def unmoved_head() -> Head:
    return Head(np.eye(4), np.zeros((3, *load_template().territory.shape), np.float32))


def test_the_shipped_template_is_small_and_says_whose_it_is() -> None:
    assert (DATA / "anatomy.npz").stat().st_size < 300_000
    assert "McGill" in (DATA / "ATTRIBUTION.txt").read_text()


def test_both_halves_of_the_template_are_alike() -> None:
    template = load_template()
    for volume in (template.grey, template.white, template.hull_distance_mm, template.territory):
        assert np.array_equal(volume, volume[::-1])


def test_the_template_holds_a_plausible_brain() -> None:
    template = load_template()
    voxel_ml = template.tissue_mm**3 / 1000
    grey_ml, white_ml = template.grey.sum() * voxel_ml, template.white.sum() * voxel_ml
    assert 850 < grey_ml < 1250  # adults have 600 to 800 and 500 to 650; the template is about a quarter too large
    assert 500 < white_ml < 850
    assert (template.grey + template.white).max() <= 1.07  # whole fifteenths, rounded apart


def test_the_insula_is_supplied_by_the_middle_cerebral_artery_and_the_cuneus_by_the_posterior() -> None:
    template = load_template()
    for place, territory in (((-40, 0, 0), 2), ((8, -80, 20), 3), ((-6, 45, 20), 1), ((15, -60, -36), 4)):
        voxel = tuple(np.rint((np.array(place) - template.origin_mm) / template.field_mm).astype(int))
        assert template.territory[voxel] == territory


def test_a_smooth_field_is_standardised_and_varies_slowly() -> None:
    field = smooth_field(rng(), (60, 60, 60), 8.0)
    assert field.mean() == pytest.approx(0, abs=0.3)
    assert field.std() == pytest.approx(1, abs=0.25)
    assert np.corrcoef(field[:-8].ravel(), field[8:].ravel())[0, 1] == pytest.approx(np.exp(-0.25), abs=0.12)


def test_a_thick_slice_is_the_mean_of_its_sub_slices() -> None:
    thick = Grid((60, 60, 1), np.array([[2, 0, 0, -59], [0, 2, 0, -80], [0, 0, 6, 20], [0, 0, 0, 1.0]]))
    samples = sample_slice(unmoved_head(), thick, 0, sub_slices=3)
    mean = np.bincount(samples.voxel, samples.grey, 3600).reshape(60, 60) / 3  # (j, i)
    template = load_template()
    expected = np.zeros((60, 60))
    for z in (18.0, 20.0, 22.0):
        x, y = np.meshgrid(np.arange(60) * 2.0 - 59, np.arange(60) * 2.0 - 80)
        places = np.stack([x.ravel(), y.ravel(), np.full(3600, z)]).astype(np.float32)
        expected += sample(template.grey, places, template.origin_mm, template.tissue_mm).reshape(60, 60) / 3
    outermost = np.full(3600, -99.0)
    np.maximum.at(outermost, samples.voxel, samples.hull_mm)
    inside = ((outermost < 0) & (outermost > -99)).reshape(60, 60)
    assert inside.sum() > 1000
    assert np.abs(mean - expected)[inside].max() < 1e-5


def test_parts_across_fall_into_the_right_voxels() -> None:
    coarse = scan_grid(CtProtocol(matrix=64, slices=1))
    one, four = (sample_slice(unmoved_head(), coarse, 0, sub_slices=1, across=across) for across in (1, 2))
    image = [np.bincount(samples.voxel, samples.white, 64 * 64) / parts for samples, parts in ((one, 1), (four, 4))]
    assert np.corrcoef(image[0], image[1])[0, 1] > 0.95
    assert image[0].sum() == pytest.approx(image[1].sum(), rel=0.02)


def test_heads_differ_in_size_tilt_and_shape() -> None:
    first, second = draw_head(rng(1)), draw_head(rng(2))
    assert not np.allclose(first.pose, second.pose)
    assert not np.allclose(first.displacement_mm, second.displacement_mm)
    assert not np.allclose(first.displacement_mm[0], -first.displacement_mm[0, ::-1])  # not symmetric either


def test_heads_have_the_size_of_people() -> None:
    scales = [draw_head(rng(seed)).volume_scale for seed in range(8)]
    brain_ml = load_template().tissue.sum() * load_template().field_mm ** 3 / 1000
    assert 1000 < brain_ml * min(scales) < brain_ml * max(scales) < 1800


def test_arteries_fill_their_voxels_only_to_the_share() -> None:
    vessels = draw_vessels(rng(), share=0.4)
    assert 0.3 < vessels.artery.max() / 255 <= 0.41
    assert vessels.vein.max() == 255


def test_the_sagittal_sinus_is_wide_and_in_the_middle() -> None:
    vein = draw_vessels(rng(), share=0.4).vein
    full = np.argwhere(vein > 250) * STEP_MM + load_template().origin_mm
    for y in (-60.0, -20.0, 10.0):
        across = full[(full[:, 1] == y) & (full[:, 2] > 60) & (np.abs(full[:, 0]) < 10)][:, 0]
        assert 3 <= np.ptp(across) <= 9
        assert abs(across.mean()) < 3


def test_what_lies_behind_a_clot_leaves_the_open_arteries() -> None:
    free, blocked = draw_vessels(rng(), share=0.4), draw_vessels(rng(), share=0.4, blocked_side=1)
    assert not free.collateral.any()
    behind = np.argwhere(blocked.collateral > 20) * STEP_MM + load_template().origin_mm
    assert (behind[:, 0] > 0).all()
    assert blocked.artery.astype(int).sum() < free.artery.astype(int).sum()


def test_fractions_of_blood_are_the_interpolated_volumes() -> None:
    vessels = draw_vessels(rng(), share=0.5)
    origin = load_template().origin_mm
    places = (origin[:, None] + rng(3).uniform(0, 140, (3, 20000))).astype(np.float32)
    for name, found in vessels.fractions(places).items():
        expected = sample(getattr(vessels, name), places, origin, STEP_MM) / 255
        assert np.abs(found - expected).max() < 1e-6


GROUP_ML: dict[Group, tuple[tuple[float, float], tuple[float, float]]] = {
    "LVO": ((15, 25), (60, 150)),
    "Non-LVO": ((1, 6), (10, 40)),
}


@pytest.mark.parametrize("group", GROUP_ML)
def test_drawn_volumes_are_those_of_the_group(group: Group) -> None:
    drawn = [draw_occlusion(rng(seed), group) for seed in range(300)]
    core, hypoperfused = GROUP_ML[group]
    assert core[0] < np.median([one.core_ml for one in drawn]) < core[1]
    inside = [hypoperfused[0] < one.hypoperfused_ml < hypoperfused[1] for one in drawn]
    assert np.mean(inside) > 0.75
    assert all(one.core_ml < 0.61 * one.hypoperfused_ml for one in drawn)


def test_better_collaterals_mean_a_smaller_core() -> None:
    drawn = [draw_occlusion(rng(seed), "LVO") for seed in range(300)]
    assert np.corrcoef([one.collaterals for one in drawn], [np.log(one.core_ml) for one in drawn])[0, 1] < -0.3


def lesion(side: int = 1) -> Occlusion:
    return Occlusion(side, MCA, hypoperfused_ml=90.0, core_ml=20.0, collaterals=0.5, proximal=True)


def test_a_lesion_has_the_volumes_it_was_asked_for() -> None:
    fields, template = draw_fields(rng(), lesion(), volume_scale=0.8), load_template()
    tissue_ml = template.tissue * (template.hull_distance_mm < 0) * template.field_mm**3 * 0.8 / 1000
    assert tissue_ml[fields.hypoperfused > 0].sum() == pytest.approx(90, abs=0.5)
    assert tissue_ml[fields.core > 0].sum() == pytest.approx(20, abs=0.5)


@pytest.mark.parametrize("side", [-1, 1])
def test_a_lesion_stays_in_its_half_and_holds_its_core(side: int) -> None:
    fields = draw_fields(rng(4), lesion(side), volume_scale=0.8)
    x = load_template().field_points_mm()[0] + 0 * fields.core
    assert (side * x[fields.hypoperfused > 0] > 0).all()
    assert (fields.hypoperfused[fields.core > 0] > 0).all()


def test_the_delay_ramps_up_towards_the_lesion_and_is_late_inside() -> None:
    fields = draw_fields(rng(4), lesion(), volume_scale=0.8)
    inside, outside = fields.hypoperfused > 0, fields.hypoperfused <= 0
    x = load_template().field_points_mm()[0] + 0 * fields.core
    assert fields.delay_s[inside].min() >= 4
    assert fields.delay_s[fields.core > 0].mean() > fields.delay_s[inside & (fields.core <= 0)].mean()
    assert fields.delay_s[outside].max() <= 2
    assert fields.delay_s[x < -20].max() <= 1.05


def test_without_a_stroke_nothing_is_late() -> None:
    fields = draw_fields(rng(), draw_occlusion(rng(), "WIS"), volume_scale=0.8)
    assert fields.hypoperfused.max() < 0
    assert fields.core.max() < 0
    assert fields.delay_s.max() <= 1
