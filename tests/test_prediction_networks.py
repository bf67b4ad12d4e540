"""Inference against the plain forward of whole slices, and its laws: views, chance, ensembles, windows, empty cases."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float

from strokelens.errors import SettingsError
from strokelens.frames import Frame
from strokelens.grid import Grid
from strokelens.model import Model
from strokelens.networks.crops import MARGIN
from strokelens.networks.fusion import Fusion
from strokelens.networks.inputs import standardised, unit
from strokelens.networks.tiles import smooth_weight, windows
from strokelens.prediction.networks import How, asked, computing, full_float32, predicted
from strokelens.prepare import Sample
from tests.tiny_models import last_of, tiny


def check_close(found: np.ndarray, expected: np.ndarray, *, within: float = 1e-4) -> None:
    """Equal but for the order of sums."""
    np.testing.assert_allclose(found, expected, rtol=within, atol=1e-5)


def sample_of(
    model: Model, *, slices: int = 3, rows: slice = slice(0, None), columns: slice = slice(0, None), seed: int = 0
) -> Sample:
    """Drawn colours or values in a part of each slice; the first slice shows nothing."""
    size, recipe = model.recipe.size, model.recipe
    rng = np.random.default_rng(seed)
    shape = (slices, recipe.colours * len(recipe.maps), size, size)
    x = rng.integers(1, 255, shape).astype(np.uint8) if recipe.form == "colours" else rng.random(shape)
    seen = np.zeros_like(x)
    seen[1:, :, rows, columns] = x[1:, :, rows, columns]
    values = np.array([0.5] * len(recipe.clinical), np.float32)
    frame = Frame.of(Grid((size, size, slices), np.diag([-1.0, -1.0, 5.0, 1.0])), size)
    stored = seen if recipe.form == "colours" else seen.astype(np.float16)
    return Sample(stored, None, values, np.ones(len(values), bool), frame)


def mirrored(sample: Sample) -> Sample:
    return replace(sample, x=np.ascontiguousarray(sample.x[:, :, ::-1]))


def plain(model: Model, sample: Sample) -> Float[np.ndarray, "z n s s"]:
    """The obvious way: every slice whole, one after the other, in float32, axes as they come."""
    found = []
    seen = model.settings
    for z in range(len(sample.x)):
        around = _by_hand(sample.x, z, seen.input.slices, len(seen.input.maps))
        images = standardised(unit(torch.from_numpy(around[None])), form=seen.input.form, legacy=seen.legacy)
        values, known = (torch.from_numpy(part[None]) for part in (sample.values, sample.known))
        clinical = (values, known) if seen.input.clinical else ()
        with torch.no_grad():
            found.append(torch.softmax(model.net(images, *clinical), 1)[0].numpy())
    return np.stack(found)


def _by_hand(x: np.ndarray, z: int, slices: int, maps: int) -> np.ndarray:
    """Channel after channel: of each map each slice from below, each with its colours."""
    step, channels = x.shape[1] // maps, []
    for each in range(maps):
        for at in range(z - slices // 2, z + slices // 2 + 1):
            for colour in range(step):
                inside = 0 <= at < len(x)
                channels.append(x[at, each * step + colour] if inside else np.zeros_like(x[0, 0]))
    return np.stack(channels)


MODELS = {
    "colours": tiny(),
    "values": tiny(form="values"),
    "legacy": tiny(legacy=True),
    "clinical": tiny(clinical=["nihss"]),
    "two classes": tiny(classes=2),
    "three slices of values": tiny(form="values", slices=3),
    "five slices of colours": tiny(slices=5),
    "no multiple of 32": tiny(size=80, clinical=["nihss"]),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("batch", [1, 3])
def test_it_is_the_plain_forward_where_nothing_is_left_out(model: Model, batch: int) -> None:
    sample = sample_of(model)
    found = predicted([model], sample, How(batch=batch)).probabilities
    check_close(found[1:], plain(model, sample)[1:])
    assert (found[0, 0] == 1).all()
    assert (found[0, 1:] == 0).all()


@pytest.mark.parametrize("form", ["colours", "values"])
def test_what_is_cut_out_is_computed_as_if_the_rest_were_not_there(form: str) -> None:
    model = tiny(form=form, size=128, clinical=["nihss"])
    sample = sample_of(model, rows=slice(50, 75), columns=slice(20, 44))
    found = predicted([model], sample).probabilities
    whole = plain(model, sample)
    inner = found[1:, :, 32:96, 0:64]  # 50 − 16 and 75 + 16, 20 − 16 and 44 + 16, out to multiples of 32
    outside = np.ones((128, 128), bool)
    outside[32:96, 0:64] = False
    assert (found[1:, 0][:, outside] == 1).all()
    cut = replace(sample, x=np.ascontiguousarray(sample.x[:, :, 32:96, 0:64]))
    assert MARGIN == 16
    small = plain_at(model, cut, corner=(1, 0))
    check_close(inner, small[1:])
    where = np.abs(found - whole)[1:, :, 50:75, 20:44]
    assert where.mean() < 0.05  # the border is absent, not black; weights are drawn, so this only bounds it


def plain_at(model: Model, sample: Sample, corner: tuple[int, int]) -> Float[np.ndarray, "z n i j"]:
    images = standardised(unit(torch.from_numpy(sample.x)), form=model.settings.input.form)
    values, known = (torch.from_numpy(each).expand(len(images), -1) for each in (sample.values, sample.known))
    with torch.no_grad():
        return torch.softmax(model.net(images, values, known, corner=corner), 1).numpy()


def test_the_clinical_map_of_a_part_is_that_part_of_the_slices_map() -> None:
    net = tiny(size=128, clinical=["nihss"]).net
    assert isinstance(net, Fusion)
    assert net.clinical is not None
    values, known = torch.tensor([[0.4]]), torch.tensor([[True]])
    with torch.no_grad():
        whole = net.clinical(values, known, torch.Size((4, 4)))
        part = net.clinical(values, known, torch.Size((2, 3)), (1, 1))
    assert torch.equal(part, whole[..., 1:3, 1:4])


@pytest.mark.parametrize("how", [How(), How(mirrored=True)], ids=["plain", "mirrored"])
def test_a_mean_with_the_mirrored_view_is_mirrored_with_the_sample(how: How) -> None:
    model = tiny(size=128)
    sample = sample_of(model, rows=slice(20, 44))  # a box from 0 to 64, and in the mirror from 64 to 128
    here, there = predicted([model], sample, how), predicted([model], mirrored(sample), how)
    same = np.allclose(here.probabilities, there.probabilities[:, :, ::-1], rtol=1e-4, atol=1e-5)
    assert same == how.mirrored
    if how.mirrored:
        assert here.deviation is not None
        assert there.deviation is not None
        check_close(here.deviation, there.deviation[:, :, ::-1], within=1e-3)


def test_the_mirrored_view_is_the_plain_forward_of_the_mirrored_box() -> None:
    model = tiny(size=128, clinical=["nihss"])
    sample = sample_of(model, rows=slice(20, 44), columns=slice(20, 44))
    found = predicted([model], sample, How(mirrored=True)).probabilities[1:, :, 0:64, 0:64]
    here = replace(sample, x=np.ascontiguousarray(sample.x[:, :, 0:64, 0:64]))
    there = replace(sample, x=np.ascontiguousarray(sample.x[:, :, ::-1][:, :, 64:128, 0:64]))
    views = plain_at(model, here, (0, 0))[1:], plain_at(model, there, (2, 0))[1:, :, ::-1]
    check_close(found, (views[0] + views[1]) / 2)


def test_several_models_give_the_mean_and_its_doubt() -> None:
    models = [tiny(seed=seed) for seed in (1, 2, 3)]
    sample = sample_of(models[0])
    each = np.stack([predicted([model], sample).probabilities for model in models])
    found = predicted(models, sample)
    check_close(found.probabilities, each.mean(axis=0))
    assert found.deviation is not None
    assert found.information is not None
    check_close(found.deviation, each.std(axis=0), within=1e-3)
    logs = np.log(np.maximum(each, 1e-30))
    own = -(each * logs).sum(axis=2).mean(axis=0) / np.log(3)
    mean = each.mean(axis=0)
    entropy = -(mean * np.log(np.maximum(mean, 1e-30))).sum(axis=1) / np.log(3)
    check_close(found.entropy, entropy)
    check_close(found.information, entropy - own, within=1e-3)
    assert 0 <= found.entropy.min() <= found.entropy.max() <= 1 + 1e-6


def test_one_member_has_no_spread() -> None:
    found = predicted([tiny()], sample_of(tiny()))
    assert found.deviation is None
    assert found.information is None


def test_dropout_is_drawn_from_the_seed_and_leaves_modes_and_chance_as_they_were() -> None:
    model = tiny()
    sample = sample_of(model)
    model.net.train()
    assert isinstance(model.net, Fusion)
    model.net.head.eval()
    modes = [module.training for module in model.net.modules()]
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = predicted([model], sample, How(dropout_samples=3, batch=1))
    assert torch.equal(torch.rand(2), expected)
    assert [module.training for module in model.net.modules()] == modes
    again = predicted([model], sample, How(dropout_samples=3, batch=2))
    other = predicted([model], sample, How(dropout_samples=3, seed=1))
    assert np.array_equal(first.probabilities, again.probabilities)
    assert not np.array_equal(first.probabilities, other.probabilities)
    assert first.deviation is not None
    assert first.deviation[1:].max() > 0
    model.net.eval()


def test_modes_come_back_after_an_error() -> None:
    net = tiny().net.train()
    with asked(net, dropout=True):
        assert sum(module.training for module in net.modules()) == 2  # one dropout a branch
    with pytest.raises(ValueError, match="channels"), asked(net, dropout=True):
        net(torch.zeros(1, 1, 32, 32))
    assert all(module.training for module in net.modules())


def test_bfloat16_finds_nearly_the_same() -> None:
    model = tiny()
    sample = sample_of(model)
    exact, near = predicted([model], sample), predicted([model], sample, How(precision="bfloat16"))
    assert np.abs(exact.probabilities - near.probabilities).mean() < 0.02
    assert near.probabilities.dtype == np.float32


def test_a_sample_that_shows_nothing_is_background() -> None:
    model = tiny()
    sample = sample_of(model, slices=1)
    found = predicted([model, tiny(seed=2)], sample)
    assert (found.probabilities[:, 0] == 1).all()
    assert not found.entropy.any()
    assert found.deviation is not None
    assert not found.deviation.any()


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (tiny(maps=["CBF", "TTP"]), "has maps CBF, Tmax, and .* CBF, TTP"),
        (tiny(classes=2), "has classes background, penumbra, core, and .* background, hypoperfused"),
        (tiny(clinical=["nihss"]), "has clinical none, and .* nihss"),
        (tiny(size=96), "has size 64, and .* 96"),
        (tiny(form="values"), "has form colours, and .* values"),
    ],
    ids=["maps", "classes", "clinical", "size", "form"],
)
def test_models_of_different_recipes_are_refused(other: Model, told: str) -> None:
    with pytest.raises(SettingsError, match=f"cannot be averaged: .*{told}; give models of one recipe"):
        predicted([tiny(), other], sample_of(tiny()))


def test_no_model_is_refused() -> None:
    with pytest.raises(SettingsError, match="give at least one"):
        predicted([], sample_of(tiny()))


@given(st.integers(1, 200), st.integers(1, 64), st.integers(1, 100))
def test_windows_cover_every_pixel_and_stay_within(size: int, tile: int, step: int) -> None:
    starts = windows(size, tile, step)
    covered = np.zeros(max(size, tile), bool)
    for start in starts:
        covered[start : start + tile] = True
    assert covered.all()
    assert list(starts) == sorted(set(starts))
    assert starts[-1] == max(0, size - tile)
    assert all(after - before <= step for before, after in pairwise(starts))


def test_the_weight_is_symmetric_and_nowhere_zero() -> None:
    weight = smooth_weight(32)
    assert torch.allclose(weight, weight.flip(0))
    assert torch.allclose(weight, weight.T)
    assert weight.min() > 0


def stitched(model: Model, sample: Sample, starts: Sequence[int], tile: int) -> Float[np.ndarray, "z n s s"]:
    """The obvious way: each window of each slice alone, then the weighted mean; background where there is none."""
    size = model.recipe.size
    total, count = np.zeros((len(sample.x), len(model.scheme), size, size)), np.zeros((len(sample.x), 1, size, size))
    weight = smooth_weight(tile).numpy()
    for z in range(len(sample.x)):
        for i in starts:
            for j in starts:
                cut = sample.x[z : z + 1, :, i : i + tile, j : j + tile]
                if cut.any():
                    images = standardised(unit(torch.from_numpy(cut)), form=model.settings.input.form)
                    with torch.no_grad():
                        likely = torch.softmax(model.net(images), 1)[0].numpy()
                    total[z, :, i : i + tile, j : j + tile] += weight * likely
                    count[z, :, i : i + tile, j : j + tile] += weight
    total[:, 0] += count[:, 0] == 0
    return (total / np.where(count > 0, count, 1)).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 2])
def test_tiles_are_stitched_as_the_obvious_way_does(batch: int) -> None:
    model = tiny(size=96, tile=32, stride=24)
    sample = sample_of(model)
    found = predicted([model], sample, How(batch=batch)).probabilities
    check_close(found, stitched(model, sample, (0, 24, 48, 64), 32))


@pytest.mark.parametrize("batch", [1, 2])
def test_windows_lie_on_the_slice_whatever_it_shows(batch: int) -> None:
    model = tiny(size=128, tile=32, stride=24)
    sample = sample_of(model, slices=4, rows=slice(50, 70), columns=slice(40, 60))
    sample.x[1, :, 60:] = 0  # slices of a batch show different parts
    found = predicted([model], sample, How(batch=batch)).probabilities
    check_close(found, stitched(model, sample, (0, 24, 48, 72, 96), 32))


def test_dropout_of_windows_does_not_depend_on_the_batch() -> None:
    model = tiny(size=96, tile=32, stride=24)
    sample = sample_of(model)
    one, four = (predicted([model], sample, How(dropout_samples=2, batch=batch)) for batch in (1, 4))
    assert np.array_equal(one.probabilities, four.probabilities)


def test_members_of_an_ensemble_share_no_chance_with_the_next_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr("strokelens.prediction.networks._begin", lambda seed, _: seeds.append(seed))
    model = tiny()
    sample = sample_of(model)
    for seed in (0, 1):
        predicted([model, model], sample, How(dropout_samples=2, seed=seed))
    assert len(set(seeds)) == len(seeds) == 16  # seeds, members, samples and slices, two of each


def test_chance_is_begun_from_the_seed_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny()
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda _: pytest.fail("seeds devices that do not compute"))
    before = torch.get_rng_state()
    predicted([model], sample_of(model), How(dropout_samples=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_float32_is_full_within_and_as_before_afterwards() -> None:
    torch.set_float32_matmul_precision("high")
    before = torch.backends.cudnn.allow_tf32
    with full_float32():
        assert (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()) == (False, "highest")
    after = (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision())
    torch.set_float32_matmul_precision("highest")
    assert after == (before, "high")


def test_without_doubts_the_mean_is_the_same_and_has_no_spread() -> None:
    models = [tiny(seed=seed) for seed in (1, 2)]
    sample = sample_of(models[0])
    with_doubts, without = predicted(models, sample), predicted(models, sample, How(doubts=False))
    assert np.array_equal(with_doubts.probabilities, without.probabilities)
    assert np.array_equal(with_doubts.entropy, without.entropy)
    assert without.deviation is None
    assert without.information is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            r"^there is no memory left .*CUDA out of memory\); give a smaller",
        ),
        (RuntimeError("x\nDefaultCPUAllocator: y"), r"^there is no memory left for the network \(x\); give"),
        (torch.AcceleratorError("CUDA error: no kernel", 1), r"^the device cannot compute .*; give --device cpu$"),
    ],
    ids=["GPU", "CPU", "device"],
)
def test_what_a_machine_refuses_is_told_with_its_cure(error: RuntimeError, message: str) -> None:
    with pytest.raises(SettingsError, match=message), computing():
        raise error


def test_another_error_of_torch_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="sizes differ"), computing():
        raise RuntimeError("sizes differ")


def test_a_constant_network_gives_a_constant_slice() -> None:
    model = tiny(size=96, tile=32)
    with torch.no_grad():
        last = last_of(model.net)
        assert last.bias is not None
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.0, 1.0, 2.0]))
    found = predicted([model], sample_of(model), How(mirrored=True)).probabilities
    expected = torch.softmax(torch.tensor([0.0, 1.0, 2.0]), 0).numpy()
    assert np.abs(found[1:] - expected[:, None, None]).max() < 1e-6
