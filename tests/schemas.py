"""What is asked of every JSON Schema that we publish."""

from collections.abc import Mapping
from typing import Any


def unexplained(schema: Mapping[str, Any]) -> list[str]:
    """The fields that may be null and do not say why."""
    definitions = {schema.get("title", "it"): schema, **schema["$defs"]}
    return [
        f"{owner}.{name}"
        for owner, definition in definitions.items()
        for name, field in definition["properties"].items()
        if {"type": "null"} in field.get("anyOf", []) and "description" not in field
    ]
