"""Disturbances against what they say of themselves, points and curves by hand, and the verb as a user meets it."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Shaped
from scipy import ndimage

from strokelens.cohorts.cohort import Cohort
from strokelens.cohorts.layouts import open_cohort
from strokelens.errors import SettingsError
from strokelens.frames import Frame
from strokelens.grid import Grid
from strokelens.labels import CORE_ONLY
from strokelens.model import Model
from strokelens.networks.built import built
from strokelens.phantom.batch import Plan as Making
from strokelens.phantom.batch import write_cohort
from strokelens.phantom.kinds import Slices
from strokelens.phantom.scanner import CtProtocol
from strokelens.prediction.batch import Plan
from strokelens.prepare import Form, Recipe, Sample
from strokelens.robustness.delivery import headline, points_csv, tables
from strokelens.robustness.disturbances import (
    BLURS,
    KINDS,
    Disturbed,
    Maps,
    blurred,
    disturbances,
    gaussian,
    moved,
    textured,
    uniform,
    zeroed,
)
from strokelens.robustness.measuring import CLEAN, Asking, Measured, Point, classes_of, measured
from strokelens.robustness.summaries import OWN, Robustness, area
from strokelens.settings.schema import Settings
from tests.commands import Answer
from tests.tiny_models import CARD, saved, tiny

Run = Callable[..., Answer]
NAMES = ("CBF", "Tmax")
SIDE = 64


def recipe(form: Form) -> Recipe:
    return Recipe(NAMES, CORE_ONLY, form=form, size=SIDE)


def sample(form: Form = "values", slices: int = 6) -> Sample:
    """A disc with values of which none is 0, in air; the second map is 10 times the first's unit."""
    rng = np.random.default_rng(1)
    shape = (slices, 2, 3 if form == "colours" else 1, SIDE, SIDE)
    x, y = np.indices((SIDE, SIDE)) - SIDE / 2
    values = np.where(x**2 + y**2 < 28**2, rng.uniform(0.1, 1, shape), 0)
    if form == "colours":
        stored = np.rint(255 * values).astype(np.uint8)
    else:
        stored = (values * np.array([1, 3]).reshape(1, 2, 1, 1, 1)).astype(np.float16)
    frame = Frame.of(Grid((SIDE, SIDE, slices), np.diag([-2.0, -2.0, 5.0, 1.0])), SIDE)
    return Sample(stored.reshape(slices, -1, SIDE, SIDE), None, np.zeros(0, np.float32), np.zeros(0, bool), frame)


def maps(form: Form = "values", slices: int = 6) -> Maps:
    return Maps.of(sample(form, slices), recipe(form))


def every(of: Maps, kind: str, seed: str = "0\ncase", repeats: int = 3) -> list[Disturbed]:
    return list(disturbances(of, NAMES, kind, repeats=repeats, seed=seed))


FORMS: tuple[Form, ...] = ("values", "colours")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_disturbed_sample_is_stored_as_the_clean_one_and_has_a_value_nowhere_else(kind: str, form: Form) -> None:
    of, clean = maps(form), sample(form).x
    for each in every(of, kind):
        assert each.x.dtype == clean.dtype
        assert each.x.shape == clean.shape
        assert np.isfinite(each.x).all()
        there = (each.x.reshape(of.values.shape) != 0).any(axis=2)
        if kind in ("blur", "diffgen", "gaussian", "uniform"):
            np.testing.assert_array_equal(there, of.there)
        elif kind != "motion":
            assert not (there & ~of.there).any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_and_another_case_another(kind: str) -> None:
    of = maps()
    first, again, other = every(of, kind), every(of, kind), every(of, kind, seed="0\nanother")
    assert all(np.array_equal(a.x, b.x) and a.parameter == b.parameter for a, b in zip(first, again, strict=True))
    same = all(np.array_equal(a.x, b.x) for a, b in zip(first, other, strict=True))
    assert same == (kind in ("blur", "missing"))  # of which nothing is drawn


