"""Frozen numbers of a small simulated patient, from the series to the volumes: what moves is seen, and meant.

`make golden` rewrites them; the diff belongs in the review, and in the changelog where a user would notice.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from strokelens.perfusion.maps import compute_maps
from strokelens.phantom.patient import Patient, simulate
from strokelens.phantom.scanner import CtProtocol, DscProtocol
from strokelens.prediction.segmenting import segment

pytestmark = pytest.mark.golden

AgreesWithGolden = Callable[[str, Mapping[str, float], float], None]

CT = CtProtocol(matrix=128, slices=8)
MR = DscProtocol(matrix=96, slices=8)


@pytest.fixture(scope="module")
def patient() -> Patient:
    return simulate(7, protocol=CT, motion=False, workers=1)


def test_the_simulated_series_is_the_frozen_one(patient: Patient, agrees_with_golden: AgreesWithGolden) -> None:
    series, truth = patient.case["CTP"], patient.case.truth
    assert truth is not None
    numbers = {
        "mean_hu": float(series.mean(dtype=np.float64)),
        "deviation_hu": float(series.std(dtype=np.float64)),
        "core_ml": truth.volume_ml("core"),
        "penumbra_ml": truth.volume_ml("penumbra"),
    }
    agrees_with_golden("phantom_ct", numbers, 1e-5)


def test_the_maps_are_the_frozen_ones(patient: Patient, agrees_with_golden: AgreesWithGolden) -> None:
    maps = compute_maps(patient.case).maps
    agrees_with_golden("maps_ct", {name: float(np.nanmedian(maps[name])) for name in sorted(maps)}, 1e-3)


def test_the_volumes_on_ct_are_the_frozen_ones(patient: Patient, agrees_with_golden: AgreesWithGolden) -> None:
    agrees_with_golden("segment_ct", segment(patient.case).volumes_ml, 1e-2)


def test_the_volumes_on_mr_are_the_frozen_ones(agrees_with_golden: AgreesWithGolden) -> None:
    case = simulate(8, protocol=MR, motion=False, workers=1).case
    agrees_with_golden("segment_mr", segment(case).volumes_ml, 1e-2)
