"""Relevance by gradients and by hiding: exact for linear answers, complete for others, and as slow versions give it."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from strokelens.explain.faithful import Answer, Base, Image, emptied
from strokelens.explain.places import shares
from strokelens.explain.rivals import (
    expected_gradients,
    grad_cam,
    gradient,
    input_x_gradient,
    integrated_gradients,
    occlusion,
    smoothgrad,
)

with torch.random.fork_rng():
    torch.manual_seed(0)
    IMAGE, WEIGHT = torch.randn(3, 5, 6, 7), torch.randn(3, 5, 6, 7)
    NET = nn.Sequential(
        nn.Conv3d(3, 4, 3, padding=1), nn.LeakyReLU(0.2, inplace=True), nn.MaxPool3d(2), nn.Conv3d(4, 2, 1), nn.Tanh()
    ).eval()
BASE = torch.tensor([0.5, -0.5, 0.0])


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def linear(images: Float[Tensor, "b c *space"]) -> Float[Tensor, "b"]:
    return (images * WEIGHT).flatten(1).sum(1)


def curved(images: Float[Tensor, "b c *space"]) -> Float[Tensor, "b"]:
    logits: Tensor = NET(images)
    return logits[:, 1].flatten(1).sum(1)


def planted(images: Float[Tensor, "b c *space"]) -> Float[Tensor, "b"]:
    """Reads only the first and the last channel."""
    return (images[:, 0].square() - 2 * images[:, -1]).flatten(1).sum(1)


Rival = Callable[[Answer, Image, Base], Tensor]

RIVALS: dict[str, Rival] = {
    "gradient": lambda f, x, _: gradient(f, x),
    "input_x_gradient": input_x_gradient,
    "integrated_gradients": integrated_gradients,
    "expected_gradients": lambda f, x, base: expected_gradients(f, x, emptied(x, base)[None], rng()),
    "smoothgrad": lambda f, x, _: smoothgrad(f, x, rng()),
    "occlusion": lambda f, x, base: occlusion(f, x, base, block=(2, 3, 4), batch=16),
    "grad_cam": lambda f, x, _: grad_cam(f, x, NET[0]),
}
EXACT = ("input_x_gradient", "integrated_gradients", "expected_gradients")


@pytest.mark.parametrize("name", RIVALS)
def test_relevance_is_of_float32_and_of_the_images_shape(name: str) -> None:
    found = RIVALS[name](curved, IMAGE, BASE)
    assert found.dtype == torch.float32
    assert found.shape == IMAGE.shape
    assert not found.requires_grad


@pytest.mark.parametrize("name", RIVALS)
def test_the_network_and_the_image_stay_as_they_were(name: str) -> None:
    image, before = IMAGE.clone(), [each.clone() for each in NET.parameters()]
    with torch.no_grad():
        RIVALS[name](curved, image, BASE)
    assert torch.equal(image, IMAGE)
    assert not image.requires_grad
    assert all(torch.equal(a, b) and a.grad is None for a, b in zip(NET.parameters(), before, strict=True))
    assert not NET[0]._forward_hooks


@pytest.mark.parametrize("name", EXACT)
def test_a_linear_answer_is_told_exactly(name: str) -> None:
    torch.testing.assert_close(RIVALS[name](linear, IMAGE, BASE), (IMAGE - emptied(IMAGE, BASE)) * WEIGHT)


@pytest.mark.parametrize("name", ["gradient", "smoothgrad"])
def test_the_gradient_of_a_linear_answer_is_its_weight(name: str) -> None:
    torch.testing.assert_close(RIVALS[name](linear, IMAGE, BASE), WEIGHT)


@pytest.mark.parametrize("name", sorted(set(RIVALS) - {"grad_cam"}))
def test_a_planted_answer_has_all_relevance_in_the_channels_it_reads(name: str) -> None:
    assert shares(RIVALS[name](planted, IMAGE, BASE).numpy()).absolute[[0, 2]].sum() == pytest.approx(1)


@settings(max_examples=10)
@given(st.integers(0, 100))
def test_integrated_gradients_add_up_to_what_changed(seed: int) -> None:
    image = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(seed))
    found = integrated_gradients(curved, image, BASE, steps=300, batch=100)
    with torch.no_grad():
        changed = curved(image[None]) - curved(emptied(image, BASE)[None])
    assert float(found.sum()) == pytest.approx(float(changed), abs=0.02 * float(found.abs().sum()))


def test_one_step_integrates_what_is_quadratic() -> None:
    found = integrated_gradients(lambda x: x.square().flatten(1).sum(1), IMAGE, BASE, steps=1)
    torch.testing.assert_close(found, IMAGE.square() - emptied(IMAGE, BASE).square())


@pytest.mark.parametrize("batch", [3, 50])
def test_batches_change_nothing(batch: int) -> None:
    references = torch.stack([emptied(IMAGE, BASE), torch.zeros_like(IMAGE)])
    pairs = [
        [integrated_gradients(curved, IMAGE, BASE, batch=size) for size in (1, batch)],
        [smoothgrad(curved, IMAGE, rng(), batch=size) for size in (1, batch)],
        [expected_gradients(curved, IMAGE, references, rng(), batch=size) for size in (1, batch)],
        [occlusion(curved, IMAGE, BASE, block=(2, 3, 4), batch=size) for size in (1, batch)],
    ]
    for one, many in pairs:
        torch.testing.assert_close(one, many, atol=1e-5, rtol=1e-4)


def test_expected_gradients_add_up_to_what_differs_from_the_references() -> None:
    references = torch.stack([emptied(IMAGE, BASE), torch.zeros_like(IMAGE)])
    found = expected_gradients(planted, IMAGE, references, rng(), samples=2000, batch=200)
    differs = planted(IMAGE[None])[0] - planted(references).mean()
    assert float(found.sum()) == pytest.approx(float(differs), rel=0.05)


def test_smoothgrad_without_noise_is_the_gradient_and_with_it_is_a_mean() -> None:
    torch.testing.assert_close(smoothgrad(curved, IMAGE, rng(), sd=0), gradient(curved, IMAGE))
    noise = torch.from_numpy(rng().standard_normal((2, *IMAGE.shape))).float()
    span = 0.5 * IMAGE.flatten(1).std(1, correction=0)[:, None, None, None]
    expected = torch.stack([gradient(curved, IMAGE + each * span) for each in noise]).mean(0)
    torch.testing.assert_close(smoothgrad(curved, IMAGE, rng(), samples=2, sd=0.5), expected)


# Grad-CAM


def test_grad_cam_is_the_features_weighted_by_their_mean_gradient() -> None:
    with torch.no_grad():
        features = NET[0](IMAGE[None])
    features.requires_grad_()
    rest: Tensor = NET[1:](features.clone())
    slopes = torch.autograd.grad(rest[:, 1].sum(), features)[0]
    cam = torch.stack([slopes[0, a].mean() * features[0, a].detach() for a in range(4)]).sum(0)
    torch.testing.assert_close(grad_cam(curved, IMAGE, NET[0]).sum(0), cam.clamp(min=0))
    assert float(cam.min()) < 0


def test_grad_cam_has_equal_shares_of_channels() -> None:
    np.testing.assert_allclose(shares(grad_cam(curved, IMAGE, NET[0]).numpy()).absolute, 1 / 3)


def test_grad_cam_of_a_coarse_layer_is_interpolated() -> None:
    pooled = NET[2](torch.zeros(1, 4, 5, 6, 7)).shape[2:]
    assert tuple(pooled) == (2, 3, 3)
    assert grad_cam(curved, IMAGE, NET[2]).shape == IMAGE.shape


@pytest.mark.parametrize("space", [(6,), (6, 7), (4, 6, 7)])
def test_grad_cam_works_in_any_space(space: tuple[int, ...]) -> None:
    kinds: list[type[nn.Conv1d | nn.Conv2d | nn.Conv3d]] = [nn.Conv1d, nn.Conv2d, nn.Conv3d]
    layer = kinds[len(space) - 1](2, 3, 2, stride=2)
    found = grad_cam(lambda x: layer(x).flatten(1).sum(1), torch.randn(2, *space), layer)
    assert found.shape == (2, *space)


def test_grad_cam_of_a_layer_that_decides_nothing_is_zero() -> None:
    layer = nn.Conv3d(3, 2, 1)

    def answer(images: Float[Tensor, "b c *space"]) -> Float[Tensor, "b"]:
        layer(images)
        return linear(images)

    assert not grad_cam(answer, IMAGE, layer).any()


def test_grad_cam_of_a_frozen_network_works() -> None:
    layer = nn.Conv3d(3, 2, 1).requires_grad_(False)
    assert grad_cam(lambda x: functional.relu(layer(x)).flatten(1).sum(1), IMAGE, layer).any()


def test_grad_cam_refuses_a_layer_that_is_never_called() -> None:
    with pytest.raises(ValueError, match="the answer never calls ReLU; give a layer of the network it asks"):
        grad_cam(curved, IMAGE, nn.ReLU())


# Occlusion


def occlusion_by_loops(block: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """`occlusion` of `curved`, block after block."""
    total, times = torch.zeros_like(IMAGE), torch.zeros_like(IMAGE)
    sizes = IMAGE.shape[1:]
    starts = [
        [0, *(at for at in range(step, size, step) if at - step + edge < size)]
        for size, edge, step in zip(sizes, block, stride, strict=True)
    ]
    with torch.no_grad():
        whole = curved(IMAGE[None])
        for channel in range(3):
            for corner in product(*starts):
                k, i, j = (slice(at, at + edge) for at, edge in zip(corner, block, strict=True))
                place = channel, k, i, j
                hidden = IMAGE.clone()
                hidden[place] = BASE[channel]
                total[place] += whole - curved(hidden[None])
                times[place] += 1
    return total / times


@pytest.mark.parametrize(
    ("block", "stride"),
    [((2, 3, 4), (2, 3, 4)), ((3, 3, 3), (1, 2, 3)), ((9, 6, 7), (4, 5, 7)), ((1, 2, 7), (1, 1, 1))],
)
def test_occlusion_is_what_hiding_block_after_block_gives(
    block: tuple[int, int, int], stride: tuple[int, int, int]
) -> None:
    found = occlusion(curved, IMAGE, BASE, block=block, stride=stride, batch=8)
    torch.testing.assert_close(found, occlusion_by_loops(block, stride), atol=1e-5, rtol=1e-4)


def test_occlusion_of_single_voxels_of_a_linear_answer_is_what_each_adds() -> None:
    weight, image = WEIGHT[:, :2, :3, 0], IMAGE[:, :2, :3, 0]
    found = occlusion(lambda x: (x * weight).flatten(1).sum(1), image, BASE, block=(1, 1))
    torch.testing.assert_close(found, (image - emptied(image, BASE)) * weight, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("block", "stride"), [((2, 2), None), ((2, 2, 2), (3, 1, 1)), ((2, 2, 2), (1, 1)), ((2, 2, 2), (0, 1, 1))]
)
def test_occlusion_refuses_blocks_that_leave_voxels_out(block: tuple[int, ...], stride: tuple[int, ...] | None) -> None:
    with pytest.raises(ValueError, match=r"voxels in \(5, 6, 7\); give for each axis a stride of 1 to a block"):
        occlusion(curved, IMAGE, BASE, block=block, stride=stride)


# Others' libraries, where they are


def test_integrated_gradients_are_captums() -> None:
    captum = pytest.importorskip("captum.attr")
    theirs = captum.IntegratedGradients(curved).attribute(
        IMAGE[None], emptied(IMAGE, BASE)[None], n_steps=20, method="riemann_middle"
    )
    torch.testing.assert_close(integrated_gradients(curved, IMAGE, BASE), theirs[0].float(), atol=1e-5, rtol=1e-4)


def test_occlusion_is_captums() -> None:
    captum = pytest.importorskip("captum.attr")
    theirs = captum.Occlusion(curved).attribute(
        IMAGE[None], (1, 2, 3, 4), strides=(1, 2, 3, 4), baselines=emptied(IMAGE, BASE)[None]
    )
    torch.testing.assert_close(occlusion(curved, IMAGE, BASE, block=(2, 3, 4)), theirs[0].float(), atol=1e-5, rtol=1e-4)
