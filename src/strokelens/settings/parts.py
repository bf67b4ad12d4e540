"""What every part of a setting is, and numbers that many of them have."""

from typing import Annotated, get_args

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Chance = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """Frozen, strict, and without unknown keys."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


def models_in(annotation: object) -> list[type[BaseModel]]:
    """The models that an annotation names, itself or within it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for each in getattr(annotation, "__args__", ()) for model in models_in(each)]


def kinds_of(model: type[BaseModel]) -> tuple[str, ...]:
    """What the `kind` of a model may be, where that tells it from others."""
    kinds: tuple[str, ...] = get_args(model.model_fields["kind"].annotation)
    return kinds
