"""What Lightning trains: a network with its loss, what keeps it small, and its slices changed by chance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from strokelens.augment import apply
from strokelens.errors import TrainingError, shortened
from strokelens.labels import LabelScheme
from strokelens.losses import Loss, loss_named, severity
from strokelens.model import scheme_of
from strokelens.networks.crops import Box, box_of_volume
from strokelens.networks.inputs import standardised, unit
from strokelens.networks.network import Network
from strokelens.networks.regular import limit_norms, penalty
from strokelens.networks.stages import set_stage
from strokelens.settings.schema import Settings, Stage
from strokelens.training.guiding import guided
from strokelens.training.optimizers import optimizer_of
from strokelens.training.samples import Balanced, Batch, Collated, Draw, Pieces, in_order

LOSS_SD = "loss_sd"
"""The standard deviation of an epoch's batches."""

VALIDATION_LOSS = "validation_loss"
VALIDATION_DICE = "validation_dice"
"""What decides when to stop, and which weights are the best: the one or the other."""

_CHANCE = 3
_SURE = 20.0
"""How much likelier the background's logit is where nothing is shown: all others have 2e-9 together."""


@dataclass(frozen=True)
class Place:
    """Which stage of how many it is, and how many epochs were before it."""

    stage: int
    stages: int
    epochs_before: int


