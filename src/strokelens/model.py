"""A trained network with all that is needed to use it: settings, classes, and a card that tells where it came from.

On disk it is a folder of `weights.safetensors` and `card.json`; nothing in it is ever unpickled.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import file_digest
from pathlib import Path
from typing import Annotated, Final, Literal

import torch
from pydantic import Field, FiniteFloat, NonNegativeInt, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from strokelens import __version__
from strokelens.cohorts.encode import write_json
from strokelens.errors import FileError
from strokelens.flags import RESEARCH_USE
from strokelens.labels import (
    CORE_ONLY,
    CORE_PENUMBRA,
    CORE_PENUMBRA_BRAIN,
    HYPOPERFUSED_ONLY,
    LESION_ONLY,
    LabelScheme,
)
from strokelens.networks.built import built, described
from strokelens.networks.network import Network, laid_out
from strokelens.prepare import Recipe
from strokelens.settings.reading import parse_settings
from strokelens.settings.schema import Settings

FORMAT: Final = "strokelens model 1"
"""What a card calls itself."""

MODEL: Final = "model"
"""The folder of a run that holds its model."""

FOLDS: Final = "folds"
"""The folder of a cross-validation that holds its runs, which are an ensemble."""

CARD: Final = "card.json"
WEIGHTS: Final = "weights.safetensors"
LICENCE: Final = "GPL-3.0-or-later"

_SCHEMES: Final = {3: CORE_PENUMBRA, 4: CORE_PENUMBRA_BRAIN}
_TARGETS: Final = {"hypoperfused": HYPOPERFUSED_ONLY, "core": CORE_ONLY, "lesion": LESION_ONLY}
_UNFIT = "{} does not fit its card: {}; copy the whole folder again"
_ALWAYS = ("persons", "simulated", "split_sha256", "data_sha256", "scores", "pretrained_sha256", "version")
"""What every card tells of where its model came from."""
_NO_MODEL = "{} is no model by strokelens; give the folder `model` that `strokelens train` wrote"


Modality = Literal["CT", "MR"]


@dataclass(frozen=True)
class Card:
    """Where a model came from.

    `persons` are those of each part of the split, whose hash is `split_sha256`; `data_sha256` is that of the prepared
    cases. `scores` are of the persons that validated, who chose when to stop: they flatter. `pretrained_sha256` is that
    of the weights that the encoders began with. `pixel_mm` is the median edge of a network's pixel over the cases that
    trained, and `modality` what all of them were scanned with; both are None where that is not known.
    """

    persons: Mapping[str, NonNegativeInt]
    simulated: bool
    split_sha256: str
    data_sha256: str
    scores: Mapping[str, FiniteFloat] = field(default_factory=dict)
    pretrained_sha256: str | None = None
    version: str = __version__
    pixel_mm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    modality: Modality | None = None

    @property
    def trained_on(self) -> str:
        """One line for people."""
        count = self.persons.get("train", 0)
        return f"trained on {count} {'simulated ' if self.simulated else ''}patient{'' if count == 1 else 's'}"


_CARDS: Final = TypeAdapter(Card)


@dataclass(frozen=True, eq=False)
class Model:
    """A network, the settings that it was trained with, and its card.

    >>> settings = Settings(name="small", network={"width": 1 / 64})
    >>> model = Model(built(settings), settings, Card({"train": 3}, True, "", ""))
    >>> model.name, model.scheme.names, model.card.trained_on
    ('small (simulated patients)', ('background', 'penumbra', 'core'), 'trained on 3 simulated patients')
    """

    net: Network
    settings: Settings
    card: Card

    @property
    def name(self) -> str:
        """The settings' name; of a model that saw any simulated patient it says so."""
        return f"{self.settings.name}{' (simulated patients)' if self.card.simulated else ''}"

    def on(self, device: torch.device) -> "Model":
        """The model, computing there; its network itself moves, so this model's and any other's that has it, too."""
        return replace(self, net=self.net.to(device))

    @property
    def scheme(self) -> LabelScheme:
        """The classes of its segmentations."""
        return scheme_of(self.settings)

    @property
    def recipe(self) -> Recipe:
        """How a case is prepared for it."""
        return recipe_of(self.settings)


def scheme_of(settings: Settings) -> LabelScheme:
    """The classes that are told apart."""
    seen = settings.input
    return _TARGETS[seen.target] if seen.classes == 2 else _SCHEMES[seen.classes]


def recipe_of(settings: Settings) -> Recipe:
    """How cases are prepared for a training."""
    seen = settings.input
    return Recipe(
        seen.maps,
        scheme_of(settings),
        seen.clinical,
        seen.form,
        seen.size,
        seen.resampling,
        seen.depth,
        settings.augmentation.drop_map > 0,
    )


