"""Where a network computes when it is asked."""

import torch

from strokelens.errors import SettingsError

_DIGITS = 4


def device_named(text: str) -> torch.device:
    """`cpu`, the number of a GPU, or `auto`: the first GPU where there is one; `SettingsError` for what is not there.

    >>> device_named("cpu")
    device(type='cpu')
    """
    name, there = text.strip().lower(), torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not there):
        return torch.device("cpu")
    if name == "auto":
        return torch.device("cuda", 0)
    if not is_number(name):
        raise SettingsError(f"no device {text!r}; give auto, cpu, or the number of a GPU")
    if int(name) >= there:
        raise SettingsError(f"there is no GPU {name}; this machine has {there}; give auto, or cpu")
    return torch.device("cuda", int(name))


def is_number(text: str) -> bool:
    """Whether it is a whole number of at most four digits: nobody has more devices or processes."""
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS
