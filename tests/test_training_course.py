"""A training end to end on simulated patients: stages, what is kept, the same weights again, also after a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from strokelens.cohorts.cohort import Cohort
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.splits import Split, write_split
from strokelens.errors import SettingsError, TrainingError
from strokelens.model import load_model, recipe_of
from strokelens.networks.built import built
from strokelens.phantom.batch import Plan, write_cohort
from strokelens.phantom.kinds import Slices as Pictures
from strokelens.phantom.scanner import CtProtocol
from strokelens.prediction.samples import sample_of
from strokelens.settings.chances import Augmentation
from strokelens.settings.changing import changed
from strokelens.settings.reading import read_settings
from strokelens.settings.schema import Settings
from strokelens.training import course
from strokelens.training.course import train
from strokelens.training.learner import loss_of
from strokelens.training.machine import Machine
from tests.runs import rows, same, weights

CPU = Machine("cpu", 1)
SMALL = [
    "input.size=64", "network.width=0.03125", "network.pretrained=null", "training.batch=3", "stages.all.epochs=3",
    "optimizer.learning_rate=0.003",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cohort") / "slices"
    plan = Plan(Pictures(CtProtocol(matrix=96, slices=6, frames=30)), 4, 0, {"LVO": 1, "Non-LVO": 1, "WIS": 0})
    assert all(made.failure is None for made in write_cohort(place, plan, workers=1))
    return place


@pytest.fixture(scope="module")
def cohort(folder: Path) -> Cohort:
    return open_cohort(folder)


@pytest.fixture(scope="module")
def drawn(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = [entry.id for entry in cohort]
    path = tmp_path_factory.mktemp("split") / "split.json"
    write_split(path, Split({"train": tuple(names[1:]), "validation": (names[0],), "test": ()}))
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prepared")


@pytest.fixture
def settings(drawn: Path) -> Settings:
    return small("Mdl_G_PmN", drawn)


def small(name: str, drawn: Path, *more: str) -> Settings:
    return changed(read_settings(name), [*SMALL, f'split.file="{drawn}"', *more])


def without_seconds(run: Path) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows(run)]


@pytest.fixture(scope="module")
def trained_run(cohort: Cohort, drawn: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole training of two stages; read only."""
    run = tmp_path_factory.mktemp("trained") / "run"
    train(small("Mdl_G_PmN", drawn), cohort, run, machine=CPU, cache=cache)
    return run


def test_stages_train_one_after_the_other_and_the_best_weights_are_kept(trained_run: Path) -> None:
    run, card = trained_run, load_model(trained_run).card
    found = rows(run)
    assert [(row["epoch"], row["stage"], row["encoders"]) for row in found] == [
        ("1", "1", "frozen"), ("2", "1", "frozen"), ("3", "1", "frozen"), ("4", "2", "full"), ("5", "2", "full"),
        ("6", "2", "full"),
    ]  # fmt: skip
    best = min(found[3:], key=lambda row: float(row["validation_loss"]))
    assert card.scores["epoch"] == float(best["epoch"])
    assert card.scores["validation_loss"] == float(best["validation_loss"])
    assert same(weights(run), load_file(run / "stages" / "2" / "best.safetensors"))
    assert json.loads((run / "run.json").read_text())["finished"] is True
    assert (run / "history.png").read_bytes().startswith(b"\x89PNG")
    assert list((run / "tensorboard").rglob("events.*"))
    assert load_model(run).name == "Mdl_G_PmN (simulated patients)"
    assert card.persons == {"train": 3, "validation": 1}
    assert [path.parent.name for path in run.rglob("last.ckpt")] == ["2"]  # the last stage may get more epochs


def test_frozen_encoders_keep_their_weights_until_their_stage(trained_run: Path, settings: Settings) -> None:
    fresh = built(settings).state_dict()
    frozen, thawed = (load_file(trained_run / "stages" / stage / "end.safetensors") for stage in "12")
    encoders = {name for name in fresh if name.startswith("encoders.")}
    assert {name for name in fresh if torch.equal(frozen[name], fresh[name])} & encoders == encoders
    assert not all(torch.equal(thawed[name], fresh[name]) for name in encoders)
    assert not same(
        {name: fresh[name] for name in fresh.keys() - encoders}, {n: frozen[n] for n in fresh.keys() - encoders}
    )


