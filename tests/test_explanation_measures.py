"""What maps are worth, what a sweep and a comparison of methods make of many cases, and what null maps are worth."""

import json
from dataclasses import replace
from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float32

from strokelens.errors import FileError, RelevanceError
from strokelens.explain.randomised import constant_map, random_map
from strokelens.explanation import contest, sweep
from strokelens.explanation.case import Explained, explain_case
from strokelens.explanation.cohort import CASES, Done
from strokelens.explanation.contest import Compared, _measures
from strokelens.explanation.delivery import worth_record
from strokelens.explanation.measures import bright, regions_of, worth
from strokelens.explanation.methods import ANCESTORS, METHODS, SLOW, Scene, deepest, methods_named
from strokelens.explanation.question import Question
from strokelens.explanation.sweep import NULLS, Swept, by_person, measured
from strokelens.explanation.tables import deliver_comparison, deliver_sweep, headline
from strokelens.model import Model
from strokelens.networks.fusion import Fusion
from tests.tiny_studies import seen_by, slice_model, volume_model

NAMES = ("ADC", "Tmax")


@pytest.fixture(scope="module")
def explained() -> Explained:
    """A study of which the network calls 2 × 4 × 4 voxels lesion, and of which the truth has half, and as many more."""
    model = volume_model()
    explanation = explain_case([model], seen_by(model), Question())
    found, truth = (np.zeros((5, 32, 32), np.uint8) for _ in range(2))
    found[1:3, 8:12, 8:12] = 1
    truth[1:3, 10:14, 8:12] = 1
    return replace(
        explanation,
        sample=replace(explanation.sample, y=truth),
        found=found,
        targets={"prediction": found == 1},
    )


def drawn(explained: Explained, value: float = 0.0) -> Float32[np.ndarray, "m z s s"]:
    return np.full((2, *explained.found.shape), value, np.float32)


def test_regions_do_not_overlap_and_cover_everything(explained: Explained) -> None:
    regions = regions_of(explained)
    assert list(regions) == ["lesion", "same side", "other side", "air"]
    assert np.array_equal(np.sum(list(regions.values()), axis=0), np.ones(explained.found.shape))


def test_the_same_side_is_that_of_most_of_what_is_explained(explained: Explained) -> None:
    right = regions_of(explained)
    mirrored = {name: region[:, ::-1].copy() for name, region in explained.targets.items()}
    left = regions_of(replace(explained, targets=mirrored, found=explained.found[:, ::-1].copy()))
    assert right["same side"][1, 13, 20]
    assert not right["other side"][1, 13, 20]
    assert left["other side"][1, 13, 20]
    assert left["same side"][1, 18, 20]


def test_what_was_found_in_air_is_no_air(explained: Explained) -> None:
    found = explained.found.copy()
    found[0] = 1
    regions = regions_of(replace(explained, found=found))
    assert np.array_equal(np.sum(list(regions.values()), axis=0), np.ones(found.shape))
    assert regions["lesion"][0].all()


def test_a_sample_that_shows_nothing_is_air(explained: Explained) -> None:
    empty = replace(explained.sample, x=np.zeros_like(explained.sample.x))
    regions = regions_of(replace(explained, sample=empty, found=np.zeros_like(explained.found)))
    assert regions["air"].all()


def test_bright_is_above_a_tenth_of_the_largest_value_of_each_map(explained: Explained) -> None:
    x = np.zeros_like(explained.sample.x)
    x[1, 0, 4, :4] = [1.0, 0.05, -0.5, 0.2]
    x[1, 1, 4, :4] = [0.0, 0.01, 0.02, 0.0005]
    first, second = bright(replace(explained, sample=replace(explained.sample, x=x)))
    assert first[1, 4, :5].tolist() == [True, False, True, True, False]
    assert second[1, 4, :5].tolist() == [False, True, True, False, False]


def test_a_map_on_the_truth_alone_is_worth_everything(explained: Explained) -> None:
    maps = drawn(explained)
    assert explained.truth is not None
    maps[1][explained.truth] = 2
    found = worth(explained, maps, explained.targets["prediction"])
    assert (found.in_truth, found.rank, found.pointing) == (1, 1, 1)
    assert found.accuracy == 0.5  # half of the truth was found
    assert found.shares.positive.tolist() == [0, 1]
    assert (found.with_truth[1].recall, found.with_truth[1].precision, found.with_truth[1].iou) == (1, 1, 1)
    assert (found.mass["lesion"].positive, found.mass["same side"].positive) == (0.5, 0.5)


