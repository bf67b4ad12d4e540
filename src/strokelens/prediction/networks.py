"""What networks make of a prepared case: probabilities of each class, and how sure they are; no truth is needed.

Axes are those of `strokelens.prepare`: slices z, channels c, pixels i j, classes n. Slices that show nothing are
background, and are not computed; of the others only the box that holds what the slices of a batch show is. Values are
cut out as they are stored, where 0 is no value, and only then standardised, as black is another number then.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import log
from typing import Final, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, Shaped
from torch import Tensor, nn

from strokelens.errors import SettingsError
from strokelens.model import Model
from strokelens.networks.crops import Box, box_of_volume
from strokelens.networks.inputs import standardised, unit
from strokelens.networks.network import Network
from strokelens.networks.surround import surrounded
from strokelens.networks.tiles import smooth_weight, windows
from strokelens.prepare import Sample

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class How:
    """How networks are asked.

    `mirrored` asks each for the left-right mirrored slice, too. `dropout_samples` asks so many times with dropout, by
    chances from the `seed`; 0 is once without. `bfloat16` is so but where single pixels are told apart. `batch` slices
    are computed at once, in a box that holds what all of them show; with dropout always one, so that it changes no
    chance. Without `doubts` the spread over members is not computed.
    """

    mirrored: bool = False
    dropout_samples: int = 0
    precision: Precision = "float32"
    batch: int = 1
    seed: int = 0
    doubts: bool = True


_SMALLER: Final = "give a smaller --batch, or --device cpu on a machine with more"

_NO_ROOM: Final = ("DefaultCPUAllocator", "not enough memory", "out of memory", "can't allocate memory")
"""How torch tells that there is no memory, where it raises no error of its own for it."""

_CALLED: Final = {"scheme": "classes", "may_lack": "maps that may lack:"}
"""What parts of a recipe are called, where it is not by their names."""

PLAIN: Final = How()
"""Each network once."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The mean probabilities of all members, which are networks, views and samples of dropout, and their doubt.

    `entropy` of the mean is 0 where a class is sure and 1 where all are as likely. With several members, `deviation` is
    the standard deviation of each probability over them, and `information` the mutual information, in the unit of the
    entropy: what of it is due to their disagreement. Both are None for one member, and where no doubts are wanted.
    """

    probabilities: Float32[np.ndarray, "z n s s"]
    deviation: Float32[np.ndarray, "z n s s"] | None = None
    information: Float32[np.ndarray, "z s s"] | None = None

    @cached_property
    def entropy(self) -> Float32[np.ndarray, "z s s"]:
        """The entropy of the mean, as a share of the highest that so many classes can have; computed when asked for."""
        return _entropy(self.probabilities)


def predicted(models: Sequence[Model], sample: Sample, how: How = PLAIN) -> Prediction:
    """What the models make of a sample; a sample that shows nothing is background.

    Their networks stay as they are, and the caller's own chance as it was. Raises `SettingsError` when the models were
    not all trained with the same maps, clinical values, classes and pixels, or the machine has no room for them.
    """
    check_alike(models)
    how = replace(how, batch=1 if how.dropout_samples else max(1, how.batch))
    shown = (sample.x != 0).any(axis=1)
    shape = (len(sample.x), len(models[0].scheme), *sample.x.shape[2:])
    each = (1 + how.mirrored) * max(1, how.dropout_samples)
    tally = _Tally(shape, members=len(models) * each, doubts=how.doubts)
    where = np.flatnonzero(shown.any(axis=(1, 2)))
    for at, model in enumerate(models):
        device = next(model.net.parameters()).device
        asking = asked(model.net, dropout=how.dropout_samples > 0)
        with torch.inference_mode(), computing(), full_float32(), _chance(device), asking:
            for chosen in _together(where, model, how):
                around = model.settings.input.slices // 2
                box = box_of(model, np.any(shown[max(0, chosen[0] - around) : chosen[-1] + around + 1], axis=0))
                for number, likely in enumerate(_members(model, sample, chosen, box, how, at=at)):
                    tally.add(likely, chosen, box, at * each + number)
    return tally.result()


def _together(where: Int64[np.ndarray, "z"], model: Model, how: How) -> Iterator[Int64[np.ndarray, "b"]]:
    """The slices that are computed at once: all of them by a network of volumes."""
    step = max(1, where.size) if model.settings.volumes else how.batch
    for start in range(0, where.size, step):
        yield where[start : start + step]


def box_of(model: Model, shown: Bool[np.ndarray, "s s"]) -> Box:
    """What is computed of a slice: all of it by a model of tiles, whose windows lie on the slice and may be empty.

    As in training a network of volumes sees what shows anything and no margin; one with norms over a batch sees all.
    """
    settings, whole = model.settings, slice(0, len(shown))
    if settings.input.tile is not None:
        return Box(whole, whole)
    if not settings.volumes:
        return Box.around(shown)
    if settings.norms_of_batches:
        return Box(whole, whole)
    return box_of_volume(shown, model.net.stride)


def check_alike(models: Sequence[Model]) -> None:
    """Raise `SettingsError` unless there are models, all of one recipe: then their probabilities can be averaged."""
    if not models:
        raise SettingsError("there is no model to ask; give at least one")
    first = models[0]
    for other in models[1:]:
        for what in ("maps", "clinical", "form", "size", "resampling", "depth", "scheme", "may_lack"):
            ours, theirs = (_told(getattr(each.recipe, what)) for each in (first, other))
            if ours != theirs:
                named = _CALLED.get(what, what)
                told = f"{first.name} has {named} {ours}, and {other.name} {theirs}"
                raise SettingsError(
                    f"models of different recipes cannot be averaged: {told}; give models of one recipe"
                )


@contextmanager
def asked(net: nn.Module, *, dropout: bool = False) -> Iterator[None]:
    """A network as it is asked: nothing in it learns, and only dropout, if it is wanted, acts; afterwards as before."""
    before = {module: module.training for module in net.modules()}
    try:
        for module in before:
            module.training = dropout and isinstance(module, nn.Dropout)
        yield
    finally:
        for module, training in before.items():
            module.training = training


@contextmanager
def exactly(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Modules that compute in float32 within it, whatever others do.

    What bfloat16 loses in them moves the borders between classes most (benchmarks/bench_inference.py).
    """
    chosen = tuple(modules)
    for module in chosen:
        module.__dict__["forward"] = partial(_in_float32, module.forward)
    try:
        yield
    finally:
        for module in chosen:
            del module.__dict__["forward"]