def test_the_same_settings_and_seed_give_the_same_weights_and_another_seed_others(
    cohort: Cohort, settings: Settings, trained_run: Path, tmp_path: Path, cache: Path
) -> None:
    torch.manual_seed(1)
    train(settings, cohort, tmp_path / "again", machine=CPU, cache=cache)
    other = changed(settings, ["training.seed=3", "stages.all.epochs=1"])
    train(other, cohort, tmp_path / "other", machine=CPU, cache=cache)
    assert same(weights(trained_run), weights(tmp_path / "again"))
    assert without_seconds(trained_run) == without_seconds(tmp_path / "again")
    assert rows(trained_run)[0]["loss"] != rows(tmp_path / "other")[0]["loss"]
    assert not same(weights(trained_run), weights(tmp_path / "other"))


def begun(command: list[str], run: Path, epochs: int) -> None:
    """Start a training and kill it in the middle of the epoch after so many."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while process.poll() is None:
        if (run / "history.csv").is_file() and len(rows(run)) >= epochs:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said.decode()


def to_be_killed(folder: Path, drawn: Path, cache: Path) -> list[str]:
    """A training of two stages, both of which end early, whose rate shrinks."""
    changes = [*SMALL, "schedule.kind=step", "schedule.patience=1", "schedule.factor=0.5", "stages.all.epochs=8",
               "stages.all.patience=2", "stages.all.least_gain=0.5", "training.accumulate=2"]  # fmt: skip
    return [
        sys.executable, "-m", "strokelens", "train", "Mdl_G_PmN", "--data", str(folder), "--split", str(drawn),
        "--cache", str(cache), "--devices", "cpu", *(word for change in changes for word in ("--set", change)),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(folder: Path, drawn: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    whole = tmp_path_factory.mktemp("uninterrupted") / "run"
    command = [*to_be_killed(folder, drawn, cache), "-o", str(whole)]
    subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
    return whole


@pytest.mark.parametrize("epochs", [2, 5], ids=["in the first stage", "in the second"])
def test_a_training_that_was_killed_in_an_epoch_goes_on_to_the_same_weights(
    folder: Path, drawn: Path, uninterrupted: Path, tmp_path: Path, cache: Path, epochs: int
) -> None:
    command = [*to_be_killed(folder, drawn, cache), "-o", str(tmp_path / "killed")]
    begun(command, tmp_path / "killed", epochs)
    assert not (tmp_path / "killed" / "model").exists()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--resume"], env=environment, check=True, capture_output=True)
    assert same(weights(uninterrupted), weights(tmp_path / "killed"))
    assert without_seconds(uninterrupted) == without_seconds(tmp_path / "killed")
    assert [row["stage"] for row in rows(tmp_path / "killed")] == ["1", "1", "1", "2", "2", "2"]  # each ends early
    assert len({row["learning_rate"] for row in rows(uninterrupted)}) > 2


@pytest.mark.slow
def test_two_processes_train_together_through_all_stages(
    folder: Path, drawn: Path, tmp_path: Path, cache: Path
) -> None:
    command = [
        sys.executable, "-m", "strokelens", "train", "Mdl_G_PmN", "--data", str(folder), "--split", str(drawn),
        "--cache", str(cache), "--devices", "cpu:2", "-o", str(tmp_path / "run"),
        *(word for change in SMALL for word in ("--set", change)),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert [row["stage"] for row in rows(tmp_path / "run")] == ["1", "1", "1", "2", "2", "2"]
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path / "run").values())


def test_a_network_is_compiled_where_that_is_wanted(
    cohort: Cohort, drawn: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []

    def compiled(net: torch.nn.Module) -> Callable[..., Tensor]:
        def answer(images: Tensor, *rest: Any, **named: Any) -> Tensor:
            asked.append(tuple(images.shape))
            logits: Tensor = net(images, *rest, **named)
            return logits

        return answer

    monkeypatch.setattr(torch, "compile", compiled)
    settings = small("Mdl_U_Pm", drawn, "training.compile=true", "stages.all.epochs=1")
    train(settings, cohort, tmp_path / "run", machine=CPU, cache=cache)
    assert {shape[2:] for shape in asked} == {(64, 64)}  # always whole slices: each new shape is compiled anew


def test_one_step_is_the_gradient_of_loss_and_penalty_cut_gone_along_and_held(
    cohort: Cohort, drawn: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: the mean gradient of two accumulated batches, cut by value; a step of SGD; filters held to a norm."""
    monkeypatch.setattr(torch, "compile", lambda net: net)  # compiled networks see whole slices, as the hand does
    nothing = [f"augmentation.{name}=0" for name in Augmentation.model_fields if name != "recipe"]
    settings = small("Mdl_U_Pm", drawn, *nothing, "training.lesion_share=null", "training.batch=9", "training.seed=5",
                     "training.accumulate=2", "training.compile=true", "stages.all.epochs=1", "input.form=values",
                     "loss.name=cross_entropy", "optimizer.name=sgd", "optimizer.learning_rate=2",
                     "optimizer.clip_value=0.01", "optimizer.l1=1e-3", "optimizer.l2=1e-2",
                     "optimizer.max_norm=1.2")  # fmt: skip
    train(settings, cohort, tmp_path / "run", machine=CPU, cache=cache)
    after = load_file(tmp_path / "run" / "stages" / "1" / "end.safetensors")

    net = built(settings)
    entries = [entry for entry in cohort if entry.id in json.loads(drawn.read_text())["parts"]["train"]]
    samples = [sample_of(entry, recipe_of(settings)).sample for entry in entries]
    x = torch.cat([torch.from_numpy(sample.x) for sample in samples]).float()
    y = torch.cat([torch.from_numpy(sample.y) for sample in samples if sample.y is not None]).long()
    assert len(x) == 18
    assert (x != 0).flatten(1).any(1).all()
    kernels = [layer.weight for layer in net.added()]
    penalty = sum(1e-3 * kernel.abs().sum() + 1e-2 * kernel.square().sum() for kernel in kernels)
    (loss_of(settings)(net(x), y).mean() + penalty).backward()  # type: ignore[no-untyped-call]
    gradients = [weight.grad for weight in net.parameters() if weight.grad is not None]
    assert 0 < sum(int((each.abs() > 0.01).sum()) for each in gradients) < sum(each.numel() for each in gradients)
    held = []
    with torch.no_grad():
        for weight in net.parameters():
            weight.sub_(2 * (torch.zeros(()) if weight.grad is None else weight.grad.clamp(-0.01, 0.01)))
        for layer in net.added():
            made = layer.weight if isinstance(layer, torch.nn.Conv2d) else layer.weight.transpose(0, 1)
            for one in made:
                held.append(float(one.norm()) > 1.2)
                one.mul_(min(1.0, 1.2 / float(one.norm())))
    assert 0 < sum(held) < len(held)
    for name, weight in net.state_dict().items():
        assert (after[name] - weight).abs().max() < 1e-4, (name, (after[name] - weight).abs().max())


