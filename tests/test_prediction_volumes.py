"""Volumes asked: the plain forward of the head's box, views and tiles, and answers whoever came before."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import Float

from strokelens.errors import SettingsError
from strokelens.frames import Frame, Lattice, lattice_of
from strokelens.grid import Grid
from strokelens.model import Model
from strokelens.prediction.networks import How, predicted
from strokelens.prepare import Sample
from tests.tiny_volumes import tiny_model

HEAD = (slice(10, 20), slice(3, 27))
BOX = (slice(10, 20), slice(2, 28))
"""The same, out to multiples of the network's stride of 2."""

LEGACY = {"kind": "unet3d", "filters": ((2, 3), (3, 4), (4, 5), (5, 6)), "norm": "batch", "steps": None}


OLD = {"form": "minmax", "resampling": "nearest", "depth": 11}


def sample_of(model: Model, *, depth: int = 5, seed: int = 0, head: tuple[slice, slice] = HEAD) -> Sample:
    """Values drawn within the head; the first slice shows nothing."""
    side, rng = model.recipe.size, np.random.default_rng(seed)
    x = np.zeros((depth, 2, side, side), np.float16)
    inside = x[(slice(1, None), slice(None), *head)]
    inside[:] = rng.uniform(0.1, 1, inside.shape)
    clinical = model.recipe.clinical
    frame = Frame(Grid((side, side, depth), np.diag([-1.0, -1.0, 5.0, 1.0])), 1, side)
    return Sample(x, None, np.full(len(clinical), 0.5, np.float32), np.ones(len(clinical), bool), frame)


def plain(model: Model, x: np.ndarray, values: np.ndarray | None = None) -> Float[np.ndarray, "z n i j"]:
    """The forward of a whole volume, in its place."""
    volume = torch.from_numpy(x.transpose(1, 0, 2, 3)[None].astype(np.float32))
    given = () if values is None else (torch.from_numpy(values[None]), torch.ones(1, len(values), dtype=torch.bool))
    with torch.no_grad():
        likely = torch.softmax(model.net(volume, *given), 1)
    return likely[0].numpy().transpose(1, 0, 2, 3)


