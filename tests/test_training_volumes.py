"""Volumes trained on simulated MR patients: what is kept and chosen, the same weights again, and the losses by hand."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from strokelens.cohorts.cohort import Cohort
from strokelens.cohorts.splits import Split, write_split
from strokelens.errors import SettingsError, StrokelensError
from strokelens.model import Model, load_model, recipe_of
from strokelens.networks.built import built
from strokelens.networks.crops import Box
from strokelens.networks.unet3d import Unet3d
from strokelens.prediction.networks import predicted
from strokelens.prediction.samples import sample_of
from strokelens.prepare import Sample
from strokelens.settings.schema import Settings
from strokelens.training import course
from strokelens.training.course import train
from strokelens.training.learner import Learner, Place, _counts, _dice_of_each, loss_of
from strokelens.training.machine import Machine
from strokelens.training.samples import Batch, Collated, Draw, Volumes
from strokelens.training.store import Prepared, prepared
from tests.runs import rows, same, weights
from tests.tiny_models import CARD
from tests.tiny_volumes import tiny_volume, write_tiny_volumes

CPU = Machine("cpu", 1)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return write_tiny_volumes(tmp_path_factory.mktemp("cohort") / "isles", cases=3)


@pytest.fixture(scope="module")
def drawn(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = [entry.id for entry in cohort]
    path = tmp_path_factory.mktemp("split") / "split.json"
    write_split(path, Split({"train": tuple(names[:2]), "validation": (names[2],), "test": ()}))
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prepared")


def watching(drawn: Path, **told: object) -> Settings:
    training = {"watch": "dice", "snapshots": 1, "keep_snapshots": 2, "draws": 3}
    parts = {"training": training, "split": {"file": str(drawn)}, "network": {"deep": True},
             "stages": ({"encoders": "full", "epochs": 4},), "augmentation": {"lift": 1, "elastic": 0.02}}  # fmt: skip
    return tiny_volume(**parts | told)


@pytest.fixture(scope="module")
def run(cohort: Cohort, drawn: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole training; read only."""
    place = tmp_path_factory.mktemp("trained") / "run"
    train(watching(drawn), cohort, place, machine=CPU, cache=cache, workers=1)
    return place


def test_dice_chooses_the_epoch_with_the_best_dice(run: Path) -> None:
    found = rows(run)
    best = max(found, key=lambda row: float(row["validation_dice"]))
    card = load_model(run).card
    assert card.scores["epoch"] == float(best["epoch"])
    assert card.scores["validation_dice"] == float(best["validation_dice"])
    assert same(weights(run), load_file(run / "stages" / "1" / "best.safetensors"))


def test_the_kept_dice_is_that_of_the_models_own_answers(run: Path, cohort: Cohort) -> None:
    """The mean over those who validate of 2|A∩B| / (|A|+|B|); here there is one."""
    model = load_model(run)
    sample = sample_of(list(cohort)[2], model.recipe).sample
    assert sample.y is not None
    found, truth = predicted([model], sample).probabilities.argmax(1) == 1, sample.y == 1
    both, sizes = (found & truth).sum(), found.sum() + truth.sum()
    assert model.card.scores["validation_dice"] == pytest.approx(2 * both / sizes if sizes else 1, abs=1e-5)


def test_the_latest_snapshots_are_kept_and_are_models(run: Path) -> None:
    places = sorted((run / "snapshots").iterdir())
    assert [each.name for each in places] == ["epoch-0003", "epoch-0004"]
    assert [load_model(each).card.scores for each in places] == [{"epoch": 3.0}, {"epoch": 4.0}]
    assert same(load_file(places[1] / "weights.safetensors"), load_file(run / "stages" / "1" / "end.safetensors"))


