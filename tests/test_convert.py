"""Any checkpoint into another format or dialect, on files alone."""

import pickle
import shutil
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from pyarrow import fs

import tune_ckpt as tc
from tests.agents import Agent, same_agents, trained
from tests.conftest import REPO
from tests.tree.stores import content_of
from tune_ckpt import rllib
from tune_ckpt.errors import InvalidArgumentError, NotACheckpointError, UnsupportedStateError
from tune_ckpt.formats.pickle_by_name import dumps_by_name
from tune_ckpt.formats.references import Reference


@pytest.fixture
def packed(tmp_path):
    trained().save_to_path(tmp_path / "m", use_msgpack=True)
    return tmp_path / "m"


@pytest.mark.parametrize("in_place", [True, False])
def test_msgpack_becomes_the_pickle_that_was_saved(packed, tmp_path, in_place):
    trained().save_to_path(tmp_path / "p")
    path = packed if in_place else tmp_path / "new"
    digest = tc.describe(packed).digest
    assert tc.convert_checkpoint(packed, None if in_place else path, to="pickle") == str(path)
    assert tc.diff(path, tmp_path / "p").equal
    assert tc.describe(path).lineage == {"converted_from": digest}
    assert tc.verify(path).ok
    assert same_agents(Agent.from_checkpoint(path), trained())


def test_pickle_names_a_class_that_is_not_importable(packed, tmp_path):
    source = (packed / "metadata.json").parent
    code = (
        "import sys, tune_ckpt as tc; tc.convert_checkpoint(*sys.argv[1:], to='pickle'); "
        "print([name for name in sys.modules if 'agents' in name])"
    )
    command = [sys.executable, "-c", code, str(source), str(tmp_path / "new")]
    run = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(REPO)}
    )
    assert run.stdout == "[]\n"
    with open(tmp_path / "new" / "class_and_ctor_args.pkl", "rb") as file:
        assert pickle.load(file)["class"] is Agent


def test_a_name_in_a_pickle_is_the_thing_itself_once_loaded():
    data = dumps_by_name([Reference("collections:OrderedDict"), Reference("os:path.join")] * 2)
    import collections
    import os

    assert pickle.loads(data) == [collections.OrderedDict, os.path.join] * 2


def test_what_has_no_name_is_refused():
    with pytest.raises(UnsupportedStateError):
        dumps_by_name({"f": lambda: 0})


def test_neither_way_there_is_an_error_that_lists_the_ways(packed, tmp_path, corpus):
    with pytest.raises(InvalidArgumentError, match=r"to='json' .* pickle, msgpack"):
        tc.convert_checkpoint(packed, tmp_path / "n", to="json")
    with pytest.raises(InvalidArgumentError, match=r"dialect='rllib' .* typed"):
        tc.convert_checkpoint(packed, tmp_path / "n", to="pickle", dialect="rllib")
    theirs = corpus / "ray2.60.0-py3.11-new-ppo-single" / "checkpoint"
    with pytest.raises(InvalidArgumentError, match=r"to='pickle' .* msgpack"):
        tc.convert_checkpoint(theirs, tmp_path / "n", to="pickle")
    with pytest.raises(InvalidArgumentError, match="new folder"):
        tc.convert_checkpoint(theirs)
    with pytest.raises(NotACheckpointError):
        tc.convert_checkpoint(tmp_path / "none")


@pytest.mark.parametrize("use_msgpack", [True, False])
def test_ours_in_rllibs_dialect_is_a_checkpoint_of_rllibs(tmp_path, use_msgpack):
    trained().save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    path = tc.convert_checkpoint(tmp_path / "c", tmp_path / "r", dialect="rllib")
    info = tc.get_checkpoint_info(path)
    assert (info["checkpoint_version"], info["format"]) == ("2.1", "msgpack")
    assert info["class"] == "tests.agents:Agent"
    found = tc.diff(tmp_path / "c", path)
    assert {item.path for item in found.values} == {"shape", "shape/1"}  # tuples become lists
    assert not found.arrays
    assert tc.verify(path).unverified


