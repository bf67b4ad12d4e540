"""What chance changes of samples, and what it adds to them, as far as it can be set."""

from typing import Annotated, Literal

from pydantic import Field

from strokelens.settings.parts import Chance, Part, Share


class Augmentation(Part):
    """Chance changes of each sample, anew each epoch. 0 switches one off."""

    flip: Chance = 0.5
    """Chance of a left-right mirrored slice."""

    turn_deg: Annotated[float, Field(ge=0, le=180)] = 10.0
    """Turned by up to so many degrees in the slice."""

    scale: Share = 0.1
    """Grown or shrunk by up to this share."""

    shift: Share = 0.05
    """Moved by up to this share of the side."""

    brightness: Share = 0.1
    """Values multiplied by 1 ± this."""

    noise: Share = 0.02
    """Standard deviation of noise, in parts of the range of values."""

    drop_map: Share = 0.0
    """Chance that a map is lacking, so that the network learns to do without: it is then no error when one is."""

    offset: Share = 0.0
    """Added to each map's values: up to ± this."""

    elastic: Share = 0.0
    """Bent within the slice: the standard deviation of the shifts, in parts of the side."""

    low_resolution: Chance = 0.0
    """Chance of a slice that is made coarse, by a factor of up to 2."""

    lift: Annotated[int, Field(ge=0, le=16)] = 0
    """Volumes: moved by up to so many slices up or down."""

    recipe: Literal["chance", "rotate_clip_translate"] = "chance"
    """`rotate_clip_translate` is the second ancestor's, whatever else is told here: nine of ten samples are turned by
    up to 20°, moved by up to a fifth along each axis, and cut at a brightness of 0.3 to 1."""


class Diffgen(Part):
    """Random textures with lesions of their own, mixed into what is trained on: the second ancestor's `diffgen`."""

    fraction: Annotated[float, Field(ge=0, le=10)] = 0.0
    """How much of a texture is added, whose values go from 0 to 1; 0: none. The ancestor's: 1 and 1.2."""

    share: Chance = 1.0
    """Chance that a sample has one."""

    labels: Literal["shared", "union", "first"] = "shared"
    """`shared`: one lesion in all maps. `union`: one in each, all labelled. `first` is the ancestor's: one in each, of
    which only the first map's is labelled; and textures lie on air, too."""

    mode: Literal["fixed", "random"] = "fixed"
    """The textures' parameters, always the same or drawn anew."""
