"""Where the planes of a series lie: sorted along their normal, and the grid that they form, or why they form none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from strokelens.cohorts.dicom_plane import Plane
from strokelens.cohorts.slice_reader import SPACING_MM
from strokelens.errors import GridError
from strokelens.grid import Grid, radiological_grid, resample

SAME_PLACE_MM = 0.02
"""Planes that lie nearer together along their normal are at one position."""

_STRAY_MM = 0.1
_UNEVEN_SHARE = 0.01
_STRAIGHT_DEG = 0.2
_LEAST_STATED_TILT_DEG = 0.5
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Place:
    """The grid of the planes as they lie, and `depths_mm`, their positions along the normal.

    Where that grid is not straight and even, `problem` says why, and `straight` is one that is; None where no
    resampling helps.
    """

    grid: Grid
    depths_mm: Float[np.ndarray, "k"]
    straight: Grid | None = None
    problem: str = ""
    doubts: tuple[str, ...] = ()

    @property
    def even(self) -> bool:
        """Whether the slices are equally far apart."""
        steps = np.diff(self.depths_mm)
        return not steps.size or bool(np.ptp(steps) <= max(_UNEVEN_SHARE * float(np.median(steps)), SAME_PLACE_MM))


def by_position(planes: Sequence[Plane], name: str) -> list[list[Plane]]:
    """The planes of each position along their normal, from the first position on.

    Without positions, each plane has its own, in the order of their numbers.

    Raises `GridError` when planes at one position lie apart within it, or some planes tell no position.
    """
    placed = [plane for plane in planes if plane.position is not None and plane.orientation is not None]
    if not placed:
        return [[plane] for plane in sorted(planes, key=lambda plane: (plane.order, plane.instance))]
    if len(placed) < len(planes):
        missing = len(planes) - len(placed)
        raise GridError(f"{name}: {missing} of {len(planes)} images tell no position; export the series again")
    try:
        normal = _normal(placed[0])
    except GridError as error:
        raise GridError(f"{name}: {error}") from error
    corners = np.array([plane.position for plane in placed])
    depths = corners @ normal
    order = np.argsort(depths, kind="stable")
    groups: list[list[int]] = []
    for at in order:
        if groups and depths[at] - depths[groups[-1][0]] < SAME_PLACE_MM:
            groups[-1].append(int(at))
        else:
            groups.append([int(at)])
    for group in groups:
        apart = float(np.linalg.norm(np.ptp(corners[group], axis=0)))
        if apart > _STRAY_MM:
            raise GridError(f"{name}: images at one depth lie {apart:.3g} mm apart; export one acquisition alone")
    return [[placed[at] for at in group] for group in groups]


def place_of(first: Sequence[Plane], name: str) -> Place:
    """The place of planes, one a position, from the first position on.

    Raises `GridError` when the header gives no possible voxels.
    """
    plane = first[0]
    shape = (plane.storage.columns, plane.storage.rows, len(first))
    if plane.position is None or plane.orientation is None:
        return _unplaced(plane, shape)
    if plane.spacing is None:
        raise GridError(f"{name} tells no pixel spacing; export the series again")
    corners = np.array([each.position for each in first])
    normal = _normal(plane)
    depths = corners @ normal
    steps = np.diff(depths)
    usual = float(np.median(steps)) if steps.size else plane.thickness or 1.0
    across = (corners[-1] - corners[0]) / max(len(first) - 1, 1) if steps.size else usual * normal
    try:
        place = Place(_grid(plane, corners[0], across, shape), depths, doubts=_tilt_doubt(plane, across, normal))
        problem, curable = _problem(place, corners, across, normal)
        if not problem:
            return place
        straight = _straight(plane, corners, usual * normal) if curable else None
        return Place(place.grid, depths, straight, problem)
    except GridError as error:
        raise GridError(f"{name}: {error}") from error


def straightened(array: Float[np.ndarray, "i j k *t"], place: Place) -> Float[np.ndarray, "i j x *t"]:
    """The values of a place on its straight grid, by linear interpolation; NaN outside of what the planes cover."""
    assert place.straight is not None
    if place.even:
        carried: Float[np.ndarray, "i j x *t"] = resample(array, place.grid, place.straight)
        return carried
    slices = place.straight.shape[2]
    at = np.interp(
        np.linspace(place.depths_mm[0], place.depths_mm[-1], slices), place.depths_mm, np.arange(place.depths_mm.size)
    )
    even = np.empty((*array.shape[:2], slices, *array.shape[3:]), array.dtype, order="F")
    for k, where in enumerate(at):
        below = min(int(where), place.depths_mm.size - 2)
        share = np.float32(where - below)
        even[:, :, k] = (
            array[:, :, below] * (1 - share) + array[:, :, below + 1] * share if share else array[:, :, below]
        )
    return even


def _problem(
    place: Place, corners: Float[np.ndarray, "k 3"], across: Float[np.ndarray, "3"], normal: Float[np.ndarray, "3"]
) -> tuple[str, bool]:
    """What keeps the planes from being a straight and even grid, empty where nothing does; and if resampling helps."""
    along = float(across @ normal)
    tilt_deg = float(np.degrees(np.arctan2(np.linalg.norm(across - along * normal), along)))
    tilted = len(corners) > 1 and tilt_deg > _STRAIGHT_DEG
    beside = corners - corners[0] - np.outer(place.depths_mm - place.depths_mm[0], across / along)
    stray = float(np.linalg.norm(beside, axis=1).max())
    if stray > _STRAY_MM or (tilted and not place.even):
        return f"its slices do not lie on one line at right angles (off by {stray:.3g} mm, tilt {tilt_deg:.1f}°)", False
    if not place.even:
        steps = np.diff(place.depths_mm)
        missing = _missing(steps)
        if missing:
            lack = "1 slice is missing" if missing == 1 else f"{missing} slices are missing"
            gap = f"{steps.max():.3g} mm where slices are {float(np.median(steps)):.3g} mm apart"
            return f"{lack}: there is a gap of {gap}", False
        return f"its slices are unevenly spaced ({steps.min():.3g} to {steps.max():.3g} mm)", True
    return (f"its slices are sheared by a gantry tilt of {tilt_deg:.1f}°", True) if tilted else ("", True)


def _missing(steps: Float[np.ndarray, "k"]) -> int:
    """How many slices lack in gaps that are whole multiples of the usual step; 0 where steps are uneven otherwise."""
    share = steps / np.median(steps)
    whole = np.rint(share)
    return int((whole - 1).sum()) if (np.abs(share - whole) <= _UNEVEN_SHARE * whole).all() and whole.min() > 0 else 0


def _straight(plane: Plane, corners: Float[np.ndarray, "k 3"], step: Float[np.ndarray, "3"]) -> Grid:
    """A grid at right angles through the middle of the planes, as deep as they are, in steps near the usual one."""
    usual = float(np.linalg.norm(step))
    normal = step / usual
    depths = corners @ normal
    slices = round(float(depths[-1] - depths[0]) / usual) + 1
    even = float(depths[-1] - depths[0]) / (slices - 1) * normal
    middle = corners.mean(axis=0) - (corners.mean(axis=0) @ normal) * normal
    shape = (plane.storage.columns, plane.storage.rows, slices)
    return _grid(plane, middle + depths[0] * normal, even, shape)


def _grid(
    plane: Plane, corner: Float[np.ndarray, "3"], across: Float[np.ndarray, "3"], shape: tuple[int, int, int]
) -> Grid:
    """The RAS grid: i along a row, j down a column, k from plane to plane."""
    assert plane.orientation is not None
    assert plane.spacing is not None
    affine = np.eye(4)
    affine[:3, 0] = np.array(plane.orientation[:3]) * plane.spacing[1]
    affine[:3, 1] = np.array(plane.orientation[3:]) * plane.spacing[0]
    affine[:3, 2] = across
    affine[:3, 3] = corner
    return Grid(shape, _LPS_TO_RAS @ affine)


def _unplaced(plane: Plane, shape: tuple[int, int, int]) -> Place:
    """A grid for pictures that tell no position: sizes by the header, else as published pictures have them."""
    rows_mm, columns_mm = plane.spacing or (SPACING_MM[1], SPACING_MM[0])
    grid = radiological_grid(shape, (columns_mm, rows_mm, plane.thickness or SPACING_MM[2]))
    sizes = "" if plane.spacing else ", nor voxel sizes: those of the published cohort are taken"
    doubt = f"the images tell no position{sizes}; their order and which side is left are assumed"
    return Place(grid, np.arange(shape[2]) * grid.spacing_mm[2], doubts=(doubt,))


def _normal(plane: Plane) -> Float[np.ndarray, "3"]:
    """The unit normal of a plane, in DICOM's space (left, posterior, superior)."""
    assert plane.orientation is not None
    with np.errstate(over="ignore", invalid="ignore"):
        normal = np.cross(plane.orientation[:3], plane.orientation[3:])
        length = float(np.linalg.norm(normal))
    if not 0.99 < length < 1.01:
        raise GridError("the directions of its rows and columns are impossible (ImageOrientationPatient); export again")
    return np.asarray(normal / length)


def _tilt_doubt(plane: Plane, across: Float[np.ndarray, "3"], normal: Float[np.ndarray, "3"]) -> tuple[str, ...]:
    """A stated gantry tilt that positions do not show: planes upright and stacked upright."""
    upright = min(abs(float(normal[2])), abs(float(across[2])) / max(float(np.linalg.norm(across)), 1e-9)) > 0.99996
    if abs(plane.tilt) < _LEAST_STATED_TILT_DEG or not upright:
        return ()
    return (f"the header states a gantry tilt of {plane.tilt:g}°, and positions show none: taken as corrected",)
