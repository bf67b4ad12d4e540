"""VGG16's published weights from a file, or fetched once; their checksum tells which they are."""

import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from tempfile import NamedTemporaryFile
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from strokelens.errors import FileError

IMAGENET: Final = "imagenet"
URL: Final = "https://download.pytorch.org/models/vgg16-397923af.pth"
"""The weights of torchvision's VGG16; the name ends with the start of their SHA-256."""

_TIMEOUT_S = 30
_BLOCK = 1 << 20
_UNREADABLE = (
    SafetensorError, UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError, UserWarning
)  # fmt: skip
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Weights:
    """Tensors by name, the SHA-256 of their file, and what messages call it."""

    tensors: Mapping[str, Tensor]
    sha256: str
    source: str


def read_weights(source: str) -> Weights:
    """The weights of a file, `.safetensors` or torch's `.pth`, or of `imagenet`, which is fetched once and kept.

    A `.pth` is read by torch's restricted reader, which makes tensors and nothing else: no code of the file is run.
    Raises `FileError` when the file is missing or holds anything else, or nothing can be fetched here.
    """
    path = fetched() if source == IMAGENET else Path(source)
    if not path.is_file():
        raise FileError(f"{path} is no file; give one with the weights of VGG16, or `imagenet`")
    tensors = _tensors(path)
    weights = Weights(tensors, _digest(path), path.name)
    logger.info("%s: SHA-256 %s", weights.source, weights.sha256)
    return weights


def fetched(url: str = URL) -> Path:
    """The file in the user's cache; fetched when it is not there, and checked against the name's checksum."""
    name = url.rsplit("/", 1)[-1]
    path = cache_folder() / name
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, delete=False) as part:
            try:
                with urlopen(url, timeout=_TIMEOUT_S) as answer:
                    while block := answer.read(_BLOCK):
                        part.write(block)
                _check(Path(part.name), name)
                Path(part.name).replace(path)
            finally:
                Path(part.name).unlink(missing_ok=True)
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise FileError(
            f"{url} cannot be fetched ({reason}); fetch it where there is a network and give its path as `pretrained`, "
            "or set that to null to start from chance"
        ) from error
    return path


def cache_folder() -> Path:
    """Where fetched files are kept: `$STROKELENS_CACHE`, `$XDG_CACHE_HOME/strokelens`, or `~/.cache/strokelens`."""
    own = os.environ.get("STROKELENS_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "strokelens"


def _check(path: Path, name: str) -> None:
    start = name.removesuffix(".pth").rsplit("-", 1)[-1]
    if not _digest(path).startswith(start):
        raise FileError(f"{name} came with another checksum than its name tells; fetch it again")


def _tensors(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(action="error"):
            told = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise FileError(f"{path.name} holds no weights that can be read safely; export them as .safetensors") from error
    if not isinstance(told, Mapping) or not all(isinstance(value, Tensor) for value in told.values()):
        raise FileError(f"{path.name} holds no mapping of names to tensors; export the model's state_dict")
    return {str(name): value for name, value in told.items()}


def _digest(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
