"""The public surface: what `import strokelens` promises, and that it is really there."""

import ast
import inspect
from pathlib import Path

import pytest

import strokelens


def test_the_surface_is_sorted_as_ruff_sorts_it() -> None:
    constants, classes, functions = (
        [name for name in strokelens.__all__ if kind(name)]
        for kind in (str.isupper, lambda name: name[0].isupper() and not name.isupper(), str.islower)
    )
    assert strokelens.__all__ == sorted(constants) + sorted(classes) + sorted(functions)


@pytest.mark.parametrize("name", strokelens.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(strokelens, name) is not None


@pytest.mark.parametrize("name", strokelens.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    thing = getattr(strokelens, name)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert thing.__doc__
        assert not thing.__doc__.startswith(f"{name}(")  # a dataclass without words documents itself so


def test_what_type_checkers_see_is_what_is_there() -> None:
    tree = ast.parse(Path(strokelens.__file__).read_text())
    (checking,) = (node for node in tree.body if isinstance(node, ast.If))
    homes = {
        alias.name: node.module for node in checking.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert homes == dict(strokelens._HOMES)
    assert set(homes) == set(strokelens.__all__)


def test_every_public_name_appears_in_dir() -> None:
    assert set(strokelens.__all__) <= set(dir(strokelens))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'strokelens' has no attribute 'Cases'$"):
        strokelens.Cases  # noqa: B018  # the question is the test
