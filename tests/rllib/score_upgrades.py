"""Upgrades cases, opens what comes out in the Ray that is installed, and says how it went.

usage: python -m tests.rllib.score_upgrades [PART OF A CASE'S NAME]...
       (--committed: those that are beside this file only)

One line a case, as JSON: whether Ray loaded it, whether the weights are equal, how far the outputs
on the stored observations are from what the checkpoint's own Ray made of them, and whether training
went on. Cases of several agents are upgraded twice: by themselves, and for the training with their
environment and the function that maps their agents, which no file brings along.
"""

import json
import logging
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from tests.rllib.cases import CASES, COMMITTED
from tune_ckpt.rllib import get_checkpoint_info, load_weights, upgrade_checkpoint


def score(case, folder):
    """Return what became of one case."""
    row, began = {"case": case.name}, time.perf_counter()
    try:
        _score(case, folder, row)
    except Exception as error:  # noqa: BLE001  # whatever Ray raises is the answer
        text = " ".join(str(error).split())
        row["error"] = f"{type(error).__name__}: {text[:300]}"
    return {**row, "seconds": round(time.perf_counter() - began, 1)}


def _score(case, folder, row):
    upgraded = upgrade_checkpoint(case.path, folder / "plain")
    row["type"] = get_checkpoint_info(upgraded, details=False)["type"]
    row["notes"] = [str(note) for note in upgraded.notes]
    models = OPEN[row["type"]](upgraded, case)
    row["loaded"] = True
    row["weights"] = _weights_are_equal(case, models)
    row["output error"] = _furthest(case, models)
    if row["type"] == "Algorithm":
        row["trained"] = _trained(case, folder)


def _weights(model):
    found = model.get_weights() if hasattr(model, "get_weights") else model.get_state()
    return {name: np.asarray(value) for name, value in found.items()}


def _weights_are_equal(case, models):
    stored = load_weights(case.path)
    if not isinstance(next(iter(stored.values())), dict):
        (name,) = models
        stored = {name: stored}
    for name, weights in stored.items():
        found = _weights(models[name])
        # Buffers with settings in them, which are in the modules since Ray 2.40, were not stored.
        new = {key for key in found if key.endswith("log_std_clip_param_const")} - weights.keys()
        np.testing.assert_equal({key: found[key] for key in found.keys() - new}, weights)
    return True


# ------------------------------------------------------------------------------------ opening


def _open_algorithm(path, case):
    from ray.rllib.algorithms.algorithm import Algorithm

    algorithm = Algorithm.from_checkpoint(str(path))
    if algorithm.config.enable_rl_module_and_learner:
        modules = algorithm.learner_group._learner.module
        return {name: modules[name].unwrapped() for name in modules.keys()}  # noqa: SIM118
    ids = load_weights(case.path)
    several = isinstance(next(iter(ids.values())), dict)
    return {name: algorithm.get_policy(name) for name in (ids if several else ["default_policy"])}


def _open_policy(path, case):
    from ray.rllib.policy.policy import Policy

    return {"__policy__": Policy.from_checkpoint(str(path))}


def _open_module(path, case):
    from ray.rllib.core.rl_module.rl_module import RLModule

    return {"__module__": RLModule.from_checkpoint(str(path))}


OPEN = {"Algorithm": _open_algorithm, "Policy": _open_policy, "RLModule": _open_module}

# ------------------------------------------------------------------------------------ outputs


def _furthest(case, models):
    try:
        expected = case.outputs
    except FileNotFoundError:
        return None
    by_model = {}
    for key in expected.files:
        name, _, output = key.partition("/")
        by_model.setdefault(name, {})[output] = expected[key]
    furthest = 0.0
    for name, wanted in by_model.items():
        model = models.get(name) or next(iter(models.values()))
        made = _outputs(model, case.observations, wanted)
        for output, values in wanted.items():
            furthest = max(furthest, float(np.abs(made[output] - values).max()))
    return furthest


