"""Results in the naming of BIDS derivatives (1.9): one folder that other tools can index.

CT perfusion and perfusion maps have no suffix in BIDS; their suffixes (`cbf`, `tmax`, …) are those of ISLES 2024.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from strokelens.arrays import Volume
from strokelens.case import Segmentation
from strokelens.cohorts.channels import entities
from strokelens.cohorts.encode import label_table, sidecar_path, write_image, write_json
from strokelens.flags import RESEARCH_USE
from strokelens.labels import LabelScheme

_ABBREVIATION = {"background": "BG", "brain": "BRN", "penumbra": "PEN", "core": "CORE", "lesion": "L"}
_FOLDER = {"ADC": "dwi", "DWI": "dwi", "B0": "dwi", "FLAIR": "anat", "T1": "anat", "T2": "anat", "NCCT": "anat"}


def write_derivative(
    folder: Path,
    case_id: str,
    segmentation: Segmentation,
    maps: Mapping[str, Volume],
    units: Mapping[str, str],
    *,
    version: str,
    description: str = "",
) -> tuple[str, ...]:
    """Write a case's results into the BIDS derivative dataset at `folder`; the relative paths of the files.

    `sub-X[_ses-Y]_space-orig_desc-ischemia_dseg.nii.gz` with `.json` and `.tsv`; each map of `maps`, on the
    segmentation's grid, as `…_space-orig_<map>.nii.gz` with its unit in the sidecar; `dataset_description.json`.
    `version` is that of strokelens, `description` tells the method.
    """
    prefix = _prefix(case_id)
    place = folder.joinpath(*re.findall(r"(?:sub|ses)-[A-Za-z0-9]+", prefix))
    labels = place / "anat" / f"{prefix}_space-orig_desc-ischemia_dseg.nii.gz"
    table = labels.with_name(f"{prefix}_space-orig_desc-ischemia_dseg.tsv")
    labels.parent.mkdir(parents=True, exist_ok=True)
    facts = {"Type": "Lesion", "Manual": False, "SpatialReference": "orig", "Labels": label_table(segmentation.scheme)}
    write_image(labels, segmentation.labels, segmentation.grid, description=description or "ischemia", facts=facts)
    table.write_text(_tsv(segmentation.scheme), encoding="utf-8")
    about = folder / "dataset_description.json"
    write_json(about, _description(version, description))
    written = [about, labels, sidecar_path(labels), table]
    for name, volume in maps.items():
        path = place / _FOLDER.get(name, "perf") / f"{prefix}_space-orig_{name.casefold()}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, volume, segmentation.grid, unit=units.get(name, ""), description=f"{name} map")
        written += [path, sidecar_path(path)]
    return tuple(path.relative_to(folder).as_posix() for path in written)


def _prefix(case_id: str) -> str:
    """The entities that name a case: its own, or `sub-` and its letters and digits.

    >>> _prefix("sub-01_ses-2"), _prefix("Subject 01 (left)")
    ('sub-01_ses-2', 'sub-Subject01left')
    """
    found = entities(case_id)
    if "sub" in found:
        return "_".join(f"{key}-{found[key]}" for key in ("sub", "ses") if key in found)
    return f"sub-{re.sub('[^A-Za-z0-9]', '', case_id) or 'study'}"


def _tsv(scheme: LabelScheme) -> str:
    """The look-up table that BIDS asks for: index, name, abbreviation, color."""
    rows = [
        f"{row['index']}\t{row['name']}\t{_ABBREVIATION.get(str(row['name']), 'n/a')}\t{row['color']}"
        for row in label_table(scheme)
    ]
    return "\n".join(["index\tname\tabbreviation\tcolor", *rows]) + "\n"


def _description(version: str, description: str) -> dict[str, object]:
    made_by = {"Name": "strokelens", "Version": version, "Description": f"{description} {RESEARCH_USE}".strip()}
    return {
        "Name": "strokelens: ischemic core and penumbra",
        "BIDSVersion": "1.9.0",
        "DatasetType": "derivative",
        "GeneratedBy": [made_by],
    }