def test_inside_the_head_a_blur_is_the_box_mean() -> None:
    of = maps()
    found = blurred(of.values, of.there)
    plain = ndimage.uniform_filter(of.values, (3, 1, 1, 3, 3))
    inner = ndimage.binary_erosion(of.there[:, 0], np.ones((3, 3, 3)))
    assert inner.any()
    np.testing.assert_allclose(
        found[:, :, 0][inner.nonzero()[0], :, inner.nonzero()[1], inner.nonzero()[2]],
        plain[:, :, 0][inner.nonzero()[0], :, inner.nonzero()[1], inner.nonzero()[2]],
        rtol=1e-5,
    )


def test_at_the_border_and_at_air_a_blur_darkens_nothing() -> None:
    of = maps()
    flat = np.where(of.there[:, :, None], np.float32(0.7), np.float32(0))
    np.testing.assert_allclose(blurred(flat, of.there), flat, rtol=1e-5)


def test_a_case_is_blurred_once_to_24_times_and_more_each_time() -> None:
    of = maps()
    found = every(of, "blur")
    assert [each.parameter for each in found] == list(range(1, BLURS + 1))
    twice = of.stored(blurred(blurred(of.values, of.there), of.there))
    np.testing.assert_array_equal(found[1].x, twice)
    spreads = [float(each.x[:, 0][of.there[:, 0]].astype(float).std()) for each in found]
    assert spreads == sorted(spreads, reverse=True)


@pytest.mark.parametrize("noise", [gaussian, uniform])
def test_noise_has_mean_0_and_the_deviation_that_it_names(
    noise: Callable[[Maps, float, np.random.Generator], Shaped[np.ndarray, "..."]],
) -> None:
    of = maps()
    change = noise(of, 0.1, np.random.default_rng(0)).astype(np.float64) - sample().x
    for at in range(2):
        known = change[:, at][of.there[:, at]]
        low, high = np.percentile(sample().x[:, at][of.there[:, at]].astype(float), [0.5, 99.5])
        assert known.mean() == pytest.approx(0, abs=4 * 0.1 * (high - low) / np.sqrt(known.size))
        assert known.std() == pytest.approx(0.1 * (high - low), rel=0.03)


def test_uniform_noise_is_within_its_bounds_and_gaussian_noise_is_not() -> None:
    of = maps()
    bound = 0.1 * np.sqrt(3) * of.span[1] + 0.01
    inside = [
        np.abs(noise(of, 0.1, np.random.default_rng(0)) - sample().x)[:, 1].max() <= bound
        for noise in (uniform, gaussian)
    ]
    assert inside == [True, False]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_exactly_the_share_that_is_named_is_zeroed_and_the_rest_stays(share: float, form: Form) -> None:
    of = maps(form)
    x = zeroed(of, share, np.random.default_rng(0)).reshape(of.values.shape)
    gone = of.there & (x == 0).all(axis=2)
    for at in range(2):
        assert gone[:, at].sum() == round(share * of.there[:, at].sum())
    kept = (of.there & ~gone)[:, :, None]
    np.testing.assert_array_equal(np.where(kept, x, 0), np.where(kept, of.values, 0).astype(x.dtype))


def test_the_strengths_of_a_case_come_from_all_parts_of_their_distribution() -> None:
    found = [each.parameter for each in every(maps(), "zeroing", repeats=5)]
    assert [int(float(share) / 0.1) for share in found] == [0, 1, 2, 3, 4]
    fractions = [float(each.parameter) for each in every(maps(), "diffgen", repeats=3)]
    assert 0.5 <= fractions[0] < 0.5 + 1.9 / 3 < fractions[1]


@pytest.mark.parametrize("slices", [1, 2, 6])
def test_a_texture_is_added_in_proportion_to_its_fraction(slices: int) -> None:
    of = maps(slices=slices)
    one, two = (
        textured(of, part, np.random.default_rng(0)).astype(np.float32) - sample(slices=slices).x for part in (0.5, 1.0)
    )
    assert one.max() > 0.1
    np.testing.assert_allclose(two, 2 * one, atol=0.01)