def test_a_stage_that_only_spoils_leaves_the_best_of_those_before(
    cohort: Cohort, drawn: Path, tmp_path: Path, cache: Path
) -> None:
    settings = small("Mdl_G_PmN", drawn, "stages.1.learning_rate=1", "loss.name=cross_entropy")
    trained = train(settings, cohort, tmp_path / "run", machine=CPU, cache=cache)
    stages = tmp_path / "run" / "stages"
    best = load_file(stages / "1" / "best.safetensors")
    assert not same(best, load_file(stages / "2" / "end.safetensors"))
    assert same(weights(tmp_path / "run"), best)
    assert trained.model.card.scores["epoch"] <= 3
    assert trained.model.card.scores["validation_loss"] == min(float(row["validation_loss"]) for row in trained.history)


def test_a_stage_that_had_ended_early_trains_no_epoch_more(
    cohort: Cohort, settings: Settings, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between its last checkpoint and the file that says that it is done."""
    early = changed(settings, ["stages.all.epochs=6", "stages.all.patience=1", "stages.all.least_gain=0.5"])
    whole = train(early, cohort, tmp_path / "whole", machine=CPU, cache=cache)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(course, "write_rows", killed)
    with pytest.raises(KeyboardInterrupt):
        train(early, cohort, tmp_path / "killed", machine=CPU, cache=cache)
    monkeypatch.undo()
    again = train(early, cohort, tmp_path / "killed", machine=CPU, cache=cache, resume=True)
    assert [row["stage"] for row in again.history] == [1, 1, 2, 2]
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert again.model.card == whole.model.card


def test_a_finished_run_is_resumed_to_the_same_model(
    cohort: Cohort, settings: Settings, trained_run: Path, cache: Path
) -> None:
    before = {path: path.read_bytes() for path in trained_run.rglob("*") if path.is_file() and path.suffix != ".json"}
    again = train(settings, cohort, trained_run, machine=CPU, cache=cache, resume=True)
    assert again.model.card == load_model(trained_run).card
    assert [str(row["epoch"]) for row in again.history] == [row["epoch"] for row in rows(trained_run)]
    assert all(path.read_bytes() == was for path, was in before.items())


def test_a_run_of_a_version_without_a_setting_is_gone_on_with(
    cohort: Cohort, settings: Settings, trained_run: Path, tmp_path: Path, cache: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    told = json.loads((run / "run.json").read_text())
    del told["settings"]["input"]["slices"]
    (run / "run.json").write_text(json.dumps(told))
    again = train(settings, cohort, run, machine=CPU, cache=cache, resume=True)
    assert again.model.card == load_model(trained_run).card


@pytest.mark.parametrize(
    ("changes", "resume", "message"),
    [
        ([], False, "holds a run; give --resume"),
        (["training.batch=2"], True, "begun with other settings of 'training'"),
        (["split.file=null", "split.test=0"], True, "begun with other settings of 'split'"),
    ],
    ids=["not resumed", "other settings", "other split"],
)
def test_a_folder_with_another_run_is_refused(
    cohort: Cohort, settings: Settings, tmp_path: Path, cache: Path, changes: list[str], resume: bool, message: str
) -> None:
    quick = changed(settings, ["stages.all.epochs=1"])
    train(quick, cohort, tmp_path / "run", machine=CPU, cache=cache)
    with pytest.raises(TrainingError, match=message):
        train(changed(quick, changes), cohort, tmp_path / "run", machine=CPU, cache=cache, resume=resume)


def test_a_loss_that_is_no_number_stops_with_the_batch_named(cohort: Cohort, drawn: Path, tmp_path: Path) -> None:
    wild = small("Mdl_U_Pm", drawn, "optimizer.name=sgd", "optimizer.learning_rate=1e30", "optimizer.clip_value=null",
                 "optimizer.max_norm=null")  # fmt: skip
    with pytest.raises(
        TrainingError, match=r"the loss is (nan|inf) in stage 1, epoch \d, batch \d+ \(CTP_0\d_00\d slice"
    ):
        train(wild, cohort, tmp_path / "run", machine=CPU)


def test_legacy_ends_with_the_last_weights(cohort: Cohort, drawn: Path, tmp_path: Path, cache: Path) -> None:
    old = small("Mdl_U_Pm", drawn, "legacy=true", "optimizer.learning_rate=1", "loss.sample_weights=severity")
    train(old, cohort, tmp_path / "run", machine=CPU, cache=cache)
    stage = tmp_path / "run" / "stages" / "1"
    assert same(weights(tmp_path / "run"), load_file(stage / "end.safetensors"))
    assert not same(weights(tmp_path / "run"), load_file(stage / "best.safetensors"))


@pytest.mark.parametrize(
    "changes",
    [
        ["input.form=values", 'input.maps=["Tmax", "CBF"]', "loss.name=dice_cross_entropy", "training.workers=1"],
        ["input.tile=32", "input.stride=32", "input.classes=2", "loss.name=cross_entropy", "optimizer.name=adamw"],
        ["input.classes=4", "network.fusion=early", "network.norm=batch", "optimizer.name=sgd",
         "optimizer.momentum=0.9"],
        ["network.fusion=late", "network.shared=true", "network.norm=group", "training.precision=bfloat16",
         'input.clinical=["nihss", "age_years", "female"]', "schedule.kind=step", "schedule.patience=1"],
    ],
    ids=["values", "tiles of two classes", "early with four classes", "late and shared"],
)  # fmt: skip
def test_whatever_can_be_set_trains(
    cohort: Cohort, drawn: Path, tmp_path: Path, cache: Path, changes: list[str]
) -> None:
    run = tmp_path / "run"
    trained = train(small("Mdl_U_PmMN", drawn, *changes, "stages.all.epochs=2"), cohort, run, machine=CPU, cache=cache)
    assert len(trained.history) == 2
    assert all(torch.isfinite(tensor).all() for tensor in weights(run).values())
    assert load_model(run).settings == trained.model.settings
    card, edge_mm = load_model(run).card, next(iter(cohort)).read_truth().grid.spacing_mm[0]
    assert card.modality == "CT"
    assert card.pixel_mm == pytest.approx(8 * edge_mm, abs=1e-5)  # 512 pixels become 64


def test_the_loss_falls(cohort: Cohort, drawn: Path, tmp_path: Path, cache: Path) -> None:
    """That networks learn to find strokes is seen in benchmarks/results: it takes more steps than a test has."""
    settings = small("Mdl_U_Pm", drawn, "loss.name=dice_cross_entropy", "loss.class_weights=[1, 2, 4]",
                     "network.width=0.0625", "training.batch=2", "stages.all.epochs=5")  # fmt: skip
    history = train(settings, cohort, tmp_path / "run", machine=CPU, cache=cache).history
    assert float(history[-1]["loss"]) < 0.7 * float(history[0]["loss"])


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("gpu", "no device 'gpu'"),
        ("cpu:0", "no device 'cpu:0'"),
        ("0,0", "no device '0,0'"),
        ("", "no device ''"),
        ("00,0", "no device '00,0'"),
        ("cpu:99999", "no device 'cpu:99999'"),
        ("9" * 5000, "no device '999"),
    ],
)
def test_devices_that_are_none_are_refused(told: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Machine.told(told)


def test_what_this_machine_cannot_do_is_told_before_anything_starts(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="float16 needs a GPU"):
        CPU.check(changed(settings, ["training.precision=float16"]))
    if not torch.cuda.is_available():
        with pytest.raises(SettingsError, match="no GPU is there"):
            Machine("gpu", (0,)).check(settings)


def test_a_case_that_cannot_be_used_is_told_and_the_others_train(
    cohort: Cohort, settings: Settings, folder: Path, tmp_path: Path
) -> None:

    copy = tmp_path / "cohort"
    shutil.copytree(folder, copy)
    damaged = sorted((copy / "patients" / "CTP_02_002").rglob("CBF/*.png"))[0]
    damaged.write_bytes(damaged.read_bytes()[:100])
    quick = changed(settings, ["stages.all.epochs=1"])
    trained = train(quick, open_cohort(copy), tmp_path / "run", machine=CPU)
    assert [case.case_id for case in trained.refused] == ["CTP_02_002"]
    assert "CTP_02_002" in json.loads((tmp_path / "run" / "run.json").read_text())["refused"]


def test_a_class_that_nobody_who_validates_has_is_an_empty_cell(drawn: Path, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "cohort"
    shutil.copytree(folder, copy)
    (validating,) = json.loads(drawn.read_text())["parts"]["validation"]
    for truth in copy.rglob(f"{validating}/*.tiff"):
        levels = np.asarray(Image.open(truth)).copy()
        levels[levels == 65535] = 170 * 257  # core to penumbra
        Image.fromarray(levels).save(truth)
    run = tmp_path / "run"
    told: list[str] = []
    trained = train(small("Mdl_U_Pm", drawn), open_cohort(copy), run, machine=CPU, told=told.append)
    assert [row["validation_dice_core"] for row in rows(run)] == ["", "", ""]
    assert all(row["validation_dice_penumbra"] for row in rows(run))
    assert "validation_dice_core" not in trained.model.card.scores
    assert "Dice of core none" in told[-1]
    again = train(small("Mdl_U_Pm", drawn), open_cohort(copy), run, machine=CPU, resume=True)
    assert again.model.card == trained.model.card


def test_nobody_left_to_validate_is_told(cohort: Cohort, settings: Settings, tmp_path: Path) -> None:
    alone = tmp_path / "split.json"
    write_split(alone, Split({"train": tuple(entry.id for entry in cohort), "validation": (), "test": ()}))
    with pytest.raises(TrainingError, match=r"no case of .* is left for the part validation"):
        train(changed(settings, [f'split.file="{alone}"']), cohort, tmp_path / "run", machine=CPU)
