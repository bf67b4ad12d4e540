"""Label schemes: names, integers, grey levels, and merging."""

import numpy as np
import pytest

from strokelens.errors import LabelError
from strokelens.labels import (
    BACKGROUND,
    BRAIN,
    CORE,
    CORE_ONLY,
    CORE_PENUMBRA,
    CORE_PENUMBRA_BRAIN,
    HYPOPERFUSED_ONLY,
    LESION_ONLY,
    PENUMBRA,
    LabelScheme,
)


def test_the_integer_of_a_class_is_its_position() -> None:
    assert [CORE_PENUMBRA_BRAIN.value(name) for name in ("background", "brain", "penumbra", "core")] == [0, 1, 2, 3]


def test_iterating_gives_the_classes_in_order() -> None:
    assert list(CORE_PENUMBRA) == [BACKGROUND, PENUMBRA, CORE]
    assert len(CORE_PENUMBRA) == 3


def test_the_grey_levels_are_those_of_the_stavanger_cohort() -> None:
    assert CORE_PENUMBRA_BRAIN.to_grey(np.arange(4)).tolist() == [0, 85, 170, 255]


def test_merging_carries_classes_by_name() -> None:
    assert CORE_PENUMBRA_BRAIN.merge(np.arange(4), CORE_PENUMBRA).tolist() == [0, 0, 1, 2]


def test_merging_drops_what_the_target_lacks() -> None:
    assert CORE_PENUMBRA_BRAIN.merge(np.arange(4), CORE_ONLY).tolist() == [0, 0, 0, 1]
    assert CORE_PENUMBRA.merge(np.arange(3), LESION_ONLY).tolist() == [0, 0, 0]


def test_a_mask_of_two_classes_is_their_union() -> None:
    assert CORE_PENUMBRA_BRAIN.mask(np.arange(4), "penumbra", "core").tolist() == [False, False, True, True]


def test_a_mask_of_no_class_is_empty() -> None:
    assert not CORE_PENUMBRA.mask(np.arange(3)).any()


def test_an_empty_array_of_labels_is_in_every_scheme() -> None:
    assert CORE_ONLY.merge(np.zeros((0, 4), np.uint8), CORE_PENUMBRA).shape == (0, 4)


def test_an_unknown_class_gets_a_hint() -> None:
    with pytest.raises(LabelError, match=r"^no label 'Penumbre' in this scheme; did you mean 'penumbra'\?$"):
        CORE_PENUMBRA.value("Penumbre")


def test_labels_out_of_the_scheme_are_listed_with_it() -> None:
    message = r"^labels \[2, 9\] are not in the scheme {0: 'background', 1: 'core'}$"
    with pytest.raises(LabelError, match=message):
        CORE_ONLY.to_grey(np.array([0, 1, 2, 9]))


def test_a_scheme_starts_with_the_background() -> None:
    with pytest.raises(LabelError, match="a label scheme starts with the background"):
        LabelScheme((CORE, BACKGROUND))


def test_an_empty_scheme_is_refused() -> None:
    with pytest.raises(LabelError, match="a label scheme starts with the background"):
        LabelScheme(())


def test_a_class_named_twice_is_refused() -> None:
    with pytest.raises(LabelError, match="names each class once, not background, brain, brain"):
        LabelScheme((BACKGROUND, BRAIN, BRAIN))


def test_only_the_penumbra_has_a_private_code() -> None:
    private = [label.name for label in CORE_PENUMBRA_BRAIN if label.code[1].startswith("99")]
    assert private == ["penumbra"]


def test_hypoperfused_tissue_has_the_grey_of_the_penumbra_and_no_code_of_the_infarct() -> None:
    assert HYPOPERFUSED_ONLY.to_grey(np.arange(2)).tolist() == [0, 170]
    assert HYPOPERFUSED_ONLY.labels[1].code[0] != CORE.code[0]
