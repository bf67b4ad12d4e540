"""Slices as pictures on disk: PNG and TIFF in and out, bounded in size, and turned into volumes."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from warnings import catch_warnings, filterwarnings, simplefilter

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, UnidentifiedImageError

from strokelens.cohorts.listing import regular
from strokelens.errors import FileError

SUFFIXES = (".png", ".tif", ".tiff")
"""How the name of a slice ends, in lower case."""

_LARGEST = 4096
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    struct.error,
    zlib.error,
    UserWarning,
)
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def picture_size(path: Path) -> tuple[int, int]:
    """Rows and columns of a picture; only its header is read."""
    with _opened(path) as image:
        return image.height, image.width


def read_picture(path: Path) -> UInt8[np.ndarray, "row column 3"]:
    """A picture in RGB; of 16 bits, 65535 becomes 255.

    Raises `FileError` when it is no PNG or TIFF, is damaged, has several pages, or more than 4096 pixels a side.
    """
    with _opened(path) as image:
        if not image.mode.startswith(("I", "F")):
            return np.array(image.convert("RGB"))
        values = _of_16_bits(np.array(image), path)
    return np.repeat(np.rint(values / 257).astype(np.uint8)[..., None], 3, axis=2)


def read_grey(path: Path) -> UInt8[np.ndarray, "row column"]:
    """A grey picture in 8 bits; of 16 bits, 65535 becomes 255, of colours their luma (red 76, green 150).

    16 bits that hold no more than 8 are taken as they are. Raises as `read_picture` does.
    """
    with _opened(path) as image:
        values = np.array(image if image.mode.startswith(("I", "F")) else image.convert("L"))
    if values.dtype == np.uint8:
        return values
    values = _of_16_bits(values, path)
    return (np.rint(values / 257) if values.max() > 255 else values).astype(np.uint8)


def _of_16_bits(values: Shaped[np.ndarray, "row column"], path: Path) -> Shaped[np.ndarray, "row column"]:
    """Grey values that 16 bits can hold; `FileError` for others."""
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 65535:
        span = f"{values.min():g} to {values.max():g}"
        raise FileError(f"{path.name} holds {values.dtype} from {span}; save it with 8 or 16 bits")
    return values


def write_picture(path: Path, pixels: Shaped[np.ndarray, "row column *colour"]) -> None:
    """Write 8-bit RGB, or 8- or 16-bit grey, as PNG or TIFF by the name's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def volume_of(slices: Sequence[Shaped[np.ndarray, "row column *colour"]]) -> Shaped[np.ndarray, "i j k *colour"]:
    """Slices from below to above as a volume: i runs along columns, j along rows."""
    return np.stack([np.swapaxes(each, 0, 1) for each in slices], axis=2)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture whose size is sane; whatever is wrong with it is a `FileError`, what Pillow only warns of too."""
    try:
        with _strict(), Image.open(regular(path), formats=("PNG", "TIFF")) as image:
            if max(image.size) > _LARGEST:
                raise FileError(f"{path.name} has {image.width}×{image.height} pixels, more than {_LARGEST} a side")
            if (pages := getattr(image, "n_frames", 1)) > 1:
                raise FileError(f"{path.name} has {pages} pages; save each slice as a file of its own")
            yield image
    except FileNotFoundError as error:
        raise FileError(f"{path} does not exist; check the path") from error
    except UnidentifiedImageError as error:
        raise FileError(f"{path.name} is no PNG or TIFF picture; export it again") from error
    except _BOMBS as error:
        raise FileError(f"{path.name} has more pixels than any slice; export it again") from error
    except _DAMAGE as error:
        raise FileError(f"{path.name} is damaged ({str(error).splitlines()[0][:60]}); export it again") from error


@contextmanager
def _strict() -> Iterator[None]:
    """Pillow's warnings of truncated data are errors; those of strange metadata are of no matter."""
    with catch_warnings():
        simplefilter("error", UserWarning)
        simplefilter("error", Image.DecompressionBombWarning)
        filterwarnings("ignore", "Metadata Warning", UserWarning)
        yield
