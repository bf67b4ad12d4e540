"""Methods that explain the same answer about the same image, each as one map: our composites, and their rivals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn

from strokelens.errors import RelevanceError, hint
from strokelens.explain import rivals
from strokelens.explain.composites import COMPOSITES, Bounds
from strokelens.explain.randomised import constant_map, random_map
from strokelens.explanation.answering import bounds_of, by_ancestor, of_view
from strokelens.explanation.case import Explained, healthy
from strokelens.explanation.question import Region
from strokelens.explanation.view import Piece, View

STEPS: Final = 20
"""Of integrated gradients, and samples of SmoothGrad."""

_HIDDEN: Final = (3, 8, 8)
"""The block that occlusion hides, in voxels along z, i and j."""

Image = Float[Tensor, "c z i j"]


@dataclass(frozen=True, eq=False)
class Scene:
    """One answer about one image: what all methods explain, from the same reference."""

    explained: Explained
    target: Region

    @cached_property
    def view(self) -> View:
        """What the first model sees."""
        explained = self.explained
        wanted: Bool[np.ndarray, "z"] = np.any(self.target, axis=(1, 2))
        return View.of(explained.models[0], explained.sample, wanted)

    @cached_property
    def bounds(self) -> Bounds:
        """The reference and the ends of each channel."""
        explained = self.explained
        well = healthy(explained.sample, explained.found, explained.models[0])
        masks = (self.view.masked(well), self.view.masked(self.target))
        return bounds_of(self.view, *masks, explained.question.reference)

    @property
    def base(self) -> Image:
        """What stands for nothing, of each voxel."""
        assert self.bounds.reference is not None
        return self.bounds.reference

    def answer(self, images: Float[Tensor, "b c z i j"]) -> Float[Tensor, "b"]:
        """What is explained, of each image: the logits of the class, over the target."""
        total = images.new_zeros(len(images))
        for piece in self.pieces():
            total = total + self.of_piece(piece, self.view.cut(piece, images))
        return total

    def pieces(self) -> list[Piece]:
        """The pieces of the image that have any of the target."""
        mask = self.view.masked(self.target)
        return [piece for piece in self.view.pieces() if bool(mask[piece.place].any())]

    def of_piece(self, piece: Piece, images: Float[Tensor, "b c z i j"]) -> Float[Tensor, "b"]:
        """What a piece of each image adds to the answer."""
        view, target = self.view, self.explained.question.logits_of(self.explained.models[0].scheme)
        where = view.masked(self.target)[piece.place] * (1.0 if piece.share is None else piece.share)
        return target.seed(view.answered()(images), where).flatten(1).sum(1)

    def seeing(self, image: Image) -> "Scene":
        """The same about another image of the same case."""
        other = Scene(self.explained, self.target)
        other.__dict__.update(view=replace(self.view, image=image), bounds=self.bounds)
        return other

    def placed(self, relevance: Image) -> Float32[np.ndarray, "m z s s"]:
        """A map in the sample's pixels."""
        found: Float32[np.ndarray, "m z s s"] = self.view.placed(relevance[None], len(self.explained.sample.x))[0]
        return found


Method = Callable[[Scene, np.random.Generator], Image]
"""How an answer is explained; by chance, where it needs any."""


def by_composite(name: str, scene: Scene) -> Image:
    """Relevance by a named composite."""
    question = replace(scene.explained.question, composite=COMPOSITES[name], filters=())
    return of_view(scene.view, [scene.view.masked(scene.target)], question, scene.bounds, spread=False).maps[0]


def _composite(name: str) -> Method:
    return lambda scene, _: by_composite(name, scene)


def _by_ancestor(name: str) -> Method:
    """The ancestor's rules, from the same answer as all others."""

    def asked(scene: Scene, _: np.random.Generator) -> Image:
        view, question = scene.view, scene.explained.question
        found = by_ancestor(
            view, [view.masked(scene.target)], replace(question, composite=COMPOSITES[name], filters=())
        )
        return found.maps[0]

    return asked


