"""What each score is called in a table, which end of it is better, and what it says in one line."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

HIGHER: Final = "higher"
LOWER: Final = "lower"
NEAR_0: Final = "near 0"

_ARROWS: Final = {HIGHER: "↑", LOWER: "↓", NEAR_0: "→ 0"}


@dataclass(frozen=True)
class Name:
    """A score's `title` with its unit, which end is `better`, what it `says`, and how many `digits` a table shows."""

    title: str
    better: str
    says: str
    digits: int = 2

    @property
    def head(self) -> str:
        """The title with an arrow to the better end, for a table's head."""
        return f"{self.title} {_ARROWS[self.better]}"


SCORES: Final[Mapping[str, Name]] = MappingProxyType(
    {
        "dice": Name("Dice", HIGHER, "overlap: twice the common voxels / those of both; none where both are empty"),
        "dice_isles": Name("Dice (ISLES)", HIGHER, "the same; 1 where both are empty"),
        "jaccard": Name("IoU", HIGHER, "intersection over union, also called Jaccard index"),
        "precision": Name("precision", HIGHER, "share of the prediction that is true"),
        "recall": Name("recall", HIGHER, "share of the truth that was found; sensitivity"),
        "specificity": Name("specificity", HIGHER, "share of the rest that was left alone; grows with the image", 4),
        "mcc": Name("MCC", HIGHER, "Matthews correlation coefficient, −1 to 1"),
        "hd_mm": Name("HD (mm)", LOWER, "Hausdorff distance: the farthest that one surface lies from the other", 1),
        "hd95_pooled_mm": Name("HD95 (pooled, mm)", LOWER, "95th percentile of both directions together", 1),
        "hd95_max_mm": Name("HD95 (max, mm)", LOWER, "larger of the 95th percentiles of both directions", 1),
        "assd_pooled_mm": Name("ASSD (pooled, mm)", LOWER, "average symmetric surface distance, all together", 1),
        "assd_isles_mm": Name("ASSD (ISLES, mm)", LOWER, "average surface distance, mean of both directions", 1),
        "surface_dice_1mm": Name("surface Dice, 1 mm", HIGHER, "share of the surfaces that lie within 1 mm"),
        "surface_dice_2mm": Name("surface Dice, 2 mm", HIGHER, "share of the surfaces that lie within 2 mm"),
        "f1_isles22": Name("lesion F1 (ISLES'22)", HIGHER, "lesions found: any common voxel; 1 where both are empty"),
        "f1_isles24": Name("lesion F1 (ISLES'24)", HIGHER, "lesions found: IoU from 0.2 on; 1 where both are empty"),
        "lesion_count_difference": Name("Δ lesions", NEAR_0, "predicted − true number of lesions", 1),
        "absolute_lesion_count_difference": Name("|Δ lesions|", LOWER, "its magnitude", 1),
        "volume_difference_ml": Name("ΔV (ml)", NEAR_0, "predicted − true volume", 1),
        "absolute_volume_difference_ml": Name("|ΔV| (ml)", LOWER, "its magnitude", 1),
        "volume_similarity": Name("volume similarity", HIGHER, "1 − |ΔV| / sum of both volumes"),
    }
)
"""Every score of `metrics.scores`, in its order."""

PROBABILITIES: Final[Mapping[str, Name]] = MappingProxyType(
    {
        "auc": Name("AUC", HIGHER, "area under the ROC curve: how often a true voxel has the higher probability", 3),
        "brier": Name("Brier score", LOWER, "mean squared distance of the probability from 1 or 0", 3),
        "expected_calibration_error": Name(
            "ECE", LOWER, "expected calibration error: how far probabilities are off", 3
        ),
    }
)
"""Every score of `metrics.calibration`, in the order of its table."""

TERMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "SD": "standard deviation (n − 1), after ±: how far patients differ, not how sure the mean is",
        "95 % interval": "[low, high] of the mean by bootstrap over patients; none below 6, too narrow below 20",
        "n of N": "n of N patients have the number; a mean is of these alone",
        "ΔV": "difference of volumes, prediction − truth",
        "p": "chance of a difference as large if the models were equal, by Wilcoxon's signed-rank test, two-sided",
        "p (Holm)": "the same, corrected for the number of main comparisons after Holm",
    }
)
"""What else stands in the tables."""
