"""Settings from a file or a name; errors are one line that names the key, the value, and the nearest key there is."""

import json
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from strokelens.errors import SettingsError, hint
from strokelens.settings.networks import KINDS
from strokelens.settings.parts import kinds_of, models_in
from strokelens.settings.schema import Settings
from strokelens.settings.second import converted, is_second
from strokelens.settings.theirs import is_theirs, name_of_theirs

PUBLISHED: Final[Mapping[str, str]] = {
    "Model_F(PMs)": "Baseline",
    "Model_F(PMs,M)": "Mdl_F_PmM",
    "Model_F(PMs,N)": "Mdl_F_PmN",
    "Model_F(PMs,M,N)": "Mdl_F_PmMN",
    "Model_U(PMs)": "Mdl_U_Pm",
    "Model_U(PMs,M)": "Mdl_U_PmM",
    "Model_U(PMs,N)": "Mdl_U_PmN",
    "Model_U(PMs,M,N)": "Mdl_U_PmMN",
    "Model_G(PMs)": "Mdl_G_Pm",
    "Model_G(PMs,M)": "Mdl_G_PmM",
    "Model_G(PMs,N)": "Mdl_G_PmN",
    "Model_G(PMs,M,N)": "Mdl_G_PmMN",
}
"""The names of the published files, and ours."""

VOLUMES: Final = (
    "Isles2017",
    "Isles2017_patches",
    "Isles2017_clinical",
    "Isles2017_dynunet",
    "Isles2017_segresnet",
    "Isles2017_legacy",
)
"""The bundled settings of MR volumes."""

_MOST_BYTES = 1_000_000


def published_names() -> tuple[str, ...]:
    """The settings of the published table of CT perfusion, in its order.

    >>> published_names()[:2]
    ('Baseline', 'Mdl_F_PmM')
    """
    return tuple(PUBLISHED.values())


def bundled_names() -> tuple[str, ...]:
    """The settings that come with us: those of the published table, and those of MR volumes.

    >>> bundled_names()[-1]
    'Isles2017_legacy'
    """
    return (*published_names(), *VOLUMES)


def read_settings(source: str) -> Settings:
    """The settings of a JSON file, or of a bundled name; a folder before the name and `.json` after it do not matter.

    A file on disk is taken before a bundled one of that name. Raises `SettingsError` for an unknown name, what is no
    JSON, and what the schema does not know or allow.

    >>> read_settings("Setting/Mdl_U_PmN.json").input.clinical, read_settings("Model_G(PMs,M).json").name
    (('nihss',), 'Mdl_G_PmM')
    """
    path = Path(source)
    if os.path.isfile(source):
        return parse_settings(_text(path), source)
    stem = path.name.removesuffix(".json")
    name = PUBLISHED.get(stem, stem)
    if name not in bundled_names():
        raise SettingsError(
            f"{source}: no such file, and no bundled setting {stem!r}; {hint(stem, (*bundled_names(), *PUBLISHED))}"
        )
    return parse_settings((files(__package__) / "bundled" / f"{name}.json").read_text(encoding="utf-8"), name)


def parse_settings(text: str, source: str) -> Settings:
    """Settings from JSON; `source` is how messages call it. Raises `SettingsError`."""
    if is_theirs(text):
        raise SettingsError(f"{source} is of the first ancestor's own format, which is not read; {_instead(text)}")
    if is_second(text):
        raise SettingsError(
            f"{source} is a config of the second ancestor's; `strokelens settings convert {source} -o settings.json` "
            "translates it"
        )
    try:
        told = json.loads(text, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{source}: no JSON: {error}; a comma or a bracket may be lacking there") from error
    try:
        return Settings.model_validate_json(json.dumps(told))
    except ValidationError as error:
        raise SettingsError(f"{source}: {_sentence(error)}") from error


def convert_settings(path: Path) -> tuple[Settings, tuple[str, ...]]:
    """The settings that do what a config file of the second ancestor did, and what of it they do not tell, and why.

    Raises `SettingsError` where it is none, or trained what cannot be.
    """
    if not path.is_file():
        raise SettingsError(f"{path}: no such file; give the second ancestor's config.json")
    text = _text(path)
    if not is_second(text):
        raise SettingsError(
            f"{path} is no config of the second ancestor's; `strokelens settings check` tells what it is"
        )
    found = converted(text, str(path))
    return parse_settings(json.dumps(found.settings), f"{path}, translated"), found.ignored


def _instead(text: str) -> str:
    """Which bundled setting is what the ancestor's setting is."""
    name = name_of_theirs(text)
    if name in PUBLISHED:
        return f"give {PUBLISHED[name]}, which is bundled and trains the same network"
    return "give a bundled setting: `strokelens settings list`"


def _text(path: Path) -> str:
    if path.stat().st_size > _MOST_BYTES:
        raise SettingsError(f"{path}: {path.stat().st_size} bytes are no settings; a file of at most 1 MB is read")
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as text: {error}; store it as UTF-8") from error


def _sentence(error: ValidationError) -> str:
    """The first thing that is wrong."""
    first = error.errors(include_url=False)[0]
    loc = _without_kinds(first["loc"])
    place = ".".join(str(part) for part in loc)
    if first["type"] == "extra_forbidden":
        *above, key = loc
        known = _keys(list(first["loc"][:-1]))
        said = f"no setting {key!r}{' in ' + '.'.join(map(str, above)) if above else ''}; {hint(str(key), known)}"
    elif first["type"] == "value_error":
        said = f"{place}: {first['ctx']['error']}" if place else str(first["ctx"]["error"])
    elif first["type"] == "missing":
        said = f"no {place!r}, which every setting has"
    else:
        said = (
            f"{place or 'the whole'}: {first['msg'][0].lower()}{first['msg'][1:]}; it is {json.dumps(first['input'])}"
        )
    return said


def _without_kinds(loc: Sequence[int | str]) -> list[int | str]:
    """A place as people write it: pydantic names the kind of a network after `network`."""
    return [part for at, part in enumerate(loc) if not (at == 1 and loc[0] == "network" and part in KINDS)]


def _keys(place: list[int | str]) -> list[str]:
    """The settings that there are at a place."""
    model: type[BaseModel] = Settings
    kind = place.pop(1) if len(place) > 1 and place[0] == "network" else None
    for part in place:
        if isinstance(part, str):
            parts = models_in(model.model_fields[part].annotation)
            model = next(each for each in parts if kind is None or kind in kinds_of(each))
    return list(model.model_fields)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A part of settings; `ValueError` where it tells a name twice, of which one would be lost."""
    told = dict(pairs)
    if len(told) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is told twice")
    return told
