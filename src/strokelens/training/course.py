"""The course of a training: stage after stage, and to the same weights whether or not it was interrupted."""

import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, Final

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger

from strokelens import __version__
from strokelens.cohorts.cohort import Cohort
from strokelens.cohorts.folder import check_apart
from strokelens.errors import TrainingError
from strokelens.model import MODEL, Model, is_model, load_model, save_model
from strokelens.networks.built import built
from strokelens.networks.fusion import Fusion
from strokelens.networks.network import Network, laid_out
from strokelens.networks.pretrained import load_encoders
from strokelens.prediction.networks import computing
from strokelens.pretrained import read_weights
from strokelens.report.history import write_history_figure
from strokelens.settings.networks import FusionNetwork
from strokelens.settings.schema import Settings
from strokelens.training.keeping import (
    BEST,
    END,
    HISTORY,
    LAST,
    Keep,
    Kept,
    Rate,
    Row,
    badness,
    check_checkpoint,
    read_rows,
    take_weights,
    write_history,
    write_rows,
    write_weights,
)
from strokelens.training.learner import VALIDATION_DICE, VALIDATION_LOSS, Learner, Place, loss_of
from strokelens.training.machine import Machine
from strokelens.training.optimizers import optimizer_of
from strokelens.training.parts import Parts, check_maps, data_sha256, parts_of, split_of
from strokelens.training.run import OTHER_DATA, PREPARED, Run, is_leader, is_longer
from strokelens.training.snapshots import Snapshots, card_of, scores_of
from strokelens.training.store import Refused

DONE: Final = "done.json"
"""The file in the folder of a stage that has ended."""

_PRECISION: Final = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}
_ADVICE = (
    ".*does not have many workers.*",
    ".*number of training batches.*",
    ".*LeafSpec.*",
    ".*GPU available but.*",
    ".*recommended to use `self.log.*",
    ".*Grad strides do not match.*",
)
"""What Lightning says that means nothing here: of workers, of logging every 50 steps, and of torch's own names."""


@dataclass(frozen=True, eq=False)
class Trained:
    """The model, its history, and the cases that could not be used."""

    model: Model
    history: tuple[Row, ...]
    refused: tuple[Refused, ...]


