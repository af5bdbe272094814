"""Every error has words of its own, a place in the drawn tree and a status."""

import re
from importlib import import_module

import pytest

from app.api.errors import STATUS_OF
from app.errors import BellhopError

# The package has a name `errors` of its own, which is the door's.
errors = import_module("app.errors")


def tree(cls: type[BellhopError] = BellhopError) -> list[type[BellhopError]]:
    """Return all errors of app.errors, the root first."""
    return [cls, *(below for sub in cls.__subclasses__() for below in tree(sub))]


def ours() -> list[type[BellhopError]]:
    return [cls for cls in tree() if cls.__module__ == errors.__name__]


def leaves() -> list[type[BellhopError]]:
    return [cls for cls in ours() if not cls.__subclasses__()]


def test_there_are_errors() -> None:
    assert len(leaves()) > 5
    assert BellhopError not in leaves()


@pytest.mark.parametrize("cls", leaves())
def test_every_leaf_has_a_status_of_its_own_or_of_its_branch(
    cls: type[BellhopError],
) -> None:
    status = next((STATUS_OF[base] for base in cls.__mro__ if base in STATUS_OF), None)
    assert status is not None, f"{cls.__name__} would be answered as a fault of ours"
    assert 400 <= status <= 599
    assert status != 500


@pytest.mark.parametrize("cls", ours())
def test_every_error_says_what_is_wrong_in_a_sentence(cls: type[BellhopError]) -> None:
    words = cls.__dict__.get("__doc__") or ""
    assert words.endswith("."), f"{cls.__name__} has no message of its own"
    assert words == words.strip()
    assert "\n" not in words, "it is given to callers as it is"


def test_no_two_errors_say_the_same() -> None:
    messages = [cls.__doc__ for cls in ours()]
    assert len(set(messages)) == len(messages)


@pytest.mark.parametrize(
    "cls", [cls for cls in leaves() if cls.__init__ is Exception.__init__]
)
def test_an_error_without_words_of_its_raiser_says_those_of_its_class(
    cls: type[BellhopError],
) -> None:
    assert str(cls()) == cls.__doc__
    assert str(cls("since the disk is full")) == "since the disk is full"


def test_every_status_is_of_an_error_that_there_is() -> None:
    assert set(STATUS_OF) <= set(ours())
    assert BellhopError not in STATUS_OF, "each branch says its own"


def test_the_drawn_tree_is_the_one_that_there_is() -> None:
    drawn = re.findall(r"^([│├└─ ]*)([A-Z]\w+)\b", errors.__doc__ or "", re.MULTILINE)
    depths = {name: len(lead) // 4 for lead, name in drawn if lead}
    depths["BellhopError"] = 0
    real = {cls.__name__: cls.__mro__.index(BellhopError) for cls in ours()}
    assert depths == real


def test_no_error_below_the_line_knows_a_status() -> None:
    for cls in ours():
        assert not hasattr(cls, "code"), cls
        assert not hasattr(cls, "status"), cls
