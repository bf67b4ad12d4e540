"""The layout of a Grand Challenge container: its input of .mha files read as a cohort, its answer written."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from strokelens.case import Segmentation
from strokelens.cohorts.channels import parse
from strokelens.cohorts.cohort import Entry, Problem, broken
from strokelens.cohorts.identity import hashed
from strokelens.cohorts.listing import files_in, folders_in
from strokelens.cohorts.metaimage import is_mha, write_labels
from strokelens.cohorts.sidecar import read_object
from strokelens.cohorts.tables import clinical, doubts
from strokelens.cohorts.volumes import VolumeReader, ordered
from strokelens.errors import CaseError, FileError, StrokelensError

ANSWER: Final = "stroke-lesion-segmentation"
"""The interface of the answer in ISLES 2022 and 2024."""

_CLINICAL = "acute-stroke-clinical-information.json"
_CHANNEL_OF: Mapping[str, str] = MappingProxyType({"non-contrast-ct": "NCCT", "ct-angiography": "CTA"})
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True)
class GrandChallenge:
    """`images/<interface>/<name>.mha`, one file an interface; several cases where the names are the same in each."""

    name: str = "grand_challenge"
    looked_for: str = "images/<interface>/*.mha"
    special: int = 2

    def recognises(self, folder: Path) -> bool:
        """Whether an interface holds such a file."""
        return bool(_interfaces(folder))

    def entries(self, folder: Path) -> tuple[Entry, ...]:
        """The one case, or one for each name."""
        interfaces = _interfaces(folder)
        if not interfaces:
            return ()
        if all(len(files) == 1 for files in interfaces.values()):
            cases = [{slug: files[0] for slug, files in interfaces.items()}]
        else:
            names = sorted({file.stem for files in interfaces.values() for file in files})
            cases = [
                {slug: file for slug, files in interfaces.items() for file in files if file.stem == name}
                for name in names
            ]
        return tuple(_entry(folder, case) for case in cases)


def write_answer(folder: Path, entry: Entry, segmentation: Segmentation) -> Path:
    """Write a segmentation as the answer to a case, `images/…/<name of the first input>.mha`, and results.json.

    The path of the image.
    """
    slug, reference = next((file[0].parent.name, file[0]) for file in entry.files.values())
    path = folder / "images" / ANSWER / reference.name
    write_labels(path, segmentation)
    row = {
        "outputs": [{"type": "Image", "slug": ANSWER, "filename": path.name}],
        "inputs": [{"type": "Image", "slug": slug, "filename": reference.name}],
    }
    (folder / "results.json").write_text(json.dumps([row], indent=2) + "\n", encoding="utf-8")
    return path


def _interfaces(folder: Path) -> dict[str, list[Path]]:
    """The .mha files of each interface."""
    images = folder / "images"
    if not images.is_dir():
        return {}
    found = {each.name: [file for file in files_in(each) if is_mha(file)] for each in folders_in(images)}
    return {slug: files for slug, files in found.items() if files}


def _entry(folder: Path, files: Mapping[str, Path]) -> Entry:
    first = next(iter(files.values())).stem
    case_id = f"case-{first[:8]}" if _UUID.fullmatch(first) else hashed(first)
    reader = VolumeReader()
    try:
        channels: dict[str, Path] = {}
        for slug, file in files.items():
            name = _CHANNEL_OF.get(slug) or parse(slug).channel
            if name is None:
                continue
            if name in channels:
                raise CaseError(f"two interfaces give {name}: {channels[name].parent.name} and {slug}")
            channels[name] = file
        if not channels:
            raise FileError(f"no interface is known: {', '.join(files)}; a name needs a channel (dwi, tmax, …)")
        told = read_object(folder / _CLINICAL) or {}
    except StrokelensError as error:
        return broken(case_id, folder, reader, error)
    row = {name: str(value) for name, value in told.items()}
    problems = tuple(Problem("clinical", f"{_CLINICAL}: {doubt}") for doubt in doubts(row))
    images = {name: (channels[name],) for name in ordered(channels)}
    return Entry(case_id, case_id, folder, images, reader, clinical=clinical(row), problems=problems)
