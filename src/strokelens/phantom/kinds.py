"""What a simulated cohort can be: for each layout the study of a patient, its files, and the tables beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import ClassVar, Final, Protocol, runtime_checkable

import numpy as np

from strokelens import __version__
from strokelens.arrays import Mask
from strokelens.case import Case, Segmentation
from strokelens.cohorts import bids_layout, isles2017, nnunet, slice_writer
from strokelens.cohorts.bids import case_prefix
from strokelens.cohorts.dicom_layout import write_truth
from strokelens.cohorts.dicom_writer import write_dicom
from strokelens.cohorts.participants import write_participants
from strokelens.cohorts.slice_reader import SPACING_MM
from strokelens.cohorts.written import Written
from strokelens.grid import radiological_grid
from strokelens.labels import LESION_ONLY
from strokelens.perfusion.colormap import BAR_RANGES
from strokelens.perfusion.maps import MapSettings, compute_maps
from strokelens.perfusion.pictured import FLOW_FACTOR, projection
from strokelens.phantom.clinical import draw_sex
from strokelens.phantom.cohort import protocol_of
from strokelens.phantom.diffgen import DEFAULT, Recipe, generate
from strokelens.phantom.diffusion import HIGHEST, adc_map
from strokelens.phantom.groups import Shares
from strokelens.phantom.lesion import Group
from strokelens.phantom.outcome import draw_course, draw_outcome, final_infarct, penumbra_lost
from strokelens.phantom.patient import Patient, simulate
from strokelens.phantom.scanner import CtProtocol, DscProtocol
from strokelens.phantom.scanner import Protocol as Scan

PUBLISHED: Final[Shares] = {"LVO": 77, "Non-LVO": 60, "WIS": 15}
"""The groups of the Stavanger cohort."""

STROKES: Final[Shares] = {"LVO": 6, "Non-LVO": 4, "WIS": 0}
"""The groups of a cohort of strokes only, as that of ISLES 2017; how many were LVO there is not published."""

PICTURES: Final = CtProtocol(matrix=slice_writer.SIDE, slices=8, field_of_view_mm=slice_writer.SIDE * SPACING_MM[0])
"""A scan with the published cohort's pixels."""

CHALLENGE: Final = DscProtocol(matrix=192, slices=19, slice_mm=6.5)
"""A scan with the most frequent shape of ISLES 2017."""

GRIDS: Final = ((192, 19, 6.5), (256, 24, 5.0), (128, 25, 5.0), (192, 30, 4.0))
"""Matrix, slices and their thickness in mm: the shapes in ISLES 2017; its thicknesses are not published, ours are."""

GRID_SHARES: Final = (0.55, 0.15, 0.15, 0.15)
"""How many cases have each of `GRIDS`; the first is the most frequent one, the shares are ours."""

UNUSED_NUMBERS: Final = frozenset({3, 17, 25, 29, 34})
"""The training cases that ISLES 2017 does not have."""

SERIES: Final = CtProtocol()

_BAR_COLUMN = 435


@dataclass(frozen=True)
class Job:
    """One case to make: the name that its layout gives it, its seed, and its group."""

    name: str
    seed: int
    group: Group


@runtime_checkable
class Kind(Protocol):
    """A cohort of one layout; a frozen value that can be sent to another process."""

    @property
    def layout(self) -> str:
        """What `--layout` calls it."""

    @property
    def shares(self) -> Shares:
        """The groups of its patients, where none are asked for."""

    def names(self, patients: Sequence[tuple[int, Group]]) -> tuple[str, ...]:
        """The names of cases in this order, given the seed and group of each."""

    def case(self, job: Job) -> Case:
        """The simulated case."""

    def write(self, folder: Path, name: str, case: Case) -> None:
        """Write the files of one case."""

    def write_tables(self, folder: Path, rows: Sequence[Written]) -> None:
        """Write the files that tell of all cases."""