def test_without_any_way_a_moved_sample_is_the_same() -> None:
    np.testing.assert_array_equal(moved(maps(), 0.0, np.random.default_rng(0)), sample().x)


@pytest.mark.parametrize("slices", [1, 6])
def test_half_of_the_slices_move_and_all_maps_of_them_alike(slices: int) -> None:
    clean = sample(slices=slices)
    clean = replace(clean, x=np.repeat(clean.x[:, :1], 2, axis=1))
    x = moved(Maps.of(clean, recipe("values")), 6.0, np.random.default_rng(0))
    other = (x != clean.x).any(axis=(1, 2, 3))
    assert other.sum() == max(1, slices // 2)
    np.testing.assert_array_equal(x[:, 0], x[:, 1])


def test_a_missing_map_is_absent_and_the_others_are_not_touched() -> None:
    clean = sample()
    first, second = every(maps(), "missing")
    assert [first.parameter, second.parameter] == list(NAMES)
    assert not first.x[:, 0].any()
    np.testing.assert_array_equal(first.x[:, 1], clean.x[:, 1])
    np.testing.assert_array_equal(second.x[:, 0], clean.x[:, 0])


def test_a_map_that_a_case_lacks_is_not_taken_from_it() -> None:
    clean = sample()
    x = clean.x.copy()
    x[:, 0] = 0
    assert [each.parameter for each in every(Maps.of(replace(clean, x=x), recipe("values")), "missing")] == ["Tmax"]


def test_the_difference_is_the_mean_change_in_deviations_of_each_map() -> None:
    x = np.zeros((1, 2, 2, 2), np.float16)
    x[0, 0, 0], x[0, 1, 0] = (1, 3), (10, 50)  # deviations 1 and 20; the other row is air
    frame = Frame.of(Grid((2, 2, 1), np.diag([-1.0, -1.0, 5.0, 1.0])), 2)
    of = Maps.of(Sample(x, None, np.zeros(0, np.float32), np.zeros(0, bool), frame), recipe("values"))
    after = x.copy()
    after[0, 0, 0], after[0, 1, 0] = (2, 3), (10, 0)
    assert of.difference(x) == 0
    assert of.difference(after) == pytest.approx((1 / 1 + 0 + 0 + 50 / 20) / 4)


def test_values_that_become_0_stay_values() -> None:
    of = maps()
    x = of.stored(np.zeros_like(of.values))
    np.testing.assert_array_equal(x != 0, of.there)
    assert np.abs(x).max() < 1e-4


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cohort") / "slices"
    plan = Making(Slices(CtProtocol(matrix=96, slices=4, frames=30)), 2, 1, {"LVO": 1, "Non-LVO": 0, "WIS": 0})
    assert [made.failure for made in write_cohort(out, plan, workers=1)] == [None] * 2
    return out


@pytest.fixture(scope="module")
def cohort(place: Path) -> Cohort:
    return open_cohort(place)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny(), tmp_path_factory.mktemp("models") / "tiny")


def points_of(cohort: Cohort, model: Path, *, order: int = 1) -> dict[str, Measured]:
    asking = Asking(("zeroing", "missing"), repeats=1)
    return {each.case_id: each for each in measured(list(cohort)[::order], Plan.of([model]), asking)}


@pytest.fixture(scope="module")
def found(cohort: Cohort, model: Path) -> dict[str, Measured]:
    return points_of(cohort, model)


def test_the_clean_output_has_dice_1_with_itself(found: dict[str, Measured]) -> None:
    for case in found.values():
        assert case.failure is None
        first = case.points[0]
        assert (first.kind, first.difference, dict(first.own)) == (CLEAN, 0, {"penumbra": 1, "core": 1})


def test_each_disturbance_is_a_point_that_changes_the_input(found: dict[str, Measured]) -> None:
    for case in found.values():
        assert [point.kind for point in case.points[1:]] == ["zeroing", "missing", "missing"]
        assert all(point.difference > 0 and set(point.truth) == {"penumbra", "core"} for point in case.points[1:])
        assert case.simulated


