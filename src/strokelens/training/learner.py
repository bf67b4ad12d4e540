"""What Lightning trains: a network with its loss, what keeps it small, and its slices changed by chance."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, UInt8
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import DataLoader

from strokelens.augment import apply, decide
from strokelens.errors import TrainingError, shortened
from strokelens.labels import LabelScheme
from strokelens.losses import loss_named, severity
from strokelens.model import scheme_of
from strokelens.networks.crops import Box
from strokelens.networks.fusion import Fusion
from strokelens.networks.inputs import standardised, unit
from strokelens.networks.regular import limit_norms, penalty
from strokelens.networks.stages import set_stage
from strokelens.settings.schema import Settings, Stage
from strokelens.training.optimizers import optimizer_of
from strokelens.training.samples import Balanced, Batch, Slices, chances

VALIDATION_LOSS = "validation_loss"
"""What decides when to stop, and which weights are the best."""

_CHANCE = 3


@dataclass(frozen=True)
class Place:
    """Which stage of how many it is, and how many epochs were before it."""

    stage: int
    stages: int
    epochs_before: int


class Learner(LightningModule):
    """One stage of a training.

    On a CPU the part of a batch that shows nothing is cut off, which changes the loss by what the background outside of
    the head adds to it. `legacy` computes it all.
    """

    run: Callable[..., Tensor]

    def __init__(self, net: Fusion, settings: Settings, place: Place, parts: tuple[Slices, Slices]) -> None:
        super().__init__()
        self.net = net
        # not a second name of the same weights in what is stored
        self.__dict__["run"] = torch.compile(net) if settings.training.compile else net
        self.settings = settings
        self.place = place
        self.train_slices, self.validation_slices = parts
        self.loss = loss_named(settings.loss.name, settings.class_weights, **_options(settings))
        set_stage(net, self.stage.encoders)
        self._sums: list[Float[Tensor, "3 n"]] = []

    @property
    def stage(self) -> Stage:
        """The settings of the stage."""
        return self.settings.stages[self.place.stage]

    @property
    def epoch(self) -> int:
        """Epochs before this one, in all stages."""
        return self.place.epochs_before + self.current_epoch

    @property
    def scheme(self) -> LabelScheme:
        """The classes."""
        return scheme_of(self.settings)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The settings' rule over what learns in this stage."""
        learning = [weight for weight in self.net.parameters() if weight.requires_grad]
        return optimizer_of(self.settings.optimizer, learning, rate=self.stage.learning_rate)

    def train_dataloader(self) -> "DataLoader[int]":
        """Slices in an order of chance, balanced between those with a lesion and the others."""
        training, slices = self.settings.training, self.train_slices
        order = Balanced(
            slices.lesions,
            share=training.lesion_share,
            seed=training.seed,
            first=self.place.epochs_before,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
        )
        return self._loader(slices, order)

    def val_dataloader(self) -> "DataLoader[int]":
        """All slices of those who validate, in order."""
        slices = self.validation_slices
        rank, world = self.trainer.global_rank, self.trainer.world_size
        return self._loader(slices, list(range(len(slices)))[rank::world])

    def training_step(self, batch: Batch, number: int) -> Float[Tensor, ""]:
        """The mean loss of a batch, changed by chance, and the penalty of large weights."""
        settings = self.settings
        torch.manual_seed(_seed(settings.training.seed, self.epoch, number, self.global_rank))  # of dropout
        maps = len(settings.input.maps)
        changes = [
            decide(chances(settings.training.seed, self.epoch, index), settings.augmentation, maps)
            for index in batch.index.tolist()
        ]
        images, labels = apply(unit(batch.x), batch.y, changes, maps=maps)
        losses = self.loss(*self._answered(images, labels, batch))
        if settings.loss.sample_weights == "severity":
            losses = losses * severity(labels.long(), settings.class_weights, batch.sixfold)
        loss = losses.mean() + self._penalty()
        self._check(loss, batch, number, self.train_slices)
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=True)
        return loss

    def optimizer_step(self, *given: Any, **named: Any) -> None:
        """A step, after which no filter is larger than it may be."""
        super().optimizer_step(*given, **named)
        if self.settings.optimizer.max_norm is not None:
            limit_norms(self.net, self.settings.optimizer.max_norm, legacy=self.settings.legacy)

    def validation_step(self, batch: Batch, number: int) -> None:
        """The loss of a batch as it is, and what its classes have in common with the truth."""
        logits, labels = self._answered(unit(batch.x), batch.y, batch)
        losses = self.loss(logits, labels)
        if self.settings.loss.sample_weights == "severity":
            losses = losses * severity(labels, self.settings.class_weights, torch.zeros_like(batch.sixfold))
        loss = losses.mean() + (self._penalty() if self.settings.legacy else 0)
        self._check(loss, batch, number, self.validation_slices)
        self.log(VALIDATION_LOSS, loss, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=True)
        self._sums.append(_counts(logits.argmax(1), labels, logits.shape[1]))

    def on_validation_epoch_end(self) -> None:
        """Dice of each class but the background, over all voxels of those who validate."""
        counts = self.trainer.strategy.reduce(torch.stack(self._sums).sum(0), reduce_op="sum")
        self._sums.clear()
        both, truth, found = cast(Tensor, counts).unbind()
        for label, name in enumerate(self.scheme.names):
            if label:
                self.log(f"validation_dice_{name}", 2 * both[label] / (truth[label] + found[label]), sync_dist=False)

    def _answered(self, images: Tensor, labels: UInt8[Tensor, "b i j"], batch: Batch) -> tuple[Tensor, Tensor]:
        """The logits in float32, and the labels, of the part of the images that shows anything."""
        corner = None
        if images.device.type == "cpu" and not (self.settings.legacy or self.settings.training.compile):
            box = Box.around((images != 0).any(1).any(0).numpy(), margin=0)
            corner = box.corner(images.shape[-1])
            images, labels = images[..., box.i, box.j], labels[..., box.i, box.j]
        images = standardised(images, form=self.settings.input.form, legacy=self.settings.legacy)
        values, known = (batch.values, batch.known) if self.settings.input.clinical else (None, None)
        logits = self.run(images.contiguous(memory_format=torch.channels_last), values, known, corner=corner)
        return logits.float(), labels.long()

    def _penalty(self) -> Float[Tensor, ""]:
        return penalty(self.net, l1=self.settings.optimizer.l1, l2=self.settings.optimizer.l2)

    def _check(self, loss: Tensor, batch: Batch, number: int, slices: Slices) -> None:
        """Raise `TrainingError` with the batch's slices when the loss is no number."""
        if torch.isfinite(loss):
            return
        chosen = [slices.slices[index] for index in batch.index.tolist()]
        named = shortened([f"{slices.cases[each.case].case_id} slice {each.z}" for each in chosen])
        where = f"stage {self.place.stage + 1}, epoch {self.epoch + 1}, batch {number + 1}"
        raise TrainingError(
            f"the loss is {loss.item()} in {where} ({named}); look at these cases, or set a lower learning_rate"
        )

    def _loader(self, slices: Slices, order: Any) -> "DataLoader[int]":
        training = self.settings.training
        return DataLoader(
            slices,
            training.batch,
            sampler=order,
            num_workers=training.workers,
            collate_fn=slices.collate,
            persistent_workers=training.workers > 0,
        )


def _options(settings: Settings) -> dict[str, float]:
    """What the settings tell of the loss's own numbers."""
    told = {"alpha": settings.loss.alpha, "gamma": settings.loss.gamma}
    return {name: value for name, value in told.items() if value is not None}


def _counts(found: Tensor, labels: Tensor, classes: int) -> Float[Tensor, "3 n"]:
    """Voxels of each class: in both, in the truth, found."""
    kept = torch.where(found == labels, labels, classes)
    flat = [torch.bincount(each.flatten(), minlength=classes + 1)[:classes] for each in (kept, labels, found)]
    return torch.stack(flat).double()


def _seed(*parts: int) -> int:
    """One number of several, so that no two steps share their chance."""
    return int(np.random.SeedSequence([_CHANCE, *parts]).generate_state(1)[0])
