"""Verification of what RLlib wrote: what can be noticed is reported, and nothing is called."""

import os
import pickle
import shutil

import pytest

import tune_ckpt as tc
from tests.agents import trained
from tests.tree.damages import cut, delete, flip
from tests.tree.rllib_trees import write_tree


@pytest.fixture(params=[False, True], ids=["pickle", "msgpack"])
def foreign(request, tmp_path):
    return write_tree(tmp_path / "rllib", use_msgpack=request.param)


def test_a_tree_of_rllibs_is_parsed_and_otherwise_unverified(foreign):
    report = tc.verify(foreign)
    assert report.ok
    assert report.unverified
    files = [file for file in foreign.rglob("*") if file.is_file() and file.suffix != ".json"]
    assert report.nbytes == sum(file.stat().st_size for file in files)
    assert "it has no digests; its files can be parsed" in str(report)


def _half(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _empty(file):
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [delete, cut, _half, _empty])
def test_what_can_be_noticed_of_a_damaged_tree_of_rllibs_is_reported(foreign, damage):
    files = [file for file in sorted(foreign.rglob("*")) if file.is_file()]
    for file in files:
        if damage is delete and file.suffix == ".json":
            continue  # only the metadata name the other files
        whole = file.read_bytes()
        damage(file)
        report = tc.verify(foreign)
        name = str(file.relative_to(foreign))
        if damage is delete and file.stem == "state":
            name = name.removesuffix(file.suffix)  # RLlib's metadata leave it out
        assert [fault.path for fault in report.faults] == [name]
        file.write_bytes(whole)


def test_nothing_that_a_pickle_of_rllibs_names_is_called(foreign, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "called"),)

    (foreign / "class_and_ctor_args.pkl").write_bytes(pickle.dumps({"class": Evil()}))
    assert tc.verify(foreign).ok
    assert not (tmp_path / "called").exists()


def test_links_to_folders_in_a_tree_of_rllibs_are_not_followed(foreign):
    for name in ("a", "b"):
        (foreign / "learner" / name).symlink_to("..")  # followed, they would lead round for ever
    report = tc.verify(foreign)
    assert report.ok
    assert [warning.path for warning in report.warnings] == ["learner/a", "learner/b"]
    assert [part.name for part in tc.describe(foreign, component="learner").components] == [
        "module"
    ]


def test_one_of_ours_inside_of_rllibs_is_verified(foreign):
    trained().save_to_path(foreign / "agent", use_msgpack=True)
    assert tc.verify(foreign).ok
    flip(foreign / "agent" / "model" / "state.msgpack")
    (fault,) = tc.verify(foreign).faults
    assert fault.path == "agent/model/state.msgpack"


def _cases(corpus):
    return [case for case in sorted(corpus.iterdir()) if (case / "checkpoint").is_dir()]


def test_every_checkpoint_of_the_corpus_passes_and_is_unverified(corpus):
    for case in _cases(corpus):
        report = tc.verify(case / "checkpoint")
        assert report.ok, str(report)
        assert report.unverified
    assert len(_cases(corpus)) > 50


def test_a_file_cut_short_is_found_in_every_generation_of_rllibs(corpus, tmp_path):
    cases = [case for case in _cases(corpus) if any((case / "checkpoint").glob("*.json"))]
    for case in [case for case in cases if "tune" not in case.name]:
        path = tmp_path / case.name
        shutil.copytree(case / "checkpoint", path)
        suffixes = (".pkl", ".msgpack", ".msgpck", ".pt")
        files = [file for file in sorted(path.rglob("*")) if file.suffix in suffixes]
        for file in files:
            cut(file)
        faults = {fault.path for fault in tc.verify(path).faults}
        assert faults >= {str(file.relative_to(path)) for file in files}, case.name
        shutil.rmtree(path)


@pytest.mark.slow
def test_what_rllib_writes_today_passes(tmp_path):
    import gymnasium as gym
    from ray.rllib.algorithms.ppo.ppo_catalog import PPOCatalog
    from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule

    module = DefaultPPOTorchRLModule(
        observation_space=gym.spaces.Box(-1, 1, (4,)),
        action_space=gym.spaces.Discrete(2),
        model_config={"fcnet_hiddens": [8], "head_fcnet_hiddens": []},
        catalog_class=PPOCatalog,
    )
    for use_msgpack in (False, True):
        path = tmp_path / str(use_msgpack)
        module.save_to_path(path, use_msgpack=use_msgpack)
        report = tc.verify(path)
        assert report.ok
        assert report.unverified
        assert report.nbytes > 100
        assert tc.describe(path).cls.endswith(":DefaultPPOTorchRLModule")
        assert tc.describe(path).parameter_count > 50
        cut(next(path.glob("module_state.*")))
        assert not tc.verify(path).ok
