"""What is told when a case is other than what a network was trained with."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from strokelens.case import Case, Source
from strokelens.grid import Grid
from strokelens.model import Model
from strokelens.prediction.by_model import segment_with
from strokelens.prediction.doubts import CLINICAL_WORDS, model_flags
from strokelens.prediction.samples import seen
from strokelens.prepare import CLINICAL
from tests.tiny_models import CARD, tiny


def model(**card: Any) -> Model:
    made = tiny(form="values")
    return Model(made.net, made.settings, replace(CARD, **{"simulated": False, **card}))


def case(edge_mm: float = 1.0, **channels: np.ndarray) -> Case:
    """A head of 40 pixels on a grid of 60."""
    shape = (60, 60, 3)
    i, j, _ = np.indices(shape)
    head = np.hypot(i - 30, j - 30) < 20
    maps = {"CBF": np.where(head, 50.0, 0), "Tmax": np.where(head, 2.0, 0)}
    return Case("a", Grid(shape, np.diag([edge_mm, edge_mm, 5.0, 1.0])), maps | channels)


def flags(model: Model, case: Case) -> dict[str, bool]:
    return {flag.code: flag.grave for flag in model_flags([model], seen(case, model.recipe))}


def test_a_model_that_tells_nothing_has_only_the_flow_to_doubt() -> None:
    assert flags(model(), case()) == {"flow-calibration": False}
    assert flags(model(pixel_mm=1.0, modality="CT"), case()) == {"flow-calibration": False}


@pytest.mark.parametrize(
    ("edge_mm", "doubted"), [(0.82, True), (0.85, False), (1.15, False), (1.22, True), (2.0, True)]
)
def test_other_pixels_than_those_of_training_are_grave(edge_mm: float, doubted: bool) -> None:
    assert flags(model(pixel_mm=1.0), case(edge_mm)).get("other-scale", False) is doubted


def test_mr_is_no_ct() -> None:
    adc = np.full((60, 60, 3), 800.0)
    assert flags(model(modality="CT"), case(ADC=adc))["other-modality"] is True
    assert "other-modality" not in flags(model(modality="MR"), case(ADC=adc))
    (found,) = (f for f in model_flags([model(modality="CT")], seen(case(ADC=adc), model().recipe)) if f.grave)
    assert found.message.startswith(
        "this is MR, and tiny was trained on CT, whose maps have other values; take a model"
    )


def test_flow_that_was_decoded_from_a_picture_is_the_vendors() -> None:
    read = replace(case(), sources={"CBF": Source("0" * 64, "CBF from 0 to 100 by its bar; voxel sizes as told")})
    assert flags(model(), read) == {}


def test_gaps_in_the_maps_are_told_of_networks_too() -> None:
    whole = case()
    late = np.where(np.indices((60, 60, 3))[0] > 36, np.nan, whole["Tmax"])
    assert flags(model(), case(Tmax=late))["gaps"] is True
    finding = segment_with([model()], case(Tmax=late))
    (told,) = (flag for flag in finding.flags if flag.code == "gaps")
    assert told.message.endswith("% of the brain has no value in CBF, Tmax")
    assert "gaps" not in {flag.code for flag in segment_with([model()], whole).flags}


def test_black_in_a_cases_own_pictures_is_a_gap() -> None:
    shown = np.full((60, 60, 3, 3), 90, np.uint8)
    half = shown.copy()
    half[:30] = 0
    made = tiny()
    empty = Case("a", case().grid, {})
    found, torn = (seen(empty, made.recipe, {"CBF": shown, "Tmax": tmax}) for tmax in (shown, half))
    assert "gaps" not in {flag.code for flag in model_flags([made], found)}
    assert "gaps" in {flag.code for flag in model_flags([made], torn)}
    assert found.modality == "CT"


def test_every_clinical_value_that_a_network_may_see_has_a_word() -> None:
    assert CLINICAL_WORDS.keys() == CLINICAL.keys()


@pytest.mark.parametrize(("form", "told"), [("values", True), ("robust", False), ("relative", False)])
def test_whose_flow_it_is_matters_only_where_its_size_does(form: str, told: bool) -> None:
    assert ("flow-calibration" in flags(tiny(form=form), case())) is told