def save_model(model: Model, folder: Path) -> None:
    """Write a model into an existing folder; the card comes last, so that a folder with a card is whole."""
    part = folder / f".{WEIGHTS}"
    save_file({name: tensor.contiguous() for name, tensor in model.net.state_dict().items()}, part)
    part.replace(folder / WEIGHTS)
    card = {
        "format": FORMAT,
        "name": model.name,
        "intended_use": RESEARCH_USE,
        "licence": LICENCE,
        "labels": dict(enumerate(model.scheme.names)),
        "channels": list(model.settings.input.maps),
        **asdict(model.card),
        "weights_sha256": weights_sha256_of(folder / WEIGHTS),
        "settings": model.settings.model_dump(mode="json"),
    }
    part = folder / f".{CARD}"
    write_json(part, card)
    part.replace(folder / CARD)


def load_model(path: Path) -> Model:
    """The model of a folder, of a run's folder that holds one, or of the card itself; ready to predict.

    Raises `FileError` when there is none, or its parts are damaged or do not fit each other.
    """
    folder = _folder(path)
    try:
        told = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"{folder / CARD} cannot be read: {error}; train anew, or copy the model again") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise FileError(_NO_MODEL.format(folder))
    settings = parse_settings(json.dumps(told.get("settings")), str(folder / CARD))
    card = _card(told, folder)
    net = _loaded(settings, folder / WEIGHTS)
    known = told.get("weights_sha256")  # a card of an earlier version has none
    if known is not None and known != weights_sha256_of(folder / WEIGHTS):
        raise FileError(_UNFIT.format(folder / WEIGHTS, "its SHA-256 is another"))
    return Model(net, settings, card)


def _loaded(settings: Settings, path: Path) -> Network:
    """The network with the weights of a file, channels last, as it is asked; a large one is built only if they fit."""
    with torch.device("meta"):
        wanted = {name: list(tensor.shape) for name, tensor in described(settings).state_dict().items()}
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        _check_shapes(found, wanted, path)
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise FileError(_UNFIT.format(path, str(error).splitlines()[0])) from error
    strange = next((name for name, tensor in weights.items() if not torch.isfinite(tensor).all()), None)
    if strange is not None:
        raise FileError(f"{path}: {strange} holds values that are no numbers, so it finds nothing; train it anew")
    net = built(settings)
    net.load_state_dict(weights)
    return laid_out(net).eval()


def _check_shapes(found: Mapping[str, list[int]], wanted: Mapping[str, list[int]], path: Path) -> None:
    """Raise `FileError` unless there are the tensors that are wanted, in their shapes, and no others."""
    for name in dict.fromkeys((*wanted, *found)):
        if found.get(name) != wanted.get(name):
            told = f"{name} has shape {found.get(name, 'none')}, where {wanted.get(name, 'none')} is needed"
            raise FileError(_UNFIT.format(path, told))


def weights_sha256(path: Path) -> str:
    """The SHA-256 of the file of a model's weights, as `sha256sum` tells it; `FileError` where there is no model."""
    return weights_sha256_of(_folder(path) / WEIGHTS)


def weights_sha256_of(path: Path) -> str:
    """The SHA-256 of a file of weights."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def is_model(path: Path) -> bool:
    """Whether a path leads to a model, told by names alone."""
    return any((each / CARD).is_file() for each in (path, path / MODEL))


def members(path: Path) -> tuple[Path, ...]:
    """The models that a path leads to: itself, or all folds of a cross-validation."""
    if is_model(path) or not (path / FOLDS).is_dir():
        return (path,)
    runs = [each for each in (path / FOLDS).iterdir() if each.name.isdigit()]
    unfinished = next((each for each in runs if not is_model(each)), None)
    if unfinished is not None or not runs:
        raise FileError(
            f"{unfinished or path / FOLDS} has no model yet; let `strokelens crossvalidate` go on with {path}"
        )
    return tuple(sorted(runs, key=lambda each: int(each.name)))


def _folder(path: Path) -> Path:
    for each in (path.parent if path.name == CARD else path, path / MODEL):
        if (each / CARD).is_file():
            return each
    if not path.exists():
        raise FileError(f"{path} is not there; train a model there first, or give the folder of one")
    raise FileError(_NO_MODEL.format(path))


def _card(told: Mapping[str, object], folder: Path) -> Card:
    """The card, with all of its values of the right kind; what was added later may be lacking."""
    lacking = next((name for name in _ALWAYS if name not in told), None)
    if lacking is not None:
        raise FileError(f"{folder / CARD} has no {lacking!r}; copy the whole folder again")
    given = {each.name: told[each.name] for each in fields(Card) if each.name in told}
    try:
        return _CARDS.validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        said = f"{place} is {json.dumps(first['input'])[:40]}: {first['msg'][0].lower()}{first['msg'][1:]}"
        raise FileError(f"{folder / CARD}: {said}; copy the whole folder again") from error