def _in_float32(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return forward(x.float())


@contextmanager
def computing(cure: str = _SMALLER) -> Iterator[None]:
    """Want of memory, and a device that fails, become a `SettingsError` that tells the cure."""
    try:
        yield
    except RuntimeError as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        if isinstance(error, torch.OutOfMemoryError) or any(each in str(error) for each in _NO_ROOM):
            raise SettingsError(f"there is no memory left for the network ({first}); {cure}") from error
        if isinstance(error, torch.AcceleratorError):
            raise SettingsError(f"the device cannot compute the network ({first}); give --device cpu") from error
        raise


@contextmanager
def full_float32() -> Iterator[None]:
    """float32 with all of its digits: GPUs would else round it to TF32, which has 10 bits."""
    cudnn, before = torch.backends.cudnn, torch.get_float32_matmul_precision()
    kept = {
        "enabled": cudnn.enabled,
        "benchmark": cudnn.benchmark,
        "benchmark_limit": cudnn.benchmark_limit,
        "deterministic": cudnn.deterministic,
    }
    with cudnn.flags(**kept, allow_tf32=False):
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)


@contextmanager
def _chance(device: torch.device) -> Iterator[None]:
    """Chance of its own, on the processor and where the network computes."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _begin(seed: int, device: torch.device) -> None:
    """Seed the processor's chance and the device's, and that of no other device."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def _members(
    model: Model, sample: Sample, chosen: Int64[np.ndarray, "b"], box: Box, how: How, *, at: int
) -> Iterator[Float[Tensor, "b n i j"]]:
    """The probabilities in the box of some slices by the `at`-th model, by each view and sample of dropout."""
    stored, side = _stored(model, sample, chosen, box), sample.x.shape[2]
    tile, step = model.settings.input.tile, model.settings.input.step
    device = next(model.net.parameters()).device
    for view in range(1 + how.mirrored):
        seen, place = (stored.flip(-2), box.mirrored(side)) if view else (stored, box)
        for time in range(max(1, how.dropout_samples)):
            _begin(_seed(how.seed, at, view, time, int(chosen[0])), device)
            if tile is None or step is None:
                likely = _likely(model, seen, sample, how, corner=place.corner(side))
            else:
                likely = _stitched(model, seen, sample, how, tile=tile, step=step)
            if model.settings.volumes:
                likely = likely[0].movedim(1, 0)[chosen]  # (z, n, i, j)
            yield likely.flip(-2) if view else likely