def test_an_interrupted_training_goes_on_to_the_same_weights_and_snapshots(
    run: Path, cohort: Cohort, drawn: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(line: str) -> None:
        if "epoch 2" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(watching(drawn), cohort, tmp_path / "run", machine=CPU, cache=cache, workers=1, told=stop)
    assert not (tmp_path / "run" / "model").exists()
    train(watching(drawn), cohort, tmp_path / "run", machine=CPU, cache=cache, workers=1, resume=True)
    assert same(weights(run), weights(tmp_path / "run"))
    assert sorted(each.name for each in (tmp_path / "run" / "snapshots").iterdir()) == ["epoch-0003", "epoch-0004"]
    assert [row["validation_dice"] for row in rows(run)] == [row["validation_dice"] for row in rows(tmp_path / "run")]
    monkeypatch.setattr(course, "_stages", lambda *_: pytest.fail("trains what has ended"))
    train(watching(drawn), cohort, tmp_path / "run", machine=CPU, cache=cache, workers=1, resume=True)


def test_the_oldest_snapshots_go_by_their_number_and_what_is_none_stays(
    cohort: Cohort, drawn: Path, cache: Path, tmp_path: Path
) -> None:
    places = [tmp_path / "run" / "snapshots" / name for name in ("epoch-9999", "epoch-10000", "mine")]

    def left_there(line: str) -> None:
        for place in places if "epoch 1:" in line else ():
            place.mkdir()

    settings = watching(drawn, stages=({"encoders": "full", "epochs": 2},))
    train(settings, cohort, tmp_path / "run", machine=CPU, cache=cache, workers=1, told=left_there)
    assert {each.name for each in (tmp_path / "run" / "snapshots").iterdir()} == {"epoch-9999", "epoch-10000", "mine"}


def test_without_snapshots_there_are_none(cohort: Cohort, drawn: Path, cache: Path, tmp_path: Path) -> None:
    plain = tiny_volume(split={"file": str(drawn)}, stages=({"encoders": "full", "epochs": 1},))
    train(plain, cohort, tmp_path / "run", machine=CPU, cache=cache, workers=1)
    assert not (tmp_path / "run" / "snapshots").exists()
    assert len(rows(tmp_path / "run")) == 1


@pytest.fixture(scope="module")
def cases(cohort: Cohort, cache: Path) -> list[Prepared]:
    found = list(prepared(cohort, recipe_of(tiny_volume()), cache, workers=1))
    return [each for each in found if isinstance(each, Prepared)]


def learner_of(settings: Settings, cases: list[Prepared]) -> Learner:
    volumes = Volumes(cases, tile=settings.input.tile, step=settings.input.step)
    return Learner(built(settings), settings, Place(0, 1, 0), (volumes, volumes))


def truth_of(case: Prepared) -> np.ndarray:
    assert case.y is not None
    return np.asarray(case.y)


def batch_of(cases: list[Prepared], settings: Settings) -> Batch:
    return Collated(Volumes(cases), 1, 2)([Draw(at, 0, 0) for at in range(len(cases))])


def test_deep_supervision_halves_the_weight_from_scale_to_scale(cases: list[Prepared]) -> None:
    """Of three scales 4 ⁄ 7, 2 ⁄ 7 and 1 ⁄ 7; the coarse truth is the gravest class of what a voxel covers."""
    net = {"filters": ((2, 3), (3, 4), (4, 5), (5, 6)), "steps": ((1, 2, 2), (1, 2, 2), (2, 2, 2)), "deep": True}
    settings = tiny_volume(network=net, input={"size": 32})
    learner, batch = learner_of(settings, cases).train(), batch_of(cases, settings)
    labels = batch.y.long()
    with torch.no_grad():
        scales, box = learner._answered(batch.x.float(), batch.values, batch.known)
        found = learner._loss_of_scales(scales, box, labels)
    assert box is not None
    loss, inner = loss_of(settings), labels[..., box.i, box.j]
    assert [tuple(each.shape[2:]) for each in scales[:-1]] == [
        (labels.shape[1], *(side // step for side in inner.shape[2:])) for step in (4, 2)
    ]
    expected = loss(scales[2], inner) * 4
    for scale, step, weight in ((1, 2, 2), (0, 4, 1)):
        b, k, i, j = inner.shape
        blocks = inner.view(b, k, i // step, step, j // step, step)
        expected = expected + loss(scales[scale], blocks.amax((3, 5))) * weight
    torch.testing.assert_close(found, expected / 7)


def test_without_deep_supervision_and_while_validating_the_loss_is_of_the_finest_scale(cases: list[Prepared]) -> None:
    settings = tiny_volume(network={"deep": True})
    learner, batch = learner_of(settings, cases), batch_of(cases, settings)
    for each in (learner.eval(), learner_of(tiny_volume(), cases).train()):
        with torch.no_grad():
            scales, box = each._answered(batch.x.float(), batch.values, batch.known)
            assert len(scales) == 1
            found = each._loss_of_scales(scales, box, batch.y.long())
        assert box is not None
        torch.testing.assert_close(found, loss_of(settings)(scales[0], batch.y.long()[..., box.i, box.j]))


def test_a_lesion_of_one_voxel_is_in_the_truth_of_every_scale() -> None:
    labels = torch.zeros(1, 5, 32, 32, dtype=torch.int64)
    labels[0, 2, 13, 7] = 1
    settings = tiny_volume(loss={"name": "cross_entropy"})
    learner = learner_of(settings, [])
    fine, coarse = torch.zeros(1, 2, 5, 32, 32), torch.zeros(1, 2, 5, 16, 16)
    coarse[:, 0], fine[:, 0] = 20, 20
    missed = learner._loss_of_scales([coarse, fine], None, labels)
    coarse[0, :, 2, 6, 3] = torch.tensor([0.0, 20.0])
    assert learner._loss_of_scales([coarse, fine], None, labels) < missed


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_what_shows_nothing_is_not_computed_but_for_norms_over_batches(cases: list[Prepared], norm: str) -> None:
    settings = tiny_volume(network={"norm": norm})
    learner, batch = learner_of(settings, cases).eval(), batch_of(cases, settings)
    x = torch.zeros_like(batch.x)
    x[..., 9:20, 8:21] = batch.x[..., 9:20, 8:21]
    with torch.no_grad():
        (logits,), box = learner._answered(x.float(), batch.values, batch.known)
    if norm == "batch":
        assert box is None
        return
    assert box == Box(slice(8, 20), slice(8, 22))
    with torch.no_grad():
        part = learner.net(x.float()[..., 8:20, 8:22])
    assert torch.equal(logits, part)


def test_dice_of_volumes_is_the_mean_over_persons_and_of_slices_pooled() -> None:
    """One found half, one perfect, one where nothing is there nor found: Dice 2·1 ⁄ (2+1), 1 and 1."""
    truth, found = torch.zeros(3, 1, 2, 2, dtype=torch.int64), torch.zeros(3, 1, 2, 2, dtype=torch.int64)
    truth[0, 0, 0], found[0, 0, 0, 0] = 1, 1
    truth[1, 0], found[1, 0] = 1, 1
    counts = _counts(found, truth, 2)
    assert counts[:, :, 1].tolist() == [[1, 2, 1], [4, 4, 4], [0, 0, 0]]
    assert _dice_of_each(counts)[:, 1].tolist() == pytest.approx([2 / 3, 1, 1])


def watched(learner: Learner) -> dict[str, float]:
    """What an epoch's validation logs, outside of Lightning."""
    told: dict[str, float] = {}
    strategy = SimpleNamespace(reduce=lambda tensor, **_: tensor)
    facts = SimpleNamespace(current_epoch=0, global_rank=0, world_size=1, strategy=strategy)
    learner._trainer = cast(Any, facts)
    learner.log = lambda name, value, **_: told.update({name: float(value)})  # type: ignore[method-assign]
    with torch.no_grad():
        for number, batch in enumerate(learner.eval().val_dataloader()):
            learner.validation_step(cast(Batch, batch), number)
        learner.on_validation_epoch_end()
    return told


def test_tiles_of_a_case_are_one_case_to_the_dice_that_is_watched(cases: list[Prepared]) -> None:
    """A network that finds nothing has the Dice 0 in cases with a lesion, however many of their tiles are empty."""
    settings = tiny_volume(input={"tile": 16, "stride": 8})
    assert all(truth_of(case).any() for case in cases)
    learner = learner_of(settings, cases)
    head = cast(nn.Conv3d, cast(Unet3d, learner.net).heads[0])
    nn.init.zeros_(head.weight)
    with torch.no_grad():
        cast(Tensor, head.bias).copy_(torch.tensor([9.0, 0.0]))
    assert not learner.validation_pieces.lesions.all()
    assert watched(learner)["validation_dice"] == 0


def test_who_validates_is_computed_as_if_alone_whoever_is_beside(cases: list[Prepared]) -> None:
    """Of another depth and another box: the counts are those of what is predicted."""
    settings = tiny_volume(training={"batch": 2, "lesion_share": None})
    short = replace(cases[0], x=cases[0].x[:4], y=truth_of(cases[0])[:4])
    narrow = np.zeros_like(cases[1].x)
    narrow[..., 8:24, 8:24] = cases[1].x[..., 8:24, 8:24]
    together = [short, replace(cases[1], x=narrow)]
    learner = learner_of(settings, together)
    model = Model(learner.net.eval(), settings, CARD)
    each = list[float]()
    for at, case in enumerate(together):
        sample = Sample(np.asarray(case.x), None, case.values, case.known, case.frame)
        found = predicted([model], sample).probabilities.argmax(1)
        alone = learner_of(settings, [case])
        alone.net.load_state_dict(learner.net.state_dict())
        mine, truth = found[:, :, :] == 1, truth_of(case) == 1
        dice = 2 * (mine & truth).sum() / (mine.sum() + truth.sum())
        assert watched(alone)["validation_dice"] == pytest.approx(dice), at
        each.append(dice)
    assert watched(learner)["validation_dice"] == pytest.approx(np.mean(each))


def test_a_tile_is_trained_on_as_it_is_asked(cases: list[Prepared]) -> None:
    settings = tiny_volume(input={"tile": 16, "stride": 16})
    learner = learner_of(settings, cases).eval()
    batch = learner.train_pieces.collate([0])
    with torch.no_grad():
        (logits,), box = learner._answered(batch.x.float(), batch.values, batch.known)
        plain = learner.net(batch.x.float())
    assert box is None
    assert torch.equal(logits, plain)


def without(channel: str, cohort: Cohort, *names: str) -> Cohort:
    """The cohort, some of whose cases lack a map and the series that it could be computed of."""
    entries = []
    for entry in cohort:
        lost = (channel, "PWI") if entry.id in names else ()
        entries.append(replace(entry, files={each: file for each, file in entry.files.items() if each not in lost}))
    return replace(cohort, entries=tuple(entries))


def test_a_map_may_lack_only_where_training_drops_some(cohort: Cohort, tmp_path: Path) -> None:
    lacking = next(iter(without("Tmax", cohort, "training_1")))
    assert "Tmax" not in lacking.files
    dropping = tiny_volume(augmentation={"drop_map": 0.3})
    sample = sample_of(lacking, recipe_of(dropping)).sample
    assert sample.x[:, 0].any()
    assert not sample.x[:, 1].any()
    with pytest.raises(StrokelensError, match="Tmax"):
        sample_of(lacking, recipe_of(tiny_volume()))


def test_a_map_that_nobody_has_is_refused_by_name_before_anything_is_trained(
    cohort: Cohort, drawn: Path, tmp_path: Path
) -> None:
    nobody = without("Tmax", cohort, *(entry.id for entry in cohort))
    with pytest.raises(SettingsError, match=r"tiny: no case of .* has Tmax; "):
        train(tiny_volume(split={"file": str(drawn)}), nobody, tmp_path / "run", machine=CPU)
    assert not (tmp_path / "run").exists()


def test_more_epochs_go_on_to_the_weights_of_as_many_at_once(
    run: Path, cohort: Cohort, drawn: Path, cache: Path, tmp_path: Path
) -> None:
    """Two cycles of two epochs, with the optimizer's state, which the ancestor lost, are one of four."""
    for epochs in (2, 4):
        settings = watching(drawn, stages=({"encoders": "full", "epochs": epochs},))
        train(settings, cohort, tmp_path / "run", machine=CPU, cache=cache, workers=1, resume=epochs > 2)
    assert same(weights(tmp_path / "run"), weights(run))
    told = (tmp_path / "run" / "diary.txt").read_text(encoding="utf-8").splitlines()
    assert [
        line.split("  ", 1)[1].split(":")[0] for line in told if "stage 1 (full)" in line and "ended" not in line
    ] == [f"stage 1 (full), epoch {epoch}" for epoch in (1, 2, 3, 4)]
    assert [" begins with " in told[0], sum(" goes on with " in line for line in told)] == [True, 1]


def test_the_history_has_the_spread_of_an_epochs_batches(run: Path) -> None:
    spreads = [float(row["loss_sd"]) for row in rows(run)]
    assert all(0 < spread < 1 for spread in spreads)
