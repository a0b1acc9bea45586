"""One tree by several writers: whole once the one that commits has written its root."""

import pytest
from pyarrow import fs

import tune_ckpt as tc
from tune_ckpt.errors import NotACheckpointError, TuneCkptError
from tune_ckpt.tree.merging import commit, write_components
from tune_ckpt.tree.packing import DICT, Component, pack_tree
from tune_ckpt.tree.storage.store import open_store


@pytest.fixture(params=["staged", "in place"])
def place(request, tmp_path):
    """A path, and its filesystem."""
    if request.param == "staged":
        return tmp_path / "c", None
    return "c", fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())


def _packed(root, parts):
    components = {name: Component(DICT, {"w": value}) for name, value in parts.items()}
    return pack_tree(Component(DICT, {"step": root}, components=components), "msgpack")


def _save(place, step, *shares):
    """Save a checkpoint of which each writer gives a share; the first one commits."""
    store, packed = open_store(*place), [_packed(step, share) for share in shares]
    records = {}
    for share in packed:
        records |= write_components(store, share)
    commit(store, packed[0], records)


def _load(place):
    return tc.load_state(place[0], filesystem=place[1])


def test_without_the_commit_there_is_no_checkpoint(place):
    write_components(open_store(*place), _packed(1, {"a": 1}))
    with pytest.raises(NotACheckpointError):
        _load(place)


def test_shares_of_all_are_one_checkpoint(place):
    _save(place, 1, {"a": 1}, {"b": 2}, {})
    assert _load(place) == {"step": 1, "a": {"w": 1}, "b": {"w": 2}}
    assert not tc.verify(place[0], filesystem=place[1]).warnings


def test_an_older_checkpoint_is_replaced(place):
    _save(place, 1, {"a": 1}, {"b": 1})
    _save(place, 2, {"a": 2}, {"b": 1})  # one of them is the same again
    assert _load(place) == {"step": 2, "a": {"w": 2}, "b": {"w": 1}}
    report = tc.verify(place[0], filesystem=place[1])
    assert report.ok
    assert not report.warnings


def test_an_older_checkpoint_with_other_components_is_never_mixed_with_them(place):
    _save(place, 1, {"a": 1}, {"b": 1})
    write_components(open_store(*place), _packed(2, {"a": 2}))
    with pytest.raises(TuneCkptError, match=r"another checkpoint|missing"):
        _load(place)