def test_what_rllib_could_not_read_is_refused_with_its_path(tmp_path):
    tc.save_state({"times": {"a": np.array(["2026-01-01"], "M8[D]")}}, tmp_path / "c")
    with pytest.raises(UnsupportedStateError, match="times/a"):
        tc.convert_checkpoint(tmp_path / "c", tmp_path / "r", dialect="rllib")
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_rllib_itself_reads_its_dialect(tmp_path):
    from tests.rllib_workers import Part

    part = Part(3)
    tc.save({"part": part}, tmp_path / "c")
    path = tc.convert_checkpoint(tmp_path / "c", tmp_path / "r", dialect="rllib")
    fresh = Part.from_checkpoint(f"{path}/part")
    np.testing.assert_array_equal(fresh.w, part.w)
    other = Part()
    other.restore_from_path(f"{path}/part")
    np.testing.assert_array_equal(other.w, part.w)


def test_under_rllibs_name_rllibs_own_is_converted_too(packed, tmp_path):
    theirs = REPO / "tests/data/rllib/ray2.3.1-py3.8-old-ppo-single/checkpoint"
    path = tc.convert_to_msgpack_checkpoint(theirs, tmp_path / "theirs")
    assert tc.get_checkpoint_info(path)["format"] == "msgpack"
    assert tc.convert_to_msgpack_checkpoint(packed) == str(packed)


def _record(path):
    return SimpleNamespace(path=str(path), filesystem=None)


WRITERS_OF_OURS = {
    "msgpack": tc.convert_checkpoint,
    "pickle": partial(tc.convert_checkpoint, to="pickle"),
    "RLlib's dialect": partial(tc.convert_checkpoint, dialect="rllib"),
    "archive": lambda src, dst: tc.archive(src, f"{dst}.zip"),
    "extract": tc.extract,
    "export": lambda src, dst: tc.CheckpointRecord.export(_record(src), dst),
}
WRITERS_OF_RLLIBS = {
    "msgpack": tc.convert_checkpoint,
    "RLlib's msgpack": rllib.convert_to_msgpack_checkpoint,
    "upgrade": rllib.upgrade_checkpoint,
    "bundle": rllib.export_bundle,
    "model": lambda src, dst: rllib.export_model(src, "safetensors", dst),
    "module": lambda src, dst: rllib.migrate_to_rl_module(src, path=dst),
}


def _check_refused(write, checkpoint, link):
    link.symlink_to(checkpoint)
    before = content_of(checkpoint)
    for path in (checkpoint / "new", checkpoint / "a" / "b", link / "new"):
        with pytest.raises(InvalidArgumentError, match=r"is in the checkpoint .* and none in it"):
            write(checkpoint, path)
    assert content_of(checkpoint) == before


@pytest.mark.parametrize("write", WRITERS_OF_OURS.values(), ids=WRITERS_OF_OURS)
def test_nothing_that_is_made_of_a_checkpoint_is_written_into_it(packed, tmp_path, write):
    _check_refused(write, packed, tmp_path / "link")


@pytest.mark.parametrize("write", WRITERS_OF_RLLIBS.values(), ids=WRITERS_OF_RLLIBS)
def test_nothing_that_is_made_of_rllibs_is_written_into_it(corpus, tmp_path, write):
    source = corpus / "ray2.10.0-py3.10-old-ppo-single" / "checkpoint"
    shutil.copytree(source, tmp_path / "c")
    _check_refused(write, tmp_path / "c", tmp_path / "link")


def test_beside_a_checkpoint_of_a_like_name_there_is_room(packed, tmp_path):
    assert tc.convert_checkpoint(packed, f"{packed}2") == f"{packed}2"


def test_what_takes_a_checkpoints_place_may_be_written(packed):
    assert tc.convert_checkpoint(packed, packed, to="pickle") == str(packed)
    assert tc.verify(packed).ok


@pytest.mark.parametrize("to", ["msgpack", "pickle"])
def test_a_name_that_ends_in_zip_makes_a_single_file(packed, tmp_path, to):
    made = tc.convert_checkpoint(packed, tmp_path / "c.zip", to=to)
    assert (tmp_path / "c.zip").is_file()
    assert tc.verify(made).ok
    assert tc.describe(made).format == to
    with pytest.raises(InvalidArgumentError, match="can be a single file"):
        tc.convert_checkpoint(packed, tmp_path / "d.zip", dialect="rllib")


def test_elsewhere_than_on_the_local_disk_it_is_the_same():
    memory = fs._MockFileSystem()
    tc.save_state({"a": 1}, "c", filesystem=memory)
    for name in ("c/new", "c"):
        with pytest.raises(InvalidArgumentError, match="another path than the checkpoint's own"):
            tc.extract("c", name, filesystem=memory)
    tc.extract("c", "cc", filesystem=memory)