class Learner(LightningModule):
    """One stage of a training.

    On a CPU the part of a batch of slices that shows nothing is not computed, but for a margin, and counts as
    background that is sure. A volume is computed by itself, as it is when it is asked: its own slices, and of these the
    box that shows anything, so that norms are of the same numbers. `legacy` computes all of a batch together, and so
    does `norm: batch`, whose means are of all that is computed.
    """

    run: Callable[..., Tensor]
    run_scales: Callable[..., list[Tensor]]

    def __init__(self, net: Network, settings: Settings, place: Place, parts: tuple[Pieces, Pieces]) -> None:
        super().__init__()
        self.net = net
        # not a second name of the same weights in what is stored
        self.__dict__["run"] = torch.compile(net) if settings.training.compile else net
        self.__dict__["run_scales"] = torch.compile(net.at_scales) if settings.training.compile else net.at_scales
        self.settings = settings
        self.place = place
        self.train_pieces, self.validation_pieces = parts
        self.loss = loss_of(settings)
        set_stage(net, self.stage.encoders)
        self._losses: list[Float[Tensor, ""]] = []
        self._sums: list[Int[Tensor, "b 3 n"]] = []
        self._cases: list[int] = []
        self._awaited: _Awaited | None = None

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

    def train_dataloader(self) -> "DataLoader[Draw]":
        """Pieces in an order of chance, balanced between those with a lesion and the others."""
        training, pieces = self.settings.training, self.train_pieces
        order = Balanced(
            pieces.lesions,
            share=training.lesion_share,
            seed=training.seed,
            draws=training.draws,
            first=self.place.epochs_before,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
        )
        maps, changes, textures = len(self.settings.input.maps), self.settings.augmentation, self.settings.diffgen
        return self._loader(order, Collated(pieces, training.seed, maps, changes, textures), batch=training.batch)

    def val_dataloader(self) -> "DataLoader[Draw]":
        """All pieces of those who validate, in order."""
        pieces, training = self.validation_pieces, self.settings.training
        order = in_order(len(pieces), rank=self.trainer.global_rank, world=self.trainer.world_size)
        collated = Collated(pieces, training.seed, len(self.settings.input.maps))
        return self._loader(order, collated, batch=1 if self.settings.volumes else training.batch)

    def training_step(self, batch: Batch, number: int) -> Float[Tensor, ""]:
        """The mean loss of a batch, changed by chance, and the penalty of large weights."""
        settings = self.settings
        torch.manual_seed(_seed(settings.training.seed, self.epoch, number, self.global_rank))  # of dropout
        images, labels = apply(unit(batch.x), batch.y, batch.changes, maps=len(settings.input.maps))
        losses = self._weighted(self._lost(images, labels.long(), batch), labels, batch.sixfold)
        loss = losses.mean() + self._penalty()
        self._watch(loss, batch, number, self.train_pieces)
        self._losses.append(losses.detach().mean())
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=True)
        return loss

    def on_train_epoch_end(self) -> None:
        """How far the losses of the epoch's batches lie from each other."""
        self.log(LOSS_SD, torch.stack(self._losses).float().std(correction=0), sync_dist=True)
        self._losses.clear()

    def optimizer_step(self, *given: Any, **named: Any) -> None:
        """A step, after which no filter is larger than it may be."""
        super().optimizer_step(*given, **named)
        if self.settings.optimizer.max_norm is not None:
            limit_norms(self.net, self.settings.optimizer.max_norm, legacy=self.settings.legacy)

    def validation_step(self, batch: Batch, number: int) -> None:
        """The loss of a batch as it is, and what its classes have in common with the truth."""
        (logits,), box = self._answered(unit(batch.x), batch.values, batch.known)
        labels = batch.y.long()
        losses = self._weighted(self._loss(logits, box, labels), labels, torch.zeros_like(batch.sixfold))
        if box is not None:
            logits = _among_background(logits, box, labels.shape[-1])
        loss = losses.mean() + (self._penalty() if self.settings.legacy else 0)
        self._watch(loss, batch, number, self.validation_pieces)
        self.log(VALIDATION_LOSS, loss, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=True)
        self._sums.append(_counts(logits.argmax(1), labels, logits.shape[1]))
        self._cases += [self.validation_pieces.pieces[index].case for index in batch.index]

    def on_validation_epoch_end(self) -> None:
        """Dice of each class but the background, over all voxels of those who validate; and `VALIDATION_DICE`."""
        self._check()
        cases = len(self.validation_pieces.cases)
        sums = torch.zeros(cases, 3, len(self.scheme), dtype=torch.int64, device=self.device)
        if self._sums:  # a process may have none
            sums.index_add_(0, torch.tensor(self._cases, device=self.device), torch.cat(self._sums))
        self._sums.clear()
        self._cases.clear()
        sums = cast(Tensor, self.trainer.strategy.reduce(sums, reduce_op="sum"))
        both, truth, found = sums.sum(0).unbind()
        pooled = 2 * both / (truth + found)
        for label, name in enumerate(self.scheme.names):
            if label:
                self.log(f"{VALIDATION_DICE}_{name}", pooled[label].float(), sync_dist=False)
        mean = (_dice_of_each(sums).mean(0) if self.settings.volumes else torch.nan_to_num(pooled))[1:].mean()
        self.log(VALIDATION_DICE, mean.float(), sync_dist=False)

    def _lost(
        self, images: Float[Tensor, "b c *space"], labels: Int[Tensor, "b *space"], batch: Batch
    ) -> Float[Tensor, "b"]:
        """The loss of each sample of a batch; volumes that are not computed together are computed one by one."""
        if not self.settings.volumes or self._whole:
            return self._lost_together(images, labels, batch.values, batch.known)
        losses = []
        for at, index in enumerate(batch.index):
            one, depth = slice(at, at + 1), self.train_pieces.shape_of(index)[0]
            told = (batch.values[one], batch.known[one])
            losses.append(self._lost_together(images[one, :, :depth], labels[one, :depth], *told))
        return torch.cat(losses)

    def _lost_together(
        self,
        images: Float[Tensor, "b c *space"],
        labels: Int[Tensor, "b *space"],
        values: Float[Tensor, "b v"],
        known: Bool[Tensor, "b v"],
    ) -> Float[Tensor, "b"]:
        """The loss of each sample; with that of the network's relevance, where settings ask for it."""
        scales, box = self._answered(images, values, known)
        losses, wanted = self._loss_of_scales(scales, box, labels), self.settings.loss.relevance
        if wanted is None:
            return losses
        seen, told, corner = self._seen(images, values, known)
        inner = labels if box is None else labels[..., box.i, box.j]
        return losses + guided(self.net, seen, told, inner, wanted, corner=corner)

    def _answered(
        self, images: Float[Tensor, "b c *space"], values: Float[Tensor, "b v"], known: Bool[Tensor, "b v"]
    ) -> tuple[list[Float[Tensor, "b n ..."]], Box | None]:
        """The logits in float32 of each scale that learns, the finest last, and the box of the slices that they are of.

        Without a box they are of the whole slices.
        """
        seen, told, corner = self._seen(images, values, known)
        if seen.ndim == 5:
            answers = self.run_scales(seen, *told) if self._deep else [self.run(seen, *told)]
        else:
            answers = [self.run(seen.contiguous(memory_format=torch.channels_last), *told, corner=corner)]
        return [each.float() for each in answers], self._box(images)

    def _seen(
        self, images: Float[Tensor, "b c *space"], values: Float[Tensor, "b v"], known: Bool[Tensor, "b v"]
    ) -> tuple[Float[Tensor, "b c *part"], tuple[Tensor | None, Tensor | None], tuple[int, int] | None]:
        """What the network is given: images of the box as it expects them, clinical values, where the box begins."""
        side, box = images.shape[-1], self._box(images)
        if box is not None:
            images = images[..., box.i, box.j]
        images = standardised(images, form=self.settings.input.form, legacy=self.settings.legacy)
        told = (values, known) if self.settings.input.clinical else (None, None)
        return images, told, box.corner(side) if box is not None and images.ndim == 4 else None

    def _box(self, images: Float[Tensor, "b c *space"]) -> Box | None:
        """The part of the slices that is computed; None for all of it."""
        volumes, tiles = self.settings.volumes, self.settings.input.tile is not None
        if self._whole or (tiles if volumes else images.device.type != "cpu"):
            return None
        shown = (images != 0).flatten(0, -3).any(0).cpu().numpy()
        return box_of_volume(shown, self.net.stride) if volumes else Box.around(shown)

    def _loss(
        self, logits: Float[Tensor, "b n *space"], box: Box | None, labels: Int[Tensor, "b *whole"]
    ) -> Float[Tensor, "b"]:
        """The loss of logits of a box: of slices with all around it as sure background, of volumes of the box."""
        if box is None:
            return self.loss(logits, labels)
        if self.settings.volumes:
            return self.loss(logits, labels[..., box.i, box.j])
        return self.loss(_among_background(logits, box, labels.shape[-1]), labels)

    def _loss_of_scales(
        self, scales: Sequence[Tensor], box: Box | None, labels: Int[Tensor, "b *space"]
    ) -> Float[Tensor, "b"]:
        """The loss; where coarser scales learn, too, each weighs half of the next finer one, of a sum of 1.

        Their truth is the gravest class of what a voxel covers, so that no lesion vanishes.
        """
        total, weights = self._loss(scales[-1], box, labels), 1.0
        inner = labels if box is None else labels[..., box.i, box.j]
        for number, logits in enumerate(reversed(scales[:-1]), start=1):
            size = list(logits.shape[2:])
            coarse = functional.adaptive_max_pool3d(inner[:, None].float(), size)[:, 0].long()
            total, weights = total + self.loss(logits, coarse) / 2**number, weights + 1 / 2**number
        return total / weights

    def _weighted(
        self, losses: Float[Tensor, "b"], labels: Shaped[Tensor, "b *space"], sixfold: Bool[Tensor, "b"]
    ) -> Float[Tensor, "b"]:
        """The losses, times the severity of each sample where the settings want that."""
        if self.settings.loss.sample_weights == "none":
            return losses
        return losses * severity(labels.long(), self.settings.class_weights, sixfold)

    @property
    def _whole(self) -> bool:
        """Whether slices are computed whole on a CPU, too."""
        return self.settings.norms_of_batches or self.settings.training.compile

    @property
    def _deep(self) -> bool:
        """Whether coarser scales are held to the truth, too: while training."""
        return self.training and getattr(self.settings.network, "deep", False)

    def _penalty(self) -> Float[Tensor, ""]:
        with torch.autocast(self.device.type, enabled=False):
            return penalty(self.net, l1=self.settings.optimizer.l1, l2=self.settings.optimizer.l2)

    def _watch(self, loss: Tensor, batch: Batch, number: int, pieces: Pieces) -> None:
        """Check the loss: at once on a CPU; on a GPU, which is not to wait, that of the batch before."""
        self._check()
        self._awaited = _Awaited(loss.detach(), batch.index, number, pieces)
        if loss.device.type == "cpu":
            self._check()

    def _check(self) -> None:
        """Raise `TrainingError` with the batch's slices when the loss that is not yet checked is no number."""
        awaited, self._awaited = self._awaited, None
        if awaited is None or awaited.finite():
            return
        named = shortened([awaited.pieces.named(index) for index in awaited.index])
        where = f"stage {self.place.stage + 1}, epoch {self.epoch + 1}, batch {awaited.number + 1}"
        raise TrainingError(
            f"the loss is {awaited.loss.item()} in {where} ({named}); look at these cases, or set a lower learning_rate"
        )

    def _loader(self, order: Any, collated: Collated, *, batch: int) -> "DataLoader[Draw]":
        training = self.settings.training
        return DataLoader(
            collated.pieces,
            batch,
            sampler=order,
            num_workers=training.workers,
            collate_fn=collated,
            persistent_workers=training.workers > 0,
            pin_memory=self.device.type == "cuda",
        )