def _integrated(scene: Scene, _: np.random.Generator) -> Image:
    return rivals.integrated_gradients(scene.answer, scene.view.image, scene.base, steps=STEPS)


def _smooth(scene: Scene, rng: np.random.Generator) -> Image:
    return rivals.smoothgrad(scene.answer, scene.view.image, rng, samples=STEPS)


def _hiding(scene: Scene, _: np.random.Generator) -> Image:
    block = tuple(min(edge, size) for edge, size in zip(_HIDDEN, scene.view.image.shape[1:], strict=True))
    return rivals.occlusion(scene.answer, scene.view.image, scene.base, block=block)


def _cam(scene: Scene, _: np.random.Generator) -> Image:
    """Of each piece by itself; a network of slices has features in the plane."""
    view, layer = scene.view, deepest(scene)
    found, flat = torch.zeros_like(view.image), not view.model.settings.volumes
    for piece in scene.pieces():
        part = view.cut(piece)

        def answer(images: Tensor, piece: Piece = piece) -> Tensor:
            return scene.of_piece(piece, images[:, :, None] if flat else images)

        cam = rivals.grad_cam(answer, part[:, 0] if flat else part, layer)
        found[(..., *piece.place)] += cam[:, None] if flat else cam
    return found


ANCESTORS: Final = tuple(name for name, each in COMPOSITES.items() if each.ancestor is not None)
"""The ancestor's own, which only its network has rules for: compared when asked for."""

COSTLY: Final = ("integrated-gradients", "smoothgrad", "occlusion")
"""Of twenty passes and more: not asked anew of networks with random layers."""

SLOW: Final = ("occlusion",)
"""Of hundreds of forward passes: compared when asked for."""

METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    {
        **{name: _composite(name) for name, each in COMPOSITES.items() if each.ancestor is None},
        "gradient": lambda scene, _: rivals.gradient(scene.answer, scene.view.image),
        "input-x-gradient": lambda scene, _: rivals.input_x_gradient(scene.answer, scene.view.image, scene.base),
        "integrated-gradients": _integrated,
        "smoothgrad": _smooth,
        "grad-cam": _cam,
        "occlusion": _hiding,
        "random": lambda scene, rng: random_map(tuple(scene.view.image.shape), rng).to(scene.view.image),
        "constant": lambda scene, _: constant_map(tuple(scene.view.image.shape)).to(scene.view.image),
        **{name: _by_ancestor(name) for name in ANCESTORS},
    }
)
"""All that can be compared, the null maps and the ancestor's last."""


def methods_named(told: str | None) -> dict[str, Method]:
    """The methods of a list of words; without one all that any network has, and that take no hour.

    Raises `RelevanceError` for a name that there is not, with the nearest.
    """
    names = (
        [name for name in METHODS if name not in (*ANCESTORS, *SLOW)]
        if told is None
        else [each.strip() for each in told.split(",") if each.strip()]
    )
    strange = next((name for name in names if name not in METHODS), None)
    if strange is not None or not names:
        raise RelevanceError(f"no method is called {strange!r}; {hint(strange or '', METHODS)}")
    return {name: METHODS[name] for name in names}


def deepest(scene: Scene) -> nn.Module:
    """The last layer before the answer that has the input's size and more features than classes: Grad-CAM's."""
    view, found = scene.view, list[nn.Module]()
    net, voxels = view.model.net, 0

    def seen(module: nn.Module, _: object, out: object) -> None:
        if isinstance(out, Tensor) and out.shape[1] > len(view.model.scheme) and out[0, 0].numel() >= voxels:
            found.append(module)

    piece = next(iter(view.pieces()))
    voxels = prod(view.cut(piece).shape[1:])
    kinds = (nn.Conv2d, nn.Conv3d)
    hooks = [each.register_forward_hook(seen) for each in net.modules() if isinstance(each, kinds)]
    try:
        with torch.no_grad():
            view.answered()(view.cut(piece)[None])
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise RelevanceError(f"{view.model.name} has no layer of the input's size for Grad-CAM; leave grad-cam out")
    return found[-1]
