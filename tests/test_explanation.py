"""A question asked of a network about a case: where relevance lies, what it adds up to, and what cannot be asked."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Bool

from strokelens.errors import RelevanceError
from strokelens.explain.composites import COMPOSITES, Composite
from strokelens.explain.filters import Raw, filter_named
from strokelens.explanation.answering import Answer, answered, bounds_of
from strokelens.explanation.case import Explained, explain_case, healthy
from strokelens.explanation.question import TARGETS, Question, Reference, Region, regions
from strokelens.explanation.view import View
from strokelens.model import Model
from strokelens.networks.unet3d import Unet3d
from strokelens.prediction.networks import predicted
from strokelens.prediction.samples import Seen
from strokelens.prepare import Sample
from tests.tiny_studies import seen_by, slice_model, study, volume_model

FILTERS = (Raw(), filter_named("pass:0:0.4"), filter_named("clamp:0:0.2"))
PLAIN = {"form": "values"}
"""So that a network sees values as they are."""

KINDS: Mapping[str, tuple[Any, dict[str, Any]]] = {
    "volume": (volume_model, {}),
    "volume with clinical values": (volume_model, {"input": {"clinical": ("nihss",)}}),
    "other volume": (
        volume_model,
        {"network": {"kind": "dynunet", "filters": (2, 4, 4), "steps": ((1, 2, 2), (1, 1, 1))}},
    ),
    "slices": (slice_model, {}),
    "slices around": (slice_model, {"slices": 3}),
    "tiles": (slice_model, {"tile": 32, "stride": 32}),
    "slices with clinical values": (slice_model, {"clinical": ("nihss",)}),
}


def model_of(kind: str) -> Model:
    maker, told = KINDS[kind]
    made: Model = maker(**told)
    return made


def asked(model: Model, seen: Seen, question: Question, where: Mapping[str, Region] | None = None) -> Answer:
    """The answer for regions that are told; else for where the first slices show anything."""
    shown = (seen.sample.x != 0).any(axis=1)
    well: Region = shown & (np.indices(shown.shape)[1] < shown.shape[1] // 2)
    return answered([model], seen.sample, question, where or {"shown": shown}, well)


def explained(model: Model, question: Question, **told: Any) -> Explained:
    return explain_case([model], seen_by(model, **told), question)


@cache
def explained_once(kind: str) -> Explained:
    """What several tests look at."""
    return explained(model_of(kind), Question(), depth=2)


@pytest.fixture
def volume() -> Model:
    return volume_model()


@pytest.fixture
def found(volume: Model) -> Region:
    """Where it finds the lesion."""
    likely = predicted([volume], seen_by(volume).sample).probabilities
    region: Region = likely.argmax(axis=1) == 1
    return region


@pytest.mark.parametrize("kind", KINDS)
def test_all_relevance_that_began_reached_the_inputs_or_stayed_in_a_layer(kind: str) -> None:
    answer = explained_once(kind).answer
    stayed = [each[0] for each in answer.absorbed.values()]
    ends = float(answer.maps.sum(dtype=np.float64)) + float(answer.clinical.sum()) + sum(stayed)
    passed = sum(abs(each) for each in stayed) + float(np.abs(answer.maps).sum(dtype=np.float64))
    assert ends == pytest.approx(answer.start[0], abs=2e-6 * passed)


@pytest.mark.parametrize("kind", KINDS)
def test_relevance_has_a_map_of_the_samples_pixels_for_each_of_the_models_maps(kind: str) -> None:
    explanation = explained_once(kind)
    (model,) = explanation.models
    z, side = explanation.found.shape[:2]
    assert explanation.answer.maps.shape == (1, len(model.recipe.maps), z, side, side)
    assert list(explanation.maps(0)) == list(model.recipe.maps)
    assert explanation.answer.clinical.shape == (1, len(model.recipe.clinical))


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_in_the_image_is_placed_where_it_was(kind: str) -> None:
    """As the middle one of the slices around, where there are some."""
    model = model_of(kind)
    sample = seen_by(model, depth=3).sample
    mask: Region = (sample.x != 0).any(axis=1) & (np.indices((3, *sample.x.shape[2:]))[1] % 3 == 0)
    view = View.of(model, sample, np.asarray(mask.any(axis=(1, 2))))
    relevance = torch.zeros(1, *view.image.shape)
    maps, around = len(model.recipe.maps), model.settings.input.slices
    relevance.view(maps, around, -1, *view.image.shape[1:])[:, around // 2, 0] = view.masked(mask).float()
    placed = view.placed(relevance, len(sample.x))
    assert placed.shape == (1, maps, *mask.shape)
    assert np.array_equal(placed[0], np.broadcast_to(mask, (maps, *mask.shape)))


def test_relevance_of_slices_around_is_that_of_the_slices_they_are() -> None:
    model = slice_model(slices=3, form="values")
    sample = seen_by(model).sample
    wanted = np.array([False, False, True, False, False])
    view = View.of(model, sample, wanted)
    relevance = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]).view(1, 6, 1, 1, 1).expand(1, *view.image.shape)
    placed = view.placed(relevance, 5)[0, :, :, 32, 32]
    assert placed.tolist() == [[0, 1, 2, 4, 0], [0, 8, 16, 32, 0]]


def test_relevance_of_colours_is_summed_and_that_of_slices_that_there_are_not_is_left_out() -> None:
    model = slice_model(slices=3)
    sample = seen_by(model, depth=2).sample
    view = View.of(model, sample, np.array([False, True]))
    placed = view.placed(torch.ones(1, *view.image.shape), 2)
    assert placed[0, 0, :, 32, 32].tolist() == [3, 3]


@pytest.mark.parametrize("kind", ["slices", "slices around", "tiles", "slices with clinical values", "volume"])
def test_what_pieces_answer_together_is_what_was_predicted(kind: str) -> None:
    model = model_of(kind)
    sample = seen_by(model, depth=3).sample
    view = View.of(model, sample, (sample.x != 0).any(axis=(1, 2, 3)))
    logits = torch.zeros(len(model.scheme), *view.image.shape[1:])
    with torch.no_grad():
        for piece in view.pieces():
            share = 1.0 if piece.share is None else piece.share
            logits[(..., *piece.place)] += view.answered()(view.cut(piece)[None])[0] * share
    likely = torch.softmax(logits, 0).numpy()
    whole = predicted([model], sample).probabilities.swapaxes(0, 1)[:, view.chosen][..., view.box.i, view.box.j]
    there = (sample.x != 0).any(axis=1)[view.chosen][..., view.box.i, view.box.j]
    np.testing.assert_allclose(likely[:, there], whole[:, there], atol=1e-4)


def test_a_tile_as_large_as_the_slice_gives_the_relevance_of_the_slice() -> None:
    slices, tile = slice_model(), slice_model(tile=64, stride=64)
    tile.net.load_state_dict(slices.net.state_dict())
    answers = [asked(model, seen_by(model, depth=3), Question()) for model in (slices, tile)]
    np.testing.assert_allclose(answers[1].maps, answers[0].maps, rtol=1e-4, atol=1e-4)
    assert answers[1].start == pytest.approx(answers[0].start)


def test_of_windows_only_those_that_show_anything_are_asked() -> None:
    model = slice_model(tile=32, stride=32)
    sample = seen_by(model, depth=2).sample
    x = sample.x.copy()
    x[:, :, 32:] = 0
    view = View.of(model, replace(sample, x=x), np.array([False, True]))
    assert [(piece.i.start, piece.j.start) for piece in view.pieces()] == [(0, 0), (0, 32)]


def test_a_target_in_air_is_nothing_to_explain_where_nothing_is_computed() -> None:
    model = slice_model(tile=32, stride=32)
    sample = seen_by(model, depth=2).sample
    x = sample.x.copy()
    x[:, :, 32:] = 0
    place = np.zeros((64, 64, 2), bool)
    place[60, 60, 1] = True
    with pytest.raises(RelevanceError, match="no map shows anything at place, so the model computes nothing there"):
        explain_case([model], Seen(replace(sample, x=x), study("CBF", "Tmax", side=64)), Question(), place=place)


def hand_made(model: Model, values: np.ndarray) -> Sample:
    """A sample of these values (z, c, i, j)."""
    sample = seen_by(model, depth=len(values)).sample
    return replace(sample, x=values.astype(np.float16), y=None)


def halves() -> tuple[Model, Sample, Region]:
    """Two maps that are 0.25 and 1 in the right half of the head, 0.5 and 2 in the left; a target within the right."""
    model = volume_model(input=PLAIN)
    x = np.zeros((3, 2, 32, 32))
    x[:, :, 6:16, 4:28] = np.array([0.25, 1]).reshape(2, 1, 1)
    x[:, :, 16:26, 4:28] = np.array([0.5, 2]).reshape(2, 1, 1)
    target = np.zeros((3, 32, 32), bool)
    target[1, 8:10, 10:14] = True
    return model, hand_made(model, x), target


def bounds(
    model: Model, sample: Sample, target: Region, reference: Reference, well: Region | None = None
) -> tuple[View, Any]:
    view = View.of(model, sample, np.ones(len(sample.x), bool))
    return view, bounds_of(view, view.masked(target if well is None else well), view.masked(target), reference)


@pytest.mark.parametrize(
    ("reference", "expected"), [("healthy", (0.25, 1.0)), ("opposite", (0.5, 2.0)), ("zero", (0.0, 0.0))]
)
def test_the_reference_is_of_each_channel_what_was_asked(reference: Reference, expected: tuple[float, float]) -> None:
    model, sample, target = halves()
    view, told = bounds(model, sample, target, reference)
    shown = view.shown
    assert shown.any()
    for channel, value in enumerate(expected):
        assert told.reference[channel][shown[channel]].unique().tolist() == pytest.approx([value])


def test_what_has_no_opposite_place_is_not_seen_against_it() -> None:
    """The whole head, which is its own opposite, and a slice that shows nothing."""
    model, sample, target = halves()
    for everywhere, x in ((np.ones_like(target), sample.x), (target, np.zeros_like(sample.x))):
        with pytest.raises(RelevanceError, match="has no place opposite of it; take --reference healthy or zero"):
            bounds(model, replace(sample, x=x), everywhere, "opposite")


def test_nothing_lies_off_the_reference_where_a_channel_has_no_value() -> None:
    model, sample, target = halves()
    x = sample.x.copy()
    x[:, 1, 10:12] = 0
    view, told = bounds(model, replace(sample, x=x), target, "healthy")
    assert (~view.shown[1]).any()
    assert torch.equal(told.reference[~view.shown], view.image[~view.shown])
    assert told.reference[1][view.shown[1]].unique().tolist() == [1.0]


def test_a_channel_without_healthy_values_has_its_own_median() -> None:
    model, sample, target = halves()
    x = sample.x.copy()
    x[:, 1, 6:16] = 0
    well = np.zeros_like(target)
    well[1, 8] = True
    view, told = bounds(model, replace(sample, x=x), target, "healthy", well)
    assert told.reference[0][view.shown[0]].unique().tolist() == [0.25]
    assert told.reference[1][view.shown[1]].unique().tolist() == [2.0]


def test_a_channel_without_any_value_is_its_own_reference() -> None:
    model, sample, target = halves()
    x = sample.x.copy()
    x[:, 1] = 0
    view, told = bounds(model, replace(sample, x=x), target, "healthy")
    assert torch.equal(told.reference[1], view.image[1])


def test_the_opposite_of_a_target_is_less_the_target_itself() -> None:
    """One over the middle: its own mirror image, but for what it holds; here columns 18 and 19 alone are opposite."""
    model, sample, target = halves()
    x = sample.x.copy()
    x[:, :, 18:20] = 0.75
    wide = np.zeros_like(target)
    wide[1, 12:18, 10:14] = True
    view, told = bounds(model, replace(sample, x=x), wide, "opposite")
    assert told.reference[0][view.shown[0]].unique().tolist() == [0.75]


def test_low_and_high_are_the_ends_of_each_channel() -> None:
    model, sample, target = halves()
    view, told = bounds(model, sample, target, "zero")
    assert told.low[:, 0, 0, 0].tolist() == view.image.flatten(1).min(1).values.tolist()
    assert told.high[:, 0, 0, 0].tolist() == [0.5, 2.0]


def test_healthy_is_where_all_maps_have_a_value_and_nothing_was_found() -> None:
    model, sample, target = halves()
    x = sample.x.copy()
    x[:, 1, 10:12] = 0
    well = healthy(replace(sample, x=x), target.astype(np.uint8), model)
    shown = (sample.x != 0).all(axis=1)
    shown[:, 10:12] = False
    assert np.array_equal(well, shown & ~target)


def labelled(volume: Model, target: str, place: Bool[np.ndarray, "i j k"] | None = None) -> dict[str, Region]:
    """Regions of a sample whose truth and prediction are drawn: they share a corner, and the prediction has a crumb."""
    sample = seen_by(volume).sample
    truth, found = np.zeros_like(sample.y), np.zeros_like(sample.y)
    assert isinstance(truth, np.ndarray)
    assert isinstance(found, np.ndarray)
    truth[1, 8:12, 8:12] = 1
    found[1, 10:14, 8:12] = 1
    found[3, 20, 20] = 1
    return regions(Question(target=target), volume.scheme, replace(sample, y=truth), found, place)


@pytest.mark.parametrize(
    ("target", "sizes"),
    [
        ("prediction", {"prediction": 17}),
        ("truth", {"truth": 16}),
        ("missed", {"missed": 8}),
        ("false", {"false": 9}),
        ("components", {"component_1": 16, "component_2": 1}),
        ("output", {"output": 5 * 32 * 32}),
    ],
)
def test_each_target_is_these_voxels(volume: Model, target: str, sizes: dict[str, int]) -> None:
    assert {name: int(region.sum()) for name, region in labelled(volume, target).items()} == sizes


def test_the_volume_is_of_all_voxels_that_show_anything(volume: Model) -> None:
    sample = seen_by(volume).sample
    assert np.array_equal(labelled(volume, "volume")["volume"], (sample.x != 0).any(axis=1))


def test_a_place_on_the_cases_grid_is_the_target_by_its_name(volume: Model) -> None:
    place = np.zeros(study().grid.shape, bool)
    place[20, 9, 2] = True
    (name, region), *others = labelled(volume, "mine", place).items()
    assert not others
    assert (name, int(region.sum())) == ("place", 1)
    back = seen_by(volume).sample.frame.restored(region[:, None].astype(np.float32))[0] > 0.5
    assert np.array_equal(back, place)


def test_parts_that_touch_by_a_corner_are_one_and_of_many_the_eight_largest_are_told(volume: Model) -> None:
    sample, found = seen_by(volume).sample, np.zeros((5, 32, 32), np.uint8)
    for number in range(10):
        found[0, 3 * number, : number + 1] = 1
    found[1, 28, 10] = 1  # beyond the corner of the longest
    parts = regions(Question(target="components"), volume.scheme, sample, found)
    assert [int(part.sum()) for part in parts.values()] == [11, 9, 8, 7, 6, 5, 4, 3]


def test_every_target_has_its_words(volume: Model) -> None:
    told = [Question(target=target, place="voxel 1,2,3").in_words(volume.scheme) for target in (*TARGETS, "place")]
    assert told[:4] == [
        "lesion in the prediction, by the composite stroke, against healthy tissue",
        "lesion in the truth, by the composite stroke, against healthy tissue",
        "lesion rather than background that was missed, by the composite stroke, against healthy tissue",
        "lesion found wrongly, by the composite stroke, against healthy tissue",
    ]
    assert "every class" in told[6]
    assert told[7] == "lesion at voxel 1,2,3, by the composite stroke, against healthy tissue"
    assert Question(reference="opposite").in_words(volume.scheme).endswith("stroke, against the opposite side")
    assert Question(reference="zero").in_words(volume.scheme).endswith("stroke, against 0")
    plain = Question(composite=COMPOSITES["z+"]).in_words(volume.scheme)
    assert plain == "lesion in the prediction, by the composite z+"
    assert Question(against="background").in_words(volume.scheme).startswith("lesion rather than background in")


@pytest.mark.parametrize(
    ("question", "begins"),
    [
        (Question(), lambda logits, where: logits[1][where].sum()),
        (Question(against="background"), lambda logits, where: (logits[1] - logits[0])[where].sum()),
        (Question(target="output"), lambda logits, _: logits.sum()),
    ],
    ids=["prediction", "margin", "output"],
)
def test_relevance_begins_with_the_logits_that_were_asked_for(
    volume: Model, found: Region, question: Question, begins: Any
) -> None:
    explanation = explained(volume, question)
    view = View.of(volume, explanation.sample, np.ones(5, bool))
    with torch.no_grad():
        logits = view.answered()(view.image[None])[0].double()
    expected = begins(logits, view.masked(found))
    assert explanation.answer.start[0] == pytest.approx(float(expected), rel=1e-4)


def test_relevance_of_the_volume_is_how_its_probabilities_change_with_logits(volume: Model) -> None:
    """Begins with Σ z ∂V/∂z, V = Σ p over all that shows anything."""
    explanation = explained(volume, Question(target="volume"))
    view = View.of(volume, explanation.sample, np.ones(5, bool))
    with torch.no_grad():
        logits = view.answered()(view.image[None])[0].double()
    logits.requires_grad_()
    likely = torch.softmax(logits, 0)[1][view.masked(explanation.targets["volume"])].sum()
    (slope,) = torch.autograd.grad(likely, logits)
    assert explanation.answer.start[0] == pytest.approx(float((logits * slope).sum().detach()), rel=1e-4)


def test_each_component_is_explained_by_itself(volume: Model) -> None:
    parts = explained(volume, Question(target="components"))
    whole = explained(volume, Question())
    assert next(iter(parts.targets)) == "component_1"
    assert len(parts.answer.maps) == len(parts.targets) == len(parts.answer.start)
    if len(parts.targets) < 8:
        assert sum(parts.answer.start) == pytest.approx(whole.answer.start[0], rel=1e-3)


def test_the_answer_of_two_models_is_the_mean_of_both() -> None:
    models = [volume_model(2), volume_model(3)]
    seen = seen_by(models[0])
    shown = (seen.sample.x != 0).any(axis=1)
    alone = [answered([model], seen.sample, Question(), {"shown": shown}, shown) for model in models]
    both = answered(models, seen.sample, Question(), {"shown": shown}, shown)
    np.testing.assert_allclose(both.maps, (alone[0].maps + alone[1].maps) / 2, rtol=1e-5)
    assert both.start[0] == pytest.approx((alone[0].start[0] + alone[1].start[0]) / 2)
    first, second, mean = (each.absorbed["epsilon"][0] for each in (*alone, both))
    assert mean == pytest.approx((first + second) / 2)


def test_of_models_of_different_layers_none_is_told() -> None:
    deeper = {"kind": "unet3d", "filters": ((2, 3), (3, 4), (4, 5)), "steps": ((1, 2, 2), (1, 2, 2))}
    models = [volume_model(2), volume_model(2, network=deeper)]
    seen = seen_by(models[0])
    shown = (seen.sample.x != 0).any(axis=1)
    assert answered(models, seen.sample, Question(), {"shown": shown}, shown).layers == ()


def test_filters_of_the_final_map_are_what_they_make_of_it_by_hand(volume: Model) -> None:
    seen = seen_by(volume)
    (raw,) = asked(volume, seen, Question()).maps
    answer = asked(volume, seen, Question(filters=FILTERS))
    assert np.array_equal(answer.maps[0], raw)
    for one, made in zip(FILTERS, answer.maps, strict=True):
        assert np.array_equal(made, one(torch.from_numpy(raw)[None])[0].numpy())
    assert answer.start == (answer.start[0],) * 3
    assert answer.layers[-1].called == "filter"
    assert answer.layers[-1].absorbed["filter"][0] == pytest.approx(0)


def test_filters_everywhere_leave_raw_as_it_is_and_change_the_others_in_another_way(volume: Model) -> None:
    seen = seen_by(volume)
    last, everywhere = (asked(volume, seen, Question(filters=FILTERS, everywhere=told)) for told in (False, True))
    np.testing.assert_allclose(everywhere.maps[0], last.maps[0], rtol=1e-5, atol=1e-6)
    assert not np.allclose(everywhere.maps[1], last.maps[1])
    assert len(everywhere.maps) == 3


def test_of_several_targets_and_filters_maps_are_target_after_target(volume: Model) -> None:
    seen = seen_by(volume)
    shown = (seen.sample.x != 0).any(axis=1)
    left = shown & (np.indices(shown.shape)[1] < 16)
    where = {"left": left, "right": shown & ~left}
    answer = asked(volume, seen, Question(filters=FILTERS[:2]), where)
    single = asked(volume, seen, Question(), {"right": where["right"]})
    assert len(answer.maps) == 4
    np.testing.assert_allclose(answer.maps[2], single.maps[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["volume", "slices"])
def test_the_network_is_as_it_was_to_the_bit(kind: str) -> None:
    model = model_of(kind)
    before = {name: each.clone() for name, each in model.net.state_dict().items()}
    model.net.train()
    explained(model, Question(filters=FILTERS, everywhere=True), depth=2)
    assert all(torch.equal(each, model.net.state_dict()[name]) for name, each in before.items())
    assert all(module.training for module in model.net.modules())
    assert not any(module._forward_hooks for module in model.net.modules())


def test_the_same_question_has_the_same_answer(volume: Model) -> None:
    first, second = (explained(volume, Question(filters=FILTERS)).answer for _ in range(2))
    assert np.array_equal(first.maps, second.maps)


@pytest.mark.parametrize("reference", ["opposite", "zero"])
def test_another_reference_is_another_map(volume: Model, reference: Reference) -> None:
    one, other = (explained(volume, Question(reference=each)).answer for each in ("healthy", reference))
    assert not np.allclose(one.maps, other.maps)
    assert one.start == other.start


@pytest.mark.parametrize("name", [name for name, each in COMPOSITES.items() if each.ancestor is None])
def test_every_composite_explains_a_volume(volume: Model, name: str) -> None:
    answer = explained(volume, Question(composite=COMPOSITES[name])).answer
    assert np.isfinite(answer.maps).all()
    assert np.abs(answer.maps).max() > 0


OLD: dict[str, Any] = {
    "network": {"kind": "unet3d", "filters": ((2, 3), (3, 4), (4, 5), (5, 6)), "norm": "batch", "steps": None},
    "input": {"form": "minmax", "resampling": "nearest", "depth": 11},
}


def test_the_ancestors_rules_give_a_map_of_each_filter() -> None:
    model = volume_model(**OLD)
    question = Question(target="output", composite=COMPOSITES["legacy-head"], filters=FILTERS)
    explanation = explained(model, question)
    assert explanation.answer.maps.shape == (3, 2, 11, 32, 32)
    assert np.isfinite(explanation.answer.maps).all()
    (layer,) = explanation.answer.layers
    went = explanation.answer.maps.sum(axis=(1, 2, 3, 4))
    assert layer.went == pytest.approx(went, rel=1e-3, abs=1e-3)
    assert layer.absorbed["the ancestor's rules"] == pytest.approx(np.array(explanation.answer.start) - went, rel=1e-3)
    assert explanation.maps(2)["Tmax"].shape == explanation.case.grid.shape


def test_the_ancestors_skips_have_the_shares_that_are_told() -> None:
    model = volume_model(**OLD)

    def maps(name: str) -> np.ndarray:
        return explained(model, Question(target="output", composite=Composite.of(name))).answer.maps

    assert np.array_equal(maps("legacy-head"), maps("legacy-head:0.5:0.5:0.5"))
    assert not np.allclose(maps("legacy-head"), maps("legacy-head:0.5:0.5:0.1"))
    with pytest.raises(RelevanceError, match="2 factors for 3 skips; give one for each, the coarsest first"):
        maps("legacy-head:0.5:0.5")
    for name, message in (("legacy-head:2", "give numbers from 0 to 1"), ("stroke:1", "no composite is called")):
        with pytest.raises(RelevanceError, match=message):
            Composite.of(name)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"network": {"norm": "group"}}, "the ancestor had no rules of relevance for norm 'group'"),
        ({"network": OLD["network"], "input": OLD["input"] | {"clinical": ("nihss",)}}, "clinical values"),
    ],
)
def test_the_ancestor_had_no_rules_for_what_it_did_not_have(told: dict[str, Any], message: str) -> None:
    with pytest.raises(RelevanceError, match=message):
        explained(volume_model(**told), Question(target="output", composite=COMPOSITES["legacy-published"]))


def test_the_ancestors_rules_are_for_its_network_only() -> None:
    with pytest.raises(RelevanceError, match="legacy-head has rules for unet3d of whole volumes only; take another"):
        explained(slice_model(), Question(composite=COMPOSITES["legacy-head"]), depth=2)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (Question("lesoin"), "the model tells no 'lesoin'; did you mean 'lesion'"),
        (Question(against="core"), "the model tells no 'core'"),
        (Question("lesion", "lesion"), "lesion against itself is nothing; give another class to --against"),
        (
            Question(target="truht"),
            "no target is called 'truht', and it is no file or voxel i,j,k; did you mean 't",
        ),
    ],
)
def test_what_there_is_not_is_told_with_the_nearest(volume: Model, question: Question, message: str) -> None:
    with pytest.raises(RelevanceError) as caught:
        explained(volume, question)
    assert message in str(caught.value)


@pytest.mark.parametrize("target", ["truth", "missed", "false"])
def test_targets_of_the_truth_need_one(volume: Model, target: str) -> None:
    with pytest.raises(RelevanceError, match=f"--target {target} needs a truth, and the case has none; ask for pred"):
        explained(volume, Question(target=target), truth=False)


def decided(volume: Model, value: int) -> Model:
    """One that says this class of every voxel, whatever it sees."""
    net = volume.net
    assert isinstance(net, Unet3d)
    with torch.no_grad():
        (last,) = (each for each in net.heads if isinstance(each, torch.nn.Conv3d))
        last.weight.zero_()
        assert last.bias is not None
        last.bias.copy_(torch.nn.functional.one_hot(torch.tensor(value), len(volume.scheme)).float())
    return volume


def test_where_nothing_was_found_there_is_nothing_to_explain(volume: Model) -> None:
    with pytest.raises(RelevanceError, match="the model found no lesion; ask for another --class, or for --target tru"):
        explained(decided(volume, 0), Question())


def test_where_nothing_was_missed_there_is_nothing_to_explain(volume: Model) -> None:
    with pytest.raises(RelevanceError, match="the model missed no lesion; take another --target"):
        explained(decided(volume, 1), Question(target="missed"))


def test_a_place_outside_of_what_the_model_sees_is_nothing_to_explain(volume: Model) -> None:
    with pytest.raises(RelevanceError, match="no map shows anything at place, so the model computes nothing there"):
        labelled(volume, "mine", np.indices(study().grid.shape).sum(0) == 0)


def test_an_answer_that_no_map_changes_is_flagged(volume: Model) -> None:
    explanation = explained(decided(volume, 1), Question())
    assert [flag.code for flag in explanation.flags] == ["simulated-model", "no-relevance"]
    assert explanation.flags[-1].grave


def test_relevance_that_was_lost_on_the_way_is_flagged() -> None:
    assert "relevance-lost" in [flag.code for flag in explained(slice_model(), Question(), depth=2).flags]


def test_the_gravest_class_is_explained_where_none_is_told() -> None:
    assert explained(slice_model(), Question(), depth=2).name == "core"


def test_what_is_explained_is_on_the_cases_grid(volume: Model, found: Region) -> None:
    explanation = explained(volume, Question())
    grid = explanation.case.grid
    assert explanation.segmentation.grid == grid
    assert {each.shape for each in explanation.maps(0).values()} == {grid.shape}
    mask = explanation.placed(explanation.targets["prediction"])
    assert np.array_equal(mask, explanation.segmentation.mask("lesion"))
    assert np.array_equal(explanation.targets["prediction"], found)


def test_the_truth_is_told_apart_from_what_was_asked(volume: Model) -> None:
    explanation = explained(volume, Question())
    assert explanation.case.truth is None
    truth = study().truth
    assert truth is not None
    assert explanation.truth is not None
    assert np.array_equal(explanation.placed(explanation.truth), truth.mask("lesion"))
    assert explained(volume, Question(), truth=False).truth is None


def test_the_backdrop_is_what_the_case_has(volume: Model) -> None:
    explanation = explained(volume, Question())
    assert all(values is explanation.case[name] for name, values in explanation.backdrop().items())


def test_without_maps_the_backdrop_is_how_bright_the_pictures_are(volume: Model) -> None:
    explanation = explained(volume, Question())
    pictures = replace(explanation, case=replace(explanation.case, channels={})).backdrop()
    assert list(pictures) == list(volume.recipe.maps)
    assert {values.shape for values in pictures.values()} == {explanation.case.grid.shape}


def test_relevance_does_not_depend_on_the_truth(volume: Model) -> None:
    with_truth, without = (explained(volume, Question(), truth=told).answer for told in (True, False))
    assert np.array_equal(with_truth.maps, without.maps)
