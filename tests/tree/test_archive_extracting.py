"""An archive becomes a folder again; what is damaged becomes neither."""

import os
import shutil
import signal
import subprocess
import sys
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tune_ckpt as tc
from tests.agents import Agent, trained
from tests.tree.stores import content_of
from tune_ckpt.errors import CorruptDataError, InvalidNameError
from tune_ckpt.tree import archive as archiving
from tune_ckpt.tree.layout import FileNames, check_names
from tune_ckpt.tree.packing import Component, pack_tree
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.storage.store import LocalStore, open_store
from tune_ckpt.tree.writing import write_packed

# ------------------------------------------------------------------------------ never a half file


def _damage(file):
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_a_damaged_checkpoint_is_not_archived(saved, tmp_path):
    tc.archive(saved, tmp_path / "c.zip")
    before = (tmp_path / "c.zip").read_bytes()
    file = next(saved.glob("model/head/state.*"))
    _damage(file)
    with pytest.raises(CorruptDataError, match=f"model/head/{file.name}"):
        tc.archive(saved, tmp_path / "c.zip")
    assert (tmp_path / "c.zip").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["c", "c.zip"]


def test_a_killed_writer_leaves_the_old_archive(saved, archived, tmp_path):
    code = (
        "import os, signal, sys\n"
        "import tune_ckpt as tc\n"
        "from tune_ckpt.tree import archive\n"
        "from tune_ckpt.tree.storage import zip_format\n"
        "calls = iter([zip_format.directory, lambda _: os.kill(os.getpid(), signal.SIGKILL)])\n"
        "archive.directory = lambda members: next(calls)(members)\n"
        "tc.archive(*sys.argv[1:])\n"
    )
    before = archived.read_bytes()
    trained(step=8).save_to_path(saved)
    run = subprocess.run([sys.executable, "-c", code, saved, archived])
    assert run.returncode == -signal.SIGKILL
    assert archived.read_bytes() == before
    assert [name for name in os.listdir(tmp_path) if ".tune_ckpt-" in name]  # it had begun
    tc.archive(saved, archived)
    assert not [name for name in os.listdir(tmp_path) if ".tune_ckpt-" in name]


# ------------------------------------------------------------------------------ back to a folder


def test_extract_gives_the_folder_back(saved, archived, tmp_path):
    assert tc.extract(archived, tmp_path / "d") == str(tmp_path / "d")
    assert content_of(tmp_path / "d") == content_of(saved)


def test_extract_replaces_an_older_checkpoint_whole(archived, tmp_path):
    trained(step=1).save_to_path(tmp_path / "d", use_msgpack=True)
    tc.extract(archived, tmp_path / "d")
    assert Agent.from_checkpoint(tmp_path / "d").step == 7
    assert not tc.verify(tmp_path / "d").warnings


def test_a_damaged_archive_is_not_extracted(saved, archived, tmp_path):
    trained(step=1).save_to_path(tmp_path / "d")
    state = next(saved.glob("state.*")).read_bytes()
    altered = state[:-1] + bytes([state[-1] ^ 1])
    archived.write_bytes(archived.read_bytes().replace(state, altered))
    with pytest.raises(CorruptDataError):
        tc.extract(archived, tmp_path / "d")
    assert Agent.from_checkpoint(tmp_path / "d").step == 1


def test_a_file_that_changes_while_it_is_copied_is_noticed(saved, monkeypatch, tmp_path):
    files = [*archiving.tree_files(open_tree(open_store(saved)))]
    _damage(next(saved.glob("state.*")))
    with pytest.raises(CorruptDataError):
        [archiving._copied(file, None) for file in files]


# ------------------------------------------------------------------------------ any tree


def _can_be_names(components):
    try:
        check_names(components, FileNames())
    except InvalidNameError:
        return False
    return True


_NAMES = st.text(min_size=1, max_size=8).filter(lambda name: _can_be_names([name]))
_STATES = st.dictionaries(st.text(max_size=3), st.integers() | st.binary(max_size=200), max_size=3)
_TREES = st.recursive(
    st.tuples(_STATES, st.just({})),
    lambda trees: st.tuples(
        _STATES,
        st.dictionaries(_NAMES, trees, max_size=3).filter(_can_be_names),
    ),
    max_leaves=6,
)


def _component(tree):
    state, components = tree
    children = {name: _component(child) for name, child in components.items()}
    return Component("builtins:dict", state, components=children)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=_TREES, format=st.sampled_from(["pickle", "msgpack"]))
def test_any_tree_comes_back(tmp_path, tree, format):
    for name in ("c", "d"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    write_packed(LocalStore(tmp_path / "c"), pack_tree(_component(tree), format))
    tc.archive(tmp_path / "c", tmp_path / "c.zip")
    assert tc.load_state(tmp_path / "c.zip") == tc.load_state(tmp_path / "c")
    tc.extract(tmp_path / "c.zip", tmp_path / "d")
    assert content_of(tmp_path / "d") == content_of(tmp_path / "c")
    with zipfile.ZipFile(tmp_path / "c.zip") as file:
        assert file.testzip() is None
        assert {name: file.read(name) for name in file.namelist()} == content_of(tmp_path / "c")
