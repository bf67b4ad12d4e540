"""Every setting with its default, what it may be, and what it means; and the JSON Schema. Both come from the models."""

import json
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from strokelens.settings.parts import kinds_of, models_in
from strokelens.settings.schema import Settings

Explained = dict[str, Any]
"""JSON."""


def schema_text() -> str:
    """The JSON Schema of a settings file."""
    return json.dumps(Settings.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def explained_text() -> str:
    """`Setting_explained.json`: a settings file in whose place of each value stands what that value is.

    A part of several kinds has each under its kind.

    >>> json.loads(explained_text())["input"]["size"]["default"]
    512
    """
    return json.dumps(_explained(Settings), indent=2, ensure_ascii=False) + "\n"


def settings_text(settings: Settings, *, whole: bool = False) -> str:
    """Settings as their file: what differs from the defaults, or `whole`; reading it gives the same settings.

    >>> from strokelens.settings.reading import read_settings
    >>> json.loads(settings_text(read_settings("Mdl_U_PmN")))["stages"]
    [{'encoders': 'full'}]
    """
    return settings.model_dump_json(indent=2, exclude_defaults=not whole) + "\n"


def _explained(model: type[BaseModel]) -> Explained:
    schemas = model.model_json_schema()
    return {
        name: _field(field, schemas["properties"][name], schemas.get("$defs", {}))
        for name, field in model.model_fields.items()
    }


def _field(field: FieldInfo, schema: Explained, parts: Explained) -> Explained:
    annotation = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _explained(annotation)
    if isinstance(field.default, BaseModel):
        return {" or ".join(kinds_of(model)): _explained(model) for model in models_in(annotation)}
    told: Explained = {"means": " ".join((field.description or "").split())}
    told |= {"needed": True} if field.is_required() else {"default": json.loads(_plain(field))}
    item = schema.get("items", {}).get("$ref")
    if item is not None:
        inner = parts[item.rsplit("/", 1)[-1]]["properties"]
        return told | {"each": {name: {"means": one["description"]} | _bounds(one) for name, one in inner.items()}}
    return told | _bounds(schema)


def _bounds(schema: Explained) -> Explained:
    """What the value may be, in JSON Schema's words, without what is told elsewhere."""
    return {key: value for key, value in schema.items() if key not in ("description", "default", "title")}


def _plain(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if isinstance(value, tuple):
        return json.dumps([each.model_dump(mode="json") if isinstance(each, BaseModel) else each for each in value])
    return json.dumps(value)
