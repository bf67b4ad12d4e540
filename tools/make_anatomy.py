"""Reduce nilearn's MNI152 tissue templates to the small array that the simulated patient is made of.

Run once: `pip install strokelens[phantom-build]`, then `python tools/make_anatomy.py`. It needs no network: nilearn
carries the templates. It writes `src/strokelens/phantom/data/anatomy.npz` and prints what it holds.

The templates are the ICBM 152 nonlinear symmetric 2009a averages, so their left half says everything. Our own are the
sharpening of the tissue probabilities, the hull's distance and the arterial territories.
"""

from pathlib import Path

import numpy as np
from nilearn import datasets
from scipy import ndimage

TARGET = Path(__file__).parents[1] / "src/strokelens/phantom/data/anatomy.npz"
TISSUE_MM = 1.5
FIELD_MM = 3.0
BOX_MM = ((-96.0, 0.0), (-126.0, 96.0), (-48.0, 102.0))
LEVELS = 15
"""Tissue fractions are stored as whole 15ths."""

# Centres of the territories in MNI mm, left half; a voxel belongs to the nearest one. Drawn by us after the usual
# atlases of arterial supply (medial frontal and parietal: ACA; occipital, inferior temporal, thalamus: PCA).
CENTRES = {
    1: [  # ACA
        (-6, 58, 2),
        (-7, 48, 22),
        (-9, 28, 48),
        (-9, 5, 58),
        (-8, -18, 62),
        (-7, -38, 58),
        (-5, 30, 8),
        (-6, 40, -12),
        (-5, 5, 34),
        (-5, -15, 38),
        (-7, -52, 48),
        (-14, 62, 10),
        (-16, 44, 34),
        (-14, 14, 62),
        (-12, -40, 72),
    ],
    2: [  # MCA
        (-44, 2, 2),
        (-50, -18, 24),
        (-46, 24, 12),
        (-54, -44, 14),
        (-27, 2, 4),
        (-28, -28, 26),
        (-50, -8, -14),
        (-42, 10, 38),
        (-38, -36, 48),
        (-44, -60, 26),
        (-36, 38, 2),
        (-32, 34, 26),
        (-30, -12, 52),
        (-40, 10, -26),
        (-54, -32, -6),
        (-26, 12, 20),
        (-36, -52, 44),
        (-20, 2, 14),
        (-30, 52, 0),
        (-22, -10, 34),
        (-34, 44, -12),
    ],
    3: [  # PCA
        (-10, -88, 4),
        (-18, -72, -6),
        (-26, -54, -12),
        (-10, -18, 6),
        (-24, -30, -14),
        (-8, -72, 22),
        (-26, -88, 4),
        (-40, -66, -14),
        (-38, -38, -22),
        (-8, -30, -2),
        (-22, -74, 26),
        (-36, -80, 2),
        (-22, -12, -24),
        (-8, -58, 10),
    ],
    4: [(-6, -32, -34), (-20, -62, -36), (-38, -62, -42), (-4, -60, -28), (-4, -24, -22), (-22, -42, -34)],
}


def main() -> None:
    """Write the reduced anatomy."""
    templates = [
        load(resolution=1)
        for load in (
            datasets.load_mni152_gm_template,
            datasets.load_mni152_wm_template,
            datasets.load_mni152_brain_mask,
        )
    ]
    affine = templates[0].affine
    grey, white, brain = (np.asarray(template.get_fdata(), np.float32) for template in templates)
    fluid = np.clip(brain - grey - white, 0, 1)
    sharp = np.stack([grey, white, fluid]) ** 2
    sharp *= brain / np.maximum(sharp.sum(axis=0), 1e-6)
    grey_half, white_half = (_onto(_smooth(tissue, TISSUE_MM), affine, TISSUE_MM) for tissue in sharp[:2])
    distance = _onto(hull_distance_mm(brain), affine, FIELD_MM)
    np.savez_compressed(
        TARGET,
        box_mm=np.array(BOX_MM),
        tissue_mm=np.array(TISSUE_MM),
        field_mm=np.array(FIELD_MM),
        levels=np.array(LEVELS),
        grey=np.rint(grey_half * LEVELS).astype(np.uint8),
        white=np.rint(white_half * LEVELS).astype(np.uint8),
        hull_distance_mm=np.clip(np.rint(distance), -60, 60).astype(np.int8),
        territory=territories(),
    )
    print(f"{TARGET}: {TARGET.stat().st_size / 1000:.0f} kB, tissue {grey_half.shape}, fields {distance.shape}")


def hull_distance_mm(brain: np.ndarray) -> np.ndarray:
    """The distance to the brain's closed outline, negative inside; closing bridges 24 mm, so fissures lie inside."""
    padded = np.pad(brain > 0.5, 30)
    grown = ndimage.distance_transform_edt(~padded) <= 12
    closed = ndimage.distance_transform_edt(grown) > 12
    signed = ndimage.distance_transform_edt(~closed) - ndimage.distance_transform_edt(closed)
    inner: np.ndarray = signed[30:-30, 30:-30, 30:-30].astype(np.float32)
    return inner


def territories() -> np.ndarray:
    """1 ACA, 2 MCA, 3 PCA, 4 cerebellum and brain stem, for the left half on the coarse grid."""
    points = np.stack(np.meshgrid(*_axes(FIELD_MM), indexing="ij"), axis=-1)
    nearest = np.stack(
        [
            np.min([np.linalg.norm(points - np.array(centre), axis=-1) for centre in centres], axis=0)
            for centres in CENTRES.values()
        ]
    )
    nearest = np.stack([ndimage.gaussian_filter(distance, 1.0) for distance in nearest])
    territory: np.ndarray = (nearest.argmin(axis=0) + 1).astype(np.uint8)
    return territory


def _axes(step_mm: float) -> list[np.ndarray]:
    return [np.arange(low, high + 1e-6, step_mm) for low, high in BOX_MM]


def _smooth(tissue: np.ndarray, step_mm: float) -> np.ndarray:
    smooth: np.ndarray = ndimage.gaussian_filter(tissue, 0.35 * step_mm)
    return smooth


def _onto(values: np.ndarray, affine: np.ndarray, step_mm: float) -> np.ndarray:
    points = np.stack(np.meshgrid(*_axes(step_mm), indexing="ij"))
    voxels = (points - affine[:3, 3, None, None, None]) / np.diag(affine)[:3, None, None, None]
    found: np.ndarray = ndimage.map_coordinates(values, voxels, order=1, mode="nearest")
    return found


if __name__ == "__main__":
    main()
