"""One slice as a picture: grey or coloured, and its contours as a transparent layer. Pillow and numpy only."""

from base64 import b64encode
from io import BytesIO

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from strokelens.labels import LabelScheme
from strokelens.report.display import View, outlined
from strokelens.report.scales import Scale

_OVERSAMPLING = 2
"""Contours are drawn this much larger and then reduced, which smooths their edges."""

_CASING, _CASING_WIDTH = 0.55, 0.5
"""How dark the casing of a contour is, and how far it reaches beyond the line, in pixels."""

_FINEST = 4096
"""No oversampled tile is longer than about this, whatever the voxels."""


def grey(plane: Float[np.ndarray, "row column"], window: tuple[float, float], view: View, *, width: int) -> Image.Image:
    """A slice in grey, in a tile `width` pixels wide; NaN is black."""
    low, high = window
    level = np.nan_to_num((plane - low) * (255 / (high - low)), nan=0.0, posinf=255.0, neginf=0.0)
    image = Image.fromarray(np.ascontiguousarray(np.clip(level, 0, 255).astype(np.uint8)))
    return _placed(image, view, width, Image.Resampling.BICUBIC)


def coloured(plane: Float[np.ndarray, "row column"], scale: Scale, view: View, *, width: int) -> Image.Image:
    """A slice of a map in its colours, in a tile `width` pixels wide; NaN is black."""
    image = Image.fromarray(scale.paint(plane)).convert("RGB")
    return _placed(image, view, width, Image.Resampling.BILINEAR)


def contours(
    plane: UInt8[np.ndarray, "row column"], scheme: LabelScheme, view: View, *, width: int, line: float = 1.5
) -> Image.Image | None:
    """The outlines of the classes, `line` pixels wide on nothing (RGBA); None where the slice has none of them.

    A class is outlined together with those after it in the scheme, so that the penumbra's contour runs around the
    core as well and the two never run side by side. Lines lie inside of what they enclose; corners of voxels are
    rounded by linear interpolation at one half. A thin dark casing keeps them apart from any colour below.
    """
    classes = [scheme.value(label.name) for label in outlined(scheme)]
    if not np.isin(plane, classes).any():
        return None
    size, _ = view.tile(width)
    layer = np.zeros((size[1], size[0], 4), np.float32)
    for value in classes:
        mask = np.isin(plane, [other for other in classes if other >= value])
        if mask.any():
            place, casing, alpha = _outline(mask, view, width, line)
            colour = np.array(scheme.labels[value].colour, np.float32)
            layer[place] = _over(colour, alpha, _over(np.zeros(3, np.float32), _CASING * casing, layer[place]))
    return Image.fromarray(np.round(layer).astype(np.uint8))


def _over(
    colour: Float[np.ndarray, "3"], alpha: Float[np.ndarray, "row column"], below: Float[np.ndarray, "row column 4"]
) -> Float[np.ndarray, "row column 4"]:
    """A colour laid over a layer, alpha in 0 ... 1 (Porter and Duff's over, not premultiplied)."""
    behind = below[..., 3] / 255 * (1 - alpha)
    total = alpha + behind
    with np.errstate(invalid="ignore", divide="ignore"):
        mixed = (colour * alpha[..., None] + below[..., :3] * behind[..., None]) / total[..., None]
    stacked: np.ndarray = np.concatenate([mixed, 255 * total[..., None]], axis=-1)
    np.nan_to_num(stacked, copy=False)
    return stacked


