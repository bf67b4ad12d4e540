"""Config files of the second ancestor: that they are such, and the settings that do the same; what is ignored is named.

Its keys and defaults are those of its `config.json` (the specification's 1.4). What it did with a key counts, not what
the key is called: its Adam had no weight decay, and the ranges of `normalization` were never read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from strokelens.errors import SettingsError, hint

Told = Mapping[str, Any]

CHANNELS: Final = {"ADC": "ADC", "MTT": "MTT", "rCBF": "CBF", "rCBV": "CBV", "Tmax": "Tmax", "TTP": "TTP"}
"""Their names of maps, and ours; OT, the truth, is no map."""

TRAINING_MODES: Final = ("UNet3D", "UNet3D_diff")

_MARKS: Final = ("data_modalities", "model_label_name", "training_mode", "dataloader", "relative_checkpoint_dir")
_ENOUGH = 2
_DRAWS = 10
_AUGMENTATIONS: Final = {"no_augmentation": "chance", "rotate_then_clip_translate": "rotate_clip_translate"}
_STILL: Final = dict.fromkeys(("flip", "turn_deg", "scale", "shift", "brightness", "noise"), 0.0)

_IGNORED: Final[Mapping[str, str]] = {
    "working_dir": "give --out, or -o",
    "relative_checkpoint_dir": "give --out, or -o",
    "data_directory": "give --data",
    "data_submode": "there is one way to read a cohort",
    "evaluation_mode": "it is a mode of `main.py --mode evaluation --submode …`",
    "visual_mode": "it is a mode of `main.py --mode visual --submode …`",
    "lrp_mode": "relevance is asked of a model, not told in its settings",
    "LRP": "relevance is asked of a model, not told in its settings",
    "debug_test_mode": "`strokelens inspect` looks at the data",
    "misc": "cases are named where they are shown",
    "normalization.source": "each volume's own lowest and highest voxel were taken, whatever was told",
    "augmentation.number_of_data_augmented_per_case": "samples are changed anew each epoch; one of ten is not",
}
"""What has no place in settings, and why, or what has it instead."""


@dataclass(frozen=True)
class Converted:
    """Settings that do the same, as JSON has them, and what of the file they do not tell, each with the reason."""

    settings: dict[str, object]
    ignored: tuple[str, ...]


def is_second(text: str) -> bool:
    """Whether this is a config file of the second ancestor.

    >>> is_second('{"training_mode": "UNet3D", "data_modalities": []}'), is_second('{"name": "training_mode"}')
    (True, False)
    """
    return sum(f'"{key}"' in text for key in _MARKS) >= _ENOUGH


def converted(text: str, source: str) -> Converted:
    """The settings that train what a config file trained.

    >>> found = converted('{"training_mode": "UNet3D_diff", "dataloader": {"resize": [48, 48, 19]}}', "config.json")
    >>> found.settings["diffgen"], found.settings["input"]["depth"], found.ignored[-1][:9]
    ({'fraction': 1.0, 'labels': 'first'}, 19, 'not there')

    Raises `SettingsError` for what is no JSON, and for a value that made the ancestor fail or load nothing.
    """
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{source}: no JSON: {error}; a comma or a bracket may be lacking there") from error
    if not isinstance(told, dict):
        raise SettingsError(f"{source}: no config, which is a mapping; give the second ancestor's config.json")
    reader, ignored = _Reader(told, source), list[str]()
    settings = _settings(reader, ignored)
    ignored += _unread(told, reader)
    ignored.append("not there: a fifth of the patients validates, and the last epoch is kept as it was there")
    return Converted(settings, tuple(ignored))


def _unread(told: Told, reader: "_Reader", place: str = "") -> list[str]:
    """Each key of a config that was not read, with the reason, or the nearest that is."""
    found = []
    for key, value in told.items():
        whole = f"{place}{key}"
        reason = _IGNORED.get(whole)
        if reason is not None:
            found.append(f"{whole}: {reason}")
        elif isinstance(value, dict) and any(each.startswith(f"{whole}.") for each in (*reader.read, *_IGNORED)):
            found += _unread(value, reader, f"{whole}.")
        elif whole not in reader.read:
            why = _IGNORED["normalization.source"] if _is_source(whole) else _strange(whole, reader)
            found.append(f"{whole}: {why}")
    return found


def _is_source(key: str) -> bool:
    return key.startswith("normalization.") and key.endswith("_source_min_max")


def _strange(key: str, reader: "_Reader") -> str:
    return f"it had no such key; {hint(key, tuple(reader.read))}"


@dataclass(frozen=True)
class _Reader:
    """Values of a config by their dotted keys, with the ancestor's defaults."""

    told: Told
    source: str
    read: set[str] = field(default_factory=set)

    def has(self, key: str) -> bool:
        """Whether the file tells it."""
        return self._find(key) is not None

    def number(self, key: str, default: float, *, whole: bool = False, least: float = 0) -> Any:
        """A number, not below `least`."""
        found = self._find(key)
        value = default if found is None else found[0]
        wanted = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted) or value < least:
            kind = "a whole number" if whole else "a number"
            raise self.wrong(key, value, f"{kind} of at least {least:g}")
        return value

    def value(self, key: str, default: Any) -> Any:
        """What is told, whatever it is."""
        found = self._find(key)
        return default if found is None else found[0]

    def choice(self, key: str, default: str, choices: tuple[str, ...]) -> str:
        """One of some words."""
        value = self.value(key, default)
        if value not in choices:
            raise self.wrong(key, value, hint(str(value), choices))
        return str(value)

    def wrong(self, key: str, value: object, wanted: str) -> SettingsError:
        """The error for a value."""
        return SettingsError(f"{self.source}: {key} is {json.dumps(value)[:60]}; {wanted}")

    def _find(self, key: str) -> tuple[Any] | None:
        self.read.add(key)
        part: Any = self.told
        for name in key.split("."):
            if not isinstance(part, dict) or name not in part:
                return None
            part = part[name]
        return (part,)