def test_the_order_of_cases_does_not_matter(found: dict[str, Measured], cohort: Cohort, model: Path) -> None:
    assert points_of(cohort, model, order=-1) == found


def test_a_network_of_volumes_is_asked_the_same_way(cohort: Cohort) -> None:
    told = {
        "name": "deep",
        "input": {"maps": list(NAMES), "form": "values", "size": 64},
        "network": {"kind": "unet3d", "width": 1 / 32},
        "stages": [{"encoders": "full"}],
    }
    settings = Settings.model_validate(told, strict=False)
    plan = Plan((Model(built(settings).eval(), settings, CARD),), ("",))
    (case,) = measured([next(iter(cohort))], plan, Asking(("motion",), repeats=1))
    assert case.failure is None
    assert len(case.points) == 2


def case(person: str, *points: tuple[str, float, float, float]) -> Measured:
    """Points of a kind: difference, own and truth."""
    made = [Point(kind, at, 0, at, {"core": own}, {"core": truth}) for kind, at, own, truth in points]
    return Measured(person, person, (Point(CLEAN, 0.0, 0, 0.0, {"core": 1.0}, {"core": 0.8}), *made))


def test_the_area_is_the_mean_dice_over_the_range() -> None:
    points = case("a", ("blur", 0.2, 0.6, 0.4), ("blur", 0.4, 0.2, 0.4)).points
    assert area(points, OWN, upto=0.4) == pytest.approx((0.8 + 0.4) / 2)
    assert area(points, OWN, upto=0.1) == pytest.approx(0.9)
    assert area(points, "core", upto=0.2) == pytest.approx(0.6)


def test_the_common_range_ends_where_a_kind_ends_in_a_case_and_none_is_left_out() -> None:
    cases = [
        case("a", ("blur", 0.4, 0.0, 0.0), ("motion", 0.3, 0.4, 0.4)),
        case("b", ("blur", 0.2, 0.5, 0.4), ("motion", 0.5, 0.5, 0.4)),
    ]
    of = Robustness(tuple(cases), ("core",), ("blur", "motion"))
    assert of.common == 0.2
    assert of.curves["blur"].area[OWN].mean == pytest.approx((0.75 + 0.75) / 2)
    (knot,) = of.curves["blur"].knots
    assert [knot.difference, knot.dice[OWN].mean] == pytest.approx([0.3, 0.25])  # Dice 0 counts
    assert of.curves["blur"].lost["core"].mean == pytest.approx((0.2 + 0.2) / 2)


def test_two_scans_of_a_person_weigh_as_much_as_one_of_another() -> None:
    twice = [replace(case("a", ("blur", 0.2, own, 0.4)), case_id=f"a{own}") for own in (0.2, 0.4)]
    of = Robustness((*twice, case("b", ("blur", 0.2, 0.9, 0.4))), ("core",), ("blur",))
    assert of.curves["blur"].knots[0].dice[OWN].mean == pytest.approx((0.3 + 0.9) / 2)


def test_a_case_that_failed_is_a_row_that_says_so() -> None:
    of = Robustness((case("a", ("blur", 0.2, 0.5, 0.4)), Measured("b", "b", failure="no map")), ("core",), ("blur",))
    rows = list(csv.DictReader(points_csv(of).splitlines()))
    assert [(row["case"], row["kind"], row["failure"]) for row in rows] == [
        ("a", "clean", ""),
        ("a", "blur", ""),
        ("b", "", "no map"),
    ]
    assert headline(of) == "1 of 2 cases of 1 patient disturbed, 2 points."
    assert tables(of)[-1].rows == (("b", "no map"),)


def test_where_every_case_failed_that_is_all_that_is_told() -> None:
    of = Robustness((Measured("b", "b", failure="no map"),), ("core",), ("blur", "missing"))
    assert (of.clean, dict(of.curves), dict(of.missing), of.persons) == (None, {}, {}, ())
    assert headline(of) == "0 of 1 cases disturbed, 0 points."
    assert [table.title for table in tables(of)] == ["Failures"]