def _outline(
    mask: Bool[np.ndarray, "row column"], view: View, width: int, line: float
) -> tuple[tuple[slice, slice], Float[np.ndarray, "r c"], Float[np.ndarray, "r c"]]:
    """A part of the tile, and how much of each of its pixels the casing and the outline cover, 0 ... 1."""
    size, inner = view.tile(width)
    # twice the voxels and twice the pixels: no single voxel is lost between two samples, and edges come out smooth
    times = max(_OVERSAMPLING, *(int(np.ceil(2 * n / m)) for n, m in zip(mask.shape[::-1], inner, strict=True)))
    times = min(times, _FINEST // max(size) + 1)
    image = Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0)))
    large = np.asarray(_placed(image, view, width, Image.Resampling.BILINEAR, times=times)) >= 128
    half = max(1, round(_CASING_WIDTH * times))
    rows = _around(np.any(large, axis=1), times, half)
    columns = _around(np.any(large, axis=0), times, half)
    part = large[rows.start * times : rows.stop * times, columns.start * times : columns.stop * times]
    edge = part & ~_eroded(part, max(1, round(line * times)))
    return (rows, columns), _reduced(~_eroded(~edge, half), times), _reduced(edge, times)


def _around(used: Bool[np.ndarray, "n"], times: int, margin: int) -> slice:
    """From the first to the last True and a margin around them, in pixels `times` as large; empty without any."""
    places = np.flatnonzero(used)
    if not places.size:
        return slice(0, 0)
    return slice(max(0, int(places[0]) - margin) // times, min(used.size, int(places[-1]) + margin + times) // times)


def _reduced(area: Bool[np.ndarray, "row column"], times: int) -> Float[np.ndarray, "r c"]:
    """How much of each pixel an area on a raster `times` as fine covers."""
    rows, columns = area.shape[0] // times, area.shape[1] // times
    cover: np.ndarray = area.reshape(rows, times, columns, times).mean(axis=(1, 3), dtype=np.float32)
    return cover


def _eroded(mask: Bool[np.ndarray, "row column"], depth: int) -> Bool[np.ndarray, "row column"]:
    """What is left after taking `depth` pixels off every edge (by squares; beyond the picture counts as inside)."""
    for axis in (0, 1):
        padded = np.pad(mask, [(depth, depth) if other == axis else (0, 0) for other in (0, 1)], constant_values=True)
        length = mask.shape[axis]
        left = np.take(padded, np.arange(length), axis=axis)
        for start in range(1, 2 * depth + 1):
            left &= padded[start : start + length] if axis == 0 else padded[:, start : start + length]
        mask = left
    return mask


def _placed(image: Image.Image, view: View, width: int, filtering: Image.Resampling, *, times: int = 1) -> Image.Image:
    """The slice in its proportions at the middle of a black tile, both `times` as large."""
    size, inner = view.tile(width)
    fitted = image.resize((inner[0] * times, inner[1] * times), filtering)
    if inner == size:
        return fitted
    tile = Image.new(image.mode, (size[0] * times, size[1] * times))
    tile.paste(fitted, ((size[0] - inner[0]) // 2 * times, (size[1] - inner[1]) // 2 * times))
    return tile


def centre_of(view: View, fraction: tuple[float, float], width: int) -> tuple[float, float]:
    """The pixel of a tile at which a place of the slice lies, given as fractions of its width and height."""
    size, inner = view.tile(width)
    across = (size[0] - inner[0]) // 2 + fraction[0] * inner[0]
    return across, (size[1] - inner[1]) // 2 + fraction[1] * inner[1]


def bar(scale: Scale) -> Image.Image:
    """The colours of a scale as a row of pixels, low to high."""
    return Image.fromarray(np.ascontiguousarray(scale.table[None, 1:])).convert("RGB")


def jpeg(image: Image.Image, *, quality: int = 86) -> str:
    """The picture as a JPEG data URI, colours at full resolution."""
    return _uri(image, "jpeg", quality=quality, subsampling=0, optimize=True)


def png(image: Image.Image) -> str:
    """The picture as a PNG data URI."""
    return _uri(image, "png", optimize=True)


def data_uri(content: bytes, kind: str) -> str:
    """Bytes of an image as a data URI."""
    return f"data:image/{kind};base64,{b64encode(content).decode('ascii')}"


def _uri(image: Image.Image, kind: str, **options: int | bool) -> str:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return data_uri(stream.getvalue(), kind)
