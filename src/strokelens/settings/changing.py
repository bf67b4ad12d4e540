"""Settings with some values changed, as the command line tells them: `training.batch=8`."""

import json
from collections.abc import Iterable
from typing import Any

from strokelens.errors import SettingsError
from strokelens.settings.reading import parse_settings
from strokelens.settings.schema import Settings


def changed(settings: Settings, changes: Iterable[str]) -> Settings:
    """The settings with each KEY=VALUE; a key has dots, `stages.0.epochs`; a value is JSON, else a text.

    `stages.all.KEY` changes it in every stage. Raises `SettingsError` for what is no change, and as reading does.

    >>> small = changed(Settings(name="a"), ["network.width=0.125", "name=b", "stages.all.epochs=3"])
    >>> small.network.width, small.name, small.stages[0].epochs
    (0.125, 'b', 3)
    """
    told = settings.model_dump(mode="json", exclude_unset=True)
    told.setdefault("stages", [stage.model_dump(mode="json", exclude_unset=True) for stage in settings.stages])
    for change in changes:
        key, sign, text = change.partition("=")
        if not sign or not key.strip():
            raise SettingsError(f"no change {change!r}; give KEY=VALUE, such as training.batch=8")
        _put(told, key.strip().split("."), _value(text), change)
    return parse_settings(json.dumps(told), f"{settings.name} with changes")


def _put(told: Any, path: list[str], value: object, change: str) -> None:
    """Set a value at a place, in every stage where the place says `all`."""
    for at, part in enumerate(path[:-1]):
        if isinstance(told, list) and part == "all":
            for each in told:
                _put(each, path[at + 1 :], value, change)
            return
        told = told.setdefault(part, {}) if isinstance(told, dict) else _item(told, part, change)
    if not isinstance(told, dict):
        raise SettingsError(f"no change {change!r}: {'.'.join(path[:-1])} is no part; name a setting within one")
    told[path[-1]] = value


def _item(told: Any, part: str, change: str) -> Any:
    if isinstance(told, list) and part.isascii() and part.isdigit() and int(part) < len(told):
        return told[int(part)]
    count = f"it has {len(told)}, from 0" if isinstance(told, list) else "it has no parts"
    raise SettingsError(f"no change {change!r}: there is no {part!r}; {count}")


def _value(text: str) -> object:
    """What JSON says it is, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