@dataclass(frozen=True)
class Slices:
    """Colour-coded maps of CT perfusion, their MIP, and grey truth: the layout `ctp_slices`."""

    protocol: Scan = PICTURES
    vary: bool = False
    layout: ClassVar[str] = "ctp_slices"
    shares: ClassVar[Shares] = PUBLISHED

    def names(self, patients: Sequence[tuple[int, Group]]) -> tuple[str, ...]:
        """CTP_SS_NNN, numbered within the group."""
        return slice_writer.slice_names([(f"sim-{seed}", group) for seed, group in patients])

    def case(self, job: Job) -> Case:
        """The maps that our own perfusion makes of the series, which carry its errors; nothing lies under the bar.

        CBF is multiplied by `FLOW_FACTOR`.
        """
        patient = _patient(job, self.protocol, vary=self.vary)
        maps = dict(compute_maps(patient.case, MapSettings()).maps)
        maps["CBF"] = maps["CBF"] * FLOW_FACTOR
        brain = np.isfinite(maps["CBV"]) & ~_under_bar(patient.case.grid.shape)
        shown = {name: np.where(brain, maps[name], np.nan) for name in ("CBF", "CBV", "TTP", "Tmax")}
        truth = patient.case.truth
        assert truth is not None
        labels = np.where(_under_bar(truth.grid.shape), 0, truth.labels)
        channels = shown | {"MIP": projection(patient.case["CTP"], brain)}
        clinical = dict(patient.case.clinical) | draw_sex(np.random.default_rng([job.seed, 14]))
        truth = replace(truth, labels=labels)
        return replace(patient.case, channels=channels, time_s=None, truth=truth, clinical=clinical)

    def write(self, folder: Path, name: str, case: Case) -> None:
        """`patients/NAME/no_date/<MAP>/NN.png` and `truth/NAME/NN.tiff`."""
        slice_writer.write_case(folder, name, case)

    def write_tables(self, folder: Path, rows: Sequence[Written]) -> None:
        """`nihss_score.csv` and `cohort.json`."""
        slice_writer.write_tables(folder, rows)


@dataclass(frozen=True)
class Isles:
    """ADC, maps of DSC-MR, the series, and the final infarct: the layout `isles2017`.

    The first `tests` cases are for testing, without truth. With `grids` each case has one of them, of `GRID_SHARES`
    where they are as many.
    """

    protocol: Scan = CHALLENGE
    vary: bool = False
    tests: int = 0
    grids: tuple[tuple[int, int, float], ...] = ()
    layout: ClassVar[str] = "isles2017"
    shares: ClassVar[Shares] = STROKES

    def names(self, patients: Sequence[tuple[int, Group]]) -> tuple[str, ...]:
        """test_N for the first ones, and training_N, with the challenge's gaps in N."""
        tests = min(self.tests, len(patients))
        numbers = (number for number in count(1) if number not in UNUSED_NUMBERS)
        training = islice(numbers, len(patients) - tests)
        return (*(f"test_{n}" for n in range(1, tests + 1)), *(f"training_{n}" for n in training))

    def case(self, job: Job) -> Case:
        """Maps by our own perfusion; the truth is the infarct weeks later, which grew until treatment and after it.

        A case that is called `test_N` has neither truth nor outcome: who wants them asks for it as `training_N`.
        """
        patient = _patient(job, self._protocol(job.seed), vary=self.vary)
        series, truth = patient.case, patient.case.truth
        assert truth is not None
        maps = compute_maps(series, MapSettings()).maps
        images, growth, record = (np.random.default_rng([job.seed, stream]) for stream in (11, 12, 13))
        course = draw_course(record)
        share = penumbra_lost(course, patient.occlusion.collaterals)
        infarct = final_infarct(truth, share, growth)
        lesion = Segmentation(infarct.astype(np.uint8), truth.grid, LESION_ONLY)
        outcome = draw_outcome(record, lesion.volume_ml("lesion"), series.clinical["age_years"])
        blind = job.name.startswith("test")
        clinical = dict(series.clinical) | ({} if blind else outcome)
        if job.group != "WIS":
            clinical |= {
                "tici": float(course.tici),
                "since_stroke_min": course.since_stroke_min,
                "to_treatment_min": course.to_treatment_min,
            }
        channels = {"ADC": adc_map(patient.tissues, images), **maps, "PWI": series["PWI"]}
        return replace(series, channels=channels, truth=None if blind else lesion, clinical=clinical)

    def _protocol(self, seed: int) -> Scan:
        """The protocol with the grid of a seed."""
        if not self.grids:
            return self.protocol
        shares = GRID_SHARES if len(self.grids) == len(GRID_SHARES) else None
        drawn = np.random.default_rng([seed, 15]).choice(len(self.grids), p=shares)
        matrix, slices, slice_mm = self.grids[int(drawn)]
        return replace(self.protocol, matrix=matrix, slices=slices, slice_mm=slice_mm)

    def write(self, folder: Path, name: str, case: Case) -> None:
        """`training_N/VSD.Brain.XX.O.MR_<MAP>.<id>/…` and `…OT…`."""
        isles2017.write_case(folder, name, case)

    def write_tables(self, folder: Path, rows: Sequence[Written]) -> None:
        """`ISLES2017_Training.csv`, and `ISLES2017_Testing.csv` where there are such cases."""
        isles2017.write_tables(folder, rows)