@pytest.mark.parametrize(
    "told",
    [{}, {"network": {"norm": "group", "residual": True}}, {"network": {"deep": True}},
     {"network": {"kind": "dynunet", "filters": (2, 4, 4), "steps": ((1, 2, 2), (1, 1, 1))}}],
    ids=["unet3d", "residual", "deep", "dynunet"],
)  # fmt: skip
def test_it_is_the_plain_forward_of_the_heads_box_and_background_around(told: dict[str, object]) -> None:
    model = tiny_model(**told)
    sample = sample_of(model)
    found = predicted([model], sample).probabilities
    expected = np.zeros_like(found)
    expected[:, 0] = 1
    expected[(slice(1, None), slice(None), *BOX)] = plain(model, sample.x[:, :, *BOX])[1:]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_clinical_values_are_seen() -> None:
    model = tiny_model(input={"clinical": ("nihss",)})
    sample = sample_of(model)
    found = predicted([model], sample).probabilities[(slice(1, None), slice(None), *BOX)]
    np.testing.assert_allclose(found, plain(model, sample.x[:, :, *BOX], sample.values)[1:], atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_a_norm_over_batches_sees_the_whole_slice(norm: str) -> None:
    model = tiny_model(network={"norm": norm})
    sample = sample_of(model)
    found = predicted([model], sample).probabilities[1:]
    assert np.allclose(found, plain(model, sample.x)[1:], atol=1e-5) == (norm == "batch")


def test_the_mirrored_view_is_the_forward_of_the_mirrored_volume() -> None:
    model = tiny_model()
    sample = sample_of(model)
    part = sample.x[:, :, *BOX]
    there = plain(model, np.ascontiguousarray(part[:, :, ::-1]))[:, :, ::-1]
    found = predicted([model], sample, How(mirrored=True))
    expected = (plain(model, part) + there) / 2
    np.testing.assert_allclose(found.probabilities[(slice(1, None), slice(None), *BOX)], expected[1:], atol=1e-5)
    assert found.deviation is not None
    assert found.deviation.max() > 0


def test_a_mean_with_the_mirrored_view_is_mirrored_with_the_volume() -> None:
    model = tiny_model()
    sample = sample_of(model)
    other = replace(sample, x=np.ascontiguousarray(sample.x[:, :, ::-1]))
    here, there = (predicted([model], each, How(mirrored=True)).probabilities for each in (sample, other))
    np.testing.assert_allclose(here, there[:, :, ::-1], atol=1e-5)


def test_a_tile_that_covers_all_is_the_whole() -> None:
    plain_model = tiny_model(network={"norm": "none"})
    tiled = replace(plain_model, settings=tiny_model(network={"norm": "none"}, input={"tile": 32}).settings)
    sample = sample_of(plain_model)
    found = predicted([tiled], sample).probabilities
    np.testing.assert_allclose(found[1:], plain(plain_model, sample.x)[1:], atol=1e-5)
    assert (found[0, 0] == 1).all()


def test_tiles_are_the_weighted_mean_of_their_own_forwards() -> None:
    model = tiny_model(input={"tile": 24, "stride": 8})
    sample = sample_of(model, head=(slice(0, 32), slice(0, 32)))
    found = predicted([model], sample).probabilities
    corner = plain(model, np.ascontiguousarray(sample.x[:, :, :24, :24]))
    np.testing.assert_allclose(found[1:, :, :8, :8], corner[1:, :, :8, :8], atol=1e-5)  # no other tile has these
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_slices_that_show_nothing_are_background_and_so_is_an_empty_case() -> None:
    model = tiny_model()
    sample = sample_of(model)
    assert (predicted([model], sample).probabilities[0, 0] == 1).all()
    empty = predicted([model, tiny_model()], replace(sample, x=np.zeros_like(sample.x)))
    assert (empty.probabilities[:, 0] == 1).all()
    assert empty.deviation is not None
    assert not empty.deviation.any()


@pytest.mark.parametrize("legacy", [False, True], ids=["ours", "legacy"])
def test_a_case_is_answered_alike_whoever_was_asked_before(legacy: bool) -> None:
    """The ancestor asked with norms that went on to learn, so that each case changed the next ones."""
    model = tiny_model(network=LEGACY, legacy=True, input=OLD) if legacy else tiny_model()
    model.net.train()
    samples = [sample_of(model, depth=11, seed=seed) for seed in range(3)]
    before = {name: value.clone() for name, value in model.net.state_dict().items()}
    forth = [predicted([model], each).probabilities for each in samples]
    back = [predicted([model], each).probabilities for each in samples[::-1]][::-1]
    for one, other in zip(forth, back, strict=True):
        assert np.array_equal(one, other)
    assert model.net.training
    assert all(torch.equal(value, before[name]) for name, value in model.net.state_dict().items())


def test_legacy_is_the_plain_forward_in_evaluation() -> None:
    model = tiny_model(network=LEGACY, legacy=True, input=OLD)
    sample = sample_of(model, depth=11)
    found = predicted([model], sample).probabilities
    np.testing.assert_allclose(found[1:], plain(model, sample.x)[1:], atol=1e-5)


@pytest.mark.parametrize("depth", [1, 2, 5, 8])
def test_an_answer_is_of_the_cases_own_slices(depth: int) -> None:
    model = tiny_model()
    lattice: Lattice = lattice_of(Grid((40, 36, depth), np.diag([-1.0, -1.0, 5.0, 1.0])), 32, "linear", 6)
    sample = replace(sample_of(model, depth=6), frame=lattice)
    found = predicted([model], sample).probabilities
    assert lattice.restored(found).shape == (2, 40, 36, depth)


def test_dropout_is_drawn_from_the_seed() -> None:
    model = tiny_model(network={"dropout": 0.5})
    sample = sample_of(model)
    one, again, other = (predicted([model], sample, How(dropout_samples=3, seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.probabilities, again.probabilities)
    assert not np.array_equal(one.probabilities, other.probabilities)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"resampling": "linear"}, "has resampling area, and .* linear"),
        ({"resampling": "nearest"}, "has resampling area, and .* nearest"),
        ({"form": "minmax"}, "has form robust, and .* minmax"),
        ({"target": "core"}, "has classes background, lesion, and .* background, core"),
    ],
)
def test_models_that_see_other_pixels_are_not_averaged(other: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=f"cannot be averaged: .*{told}; give models of one recipe"):
        predicted([tiny_model(), tiny_model(input=other)], sample_of(tiny_model()))


def test_models_of_another_depth_are_not_averaged() -> None:
    one, other = (tiny_model(input={"resampling": "linear", "depth": depth}) for depth in (5, 7))
    with pytest.raises(SettingsError, match=r"cannot be averaged: .*has depth 5, and .* 7; give models of one recipe"):
        predicted([one, other], sample_of(one))
