"""Scores as their papers write them: sets of voxels, every distance of every two, flood filling; for small masks."""

from itertools import product
from math import floor, sqrt
from typing import TypeAlias

import numpy as np
from scipy import ndimage

from strokelens.arrays import Region

Voxel: TypeAlias = tuple[int, ...]


def voxels(mask: Region) -> set[Voxel]:
    """The set voxels' indices."""
    return {tuple(int(index) for index in voxel) for voxel in np.argwhere(mask)}


def counts(truth: Region, prediction: Region) -> tuple[int, int, int, int]:
    """True positive, false positive, false negative and true negative voxels, one by one."""
    pairs = list(zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True))
    return (
        pairs.count((True, True)),
        pairs.count((False, True)),
        pairs.count((True, False)),
        pairs.count((False, False)),
    )


def surface(mask: Region) -> set[Voxel]:
    """The set voxels of which a neighbour over a face is not set, or not in the image."""
    inside = voxels(mask)
    return {voxel for voxel in inside if not all(neighbour in inside for neighbour in face_neighbours(voxel))}


def face_neighbours(voxel: Voxel) -> list[Voxel]:
    return [(*voxel[:axis], voxel[axis] + step, *voxel[axis + 1 :]) for axis in range(len(voxel)) for step in (-1, 1)]


def distances_mm(source: Region, target: Region, spacing_mm: tuple[float, ...]) -> list[float]:
    """From each surface voxel of source to the nearest of target, by trying all."""
    others = surface(target)
    return sorted(
        min(
            sqrt(sum(((a - b) * length) ** 2 for a, b, length in zip(one, other, spacing_mm, strict=True)))
            for other in others
        )
        for one in surface(source)
    )


def percentile(values: list[float], percent: float) -> float:
    """Linear between the two values around the rank percent / 100 · (n − 1)."""
    ordered = sorted(values)
    rank = percent / 100 * (len(ordered) - 1)
    low = floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (rank - low) * (ordered[high] - ordered[low])


def surface_scores(truth: Region, prediction: Region, spacing_mm: tuple[float, ...]) -> dict[str, float]:
    """Every score of surfaces of two masks that are not empty."""
    there, back = distances_mm(truth, prediction, spacing_mm), distances_mm(prediction, truth, spacing_mm)
    pooled = there + back
    return {
        "hd_mm": max(pooled),
        "hd95_pooled_mm": percentile(pooled, 95),
        "hd95_max_mm": max(percentile(there, 95), percentile(back, 95)),
        "assd_pooled_mm": sum(pooled) / len(pooled),
        "assd_isles_mm": (sum(there) / len(there) + sum(back) / len(back)) / 2,
        "surface_dice_1mm": sum(distance <= 1 + 1e-6 for distance in pooled) / len(pooled),
        "surface_dice_2mm": sum(distance <= 2 + 1e-6 for distance in pooled) / len(pooled),
    }


def lesions(mask: Region) -> list[set[Voxel]]:
    """The connected components over faces, edges and corners, by flood filling, in the order of a scan."""
    left, found = voxels(mask), []
    for seed in sorted(left):
        if seed not in left:
            continue
        lesion, todo = set(), [seed]
        left.remove(seed)
        while todo:
            voxel = todo.pop()
            lesion.add(voxel)
            for step in product((-1, 0, 1), repeat=len(voxel)):
                neighbour = tuple(a + b for a, b in zip(voxel, step, strict=True))
                if neighbour in left:
                    left.remove(neighbour)
                    todo.append(neighbour)
        found.append(lesion)
    return found


def f1_isles22(truth: Region, prediction: Region) -> float:
    """The loops of ISLES'22: each true lesion is found or not, each predicted one is an error or not."""
    tp = sum(bool(lesion & voxels(prediction)) for lesion in lesions(truth))
    fn = len(lesions(truth)) - tp
    fp = sum(not lesion & voxels(truth) for lesion in lesions(prediction))
    return tp / (tp + (fp + fn) / 2) if tp + fp + fn else 1.0


def isles22_official(truth: Region, prediction: Region, voxel_ml: float) -> dict[str, float]:
    """The four numbers as the challenge's docker evaluator finds them: scipy's labels, lesion by lesion."""
    total = truth.sum() + prediction.sum()
    true_labels, true_count = ndimage.label(truth, np.ones((3, 3, 3)))
    labels, count = ndimage.label(prediction, np.ones((3, 3, 3)))
    tp = sum(bool((prediction & (true_labels == n)).any()) for n in range(1, true_count + 1))
    fp = sum(not (truth & (labels == n)).any() for n in range(1, count + 1))
    fn = true_count - tp
    return {
        "dice_isles": float(2 * (truth & prediction).sum() / total) if total else 1.0,
        "absolute_volume_difference_ml": float(abs(truth.sum() * voxel_ml - prediction.sum() * voxel_ml)),
        "absolute_lesion_count_difference": abs(true_count - count),
        "f1_isles22": tp / (tp + (fp + fn) / 2) if tp + fp + fn else 1.0,
    }


def f1_isles24(truth: Region, prediction: Region) -> float:
    """The best overlap of all that are left is taken, again and again, while it is at least 0.2."""
    true, predicted = dict(enumerate(lesions(truth))), dict(enumerate(lesions(prediction)))
    total, tp = len(true) + len(predicted), 0
    while true and predicted:
        best, second, first = max(
            (len(one & other) / len(one | other), -n, -m) for m, one in true.items() for n, other in predicted.items()
        )
        if best < 0.2:
            break
        del true[-first], predicted[-second]
        tp += 1
    return 2 * tp / total if total else 1.0


def auc(truth: list[bool], probability: list[float]) -> float:
    """Each true voxel against each other one: 1 for the higher probability, 1/2 for the same."""
    wins = [
        1.0 if p > q else 0.5 if p == q else 0.0
        for true, p in zip(truth, probability, strict=True)
        for other, q in zip(truth, probability, strict=True)
        if true and not other
    ]
    return sum(wins) / len(wins)


def expected_calibration_error(truth: list[bool], probability: list[float], bins: int) -> float:
    """Bin by bin, each with its upper edge."""
    error = 0.0
    for n in range(bins):
        low, high = n / bins, (n + 1) / bins
        members = [
            (true, p) for true, p in zip(truth, probability, strict=True) if low < p <= high or (n == 0 and p == 0)
        ]
        if members:
            mean = sum(p for _, p in members) / len(members)
            share = sum(true for true, _ in members) / len(members)
            error += len(members) / len(truth) * abs(mean - share)
    return error
