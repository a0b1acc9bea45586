"""Real checkpoints by many versions of RLlib, with what their own Ray says of them."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import CORPUS
from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib import load_weights
from tune_ckpt.rllib.converting import pickling
from tune_ckpt.rllib.converting.pickling import Instance

DATA = Path(__file__).parents[1] / "data" / "rllib"


@dataclass(frozen=True)
class Case:
    """One checkpoint."""

    folder: Path

    @property
    def name(self):
        return self.folder.name

    @property
    def path(self):
        return self.folder / "checkpoint"

    @cached_property
    def expected(self):
        return json.loads((self.folder / "expected.json").read_text())

    @property
    def info(self):
        """What `get_checkpoint_info` of the Ray that wrote it says; modules make that fail."""
        told = self.expected["get_checkpoint_info"]
        if "__error__" in told:
            told = {key: self.expected[key] for key in ("type", "format", "ray_version")}
        return {key: self._value(value) for key, value in told.items()}

    def _value(self, value):
        if value == "None":
            return None
        return value.replace("<CKPT>", str(self.path)) if isinstance(value, str) else value

    @property
    def observations(self):
        """Observations of its environment."""
        return np.load(self.folder / "obs.npy")

    @property
    def outputs(self):
        """What its models made of them."""
        return np.load(self.folder / "expected_outputs.npz")

    @property
    def stored_weights(self):
        """The weights that its own Ray had."""
        return dict(np.load(self.folder / "weights.npz"))

    @property
    def file(self):
        """Its main state file."""
        names = ("checkpoint-*", "algorithm_state*", "policy_state*", "module_state*")
        return next(file for name in names for file in self.path.glob(name))


def _cases():
    committed = [Case(folder) for folder in sorted(DATA.iterdir())]
    names = {case.name for case in committed}
    found = [Case(folder) for folder in sorted(CORPUS.glob("*")) if folder.name not in names]
    return [*committed, *(case for case in found if _is_of_rllib(case))]


def _is_of_rllib(case):
    return (case.folder / "expected.json").exists() and "weights" in case.expected


# Of other algorithms, with the weights that their own Ray had, and no outputs.
ALGORITHMS = [Case(folder) for folder in sorted((DATA.parent / "rllib_algorithms").iterdir())]

CASES = _cases()
COMMITTED = [case for case in CASES if case.folder.parent == DATA]

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_committed_case = pytest.mark.parametrize("case", COMMITTED, ids=lambda case: case.name)


def facts(weights):
    """Return what an expected.json says of weights."""
    return {
        name: {
            "dtype": str(array.dtype),
            "shape": list(array.shape),
            "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
        }
        for name, array in weights.items()
    }


def one(start):
    """Return the committed case whose name begins like this."""
    return next(case for case in COMMITTED if case.name.startswith(start))


def filter_of_ray_1():
    """Return what is pickled as a filter of Ray 1."""
    filters = "ray.rllib.utils.filter"
    statistics = Instance(
        Reference(f"{filters}:RunningStat"), {"_n": 3, "_M": np.arange(4.0), "_S": np.full(4, 8.0)}
    )
    told = {"shape": (4,), "demean": True, "destd": True, "clip": None}
    return Instance(
        Reference(f"{filters}:MeanStdFilter"), {**told, "rs": statistics, "buffer": statistics}
    )


def of_ray_1(trial, policy, params, weights=None, actions=2):
    """Write a checkpoint of version 0.1 as Tune has it, and what Tune wrote beside it.

    Args:
        trial: The trial's folder, which is made.
        policy: How Ray 1 called the class of its policy.
        params: What the user told of the configuration; nothing else is in it.
        weights: The policy's weights.
        actions: How many actions there are; or the space of them.
    """
    from gymnasium import spaces

    actions = spaces.Discrete(actions) if isinstance(actions, int) else actions
    cls = Reference(f"ray.rllib.policy.policy_template:{policy}")
    spec = (cls, spaces.Box(-1, 1, (4,)), actions, {})
    state = {"weights": load_weights(one("synthetic").path) if weights is None else weights}
    worker = {"state": {"default_policy": state}, "policy_specs": {"default_policy": spec}}
    folder = trial / "checkpoint_000010"
    folder.mkdir(parents=True)
    (folder / "checkpoint-10").write_bytes(pickling.dumps({"worker": pickling.dumps(worker)}))
    (trial / "params.json").write_text(json.dumps(params))
    return folder


def of_ray_1_with_a_filter(folder):
    """Write the checkpoint of version 0.1 with a filter as Ray 1 has it; return its path."""
    from gymnasium import spaces

    policy = Reference("ray.rllib.algorithms.ppo.ppo_torch_policy:PPOTorchPolicy")
    spec = (policy, spaces.Box(-1, 1, (4,)), spaces.Discrete(2), {})
    worker = {
        "filters": {"default_policy": filter_of_ray_1()},
        "state": {"default_policy": {"weights": load_weights(one("synthetic").path)}},
        "policy_specs": {"default_policy": spec},
    }
    folder.mkdir(parents=True)
    file = folder / "checkpoint-10"
    file.write_bytes(pickling.dumps({"worker": pickling.dumps(worker)}))
    return folder


def hybrid_with_a_filter(folder):
    """Write a checkpoint of version 1.2 whose worker has a filter; return its path."""
    shutil.copytree(one("ray2.7.1").path, folder)
    state = {
        "algorithm_class": Reference("ray.rllib.algorithms.ppo.ppo:PPO"),
        "config": {
            "env": "CartPole-v1",
            "observation_filter": "MeanStdFilter",
            "_env_to_module_connector": None,
        },
        "worker": {"filters": {"default_policy": filter_of_ray_1()}},
    }
    (folder / "algorithm_state.pkl").write_bytes(pickling.dumps(state))
    return folder


def hybrid_of_discrete_observations(folder):
    """Write the same for observations that its worker's preprocessor made arrays of."""
    from gymnasium import spaces

    hybrid_with_a_filter(folder)
    observations = spaces.Box(0, 1, (4,))
    observations.original_space = spaces.Discrete(4)
    spec = {"policy_class": "PPOTorchPolicy", "observation_space": observations}
    spec |= {"action_space": spaces.Discrete(2), "config": {}}
    state = {"weights": load_weights(one("ray2.7.1").path), "policy_spec": spec}
    file = folder / "policies" / "default_policy" / "policy_state.pkl"
    file.write_bytes(pickling.dumps(state))
    return folder


