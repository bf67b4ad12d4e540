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

_ABBREVIATION = {
    "background": "BG",
    "brain": "BRN",
    "penumbra": "PEN",
    "core": "CORE",
    "hypoperfused": "HYP",
    "lesion": "L",
}
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
    prefix = case_prefix(case_id)
    written = [folder / "dataset_description.json"]
    facts = {"Manual": False, "SpatialReference": "orig"}
    written += write_labels(folder, prefix, segmentation, "ischemia", facts, description=description or "ischemia")
    write_json(written[0], dataset_description(version, description))
    for name, volume in maps.items():
        path = place_of(folder, prefix, name) / f"{prefix}_space-orig_{name.casefold()}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, volume, segmentation.grid, unit=units.get(name, ""), description=f"{name} map")
        written += [path, sidecar_path(path)]
    return tuple(path.relative_to(folder).as_posix() for path in written)


def write_labels(
    folder: Path,
    prefix: str,
    segmentation: Segmentation,
    desc: str,
    facts: Mapping[str, object],
    *,
    description: str = "",
) -> list[Path]:
    """Write `<prefix>_space-orig_desc-<desc>_dseg` with its sidecar and table, and a `_probseg` for each probability.

    The files that were written.
    """
    place = place_of(folder, prefix, "FLAIR")
    place.mkdir(parents=True, exist_ok=True)
    start = f"{prefix}_space-orig"
    path = place / f"{start}_desc-{desc}_dseg.nii.gz"
    table = path.with_name(f"{start}_desc-{desc}_dseg.tsv")
    told = {"Type": "Lesion", **facts, "Labels": label_table(segmentation.scheme)}
    write_image(path, segmentation.labels, segmentation.grid, description=description or desc, facts=told)
    table.write_text(_tsv(segmentation.scheme), encoding="utf-8")
    written = [path, sidecar_path(path), table]
    for name, values in segmentation.probabilities.items():
        path = place / f"{start}_label-{name}_desc-{desc}_probseg.nii.gz"
        write_image(path, values, segmentation.grid, description=f"probability of {name}", facts=dict(facts))
        written += [path, sidecar_path(path)]
    return written


def write_mask(
    folder: Path, prefix: str, segmentation: Segmentation, name: str, facts: Mapping[str, object]
) -> list[Path]:
    """Write one class as `<prefix>_space-orig_label-<L>_desc-<class>_mask`; L is BIDS' reserved label of a lesion."""
    place = place_of(folder, prefix, "FLAIR")
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{prefix}_space-orig_label-L_desc-{name}_mask.nii.gz"
    write_image(path, segmentation.mask(name), segmentation.grid, description=name, facts={"Type": "Lesion", **facts})
    return [path, sidecar_path(path)]


def place_of(folder: Path, prefix: str, channel: str) -> Path:
    """The folder of a channel's file: of the subject, the session, and the kind of data."""
    return folder.joinpath(*re.findall(r"(?:sub|ses)-[A-Za-z0-9]+", prefix), _FOLDER.get(channel, "perf"))


def case_prefix(case_id: str) -> str:
    """The entities that name a case: its own, or `sub-` and its letters and digits.

    >>> case_prefix("sub-01_ses-2"), case_prefix("Subject 01 (left)")
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


def dataset_description(version: str, description: str, *, kind: str = "derivative") -> dict[str, object]:
    """What `dataset_description.json` says; `kind` is raw or derivative."""
    made_by = {"Name": "strokelens", "Version": version, "Description": f"{description} {RESEARCH_USE}".strip()}
    return {
        "Name": "strokelens: ischemic core and penumbra",
        "BIDSVersion": "1.9.0",
        "DatasetType": kind,
        "GeneratedBy": [made_by],
    }
