"""A question answered: the relevance of each voxel of each map, from one forward pass of each piece."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from strokelens.errors import RelevanceError
from strokelens.explain.ancestor import ancestors_relevance
from strokelens.explain.composites import Bounds
from strokelens.explain.filters import Clamp, Filter, Pass, Raw
from strokelens.explain.propagate import Asked, Layer, Relevance, absorbed_in, at_rest, filtered_at_last, relevance
from strokelens.explain.spikes import Spikes
from strokelens.explanation.question import Question, Reference, Region
from strokelens.explanation.view import Piece, View
from strokelens.model import Model
from strokelens.networks.unet3d import Unet3d
from strokelens.prediction.networks import computing, full_float32
from strokelens.prepare import Sample


@dataclass(frozen=True, eq=False)
class Answer:
    """Maps of relevance (t, m, z, s, s) in the sample's pixels, and how it was kept on the way.

    Maps are target after target, of each filter after filter. `clinical` is the relevance (t, v) of clinical values.
    `start` is the relevance that began, and `layers` tell where it went.
    """

    maps: Float32[np.ndarray, "t m z s s"]
    clinical: Float[np.ndarray, "t v"]
    start: tuple[float, ...]
    layers: tuple[Layer, ...]

    @property
    def absorbed(self) -> dict[str, tuple[float, ...]]:
        """What stayed in all layers together, by name."""
        return absorbed_in(self.layers, len(self.start))


def answered(
    models: Sequence[Model], sample: Sample, question: Question, where: Mapping[str, Region], healthy: Region
) -> Answer:
    """The mean answer of models of one recipe; `healthy` voxels are what the reference is the median of.

    Raises `RelevanceError` where a network does something that no rule is known for, `SettingsError` for no memory.
    """
    answers = [_answered(model, sample, question, where, healthy) for model in models]
    if len(answers) == 1:
        return answers[0]
    mean = [np.mean([getattr(each, name) for each in answers], axis=0) for name in ("maps", "clinical", "start")]
    return Answer(mean[0], mean[1], tuple(mean[2].tolist()), _mean_layers([each.layers for each in answers]))


def _answered(model: Model, sample: Sample, question: Question, where: Mapping[str, Region], healthy: Region) -> Answer:
    wanted = np.any([region.any(axis=(1, 2)) for region in where.values()], axis=0)
    view = View.of(model, sample, wanted)
    masks = [view.masked(region) for region in where.values()]
    if question.composite.ancestor is not None:
        found = by_ancestor(view, masks, question)
    else:
        found = of_view(
            view, masks, question, bounds_of(view, view.masked(healthy), torch.stack(masks).any(0), question.reference)
        )
    return Answer(view.placed(found.maps, len(sample.x)), found.clinical, found.start, found.layers)


@dataclass(frozen=True, eq=False)
class OfView:
    """An answer in the pixels of a view's image: maps (t, c, z, i, j) of each of its channels."""

    maps: Float[Tensor, "t c z i j"]
    clinical: Float[np.ndarray, "t v"]
    start: tuple[float, ...]
    layers: tuple[Layer, ...]


def of_view(
    view: View, masks: Sequence[Bool[Tensor, "z i j"]], question: Question, bounds: Bounds, *, spread: bool = True
) -> OfView:
    """The relevance of an image, from its pieces, for targets at each of some masks.

    Raises `RelevanceError` where no piece has any of a target, which lies in air.
    """
    inside = question.filters if question.everywhere else ()
    maps = len(masks) * max(1, len(inside))
    total = view.image.new_zeros(maps, *view.image.shape)
    clinical = np.zeros((maps, len(view.model.net.clinical_names)))
    done: list[Relevance] = []
    with computing(), full_float32():
        for piece in view.pieces():
            part = _of_piece(view, piece, masks, question, bounds, spread=spread)
            if part is not None:
                total[(..., *piece.place)] += part.inputs[0][:, 0]
                clinical += part.inputs[1][:, 0].cpu().numpy() if len(part.inputs) > 1 else 0
                done.append(part)
    if not done:
        name = view.model.name
        raise RelevanceError(f"{name} computes nothing at the target, as no map shows anything there; take another")
    start = tuple(np.sum([each.start for each in done], axis=0).tolist())
    found = OfView(total, clinical, start, _summed_layers([each.layers for each in done]))
    return found if question.everywhere or not question.filters else _filtered(found, question.filters)


def _filtered(found: OfView, filters: Sequence[Filter]) -> OfView:
    """Each map by each filter, as a whole; clinical values are left as they are."""
    (maps,), layer = filtered_at_last([found.maps], filters, each_its_own=False)
    times = len(filters)
    layers = (*(each.repeated(times) for each in found.layers), layer)
    return OfView(maps, found.clinical.repeat(times, 0), tuple(np.repeat(found.start, times).tolist()), layers)


def by_ancestor(view: View, masks: Sequence[Bool[Tensor, "z i j"]], question: Question) -> OfView:
    """By the ancestor's rules, with its filters as they were, at all of its places.

    Raises `RelevanceError` for a network that it had no rules for.
    """
    model, first = view.model, question.composite.ancestor
    if first is None or not isinstance(model.net, Unet3d) or model.settings.input.tile is not None:
        raise RelevanceError(f"{question.composite.name} has rules for unet3d of whole volumes only; take another one")
    filters = [_old(each) for each in question.filters] or [Raw()]
    shares = question.composite.factors
    passed = partial(ancestors_relevance, model.net, view.image[None], filters, first=first, factors=shares)
    found, start = [], []
    with computing(), full_float32(), at_rest(model.net):
        with torch.no_grad():
            logits = view.answered()(view.image[None])
        for mask in masks:
            begins = question.logits_of(model.scheme).seed(logits, mask)
            try:
                found.append(passed(starting=begins))
            except ValueError as error:
                raise RelevanceError(f"{model.name}: {error}") from error
            start += [float(begins.sum())] * len(filters)
    maps = torch.nan_to_num(torch.cat(found), nan=0.0, posinf=0.0, neginf=0.0)  # as zero maps became NaN
    went = tuple(maps.flatten(1).sum(1).tolist())
    lost = {"the ancestor's rules": tuple(a - b for a, b in zip(start, went, strict=True))}
    layers = (Layer("", "all layers", question.composite.name, went, lost),)
    return OfView(maps, np.zeros((len(maps), 0)), tuple(start), layers)


def _old(one: Filter) -> Filter:
    """A filter as the ancestor had it."""
    return replace(one, legacy=True) if isinstance(one, Pass | Clamp) else one


def _of_piece(
    view: View,
    piece: Piece,
    masks: Sequence[Bool[Tensor, "z i j"]],
    question: Question,
    bounds: Bounds,
    *,
    spread: bool,
) -> Relevance | None:
    """The relevance of a piece; None where no target is in it."""
    cut = [mask[piece.place] for mask in masks]
    if not any(bool(each.any()) for each in cut):
        return None
    share = 1.0 if piece.share is None else piece.share
    target = question.logits_of(view.model.scheme)

    def seeds(logits: Tensor) -> list[Tensor]:
        return [target.seed(logits, mask * share) for mask in cut]

    here = Bounds(**{name: view.cut(piece, values) for name, values in vars(bounds).items()})
    inside = question.filters if question.everywhere else ()
    asked = Asked(question.composite, here, inside, question.everywhere, spread, tile=question.tile)
    images = [view.cut(piece)[None], *([view.values] if view.values is not None else [])]
    return relevance(view.model.net, images, seeds, asked, run=view.answered())


def bounds_of(
    view: View, healthy: Bool[Tensor, "z i j"], target: Bool[Tensor, "z i j"], reference: Reference
) -> Bounds:
    """What rules of the first layer are told, of each voxel of the image.

    The reference is each channel's median over healthy tissue, over the place opposite of the target, or 0; where a
    channel has no value it is what the channel holds, so that nothing lies off it. Low and high are channels' ends.
    Raises `RelevanceError` where all that is opposite is of the target itself, or nothing.
    """
    image, shown = view.image, view.shown
    low, high = image.flatten(1).amin(1), image.flatten(1).amax(1)
    where = healthy
    if reference == "opposite":
        there = _opposite(target, shown.any(0))
        if not bool(there.any()):
            raise RelevanceError("what is explained has no place opposite of it; take --reference healthy or zero")
        where = there & healthy if bool((there & healthy).any()) else there
    middle = torch.zeros_like(low)
    if reference != "zero":
        for channel in range(len(image)):
            values = image[channel][where & shown[channel]]
            values = values if len(values) else image[channel][shown[channel]]
            middle[channel] = values.median() if len(values) else 0
    spread = [each.view(-1, 1, 1, 1) for each in (middle, low, high)]
    return Bounds(torch.where(shown, spread[0], image), spread[1].expand_as(image), spread[2].expand_as(image))


def _opposite(target: Bool[Tensor, "z i j"], head: Bool[Tensor, "z i j"]) -> Bool[Tensor, "z i j"]:
    """The target mirrored left to right about the middle of the head, less the target."""
    columns = torch.nonzero(head.any(0).any(1))[:, 0]
    if not len(columns):
        return torch.zeros_like(target)
    low, high = int(columns.min()), int(columns.max())
    mirrored = torch.zeros_like(target)
    mirrored[:, low : high + 1] = target[:, low : high + 1].flip(1)
    return mirrored & ~target


def _summed_layers(pieces: Sequence[Sequence[Layer]]) -> tuple[Layer, ...]:
    """The layers of pieces, added up; of their amplitudes' spread the widest."""
    return tuple(_joined(each, np.sum) for each in zip(*pieces, strict=True))


def _mean_layers(models: Sequence[Sequence[Layer]]) -> tuple[Layer, ...]:
    """The layers of models of one shape, as means; of models of different ones none is told."""
    if len({tuple((layer.name, layer.called) for layer in each) for each in models}) > 1:
        return ()
    return tuple(_joined(each, np.mean) for each in zip(*models, strict=True))


def _joined(layers: Sequence[Layer], how: Any) -> Layer:
    first = layers[0]
    names, zeros = sorted({name for each in layers for name in each.absorbed}), [0.0] * len(first.went)
    absorbed = {
        name: tuple(how([each.absorbed.get(name, zeros) for each in layers], axis=0).tolist()) for name in names
    }
    spikes: tuple[Spikes, ...] = max((each.spikes for each in layers), key=_peak)
    went = tuple(how([each.went for each in layers], axis=0).tolist())
    return Layer(first.name, first.called, first.rule, went, absorbed, spikes)


def _peak(spikes: Sequence[Spikes]) -> float:
    return max((each.peak for each in spikes), default=0.0)