def _outputs(model, observations, wanted):
    import torch

    with torch.no_grad():
        made = (
            _of_policy(model, observations)
            if hasattr(model, "model")
            else _of_module(model, observations, wanted)
        )
    return {name: np.asarray(value) for name, value in made.items()}


def _of_policy(policy, observations):
    import torch
    from ray.rllib.policy.sample_batch import SampleBatch

    observed = torch.from_numpy(observations)
    states = [
        torch.zeros(len(observed), *state.shape) for state in policy.model.get_initial_state()
    ]
    lengths = torch.ones(len(observed), dtype=torch.int32)
    batch = SampleBatch({"obs": observed, "obs_flat": observed})
    if states:
        out, after = policy.model(batch, states, lengths)
    else:
        out, after = policy.model({"obs": observed, "obs_flat": observed.float()})
    made = {"logits": out, "model_out": out}
    made |= {f"state_out_{number}": state for number, state in enumerate(after)}
    if hasattr(policy.model, "get_q_value_distributions"):
        made["q_values"] = _q_values(policy, observed)
        return made
    return made | {"vf": policy.model.value_function()}


def _q_values(policy, observed):
    from ray.rllib.algorithms.dqn.dqn_torch_policy import compute_q_values

    batch = {"obs": observed, "obs_flat": observed.float()}
    return compute_q_values(policy, policy.model, batch, explore=False)[0]


def _of_module(module, observations, wanted):
    import torch

    observed = {"obs": torch.from_numpy(observations)}
    ways = {"inference/": module.forward_inference, "": module.forward_inference}
    ways["train_"] = module.forward_train
    made = {}
    for prefix, forward in ways.items():
        if any(key.startswith(prefix) and "vf" not in key for key in wanted):
            made |= {prefix + key: value for key, value in forward(dict(observed)).items()}
    if "vf_preds" in wanted or "train_vf_preds" in wanted:
        made["vf_preds"] = made["train_vf_preds"] = module.compute_values(dict(observed))
    if "q_values" in wanted:
        made["q_values"] = module.compute_q_values(dict(observed))["qf_preds"]
    return {key: made[key] for key in wanted}


# ----------------------------------------------------------------------------------- training


def _trained(case, folder):
    from ray.rllib.algorithms.algorithm import Algorithm

    path = upgrade_checkpoint(case.path, folder / "trained", **_help_for(case))
    algorithm = Algorithm.from_checkpoint(str(path))
    before = algorithm.iteration
    result = algorithm.train()
    algorithm.stop()
    assert result["training_iteration"] == before + 1
    return f"iteration {before} to {before + 1}"


def _help_for(case):
    ids = sorted(load_weights(case.path))
    if "multi" in case.name:
        return {"env": _env(), "config": {"policy_mapping_fn": _mapping(ids)}}
    if "usermodule" in case.name or "v0.1" in case.name:
        few = {"train_batch_size": 64, "minibatch_size": 32, "num_epochs": 1}
        return {"env": "CartPole-v1", "config": {"env_config": {}, **few}}
    return {}


def _env():
    from ray.rllib.env.multi_agent_env import make_multi_agent

    return make_multi_agent("CartPole-v1")


def _mapping(ids):
    def mapping(agent_id, *args, **kwargs):
        return ids[int(agent_id) % len(ids)]

    return mapping


def start_ray():
    """Start a small Ray that says nothing, with the environments that cases name."""
    import ray
    from ray import tune

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    ray.init(
        "local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=100 * 2**20,
    )
    for name in ("ma_cartpole_named", "MultiEnv"):
        tune.register_env(name, lambda config: _env()(config))


def main(parts):
    """Score the cases, and print a line for each."""
    start_ray()
    cases, parts = (COMMITTED, []) if parts == ["--committed"] else (CASES, parts)
    chosen = [case for case in cases if not parts or any(part in case.name for part in parts)]
    with tempfile.TemporaryDirectory() as temporary:
        for case in chosen:
            print(json.dumps(score(case, Path(temporary) / case.name)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