def test_without_a_truth_what_needs_it_is_not_known(explained: Explained) -> None:
    without = replace(explained, sample=replace(explained.sample, y=None))
    found = worth(without, drawn(explained, 1), explained.targets["prediction"])
    assert all(isnan(each) for each in (found.in_truth, found.rank, found.pointing))
    assert found.with_truth == ()
    record = worth_record(found, NAMES)
    assert record["rank_accuracy_truth"] is None
    assert record["inclusivity_truth"] == {}
    json.dumps(record, allow_nan=False)


def test_a_truth_without_the_class_is_as_none(explained: Explained) -> None:
    assert explained.sample.y is not None
    without = replace(explained, sample=replace(explained.sample, y=np.zeros_like(explained.sample.y)))
    assert isnan(worth(without, drawn(explained, 1), explained.targets["prediction"]).in_truth)


def test_a_constant_map_has_of_everything_what_the_region_has_of_all_voxels(explained: Explained) -> None:
    """The truth has 32 of 5 · 32 · 32 voxels."""
    found = worth(explained, constant_map((2, 5, 32, 32)).numpy(), explained.targets["prediction"])
    share = 32 / (5 * 32 * 32)
    assert (found.in_truth, found.rank, found.pointing) == pytest.approx((share, share, share))
    assert found.shares.positive.tolist() == [0.5, 0.5]
    assert found.sparseness == pytest.approx(0, abs=1e-6)
    assert found.with_truth[0].recall == 0 or found.with_truth[0].precision == pytest.approx(share)


def test_a_random_map_has_about_that(explained: Explained) -> None:
    """The share in the truth has a relative SD of about √(π/2 − 1) / √(2 · 32) = 0.12 at most."""
    maps = random_map((2, 5, 32, 32), np.random.default_rng(0)).numpy()
    found = worth(explained, maps, explained.targets["prediction"])
    share = 32 / (5 * 32 * 32)
    assert found.in_truth == pytest.approx(share, rel=0.5)
    assert found.rank < 0.1
    assert found.shares.positive[0] == pytest.approx(0.5, abs=0.05)


def numbers(
    value: float | None = 1.0, words: tuple[str, ...] = ("raw", *NULLS), *, simulated: bool = True
) -> dict[str, Any]:
    """Of a case with this value for all that there is."""
    cover = {name: {"recall": value, "precision": value, "iou": value} for name in NAMES}
    told = {
        "mass_accuracy_truth": value,
        "rank_accuracy_truth": value,
        "normalised_means": dict.fromkeys(NAMES, value),
        "inclusivity_truth": cover,
        "inclusivity_input": cover,
    }
    return {"simulated": simulated, "maps": dict.fromkeys(words, told)}


def cases(*values: float | None, **told: Any) -> list[Done]:
    return [Done(f"c{at}", f"p{at}", numbers(value, **told)) for at, value in enumerate(values)]


def test_measures_of_a_case_are_means_over_channels_of_what_is_known() -> None:
    told = numbers()
    told["maps"] = {
        "raw": {
            "mass_accuracy_truth": 0.5,
            "rank_accuracy_truth": None,
            "normalised_means": {"ADC": 0.2, "Tmax": None},
            "inclusivity_truth": {"ADC": {"recall": 0.5, "precision": 0.1, "iou": None},
                                  "Tmax": {"recall": 1.0, "precision": 0.3, "iou": None}},
            "inclusivity_input": {"ADC": {"recall": 0.25, "precision": 0, "iou": 0}},
        }
    }  # fmt: skip
    done = Done("a", "a", told)
    found = {name: measured(done, "raw", name) for name in sweep.MEASURES}
    assert found["rank"] != found["rank"]
    assert isnan(found["iou"])
    assert {name: value for name, value in found.items() if not isnan(value)} == pytest.approx(
        {"inclusivity": 0.75, "precision": 0.2, "in_truth": 0.5, "with_input": 0.25, "normalised_mean": 0.2}
    )