def with_connectors(folder, *connectors):
    """Write a checkpoint of the new API stack with other connectors; return its path."""
    shutil.copytree(one("ray2.60.0-py3.11-new-ppo-single-meanstd").path, folder)
    pipeline = Reference("ray.rllib.connectors.env_to_module:EnvToModulePipeline")
    told = [(Reference(name), (), kwargs) for name, kwargs in connectors]
    ctor = {"class": pipeline, "ctor_args_and_kwargs": ((), {"connectors": told})}
    file = folder / "env_runner" / "env_to_module_connector" / "class_and_ctor_args.pkl"
    file.write_bytes(pickling.dumps(ctor))
    return folder


def with_former_statistics(folder):
    """Write a checkpoint of the new API stack whose filter is as in older Ray; return its path.

    Args:
        folder: Where it is written.
    """
    path = one("ray2.60.0-py3.11-new-ppo-single-meanstd").path
    shutil.copytree(path, folder)
    file = folder / "env_runner" / "env_to_module_connector" / "MeanStdFilter" / "state.pkl"
    state = pickle.loads(file.read_bytes())
    (stats,) = state[None]["running_stats"]
    squares = stats["sum_sq_diff_array"]
    told = {key: stats[key] for key in ("num_pushes", "mean_array")}
    state[None]["running_stats"] = [{**told, "std_array": squares}]
    file.write_bytes(pickle.dumps(state))
    return folder


CONNECTORS = "ray.rllib.connectors"
STACKING = f"{CONNECTORS}.env_to_module.frame_stacking:FrameStackingEnvToModule"
OWN_CONNECTOR = (
    f"{CONNECTORS}.common.add_states_from_episodes_to_batch:AddStatesFromEpisodesToBatch"
)
