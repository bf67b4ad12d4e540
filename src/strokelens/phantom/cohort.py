"""Simulated patients in folders of their own: the protocol that a seed gets, and the files of a patient."""

from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np

from strokelens import __version__
from strokelens.case import UNITS
from strokelens.cohorts.encode import write_image, write_json, write_segmentation
from strokelens.cohorts.folder import PATIENT
from strokelens.flags import RESEARCH_USE
from strokelens.phantom.patient import Patient
from strokelens.phantom.scanner import CtProtocol, DscProtocol, Protocol, varied

SIMULATED: Final = "simulated by strokelens; not a patient"

_FILE_OF: Final = {"CTP": "ctp", "PWI": "pwi"}


def protocol_of(seed: int, protocol: Protocol) -> Protocol:
    """The protocol that a seed has where timing and image quality differ from patient to patient."""
    return varied(protocol, np.random.default_rng([seed, 2]))


def write_patient(folder: Path, patient: Patient) -> None:
    """Write the series, its truth, the true maps and patient.json into an existing folder.

    The series is `ctp.nii.gz` (int16, HU) or `pwi.nii.gz`; `truth.nii.gz` has the labels, and `truth/` the true maps.
    """
    case, protocol = patient.case, patient.protocol
    write_image(
        folder / f"{_FILE_OF[protocol.channel]}.nii.gz",
        case[protocol.channel].astype(np.int16),
        case.grid,
        unit=UNITS[protocol.channel],
        description=SIMULATED,
        time_s=case.time_s,
        facts=_facts(protocol),
    )
    assert case.truth is not None
    write_segmentation(folder / "truth.nii.gz", case.truth, facts={"Simulated": True})
    (folder / "truth").mkdir()
    for name, volume in patient.maps.items():
        unit = UNITS.get(name, "s")
        write_image(
            folder / "truth" / f"{name}.nii.gz",
            volume,
            case.grid,
            unit=unit,
            description=f"true {name}, {SIMULATED}",
            facts={"Simulated": True},
        )
    write_json(folder / PATIENT, record(patient))


def record(patient: Patient) -> dict[str, object]:
    """What patient.json says: plain values, with the units in their names."""
    case = patient.case
    assert case.truth is not None
    volumes = {name: round(case.truth.volume_ml(name), 3) for name in ("penumbra", "core")}
    return {
        "id": case.id,
        "simulated": True,
        "software": f"strokelens {__version__}",
        "seed": patient.seed,
        "group": case.group,
        "clinical": dict(case.clinical),
        "volumes_ml": volumes | {"hypoperfused": round(case.truth.volume_ml("penumbra", "core"), 3)},
        "occlusion": asdict(patient.occlusion),
        "moved_frames": [t for t, pose in enumerate(patient.poses) if not pose.still],
        "modality": "CT" if isinstance(patient.protocol, CtProtocol) else "MR",
        "protocol": asdict(patient.protocol),
        "disclaimer": RESEARCH_USE,
    }


def _facts(protocol: Protocol) -> dict[str, object]:
    """BIDS-like facts for the sidecar; a repetition time only where the frames are regular."""
    facts: dict[str, object] = {"Simulated": True, "Modality": "MR" if isinstance(protocol, DscProtocol) else "CT"}
    if protocol.time_s is None:
        facts["RepetitionTime"] = protocol.interval_s
    if isinstance(protocol, DscProtocol):
        facts["EchoTime"] = protocol.echo_time_s
    return facts