def test_cases_of_one_person_are_one() -> None:
    done = [Done("a", "x", numbers(1)), Done("b", "x", numbers(None)), Done("c", "x", numbers(2)),
            Done("d", "y", numbers(None)), Done("e", "z", numbers(5))]  # fmt: skip
    found = by_person(done, lambda each: measured(each, "raw", "in_truth"))
    np.testing.assert_equal(found, [1.5, nan, 5])


def test_a_sweep_is_means_over_persons_with_an_interval_from_six_on() -> None:
    few = Swept.of(cases(1, 2, 3, None), ["raw"], size=48, seed=0)
    assert list(few.summary) == ["raw", *NULLS]
    assert few.summary["raw"]["iou"].mean == 2
    assert few.summary["raw"]["iou"].used == 3
    assert isnan(few.summary["raw"]["iou"].low)
    many = Swept.of(cases(1, 2, 3, 4, 5, 6), ["raw"], size=48, seed=0).summary["raw"]["rank"]
    assert 1 <= many.low < many.mean == 3.5 < many.high <= 6


def test_a_case_that_failed_counts_in_no_mean() -> None:
    found = Swept.of([*cases(1, 3), Done("bad", "bad", failure="broken")], ["raw"], size=48, seed=0)
    assert found.summary["raw"]["rank"].mean == 2
    assert found.summary["raw"]["rank"].total == 2
    assert len(found.done) == 3
    assert found.pooled("raw") == [1, 1, 3, 3]


def test_where_a_map_is_empty_its_mean_is_pooled_as_not_known() -> None:
    np.testing.assert_equal(Swept.of(cases(1, None), ["raw"], size=48, seed=0).pooled("raw"), [1, 1, nan, nan])


RECIPE = {"sweep": ["raw"], "size": 48, "seed": 0}


def folder_of(place: Path, *values: float | None, recipe: object = RECIPE) -> Path:
    (place / CASES).mkdir(parents=True)
    (place / sweep.MARKER).write_text(json.dumps({"recipe": recipe}))
    for at, value in enumerate(values):
        told = {"key": "k", "numbers": {"case": f"c{at}", "person": f"p{at}", **numbers(value)}}
        (place / CASES / f"c{at}.json").write_text(json.dumps(told))
    return place


def test_a_sweep_is_read_as_it_was(tmp_path: Path) -> None:
    read = Swept.read(folder_of(tmp_path / "a", 1, 2, None))
    made = Swept.of(cases(1, 2, None), ["raw"], size=48, seed=0)
    assert read.summary["raw"]["rank"].mean == made.summary["raw"]["rank"].mean == 1.5
    assert [(each.case_id, each.person) for each in read.done] == [("c0", "p0"), ("c1", "p1"), ("c2", "p2")]
    assert (read.words, read.size) == (("raw",), 48)


def test_what_is_no_sweep_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is no sweep by `strokelens explain --sweep`; give its folder"):
        Swept.read(tmp_path)
    with pytest.raises(FileError, match="is no sweep by"):
        Swept.read(folder_of(tmp_path / "b", 1, recipe={"size": 48}))
    with pytest.raises(FileError, match="is a sweep without a case; let it be done first"):
        Swept.read(folder_of(tmp_path / "a"))


def test_the_headline_tells_cases_patients_and_how_many_are_simulated() -> None:
    done = [*cases(1, 2), Done("again", "p1", numbers(3, simulated=False)), Done("bad", "bad", failure="no")]
    assert headline(done, "filters") == (
        "Filters: 3 of 4 cases, 3 patients. 2 are simulated: no evidence about real patients."
    ).replace("3 patients", "2 patients")
    assert headline(cases(1, simulated=False), "filters") == "Filters: 1 of 1 cases, 1 patients."