def test_without_truth_there_is_dice_with_the_own_output_alone() -> None:
    known = case("a", ("blur", 0.2, 0.5, 0.4))
    blind = replace(known, points=tuple(replace(point, truth={}) for point in known.points))
    of = Robustness((blind,), ("core",), ("blur",))
    assert of.measures == (OWN,)
    assert [row["dice_truth_core"] for row in csv.DictReader(points_csv(of).splitlines())] == ["", ""]
    mixed = Robustness((replace(known, case_id="b", person="b"), blind), ("core",), ("blur",))
    assert [mixed.curves["blur"].area[each].used for each in mixed.measures] == [2, 1]


def test_classes_are_those_of_lesions() -> None:
    assert classes_of(tiny(classes=4).scheme) == ("penumbra", "core")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"kinds": ("blurr",)}, r"^no disturbance is called 'blurr'; did you mean 'blur'\?$"),
        ({"kinds": ("blur", "blur")}, "^the kinds are blur, blur; give each once: blur, diffgen, gaussian, .*missing$"),
        ({"kinds": ()}, "^the kinds are none; give each once"),
        ({"repeats": 0}, "^each disturbance is drawn 0 times; give at least 1$"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Asking(**asked)  # type: ignore[arg-type]


def test_the_verb_writes_points_summary_picture_and_tables(run: Run, place: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    answer = run("robustness", model, place, "-o", out, "--kinds", "gaussian, missing", "--repeats", "1")
    assert answer.code == 0
    assert answer.out.endswith(
        "2 of 2 cases of 2 patients disturbed, 8 points. 2 of 2 cases are simulated: no evidence about real patients. "
        "Research use only; not a medical device.\n"
    )
    assert sorted(path.name for path in out.iterdir()) == [
        "points.csv",
        "robustness.json",
        "robustness.png",
        "tables.md",
    ]
    told = json.loads((out / "robustness.json").read_text())
    assert told["disclaimer"] == "Research use only; not a medical device."
    assert told["models"][0]["trained_on"] == "trained on 2 simulated patients"
    assert (told["simulated"], list(told["curves"]), sorted(told["missing"])) == (2, ["gaussian"], ["CBF", "Tmax"])
    rows = list(csv.DictReader((out / "points.csv").read_text().splitlines()))
    assert list(rows[0]) == [
        *("case", "person", "kind", "parameter", "repeat", "difference"),
        *("dice_truth_penumbra", "dice_truth_core", "dice_own", "failure"),
    ]
    assert (out / "robustness.png").read_bytes().startswith(b"\x89PNG")
    assert "Robustness of tiny (simulated patients)" in (out / "tables.md").read_text()
    again = run("robustness", model, place, "-o", out, "--kinds", "blur")
    assert again.code == 2
    assert again.err.count("\n") == 1
    assert "exists" in again.err


def test_one_case_that_cannot_be_read_ends_no_batch(run: Run, place: Path, model: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(place, tmp_path / "broken")
    first = next(iter(open_cohort(broken)))
    for path in first.files["CBF"]:
        path.write_bytes(b"nothing")
    answer = run("robustness", model, broken, "-o", tmp_path / "out", "--kinds", "zeroing", "--repeats", "1", "--json")
    assert answer.code == 1
    told = json.loads(answer.out)
    assert [each["id"] for each in told["failures"]] == [first.id]
    assert len(told["cases"]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--kinds", "noise"), "no disturbance is called 'noise'; known: blur, diffgen, gaussian"),
        (("--part", "test"), "--split is missing; give both"),
        (("--device", "9"), "9"),
    ],
)
def test_what_is_wrong_is_one_line(
    run: Run, place: Path, model: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    answer = run("robustness", model, place, "-o", tmp_path / "out", *words)
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert message in answer.err
    assert not (tmp_path / "out").exists()
