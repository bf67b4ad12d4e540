"""What a reader must know of the models that were asked, and of what they were not told."""

from collections.abc import Mapping, Sequence
from typing import Final

from strokelens.case import Case
from strokelens.flags import Flag
from strokelens.model import Model

_WORDS: Final[Mapping[str, str]] = {"nihss": "NIHSS", "age_years": "age", "female": "sex"}

_SIMULATED: Final = Flag(
    "simulated-model",
    "the model was trained on simulated patients only: what it finds in real ones is evidence of nothing",
    grave=True,
)


def model_flags(models: Sequence[Model], case: Case) -> tuple[Flag, ...]:
    """Whether a model saw simulated patients only, and which clinical values it would have wanted."""
    flags = [_SIMULATED] if any(model.card.simulated for model in models) else []
    lacking = [_WORDS[name] for name in models[0].recipe.clinical if name not in case.clinical]
    if lacking:
        told = f"{' and '.join(lacking)} not known to the network, which takes it into account: the mask may change"
        flags.append(Flag("clinical-unknown", told))
    return tuple(flags)


def clinical_facts(models: Sequence[Model], case: Case) -> dict[str, float | str]:
    """The clinical values that the models saw."""
    return {f"network_{name}": case.clinical.get(name, "unknown") for name in models[0].recipe.clinical}
