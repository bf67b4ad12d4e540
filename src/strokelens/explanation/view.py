"""What of a case a network is asked about, as one image, and the pieces that it computes it by.

What is explained are logits of a whole image, which are linear in those of its pieces: where windows overlap they are
means, weighed by how far a window's border is (a prediction is the mean of probabilities). So is relevance, which is
that of each piece, added up; no piece needs the others' memory.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from scipy import ndimage
from torch import Tensor

from strokelens.model import Model
from strokelens.networks.crops import Box
from strokelens.networks.inputs import standardised, unit
from strokelens.networks.surround import surrounded
from strokelens.networks.tiles import smooth_weight, windows
from strokelens.prediction.networks import box_of
from strokelens.prepare import Sample

Logits = Float[Tensor, "b n z i j"]


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of an image that is computed at once, and how much each of its pixels counts in the whole's logits."""

    z: slice
    i: slice
    j: slice
    share: Float[Tensor, "i j"] | None = None

    @property
    def place(self) -> tuple[slice, slice, slice]:
        """Where it is in the image."""
        return self.z, self.i, self.j


@dataclass(frozen=True, eq=False)
class View:
    """An image (c, z, i, j) as the network takes it: the slices `chosen` of a sample, of each the pixels of a box."""

    model: Model
    image: Float32[Tensor, "c z i j"]
    shown: Bool[Tensor, "c z i j"]
    chosen: Int64[np.ndarray, "z"]
    box: Box
    side: int
    values: Float32[Tensor, "1 v"] | None
    known: Bool[Tensor, "1 v"] | None

    @classmethod
    def of(cls, model: Model, sample: Sample, wanted: Bool[np.ndarray, "z"]) -> "View":
        """All of a volume; of slices those that are wanted, each with those around it as further channels.

        What is shown is what has a value. Axes of slices that a volume's box leaves out have none.
        """
        seen, device = model.settings.input, next(model.net.parameters()).device
        there = (sample.x != 0).any(axis=1)
        if model.settings.volumes:
            chosen = np.arange(len(sample.x), dtype=np.int64)
            box = box_of(model, there.any(axis=0))
            stored = np.moveaxis(sample.x[:, :, box.i, box.j], 1, 0)
        else:
            chosen = np.flatnonzero(wanted).astype(np.int64)
            reach = ndimage.binary_dilation(wanted, iterations=seen.slices // 2) if seen.slices > 1 else wanted
            box = box_of(model, there[reach].any(axis=0))
            part = surrounded(sample.x, chosen, (box.i, box.j), slices=seen.slices, maps=len(seen.maps))
            stored = np.moveaxis(part, 1, 0)
        raw = torch.from_numpy(np.ascontiguousarray(stored)).to(device)
        image = standardised(unit(raw[None]), form=seen.form, legacy=model.settings.legacy)[0]
        values, known = None, None
        if model.net.clinical_names:
            values, known = (torch.from_numpy(each)[None].to(device) for each in (sample.values, sample.known))
        return cls(model, image, _shown(raw, model), chosen, box, sample.x.shape[2], values, known)

    def pieces(self) -> Iterator[Piece]:
        """A volume at once, slices one by one; of a model of windows those that show anything."""
        tile, step = self.model.settings.input.tile, self.model.settings.input.step
        count, i, j = self.image.shape[1:]
        depths = [slice(0, count)] if self.model.settings.volumes else [slice(z, z + 1) for z in range(count)]
        if tile is None or step is None:
            yield from (Piece(z, slice(0, i), slice(0, j)) for z in depths)
            return
        weight = smooth_weight(tile).to(self.image)
        for z in depths:
            places = [
                (slice(top, min(top + tile, i)), slice(left, min(left + tile, j)))
                for top in windows(i, tile, step)
                for left in windows(j, tile, step)
                if self.shown[:, z, top : top + tile, left : left + tile].any()
            ]
            total = self.image.new_zeros(i, j)
            for rows, columns in places:
                total[rows, columns] += weight[: rows.stop - rows.start, : columns.stop - columns.start]
            for rows, columns in places:
                part = weight[: rows.stop - rows.start, : columns.stop - columns.start]
                yield Piece(z, rows, columns, part / total[rows, columns])

    def answered(self) -> Callable[..., Logits]:
        """The network on a piece of images (b, c, z, i, j), and of clinical values where it sees some."""
        net, flat, corner = self.model.net, not self.model.settings.volumes, None
        if flat and self.model.settings.input.tile is None:
            corner = self.box.corner(self.side)

        def asked(images: Float[Tensor, "b c z i j"], *given: Tensor) -> Logits:
            told: list[Tensor | None] = [None, None]
            if self.values is not None and self.known is not None:
                told = [each.expand(len(images), -1) for each in ((*given, self.values)[0], self.known)]
            logits: Tensor = net(images[:, :, 0] if flat else images, *told, corner=corner)
            return logits[:, :, None] if flat else logits

        return asked

    def cut(self, piece: Piece, images: Float[Tensor, "*b c z i j"] | None = None) -> Float[Tensor, "*b c _ _ _"]:
        """A piece of the image, or of others like it."""
        return (self.image if images is None else images)[(..., *piece.place)]

    def placed(self, relevance: Float[Tensor, "t c z i j"], depth: int) -> Float32[np.ndarray, "t m d s s"]:
        """Relevance of the image in the sample's pixels: of each map, over its colours and the slices around."""
        maps, around = len(self.model.settings.input.maps), self.model.settings.input.slices
        t, _, z, i, j = relevance.shape
        each = relevance.reshape(t, maps, around, -1, z, i, j).sum(3).cpu().numpy()
        whole = np.zeros((t, maps, depth, self.side, self.side), np.float32)
        part = whole[..., self.box.i, self.box.j]
        for distance in range(around):
            at = self.chosen + distance - around // 2
            inside = (at >= 0) & (at < depth)
            part[:, :, at[inside]] += each[:, :, distance][:, :, inside]
        return whole

    def masked(self, mask: Bool[np.ndarray, "d s s"]) -> Bool[Tensor, "z i j"]:
        """A mask of the sample's pixels in the image."""
        part = np.ascontiguousarray(mask[self.chosen][:, self.box.i, self.box.j])
        return torch.from_numpy(part).to(self.image.device)


def _shown(raw: Tensor, model: Model) -> Bool[Tensor, "c z i j"]:
    """Where each channel has a value: a colour where any of its map's has."""
    colours = model.recipe.colours
    there = (raw != 0).view(-1, colours, *raw.shape[1:]).any(1)
    return there.repeat_interleave(colours, 0)