def train(
    settings: Settings,
    cohort: Cohort,
    out: Path,
    *,
    machine: Machine | None = None,
    cache: Path | None = None,
    workers: int | None = None,
    resume: bool = False,
    told: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Train what the settings describe, and keep the run in the folder `out`.

    The same settings, seed and machine give the same weights; so does a run that was interrupted and `resume`d, which
    begins its last epoch anew. Prepared cases are kept in `cache`, of each run its own where nothing is told.
    A run that has ended is given as it is. Nothing is written before weights and settings are known to fit.

    Raises `TrainingError` when `out` holds something else, nobody is left to train or a loss is no number,
    `OutputError` when it cannot be written, and `SettingsError` when settings do not fit the cohort or the machine.
    """
    machine = (machine or Machine()).chosen
    _check(settings, machine, cohort, out)
    run = Run(out, settings, split_of(settings, cohort), told if is_leader() else _silent)
    before = run.begin(resume=resume)
    if before.get("finished") and is_model(out) and not is_longer(settings, before):
        return _finished(run, cohort, before)
    net, pretrained = _begun(settings, run.told)
    run.make()
    parts = parts_of(settings, run.drawn, cohort, cache=cache or out / PREPARED, workers=workers, told=run.told)
    run.check(before, data_sha256=parts.sha256, pretrained_sha256=pretrained, machine=machine.facts)
    facts = _facts(parts, pretrained, before.get("machine", machine.facts))
    run.mark(**facts, finished=False)
    run.write_diary(_opening(run, parts, machine, before))
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        history = _stages(run, machine, net, parts, Snapshots(run, parts, pretrained))
    model = _ended(run, net, parts, history, pretrained)
    run.mark(**facts, finished=True)
    return Trained(model, history, parts.refused)


def _check(settings: Settings, machine: Machine, cohort: Cohort, out: Path) -> None:
    """Raise what can be known to be wrong before anything is read or written."""
    machine.check(settings)
    check_maps(settings, cohort)
    check_apart(out, cohort.folder)


def _facts(parts: Parts, pretrained: str | None, machine: object) -> dict[str, object]:
    """What a run tells of itself, and is asked for when it is gone on with."""
    refused = {case.case_id: case.message for case in parts.refused}
    return {"data_sha256": parts.sha256, "pretrained_sha256": pretrained, "machine": machine, "refused": refused}


def _ended(run: Run, net: Network, parts: Parts, history: tuple[Row, ...], pretrained: str | None) -> Model:
    """The model that a training ends with, which is written now."""
    kept = _kept(history, run.settings)
    model = Model(net.eval(), run.settings, card_of(run, parts, scores_of(kept), pretrained))
    if run.leads:
        _write(run.folder, model, history, kept)
    run.write_diary(f"ended; kept: {_sentence(kept)}")
    return model


def _silent(_: str) -> None:
    """What a process tells that only helps."""


def _write(out: Path, model: Model, history: tuple[Row, ...], kept: Row) -> None:
    """Write what a training ended with."""
    (out / MODEL).mkdir(exist_ok=True)
    save_model(model, out / MODEL)
    write_history(out / HISTORY, history)
    write_history_figure(out / "history.png", history, model.name, kept=kept)


def _finished(run: Run, cohort: Cohort, before: Mapping[str, Any]) -> Trained:
    """What a run that has ended ended with, if the cohort is the one that it was trained on."""
    refused = tuple(Refused(*each) for each in before["refused"].items())
    if data_sha256(run.settings, run.drawn, cohort, refused=before["refused"]) != before["data_sha256"]:
        raise TrainingError(OTHER_DATA.format(run.folder))
    last = run.folder / "stages" / str(len(run.settings.stages)) / DONE
    return Trained(load_model(run.folder), read_rows(last), refused)


def _begun(settings: Settings, told: Callable[[str], None]) -> tuple[Network, str | None]:
    """The network as it begins, and the SHA-256 of the weights that its encoders have; what cannot be, fails here."""
    net = laid_out(built(settings))
    pretrained = _pretrained(net, settings, told)
    optimizer_of(settings.optimizer, net.parameters())
    loss_of(settings)(torch.zeros(1, settings.input.classes, 1, 1), torch.zeros(1, 1, 1, dtype=torch.int64))
    return net, pretrained


def _pretrained(net: Network, settings: Settings, told: Callable[[str], None]) -> str | None:
    """Give the encoders published weights, where the settings name any; the SHA-256 of these."""
    network = settings.network
    if not (isinstance(network, FusionNetwork) and isinstance(net, Fusion) and network.pretrained is not None):
        return None
    weights = read_weights(network.pretrained)
    load_encoders(net, weights.tensors, first=network.first_layer, source=weights.source)
    told(f"encoders begin with {weights.source}, SHA-256 {weights.sha256}")
    return weights.sha256


def _stages(
    run: Run, machine: Machine, net: Network, parts: Parts, snapshot: Callable[[Learner], None]
) -> tuple[Row, ...]:
    """Train stage after stage, each from the best weights of those before; the history of all."""
    rows: tuple[Row, ...] = ()
    count = len(run.settings.stages)
    for number in range(count):
        folder = run.folder / "stages" / str(number + 1)
        folder.mkdir(parents=True, exist_ok=True)
        learner = Learner(net, run.settings, Place(number, count, len(rows)), (parts.train, parts.validation))
        last = number + 1 == count
        if (folder / DONE).is_file() and not (last and _may_go_on(folder, learner)):
            rows = read_rows(folder / DONE)
        else:
            kept = Kept(folder, run.folder / HISTORY, rows, run.settings.training.watch, snapshot)
            rows = _stage(run, machine, learner, kept)
        ends = run.settings.legacy and last
        take_weights(learner, folder / (END if ends else BEST))
    return rows


def _stage(run: Run, machine: Machine, learner: Learner, kept: Kept) -> tuple[Row, ...]:
    """Train one stage, from its beginning or from its last whole epoch."""
    keep = Keep(kept, partial(_tell, run))
    last = kept.folder / LAST
    with _calm():
        trainer = _trainer(run, machine, learner, keep)
        _fit(trainer, learner, last if last.is_file() else None)
    rows = (*kept.before, *keep.rows)
    if trainer.is_global_zero:
        write_weights(learner, kept.folder / END)
        write_rows(kept.folder / DONE, rows)
        if learner.place.stage + 1 < learner.place.stages:  # the last one's is kept, to go on for more epochs
            last.unlink(missing_ok=True)
    trainer.strategy.barrier()
    return rows


def _may_go_on(folder: Path, learner: Learner) -> bool:
    """Whether a stage that has ended may have more epochs than it had."""
    before = [row for row in read_rows(folder / DONE) if row["stage"] == learner.place.stage + 1]
    return (folder / LAST).is_file() and len(before) < learner.stage.epochs


def _tell(run: Run, row: Row) -> None:
    """Tell of an epoch, and write it down."""
    run.write_diary(_sentence(row))
    run.told(_sentence(row))


def _opening(run: Run, parts: Parts, machine: Machine, before: Mapping[str, Any]) -> str:
    """The diary's first line of each time."""
    persons = ", ".join(f"{count} {part}" for part, count in parts.persons.items())
    facts = ", ".join(f"{name} {value}" for name, value in machine.facts.items())
    what = f"goes on with {run.settings.name}" if before else f"begins with {run.settings.name}"
    return f"strokelens {__version__} {what}: persons {persons}; {facts}; run.json has the settings"


def _trainer(run: Run, machine: Machine, learner: Learner, keep: Keep) -> Trainer:
    stage, training = learner.stage, run.settings.training
    stop = EarlyStopping(
        VALIDATION_LOSS if training.watch == "loss" else VALIDATION_DICE,
        stage.least_gain,
        stage.patience,
        mode="min" if training.watch == "loss" else "max",
        check_finite=False,
        check_on_train_epoch_end=True,
    )
    return Trainer(
        accelerator=machine.kind,
        devices=list(machine.devices) if isinstance(machine.devices, tuple) else machine.devices,
        num_nodes=machine.nodes,
        precision=_PRECISION[training.precision],  # type: ignore[arg-type]
        max_epochs=stage.epochs,
        accumulate_grad_batches=training.accumulate,
        gradient_clip_val=run.settings.optimizer.clip_value,
        gradient_clip_algorithm="value",
        deterministic="warn" if torch.cuda.is_available() else None,
        callbacks=[Rate(run.settings.schedule, training.watch), stop, keep],
        logger=TensorBoardLogger(run.folder, "tensorboard", f"stage-{learner.place.stage + 1}"),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=run.folder,
    )


def _fit(trainer: Trainer, learner: Learner, checkpoint: Path | None) -> None:
    """Let Lightning train; its checkpoint is read without unpickling more than numbers. Ctrl-C stays Ctrl-C."""
    if checkpoint is not None:
        check_checkpoint(checkpoint)
    before = signal.getsignal(signal.SIGINT)
    try:
        with computing("set a smaller training.batch, input.size or network.width, or take a machine with more"):
            trainer.fit(learner, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as error:
        if trainer.interrupted:
            raise KeyboardInterrupt from error
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


@contextmanager
def _calm() -> Iterator[None]:
    """Lightning's own talk and advice stay unsaid; its errors do not."""
    talk = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [each.level for each in talk]
    for each in talk:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in _ADVICE:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        for each, level in zip(talk, levels, strict=True):
            each.setLevel(level)


def _kept(history: tuple[Row, ...], settings: Settings) -> Row:
    """The epoch whose weights are kept: of all stages the best, and with `legacy` the last."""
    return history[-1] if settings.legacy else min(history, key=lambda row: badness(row, settings.training.watch))


def _sentence(row: Row) -> str:
    dice = ", ".join(
        f"Dice of {name.rpartition('_')[2]} {f'{value:.3f}' if isfinite(float(value)) else 'none'}"
        for name, value in row.items()
        if name.startswith(f"{VALIDATION_DICE}_")
    )
    mean = f"mean Dice {float(row[VALIDATION_DICE]):.3f}; all voxels: " if VALIDATION_DICE in row else ""
    return (
        f"stage {row['stage']} ({row['encoders']}), epoch {row['epoch']}: loss {row['loss']:.4f}, "
        f"validation {row[VALIDATION_LOSS]:.4f}, {mean}{dice}, {row['seconds']:.0f} s"
    )
