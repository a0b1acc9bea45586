"""Patterns and renames, apart from any checkpoint."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_ckpt.objects.selection import ROOT, Selection, below, join

NAMES = st.sampled_from(["a", "b", "c*", "[d]"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
RENAMES = st.dictionaries(PATHS, PATHS, max_size=3).filter(
    lambda renames: len(set(renames.values())) == len(renames)
)


@given(RENAMES, PATHS)
def test_what_a_component_of_the_object_takes_is_what_goes_there(rename, path):
    selection = Selection.of(rename=rename)
    target = selection.target(path)
    assert target is None or selection.stored(target) == path
    stored = selection.stored(path)
    assert stored is None or selection.target(stored) == path


@given(st.lists(PATHS, max_size=3), st.lists(PATHS, max_size=3), PATHS)
def test_what_is_wanted_is_reached_from_the_root(components, exclude, path):
    selection = Selection.of(components, exclude)
    if selection.wants(path):
        levels = path.split("/")
        assert all(selection.reaches("/".join(levels[:n])) for n in range(1, len(levels) + 1))


@pytest.mark.parametrize(
    ("pattern", "path", "wanted"),
    [
        ("a", "a", True),
        ("a", "a/b", True),
        ("a/", "a/b", True),
        ("a/b", "a", False),
        ("*", "a/b", True),
        ("*", ROOT, False),
        (".", ROOT, True),
        (".", "a", False),
        ("a*", "b", False),
        ("*/b", "a/b/c", True),
        ("a?c", "a/c", False),
        ("A", "a", False),
    ],
)
def test_patterns(pattern, path, wanted):
    assert Selection.of(pattern).wants(path) == wanted
    assert Selection.of(exclude=pattern).wants(path) != wanted


def test_paths():
    assert join(ROOT, "a") == "a"
    assert join("a", "b") == "a/b"
    assert below("a/b", "a")
    assert below("a", ROOT)
    assert not below("ab", "a")
    assert not below(ROOT, ROOT)
