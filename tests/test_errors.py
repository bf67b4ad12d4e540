"""The tree of errors, and the hint that ends their messages."""

import inspect
import re

import pytest

from strokelens import errors
from strokelens.errors import StrokelensError, hint

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_a_strokelens_error(kind: type[Exception]) -> None:
    assert issubclass(kind, StrokelensError)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_says_when_it_is_raised(kind: type[Exception]) -> None:
    assert kind.__doc__
    assert "\n" not in kind.__doc__


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    assert set(re.findall(r"\b[A-Z]\w*Error\b", errors.__doc__)) == {kind.__name__ for kind in CLASSES}


def test_a_name_in_the_wrong_case_is_found() -> None:
    assert hint("TMAX", ["Tmax", "TTP", "CBF"]) == "did you mean 'Tmax'?"


def test_a_name_near_nothing_lists_all_in_order() -> None:
    assert hint("quux", ["Tmax", "CBF", "ADC"]) == "known: ADC, CBF, Tmax"