def test_a_sweep_is_tables_figures_and_numbers_with_those_beside_it(tmp_path: Path) -> None:
    done = [*cases(1, 2), Done("bad", "bad", failure="the disk | broke")]
    found = Swept.of(done, ["raw"], size=48, seed=0)
    beside = Swept.of(cases(3), ["raw"], size=96, seed=0)
    lead = deliver_sweep(found, tmp_path, RECIPE, model="tiny", beside=[beside])
    names = {"tables.md", "sweep.html", "sweep.json", "scatter.png", "boxes.png", "worth.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    tables = (tmp_path / "tables.md").read_text(encoding="utf-8")
    assert lead in tables
    assert "Beside it: 96 pixels" in tables
    assert "1.500" in tables
    assert "the disk" in tables
    told = json.loads((tmp_path / "sweep.json").read_text())
    assert told["summary"]["raw"]["iou"]["mean"] == 1.5
    assert told["summary"]["raw"]["iou"]["low"] is None
    assert told["recipe"] == RECIPE


def test_a_sweep_in_which_all_failed_has_no_figure(tmp_path: Path) -> None:
    found = Swept.of([Done("bad", "bad", failure="broken")], ["raw"], size=48, seed=0)
    lead = deliver_sweep(found, tmp_path, RECIPE, model="tiny")
    assert lead.endswith("0 of 1 cases, 0 patients.")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sweep.html", "sweep.json", "tables.md"]
    assert "broken" in (tmp_path / "tables.md").read_text(encoding="utf-8")


def compared(value: float | None, share: float | None = 0.25) -> dict[str, Any]:
    of_one = {**dict.fromkeys(contest.MEASURES, value), "shares": {"ADC": share, "Tmax": 0.75}}
    return {"simulated": True, "methods": {"gradient": of_one}}


def test_a_comparison_is_means_over_persons_and_shares_over_cases(tmp_path: Path) -> None:
    done = [Done("a", "x", compared(1)), Done("b", "x", compared(3, None)), Done("c", "y", compared(None, 0.75))]
    found = Compared.of(done, ["gradient"], seed=0)
    assert found.summary["gradient"]["gini"].mean == 2
    assert found.summary["gradient"]["gini"].used == 1
    assert found.shares["gradient"] == {"ADC": 0.5, "Tmax": 0.75}
    deliver_comparison(found, tmp_path, {"compare": ["gradient"]}, model="tiny")
    tables = (tmp_path / "tables.md").read_text(encoding="utf-8")
    assert "50 %" in tables
    assert json.loads((tmp_path / "methods.json").read_text())["summary"]["gradient"]["gap"]["mean"] == 2


def test_a_comparison_of_which_nothing_is_known_is_written_all_the_same(tmp_path: Path) -> None:
    found = Compared.of([Done("a", "a", failure="broken"), Done("b", "b", compared(None, None))], ["gradient"], seed=0)
    assert isnan(found.shares["gradient"]["ADC"])
    deliver_comparison(found, tmp_path, {}, model="tiny")
    assert "–" in (tmp_path / "tables.md").read_text(encoding="utf-8")
    empty = Compared.of([Done("a", "a", failure="broken")], ["gradient"], seed=0)
    assert empty.shares == {"gradient": {}}


def test_methods_are_named_in_order_and_the_ancestors_are_compared_when_asked_for() -> None:
    assert list(methods_named("random, gradient,,legacy-head")) == ["random", "gradient", "legacy-head"]
    assert set(methods_named(None)) == set(METHODS) - set(ANCESTORS) - set(SLOW)


@pytest.mark.parametrize(
    ("told", "message"),
    [("gradeint", "no method is called 'gradeint'; did you mean 'gradient'"), (" , ", "no method is called None")],
)
def test_a_method_that_there_is_not_is_told_with_the_nearest(told: str, message: str) -> None:
    with pytest.raises(RelevanceError, match=message):
        methods_named(told)


OLD: dict[str, Any] = {
    "network": {"kind": "unet3d", "filters": ((2, 3), (3, 4), (4, 5), (5, 6)), "norm": "batch", "steps": None},
    "input": {"form": "minmax", "resampling": "nearest", "depth": 11},
}


def scene_of(model: Model, target: str = "prediction", *, depth: int = 3) -> Scene:
    explanation = explain_case([model], seen_by(model, depth=depth), Question(target=target))
    return Scene(explanation, next(iter(explanation.targets.values())))


@pytest.fixture(scope="module")
def volume() -> Scene:
    return scene_of(volume_model())


@pytest.fixture(scope="module")
def slices() -> Scene:
    return scene_of(slice_model(form="values"), depth=2)


@pytest.fixture(scope="module")
def old() -> Scene:
    return scene_of(volume_model(**OLD), "truth")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_a_finite_map_of_the_images_shape(name: str, volume: Scene, old: Scene) -> None:
    scene = old if name in ANCESTORS else volume
    found = METHODS[name](scene, np.random.default_rng(0))
    assert found.shape == scene.view.image.shape
    assert torch.isfinite(found).all()
    assert scene.placed(found).shape == (2, *scene.target.shape)


@pytest.mark.parametrize("name", ["stroke", "gradient", "grad-cam", "smoothgrad"])
def test_methods_explain_slices_too(name: str, slices: Scene) -> None:
    found = METHODS[name](slices, np.random.default_rng(0))
    assert found.shape == slices.view.image.shape
    assert torch.isfinite(found).all()


def test_a_composite_gives_what_explaining_by_it_gives(volume: Scene) -> None:
    found = volume.placed(METHODS["stroke"](volume, np.random.default_rng(0)))
    np.testing.assert_allclose(found, volume.explained.answer.maps[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("which", ["volume", "slices"])
def test_the_answer_that_all_explain_is_what_relevance_begins_with(which: str, request: pytest.FixtureRequest) -> None:
    scene: Scene = request.getfixturevalue(which)
    with torch.no_grad():
        both = scene.answer(torch.stack([scene.view.image, scene.base]))
    assert float(both[0]) == pytest.approx(scene.explained.answer.start[0], rel=1e-4)
    assert float(both[0]) != float(both[1])


def test_integrated_gradients_add_up_to_what_the_image_has_beyond_the_reference(volume: Scene) -> None:
    """But for a tenth: norms are steep near a flat image."""
    found = METHODS["integrated-gradients"](volume, np.random.default_rng(0))
    with torch.no_grad():
        whole, none = volume.answer(torch.stack([volume.view.image, volume.base]))
    assert float(found.sum()) == pytest.approx(float(whole - none), rel=0.1)


def test_grad_cam_looks_at_the_last_features_of_the_images_size(slices: Scene) -> None:
    layer = deepest(slices)
    net = slices.view.model.net
    assert isinstance(net, Fusion)
    assert layer is not net.head[2], "the logits themselves are no features"


def test_grad_cam_of_slices_is_that_of_each(slices: Scene) -> None:
    scene = scene_of(slices.view.model, depth=3)
    view, found = scene.view, METHODS["grad-cam"](scene, np.random.default_rng(0))
    assert view.image.shape[1] == 2
    assert found.flatten(2).amax(2).min() > 0
    assert torch.equal(found[0], found[1])


def test_without_such_a_layer_grad_cam_is_left_out(volume: Scene) -> None:
    """Of as many features as classes, or fewer."""
    narrow = volume_model(network={"filters": ((2, 2), (2, 2))})
    with pytest.raises(RelevanceError, match="has no layer of the input's size for Grad-CAM; leave grad-cam out"):
        METHODS["grad-cam"](scene_of(narrow, "truth"), np.random.default_rng(0))


def measures_of(scene: Scene, name: str, unit: float = 1.0) -> Any:
    drops = torch.ones(len(scene.view.image))
    return _measures(scene, name, np.random.default_rng(0), unit, drops)


def test_each_method_has_every_measure_and_its_shares(volume: Scene) -> None:
    found = measures_of(volume, "gradient")
    assert found.keys() == {*contest.MEASURES, "shares"}
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert -1 <= found["randomised"] <= 1


def test_a_method_that_costs_much_is_not_asked_again_of_random_networks(volume: Scene) -> None:
    assert isnan(measures_of(volume, "smoothgrad")["randomised"])


def test_a_constant_map_is_worth_about_nothing(volume: Scene) -> None:
    found = measures_of(volume, "constant")
    assert volume.explained.truth is not None
    share = float(volume.explained.truth.mean())
    assert found["gini"] == pytest.approx(0, abs=1e-6)
    assert isnan(found["randomised"])
    assert found["shares"] == pytest.approx({"ADC": 0.5, "Tmax": 0.5})
    assert found["ablation"] == pytest.approx(1)  # to channels that matter alike
    assert found["in_truth"] < 3 * share


def test_a_random_map_tells_the_most_relevant_blocks_no_better_than_the_least(volume: Scene) -> None:
    assert abs(measures_of(volume, "random")["gap"]) < abs(measures_of(volume, "occlusion")["gap"])


def test_without_a_truth_methods_are_compared_by_the_rest(volume: Scene) -> None:
    explanation = replace(volume.explained, sample=replace(volume.explained.sample, y=None))
    found = measures_of(Scene(explanation, volume.target), "gradient")
    assert all(isnan(found[name]) for name in ("in_truth", "rank", "pointing"))
    assert not isnan(found["gap"])