class _Awaited:
    """A loss on its way from a GPU, and which batch's it is."""

    def __init__(self, loss: Tensor, index: tuple[int, ...], number: int, pieces: Pieces) -> None:
        self.loss, self.index, self.number, self.pieces = loss, index, number, pieces
        self._finite = torch.isfinite(loss).to("cpu", non_blocking=True)
        self._there: Any = torch.cuda.Event() if loss.device.type == "cuda" else None  # type: ignore[no-untyped-call]
        if self._there is not None:
            self._there.record()

    def finite(self) -> bool:
        """Whether it is a number; waits until it is there."""
        if self._there is not None:
            self._there.synchronize()
        return bool(self._finite)


def loss_of(settings: Settings) -> Loss:
    """The loss that the settings tell, with their weights of classes and what they tell of its own numbers."""
    told = {"alpha": settings.loss.alpha, "gamma": settings.loss.gamma}
    options = {name: value for name, value in told.items() if value is not None}
    return loss_named(settings.loss.name, settings.class_weights, **options)


def _among_background(logits: Float[Tensor, "b n *part"], box: Box, side: int) -> Float[Tensor, "b n *space"]:
    """The logits in their place in slices of so many pixels a side, which are background elsewhere."""
    around = (box.j.start, side - box.j.stop, box.i.start, side - box.i.stop)
    return torch.cat([functional.pad(logits[:, :1], around, value=_SURE), functional.pad(logits[:, 1:], around)], 1)


def _counts(found: Tensor, labels: Tensor, classes: int) -> Int[Tensor, "b 3 n"]:
    """Of each sample the voxels of each class: in both, in the truth, found."""
    kept = torch.where(found == labels, labels, classes)
    shifts = torch.arange(len(labels), device=labels.device).view(-1, *[1] * (labels.ndim - 1)) * (classes + 1)
    bins = len(labels) * (classes + 1)
    flat = [torch.bincount((each + shifts).flatten(), minlength=bins) for each in (kept, labels, found)]
    return torch.stack([each.view(len(labels), classes + 1)[:, :classes] for each in flat], 1)


def _dice_of_each(counts: Int[Tensor, "p 3 n"]) -> Float[Tensor, "p n"]:
    """Each case's Dice by class, 1 where it is neither there nor found."""
    both, sizes = counts[:, 0], counts[:, 1] + counts[:, 2]
    dice: Float[Tensor, "p n"] = torch.where(sizes > 0, 2 * both / sizes.clamp_min(1), 1.0)
    return dice


def _seed(*parts: int) -> int:
    """One number of several, so that no two steps share their chance."""
    return int(np.random.SeedSequence([_CHANCE, *parts]).generate_state(1)[0])