def _stored(model: Model, sample: Sample, chosen: Int64[np.ndarray, "_"], box: Box) -> Shaped[Tensor, "b c *k i j"]:
    """What is computed of a case: some slices, each with those around it; or all of them as one volume."""
    seen_of = model.settings.input
    if model.settings.volumes:
        return torch.from_numpy(np.moveaxis(sample.x[:, :, box.i, box.j], 1, 0)[None].copy())
    around = surrounded(sample.x, chosen, (box.i, box.j), slices=seen_of.slices, maps=len(seen_of.maps))
    return torch.from_numpy(around)


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _likely(
    model: Model,
    stored: Shaped[Tensor, "b c *space"],
    sample: Sample,
    how: How,
    *,
    corner: tuple[int, int] | None = None,
) -> Float[Tensor, "b n *space"]:
    """The probabilities of stored slices or volumes, or of pieces of them."""
    net, settings = model.net, model.settings
    device = next(net.parameters()).device
    images = standardised(unit(stored.to(device)), form=settings.input.form, legacy=settings.legacy)
    images = images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images
    values, known = _clinical(net, sample, len(images), device)
    rough = how.precision == "bfloat16"
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=rough), exactly(net.finest() if rough else ()):
        logits = net(images, values, known, corner=corner)
    return torch.softmax(logits.float(), 1).cpu()


def _stitched(
    model: Model, stored: Shaped[Tensor, "b c *k i j"], sample: Sample, how: How, *, tile: int, step: int
) -> Float[Tensor, "b n *k i j"]:
    """The mean of the windows that cover a pixel, each counted by how far its border is; background where none is.

    Windows that show nothing are left out. As many are computed at once as make up a batch of whole slices.
    """
    b, _, *depth, i, j = stored.shape
    least = [max(0, tile - side) for side in (i, j)]
    padded = nn.functional.pad(stored, (0, least[1], 0, least[0]))
    weight = smooth_weight(tile)
    total = torch.zeros(b, len(model.scheme), *padded.shape[2:])
    count = torch.zeros(b, 1, *padded.shape[2:])
    places = [
        (z, top, left)
        for z in range(b)
        for top in windows(padded.shape[-2], tile, step)
        for left in windows(padded.shape[-1], tile, step)
        if padded[z, ..., top : top + tile, left : left + tile].any()
    ]
    at_once = 1 if depth else max(1, how.batch * i * j // tile**2)
    for start in range(0, len(places), at_once):
        some = places[start : start + at_once]
        cut = torch.stack([padded[z, ..., top : top + tile, left : left + tile] for z, top, left in some])
        for (z, top, left), likely in zip(some, _likely(model, cut, sample, how), strict=True):
            total[z, ..., top : top + tile, left : left + tile] += weight * likely
            count[z, ..., top : top + tile, left : left + tile] += weight
    total[:, 0] += count[:, 0] == 0
    return (total / count.where(count > 0, 1))[..., :i, :j]


def _clinical(net: Network, sample: Sample, count: int, device: torch.device) -> tuple[Tensor | None, Tensor | None]:
    """The sample's clinical values and which are known, for so many slices; none where the network sees none."""
    if not net.clinical_names:
        return None, None
    both = (torch.from_numpy(each).to(device).expand(count, -1) for each in (sample.values, sample.known))
    values, known = both
    return values, known


class _Tally:
    """Running mean and spread over members, each member of each slice once; what was not computed is background."""

    def __init__(self, shape: tuple[int, ...], *, members: int, doubts: bool) -> None:
        z, _, i, j = shape
        self.members = members
        self._mean: Float32[np.ndarray, "z n s s"] = np.zeros(shape, np.float32)
        self._mean[:, 0] = 1
        spread = doubts and members > 1
        self._squares = np.zeros(shape, np.float32) if spread else None
        self._own = np.zeros((z, i, j), np.float32) if spread else None

    def add(self, likely: Float[Tensor, "b n i j"], chosen: Shaped[np.ndarray, "b"], box: Box, number: int) -> None:
        """Count a member, which is the `number`-th of these slices, from 0."""
        values = likely.numpy()
        place = (chosen, slice(None), box.i, box.j)
        before = self._mean[place] if number else np.zeros_like(values)  # Welford: no difference of large numbers
        after = before + (values - before) / (number + 1)
        self._mean[place] = after
        if self._squares is not None and self._own is not None:
            self._squares[place] += (values - before) * (values - after)
            self._own[chosen, box.i, box.j] += _entropy(values)

    def result(self) -> Prediction:
        """The mean of all members, and their doubt."""
        if self._squares is None or self._own is None:
            return Prediction(self._mean)
        information = np.maximum(_entropy(self._mean) - self._own / self.members, 0)
        return Prediction(self._mean, np.sqrt(self._squares / self.members), information)


def _entropy(likely: Float32[np.ndarray, "z n *space"]) -> Float32[np.ndarray, "z *space"]:
    logs = np.log(np.maximum(likely, np.finfo(np.float32).tiny))
    share = -(likely * logs).sum(axis=1) / np.float32(log(likely.shape[1]))
    entropy: Float32[np.ndarray, "z *space"] = np.maximum(share, 0)
    return entropy


def _told(value: object) -> str:
    """A part of a recipe in words."""
    names = getattr(value, "names", value)
    return ", ".join(names) or "none" if isinstance(names, tuple) else str(names)