def _settings(reader: _Reader, ignored: list[str]) -> dict[str, object]:
    mixed = reader.choice("training_mode", "UNet3D", TRAINING_MODES) == "UNet3D_diff"
    batch = reader.number("basic.batch_size", 1, whole=True, least=1)
    if mixed and batch != 1:
        ignored.append("basic.batch_size: UNet3D_diff took one volume at a time")
        batch = 1
    kept = reader.value("basic.keep_at_most_n_latest_models", 4)
    training: dict[str, object] = {
        "batch": batch,
        "lesion_share": None,
        "snapshots": reader.number("basic.save_model_every_N_epoch", 1, whole=True, least=1),
        "keep_snapshots": None
        if kept is None
        else reader.number("basic.keep_at_most_n_latest_models", 4, whole=True, least=1),
    }
    name = "".join(
        each if each.isalnum() or each in "_-" else "_" for each in str(reader.value("model_label_name", "UNet3D"))
    )
    return {
        "name": name or "UNet3D",
        "about": "Translated from the second ancestor's config.",
        "legacy": True,
        "input": _input(reader),
        "network": {"kind": "unet3d", "norm": "batch"},
        "loss": {"name": "cross_entropy"},
        "optimizer": _optimizer(reader, ignored),
        "stages": [
            {
                "encoders": "full",
                "epochs": reader.number("basic.n_epoch", 2, whole=True, least=1),
                "patience": 1_000_000,
            }
        ],
        "augmentation": _augmentation(reader),
        "diffgen": {"fraction": 1.0, "labels": "first"} if mixed else {},
        "training": training | ({"draws": _DRAWS} if mixed else {}),
        "split": {"validation": 0.2, "test": 0.0},
    }


def _input(reader: _Reader) -> dict[str, object]:
    names = reader.value("data_modalities", [*CHANNELS, "OT"])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise reader.wrong("data_modalities", names, f"names of maps: {', '.join(CHANNELS)}")
    strange = next((name for name in names if name not in CHANNELS and name != "OT"), None)
    if strange is not None:
        raise reader.wrong("data_modalities", names, f"{strange!r}: {hint(strange, tuple(CHANNELS))}")
    size = reader.value("dataloader.resize", [48, 48, 19])
    if not (
        isinstance(size, list) and [type(each) for each in size] == [int] * 3 and size[0] == size[1] and min(size) > 0
    ):
        raise reader.wrong("dataloader.resize", size, "give [W, W, D], such as [48, 48, 19]")
    for name in CHANNELS:
        target = reader.value(f"normalization.{name}_target_min_max", [0, 1])
        if target not in ([0, 1], [0.0, 1.0]):
            wanted = "only [0, 1] is translated; take input.form robust, or values, in settings of your own"
            raise reader.wrong(f"normalization.{name}_target_min_max", target, wanted)
    return {
        "maps": [CHANNELS[name] for name in names if name != "OT"],
        "form": "minmax",
        "classes": 2,
        "target": "lesion",
        "size": size[0],
        "depth": size[2],
        "resampling": "nearest",
    }


def _optimizer(reader: _Reader, ignored: list[str]) -> dict[str, object]:
    rate = reader.number("learning.learning_rate", 0.0002)
    plain: dict[str, object] = {"learning_rate": rate, "clip_value": None, "max_norm": None, "l1": 0, "l2": 0}
    if reader.choice("learning.mechanism", "adam", ("adam", "SGD")) == "SGD":
        if reader.has("learning.betas"):
            ignored.append("learning.betas: of adam")
        decay = reader.number("learning.weight_decay", 1e-5)
        return plain | {"name": "sgd", "momentum": reader.number("learning.momentum", 0.9), "weight_decay": decay}
    ignored += [
        f"learning.{key}: of SGD; its adam had none"
        for key in ("momentum", "weight_decay")
        if reader.has(f"learning.{key}")
    ]
    betas = reader.value("learning.betas", [0.5, 0.9])
    if not (
        isinstance(betas, list)
        and len(betas) == 2
        and all(isinstance(each, int | float) and 0 <= each < 1 for each in betas)
    ):
        raise reader.wrong("learning.betas", betas, "give two numbers from 0 to 1, such as [0.5, 0.9]")
    return plain | {"name": "adam", "betas": betas}


def _augmentation(reader: _Reader) -> dict[str, object]:
    kind = reader.choice("augmentation.type", "no_augmentation", tuple(_AUGMENTATIONS))
    return {**_STILL, "recipe": _AUGMENTATIONS[kind]}
