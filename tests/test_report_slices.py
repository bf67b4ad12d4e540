"""The first ancestor's pictures: its grey levels, heat between its colours, and outlines two pixels wide."""

import numpy as np
import pytest

from strokelens.case import Segmentation
from strokelens.grid import radiological_grid
from strokelens.labels import CORE_ONLY, CORE_PENUMBRA, CORE_PENUMBRA_BRAIN, LabelScheme
from strokelens.report.slices import ancestor_slices, backdrop_slices, heat, outline, outlined_slices

GRID = radiological_grid((4, 2, 1), (1.0, 1.0, 5.0))


@pytest.mark.parametrize(
    ("scheme", "inside", "outside"),
    [
        (CORE_PENUMBRA, [85, 128, 255], [0, 42, 170]),
        (CORE_PENUMBRA_BRAIN, [85, 85, 170, 255], [0, 0, 85, 170]),
        (CORE_ONLY, [85, 255], [0, 170]),
    ],
)
def test_the_ancestors_levels(scheme: LabelScheme, inside: list[int], outside: list[int]) -> None:
    grid = radiological_grid((len(scheme), 2, 1), (1.0, 1.0, 5.0))
    labels = np.repeat(np.arange(len(scheme), dtype=np.uint8)[:, None, None], 2, axis=1)
    brain = np.zeros(grid.shape, bool)
    brain[:, 0] = True
    (found,) = ancestor_slices(Segmentation(labels, grid, scheme), brain)
    assert found.tolist() == [inside, outside]


def test_a_backdrop_is_white_where_it_is_highest_and_black_without_a_value() -> None:
    values = np.array([[np.nan, 0], [1, 2], [-1, 4], [0, 0]], np.float32)[..., None]
    (found,) = backdrop_slices(Segmentation(np.zeros(GRID.shape, np.uint8), GRID, CORE_ONLY), values)
    assert found.tolist() == [[0, 63, 0, 0], [0, 127, 255, 0]]


def test_nothing_is_black() -> None:
    values = np.zeros(GRID.shape, np.float32)
    (found,) = backdrop_slices(Segmentation(np.zeros(GRID.shape, np.uint8), GRID, CORE_ONLY), values)
    assert not found.any()


def test_heat_lies_half_over_what_is_under_it() -> None:
    under = np.array([[0, 255]], np.uint8)
    assert heat(np.zeros((1, 2)), under).tolist() == [[[0, 0, 64], [128, 128, 191]]]


def test_an_outline_is_two_pixels_wide_and_passes_over_holes() -> None:
    region = np.zeros((12, 12), bool)
    region[3:9, 3:9] = True
    region[5, 5] = False
    border = outline(region)
    assert border[2, 3:9].all()
    assert border[3, 3:9].all()
    assert not border[4:8, 4:8].any()
    assert not border[1].any()
    assert not outline(np.zeros((4, 4), bool)).any()


def test_the_core_is_outlined_in_red_over_the_blue_of_hypoperfused_tissue() -> None:
    grid = radiological_grid((20, 20, 1), (1.0, 1.0, 5.0))
    labels = np.zeros(grid.shape, np.uint8)
    labels[3:17, 3:17] = 1
    labels[8:12, 8:12] = 2
    (found,) = outlined_slices([np.full((20, 20), 7, np.uint8)], Segmentation(labels, grid, CORE_PENUMBRA))
    assert found[3, 10].tolist() == [0, 0, 255]
    assert found[8, 10].tolist() == [255, 0, 0]
    assert found[5, 10].tolist() == [7, 7, 7]
