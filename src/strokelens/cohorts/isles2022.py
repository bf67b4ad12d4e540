"""The layout of ISLES 2022: diffusion MR with FLAIR."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from strokelens.cohorts.bids_tree import Found, plain, session_entries, subjects
from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.nifti import Reading
from strokelens.cohorts.volumes import VolumeReader

_CHANNELS = ("DWI", "ADC", "FLAIR")


@dataclass(frozen=True)
class Isles2022:
    """`sub-strokecaseNNNN/ses-NNNN/{dwi,anat}/…_{dwi,adc,flair}.nii.gz`, truth in `derivatives/…_msk.nii.gz`.

    FLAIR has a grid of its own; it is brought onto that of the diffusion images, as the challenge means it.
    """

    name: str = "isles2022"
    looked_for: str = "folders sub-strokecaseNNNN"
    special: int = 2

    def recognises(self, folder: Path) -> bool:
        """Whether a subject of the challenge is there."""
        return any(name.startswith("sub-strokecase") for name in subjects(folder))

    def entries(self, folder: Path) -> tuple[Entry, ...]:
        """One entry a subject and session."""
        return tuple(session_entries(folder, VolumeReader(Reading(resample=True), apart=frozenset({"FLAIR"})), _found))


def _found(files: Sequence[Path]) -> Found:
    found = plain(files)
    return Found({name: file for name, file in found.channels.items() if name in _CHANNELS}, truth=found.truth)
