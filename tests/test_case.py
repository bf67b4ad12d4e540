"""Cases, segmentations and joining: what is accepted, what is refused, and in which words."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest

from strokelens.case import SERIES, UNITS, Case, Image, Segmentation, join
from strokelens.errors import CaseError, LabelError
from strokelens.grid import Grid
from strokelens.labels import CORE_PENUMBRA, LESION_ONLY

AsAUser = Callable[[], AbstractContextManager[None]]

SHAPE = (6, 5, 3)
GRID = Grid(SHAPE, np.diag([-2.0, 2.0, 5.0, 1.0]))


def grid_shifted(x_mm: float) -> Grid:
    affine = GRID.affine.astype(float)
    affine[0, 3] = x_mm
    return Grid(SHAPE, affine)


def series(frames: int) -> np.ndarray:
    return np.zeros((*SHAPE, frames), np.float32)


class TestCase:
    def test_channels_become_float32(self) -> None:
        case = Case("sub-01", GRID, {"ADC": np.full(SHAPE, 800, np.int16)})
        assert case["ADC"].dtype == np.float32
        assert (case["ADC"] == 800.0).all()

    def test_float32_channels_are_not_copied(self) -> None:
        array = np.zeros(SHAPE, np.float32)
        assert np.shares_memory(Case("sub-01", GRID, {"ADC": array})["ADC"], array)

    def test_channels_are_read_only_and_the_callers_array_is_not(self) -> None:
        array = np.zeros(SHAPE, np.float32)
        case = Case("sub-01", GRID, {"ADC": array})
        with pytest.raises(ValueError, match="read-only"):
            case["ADC"][0, 0, 0] = 1.0
        array[0, 0, 0] = 1.0
        assert array.flags.writeable

    def test_channels_cannot_be_added_later(self) -> None:
        case = Case("sub-01", GRID, {"ADC": np.zeros(SHAPE)})
        with pytest.raises(TypeError, match="does not support item assignment"):
            case.channels["DWI"] = np.zeros(SHAPE)  # type: ignore[index]  # what the type forbids

    def test_nan_is_kept(self) -> None:
        array = np.zeros(SHAPE)
        array[1, 2, 0] = np.nan
        assert np.argwhere(np.isnan(Case("sub-01", GRID, {"Tmax": array})["Tmax"])).tolist() == [[1, 2, 0]]

    def test_a_missing_channel_is_absent(self) -> None:
        assert set(Case("sub-01", GRID, {"ADC": np.zeros(SHAPE)}).channels) == {"ADC"}

    def test_asking_for_a_missing_channel_tells_which_are_there(self) -> None:
        case = Case("sub-01", GRID, {"DWI": np.zeros(SHAPE), "ADC": np.zeros(SHAPE)})
        with pytest.raises(CaseError, match=r"^sub-01 has no channel 'FLAIR'; it has ADC, DWI$"):
            case["FLAIR"]

    def test_asking_an_empty_case_tells_that_it_has_none(self) -> None:
        with pytest.raises(CaseError, match=r"^sub-01 has no channel 'ADC'; it has none$"):
            Case("sub-01", GRID, {})["ADC"]

    def test_an_unknown_channel_gets_a_hint(self) -> None:
        with pytest.raises(CaseError, match=r"^sub-01: no channel is called 'TMAX'; did you mean 'Tmax'\?$"):
            Case("sub-01", GRID, {"TMAX": np.zeros(SHAPE)})

    def test_a_shape_off_the_grid_is_told_with_both_shapes(self) -> None:
        message = r"^sub-01: channel ADC has shape \(6, 5, 4\), but its grid asks for \(6, 5, 3\)$"
        with pytest.raises(CaseError, match=message):
            Case("sub-01", GRID, {"ADC": np.zeros((6, 5, 4))})

    @pytest.mark.parametrize("name", SERIES)
    def test_a_series_without_frames_is_refused(self, name: str) -> None:
        with pytest.raises(CaseError, match=r"its grid asks for \(6, 5, 3\) and frames$"):
            Case("sub-01", GRID, {name: np.zeros(SHAPE)})

    def test_a_map_with_frames_is_refused(self) -> None:
        with pytest.raises(CaseError, match="channel CBF has shape"):
            Case("sub-01", GRID, {"CBF": series(2)})

    def test_a_series_keeps_its_times_in_seconds(self) -> None:
        case = Case("sub-01", GRID, {"CTP": series(3)}, time_s=np.array([0, 1, 3]))
        assert case.time_s is not None
        assert case.time_s.dtype == np.float64
        assert case.time_s.tolist() == [0.0, 1.0, 3.0]

    def test_times_cannot_be_changed_from_outside(self) -> None:
        times = np.array([0.0, 1.0, 3.0])
        case = Case("sub-01", GRID, {"CTP": series(3)}, time_s=times)
        times[0] = -5.0
        assert case.time_s is not None
        assert case.time_s[0] == 0.0

    def test_frames_without_times_are_told_with_both_counts(self, as_a_user: AsAUser) -> None:
        with as_a_user(), pytest.raises(CaseError, match=r"^sub-01: {'CTP': 3} frames but 2 frame times$"):
            Case("sub-01", GRID, {"CTP": series(3)}, time_s=np.array([0.0, 1.0]))

    @pytest.mark.parametrize("times", [[0.0, 2.0, 1.0], [0.0, 1.0, 1.0], [0.0, np.nan, 2.0], [0.0, 1.0, np.inf]])
    def test_times_must_grow(self, times: list[float]) -> None:
        with pytest.raises(CaseError, match="frame times must grow from frame to frame"):
            Case("sub-01", GRID, {"PWI": series(3)}, time_s=np.array(times))

    def test_a_truth_that_lies_elsewhere_is_refused_by_how_much(self) -> None:
        truth = Segmentation(np.zeros(SHAPE, np.uint8), grid_shifted(1.5), LESION_ONLY)
        with pytest.raises(CaseError, match=r"^sub-01: the truth lies elsewhere: corners up to 1\.5 mm apart$"):
            Case("sub-01", GRID, {}, truth=truth)

    def test_every_channel_has_a_unit(self) -> None:
        assert set(SERIES) <= set(UNITS)
        assert all(UNITS.values())


class TestSegmentation:
    def test_volume_is_the_voxels_times_their_volume(self) -> None:
        labels = np.zeros(SHAPE, np.uint8)
        labels[0, :, :] = 1
        labels[1, :2, 0] = 2
        segmentation = Segmentation(labels, GRID, CORE_PENUMBRA)
        assert segmentation.volume_ml("penumbra") == pytest.approx(15 * 0.02)
        assert segmentation.volume_ml("core") == pytest.approx(2 * 0.02)
        assert segmentation.volume_ml("penumbra", "core") == pytest.approx(17 * 0.02)

    def test_nothing_found_is_zero_ml(self) -> None:
        assert Segmentation(np.zeros(SHAPE, np.uint8), GRID, LESION_ONLY).volume_ml("lesion") == 0.0

    def test_labels_become_read_only_bytes(self) -> None:
        labels = np.ones(SHAPE, np.int64)
        segmentation = Segmentation(labels, GRID, LESION_ONLY)
        labels[:] = 0
        assert segmentation.labels.dtype == np.uint8
        assert segmentation.labels.all()
        assert not segmentation.labels.flags.writeable

    @pytest.mark.parametrize("strange", [3, 300, -1])
    def test_a_label_out_of_the_scheme_is_refused(self, strange: int) -> None:
        labels = np.zeros(SHAPE, np.int64)
        labels[0, 0, 0] = strange
        with pytest.raises(
            LabelError, match=rf"^labels \[{strange}\] are not in the scheme {{0: 'background', 1: 'pen"
        ):
            Segmentation(labels, GRID, CORE_PENUMBRA)

    def test_labels_off_the_grid_are_refused(self) -> None:
        with pytest.raises(CaseError, match=r"labels of shape \(6, 5, 4\) do not lie on a grid of \(6, 5, 3\)"):
            Segmentation(np.zeros((6, 5, 4), np.uint8), GRID, LESION_ONLY)

    def test_probabilities_off_the_grid_are_refused(self, as_a_user: AsAUser) -> None:
        with (
            as_a_user(),
            pytest.raises(CaseError, match=r"probabilities of lesion of shape \(6, 5, 4\) do not lie on \(6, 5, 3\)"),
        ):
            Segmentation(np.zeros(SHAPE, np.uint8), GRID, LESION_ONLY, {"lesion": np.zeros((6, 5, 4))})

    def test_probabilities_of_an_unknown_class_are_refused(self) -> None:
        with pytest.raises(LabelError, match="no label 'core' in this scheme"):
            Segmentation(np.zeros(SHAPE, np.uint8), GRID, LESION_ONLY, {"core": np.zeros(SHAPE)})

    def test_onto_a_flipped_grid_flips_labels_and_probabilities(self) -> None:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 2, SHAPE, dtype=np.uint8)
        flip = np.diag([-1.0, 1, 1, 1])
        flip[0, 3] = SHAPE[0] - 1
        segmentation = Segmentation(labels, GRID, LESION_ONLY, {"lesion": rng.random(SHAPE)})
        flipped = segmentation.onto(Grid(SHAPE, GRID.affine @ flip))
        np.testing.assert_array_equal(flipped.labels, labels[::-1])
        np.testing.assert_allclose(flipped.probabilities["lesion"], segmentation.probabilities["lesion"][::-1])

    def test_onto_a_finer_grid_keeps_the_volume_of_a_block(self) -> None:
        labels = np.zeros(SHAPE, np.uint8)
        labels[2:4, 1:4, 1] = 1
        half = np.diag([0.5, 0.5, 0.5, 1.0])
        half[:3, 3] = -0.25
        finer = Grid((12, 10, 6), GRID.affine @ half)
        segmentation = Segmentation(labels, GRID, LESION_ONLY)
        assert segmentation.onto(finer).volume_ml("lesion") == pytest.approx(segmentation.volume_ml("lesion"))


class TestJoin:
    def test_images_on_one_grid_keep_their_arrays(self) -> None:
        adc, dwi = np.ones(SHAPE, np.float32), np.full(SHAPE, 2.0, np.float32)
        grid, channels = join({"ADC": Image(adc, GRID), "DWI": Image(dwi, grid_shifted(0.9e-4))})
        assert grid is GRID
        assert channels["ADC"] is adc
        np.testing.assert_array_equal(channels["DWI"], dwi)

    def test_images_apart_are_refused_by_how_much_and_with_the_cure(self) -> None:
        message = (
            r"^DWI and ADC lie on different grids \(corners up to 2 mm apart\); use --resample to bring them together$"
        )
        with pytest.raises(CaseError, match=message):
            join({"ADC": Image(np.ones(SHAPE), GRID), "DWI": Image(np.ones(SHAPE), grid_shifted(2.0))})

    def test_images_of_other_shapes_are_refused_with_both_shapes(self) -> None:
        other = Image(np.ones((6, 5, 1)), Grid((6, 5, 1), GRID.affine))
        with pytest.raises(CaseError, match=r"shape 6×5×1 against 6×5×3"):
            join({"ADC": Image(np.ones(SHAPE), GRID), "DWI": other})

    def test_resampled_images_come_onto_the_first_grid(self) -> None:
        images = {"ADC": Image(np.ones(SHAPE), GRID), "DWI": Image(np.full(SHAPE, 3.0), grid_shifted(2.0))}
        grid, channels = join(images, resampled=True)
        assert grid is GRID
        assert np.isnan(channels["DWI"]).sum() == 15  # one column is out of view
        assert np.nanmin(channels["DWI"]) == np.nanmax(channels["DWI"]) == 3.0

    def test_no_image_makes_no_case(self) -> None:
        with pytest.raises(CaseError, match="no image to make a case of"):
            join({})

    @pytest.mark.parametrize("shape", [(6, 5, 4), (6, 5, 3, 2, 1)])
    def test_an_image_lies_on_its_grid(self, shape: tuple[int, ...], as_a_user: AsAUser) -> None:
        with as_a_user(), pytest.raises(CaseError, match=r"does not lie on a grid of \(6, 5, 3\)"):
            Image(np.zeros(shape), GRID)
