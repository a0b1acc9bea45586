"""Weights of every generation, byte for byte, without Ray."""

import pickle
import shutil

import numpy as np
import pytest
from pyarrow import fs

from tests.rllib.cases import ALGORITHMS, every_case, facts, one
from tune_ckpt.errors import ComponentNotFoundError, NotACheckpointError, NotInCheckpointError
from tune_ckpt.rllib import (
    convert_to_msgpack_checkpoint,
    load_weights,
    upgrade_checkpoint,
)


@every_case
def test_every_array_is_what_its_own_ray_says(case):
    expected, found = case.expected["weights"], load_weights(case.path)
    if len(expected) == 1:
        (expected,) = expected.values()
        assert facts(found) == expected
    else:
        assert {name: facts(weights) for name, weights in found.items()} == expected


@every_case
def test_one_policy_is_asked_for_by_its_id(case):
    ids = case.expected["policy_ids"] or case.expected.get("module_ids") or []
    for name in ids:
        expected = case.expected["weights"][name]
        assert facts(load_weights(case.path, name)) == expected
        assert facts(load_weights(case.path, policy_id=name)) == expected


def test_any_part_that_has_weights_gives_them():
    case = one("ray2.40.0-py3.10-new-ppo-single")
    (expected,) = case.expected["weights"].values()
    learner = case.path / "learner_group" / "learner"
    module = learner / "rl_module" / "default_policy"
    for part in (learner.parent, learner, module.parent, module, module / "module_state.pt"):
        assert facts(load_weights(part)) == expected


def test_policies_and_modules_of_older_versions_likewise():
    case = one("ray2.7.1")
    (expected,) = case.expected["weights"].values()
    module = case.path / "learner" / "module_state" / "default_policy" / "module_state_dir"
    policy = case.path / "policies" / "default_policy"
    folders = [policy, policy.parent, module, module.parent, module.parent.parent]
    for part in [*folders, policy / "policy_state.pkl", module / "module_state.pt"]:
        assert facts(load_weights(part)) == expected


def test_only_the_files_of_the_policy_that_is_asked_for_are_read(tmp_path):
    case = one("ray2.10.0-py3.10-old-ppo-multi")
    store = fs.SubTreeFileSystem(str(case.path.parent), fs.LocalFileSystem())
    expected = case.expected["weights"]["pol1"]
    assert facts(load_weights("checkpoint", "pol1", filesystem=store)) == expected


def test_an_unknown_policy_is_an_error_that_lists_them():
    with pytest.raises(ComponentNotFoundError, match=r"'pol3'.*pol1, pol2"):
        load_weights(one("ray2.10.0").path, "pol3")


def test_a_part_without_weights_says_so():
    with pytest.raises(NotInCheckpointError, match=r"EnvRunner.*pass the whole checkpoint"):
        load_weights(one("ray2.60.0-py3.13").path / "env_runner")


def test_a_folder_of_checkpoints_names_them(tmp_path):
    (tmp_path / "checkpoint_000007").mkdir()
    with pytest.raises(NotACheckpointError, match="pass one of them: checkpoint_000007"):
        load_weights(tmp_path)


def test_what_is_not_there_says_so(tmp_path):
    with pytest.raises(NotACheckpointError, match="there is nothing"):
        load_weights(tmp_path / "no")


# ------------------------------------------------------------ states that the cases do not have


def _first_generation(folder, worker, **state):
    path = folder / "checkpoint_000012" / "checkpoint-12"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps({"worker": worker, **state}))
    return path


W = {"w": np.arange(6, dtype="f4").reshape(2, 3)}


@pytest.mark.parametrize(
    "worker",
    [
        pickle.dumps({"state": {"p": {"weights": W}}, "filters": {}}),  # Ray 1.x
        {"policy_states": {"p": {"weights": W}}},  # Ray 2.0
        pickle.dumps({"state": {"p": W}}),  # before policies had more than weights
        {"state": {"p": pickle.dumps({"weights": W})}},
    ],
    ids=["bytes", "dict", "weights only", "bytes in it"],
)
@pytest.mark.parametrize("is_file", [True, False])
def test_the_first_generation_has_all_in_one_file(tmp_path, worker, is_file):
    path = _first_generation(tmp_path, worker)
    assert facts(load_weights(path if is_file else path.parent)) == facts(W)


def test_an_algorithm_without_workers_has_its_weights_itself(tmp_path):
    (tmp_path / "algorithm_state.pkl").write_bytes(pickle.dumps({"weights": np.arange(3.0)}))
    assert load_weights(tmp_path)["weights"].tolist() == [0, 1, 2]


def test_arrays_of_no_dimensions_are_weights_though_rllib_has_numbers(tmp_path):
    shutil.copytree(one("ray2.43.0-py3.11-new-ppo-single_module").path, tmp_path / "m")
    (tmp_path / "m" / "module_state.msgpack").unlink(missing_ok=True)
    state = {"scale": 0.5, "num_batches_tracked": 3, "is_on": True}
    (tmp_path / "m" / "module_state.pkl").write_bytes(pickle.dumps(state))
    found = load_weights(tmp_path / "m")
    kinds = {name: (array.dtype.name, array.shape) for name, array in found.items()}
    assert kinds == {
        "scale": ("float32", ()),
        "num_batches_tracked": ("int64", ()),
        "is_on": ("bool", ()),
    }


def test_weights_without_names_are_numbered(tmp_path):
    # TensorFlow's eager policies give a list, and NumPy scalars for variables without dimensions.
    weights = [np.ones((2, 2), "f4"), np.float32(0.5)]
    (tmp_path / "policy_state.pkl").write_bytes(pickle.dumps({"weights": weights}))
    found = load_weights(tmp_path)
    assert [*found] == ["0", "1"]
    assert (found["1"].shape, found["1"].dtype, found["1"].item()) == ((), "f4", 0.5)


def test_a_renamed_file_is_known_by_what_it_holds(tmp_path):
    case = one("ray2.3.1-py3.8-old-ppo-single_policy")
    (expected,) = case.expected["weights"].values()
    (tmp_path / "mine.pkl").write_bytes(case.file.read_bytes())
    assert facts(load_weights(tmp_path / "mine.pkl")) == expected


def test_arrays_are_writable():
    for name in ("ray2.40.0-py3.10-new-ppo-single_module", "ray2.43.0", "ray2.3.1"):
        assert all(array.flags.writeable for array in load_weights(one(name).path).values())


@pytest.mark.parametrize("case", ALGORITHMS, ids=lambda case: case.name)
def test_weights_of_other_algorithms_are_what_their_own_ray_had(tmp_path, case):
    np.testing.assert_equal(load_weights(case.path), case.stored_weights)
    for write in (upgrade_checkpoint, convert_to_msgpack_checkpoint):
        written = write(case.path, tmp_path / write.__name__)
        np.testing.assert_equal(load_weights(written), case.stored_weights)
