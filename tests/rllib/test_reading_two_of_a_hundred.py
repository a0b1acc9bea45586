"""Two policies of a hundred on disk: no other one's files are opened."""

import shutil

import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem

from tests.rllib.cases import one
from tune_ckpt.rllib import load_weights, restore_algorithm, restore_module, restore_policy

pytestmark = pytest.mark.slow

NEW_MULTI, OLD_MULTI = one("ray2.60.0-py3.13"), one("ray2.10.0-py3.10-old-ppo-multi")


class Counting(LocalFileSystem):
    """A filesystem that notes what is opened."""

    protocol = "counting"
    cachable = False

    def __init__(self):
        super().__init__()
        self.opened = {}

    def _open(self, path, *args, **kwargs):
        self.opened[str(path)] = self.size(path)
        return super()._open(path, *args, **kwargs)

    def read_below(self, folder):
        """How many bytes the files have that were opened below a folder."""
        return sum(size for path, size in self.opened.items() if path.startswith(f"{folder}/"))


def _multiplied(case, tmp_path, folder, name):
    """A checkpoint with a hundred policies, all of them copies of one."""
    path = tmp_path / "c"
    shutil.copytree(case.path, path)
    for number in range(100):
        shutil.copytree(path / folder / name, path / folder / f"n{number:02}")
    return path


@pytest.fixture
def hundred_modules(tmp_path):
    return _multiplied(NEW_MULTI, tmp_path, "learner_group/learner/rl_module", "p1")


@pytest.fixture
def hundred_policies(tmp_path):
    return _multiplied(OLD_MULTI, tmp_path, "policies", "pol1")


def _size(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_of_a_hundred_modules_one_is_read(hundred_modules):
    counting = Counting()
    restore_module(hundred_modules, "n42", filesystem=counting)
    folder = hundred_modules / "learner_group" / "learner" / "rl_module"
    assert counting.read_below(folder) - counting.read_below(folder / "n42") < 5000
    assert 0 < counting.read_below(folder / "n42") <= _size(folder / "n42")
    assert not any("n41" in path for path in counting.opened)


def test_of_a_hundred_policies_one_is_read(hundred_policies):
    counting = Counting()
    restore_policy(hundred_policies, "n42", filesystem=counting)
    read = [path for path in counting.opened if "/policies/" in path]
    assert read
    assert all("/policies/n42/" in path for path in read)


def _cartpole(multi_agent_env, **more):
    return {
        "policy_ids": {"n07", "n42"},
        "policy_mapping_fn": lambda agent, *rest, **more: "n42" if agent else "n07",
        "policies_to_train": {"n42"},
        "env": multi_agent_env,
        **more,
    }


@pytest.fixture
def multi_agent_env():
    from ray.rllib.examples.envs.classes.multi_agent import MultiAgentCartPole

    return MultiAgentCartPole


@pytest.mark.parametrize("optimizers", [True, False])
def test_an_algorithm_of_two_of_a_hundred_modules(
    hundred_modules, ray_session, multi_agent_env, optimizers
):
    counting = Counting()
    algorithm = restore_algorithm(
        hundred_modules,
        filesystem=counting,
        **_cartpole(multi_agent_env, optimizers=optimizers),
    )
    assert {*algorithm.learner_group.get_weights()} == {"n07", "n42"}
    assert algorithm.restore_report.loaded == ("n07", "n42")  # the copies have no optimizers
    names = {path.partition("/rl_module/")[2].partition("/")[0] for path in counting.opened}
    assert names <= {"", "n07", "n42", "metadata.json", "class_and_ctor_args.pkl"}
    read_optimizers = any(path.endswith("learner/state.msgpack") for path in counting.opened)
    assert read_optimizers == optimizers
    before = algorithm.learner_group.get_weights()
    algorithm.train()
    after = algorithm.learner_group.get_weights()
    np.testing.assert_equal(after["n07"], before["n07"])
    with pytest.raises(AssertionError):
        np.testing.assert_equal(after["n42"], before["n42"])
    algorithm.stop()


def test_an_algorithm_of_two_of_a_hundred_policies(hundred_policies, ray_session, multi_agent_env):
    counting = Counting()
    algorithm = restore_algorithm(
        hundred_policies, filesystem=counting, **_cartpole(multi_agent_env)
    )
    expected = load_weights(OLD_MULTI.path, "pol1")
    for name in ("n07", "n42"):
        np.testing.assert_equal(algorithm.get_policy(name).get_weights(), expected)
    names = {path.partition("/policies/")[2].partition("/")[0] for path in counting.opened}
    assert names <= {"", "n07", "n42"}
    assert algorithm.train()["training_iteration"] == 2
    np.testing.assert_equal(algorithm.get_policy("n07").get_weights(), expected)
    algorithm.stop()