@dataclass(frozen=True)
class BidsSeries:
    """The 4D series with core and penumbra in the derivative `truth`: the layout `bids`."""

    protocol: Scan = SERIES
    vary: bool = False
    layout: ClassVar[str] = "bids"
    shares: ClassVar[Shares] = PUBLISHED

    def names(self, patients: Sequence[tuple[int, Group]]) -> tuple[str, ...]:
        """sub-simSEED."""
        return tuple(case_prefix(f"sim-{seed}") for seed, _ in patients)

    def case(self, job: Job) -> Case:
        """The series as the scanner gives it."""
        return _patient(job, self.protocol, vary=self.vary).case

    def write(self, folder: Path, name: str, case: Case) -> None:
        """`sub-X/perf/sub-X_ctp.nii.gz` and the derivative `truth`."""
        bids_layout.write_case(folder, name, case)

    def write_tables(self, folder: Path, rows: Sequence[Written]) -> None:
        """`participants.tsv`, the descriptions, and what validators shall not look at."""
        bids_layout.write_tables(folder, rows, version=__version__)
        (folder / ".bidsignore").write_text("phantom.json\n", encoding="utf-8")


@dataclass(frozen=True)
class DicomSeries:
    """The 4D series as a scanner sends it, one file a slice and frame, with core and penumbra: the layout `dicom`."""

    protocol: Scan = SERIES
    vary: bool = False
    layout: ClassVar[str] = "dicom"
    shares: ClassVar[Shares] = PUBLISHED

    def names(self, patients: Sequence[tuple[int, Group]]) -> tuple[str, ...]:
        """sim-SEED, from which the UIDs follow."""
        return tuple(f"sim-{seed}" for seed, _ in patients)

    def case(self, job: Job) -> Case:
        """The series as the scanner gives it."""
        return _patient(job, self.protocol, vary=self.vary).case

    def write(self, folder: Path, name: str, case: Case) -> None:
        """`sim-SEED/ctp/NNNNNN.dcm` and `truth/sim-SEED_dseg.nii.gz`."""
        write_dicom(folder / name, case, seed=int(name.removeprefix("sim-")))
        assert case.truth is not None
        write_truth(folder, name, case.truth, {"Simulated": True})

    def write_tables(self, folder: Path, rows: Sequence[Written]) -> None:
        """`participants.tsv`."""
        write_participants(folder, rows)


@dataclass(frozen=True)
class Diffgen:
    """Random-walk textures with lesions as raw data of nnU-Net, its channels called as those of ISLES 2017."""

    recipe: Recipe = DEFAULT
    shape: tuple[int, int, int] = (192, 192, 19)
    layout: ClassVar[str] = "diffgen"
    shares: ClassVar[Shares] = STROKES

    def names(self, patients: Sequence[tuple[int, Group]]) -> tuple[str, ...]:
        """diffgen_SEED."""
        return tuple(f"diffgen_{seed:05d}" for seed, _ in patients)

    def case(self, job: Job) -> Case:
        """A sample; each channel is stretched to the range of the map that it is called by, and is none."""
        sample = generate(np.random.default_rng([job.seed, 21]), self.recipe, shape=self.shape)
        grid = radiological_grid(self.shape, (1.2, 1.2, 6.5))
        channels = {name: _TOP[name] * values for name, values in zip(_RELATIVE, sample.unhealthy, strict=True)}
        return Case(job.name, grid, channels, Segmentation(sample.label, grid, LESION_ONLY), simulated=True)

    def write(self, folder: Path, name: str, case: Case) -> None:
        """`imagesTr/NAME_0000.nii.gz` and on, `labelsTr/NAME.nii.gz`, in the dataset's folder."""
        nnunet.write_case(folder / DIFFGEN_FOLDER, name, case, _RELATIVE)

    def write_tables(self, folder: Path, rows: Sequence[Written]) -> None:
        """`dataset.json`."""
        place = folder / DIFFGEN_FOLDER
        place.mkdir(exist_ok=True)
        about = (
            f"diffgen, random walks, parameters {self.recipe.mode}, labels {self.recipe.labels}; no images of patients"
        )
        called = [isles2017.TOKEN_OF[name] for name in _RELATIVE]
        nnunet.write_about(place, called, LESION_ONLY.names, count=len(rows), description=about, simulated=True)


DIFFGEN_FOLDER: Final = "Dataset901_Diffgen"
_RELATIVE = tuple(isles2017.TOKEN_OF)
_TOP = {"ADC": np.float32(HIGHEST)} | {name: np.float32(high) for name, (_, high) in BAR_RANGES.items()}


def volumes_ml(case: Case) -> Mapping[str, float]:
    """The volume of each class of the truth but the background."""
    if case.truth is None:
        return {}
    return {name: round(case.truth.volume_ml(name), 3) for name in case.truth.scheme.names[1:]}


def _patient(job: Job, protocol: Scan, *, vary: bool) -> Patient:
    """The simulated patient, by one thread: cases go side by side."""
    scan = protocol_of(job.seed, protocol) if vary else protocol
    return simulate(job.seed, protocol=scan, group=job.group, workers=1)


def _under_bar(shape: tuple[int, int, int]) -> Mask:
    """The voxels that a picture would show where its bar is, or right of it; the grid is LPS, its i the column."""
    column = np.arange(shape[0]) + (slice_writer.SIDE - shape[0]) // 2
    return np.broadcast_to((column >= _BAR_COLUMN)[:, None, None], shape)
