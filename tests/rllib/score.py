"""Upgrades or converts cases, opens what comes out in the Ray that is installed, says how it went.

usage: python -m tests.rllib.score [--convert] [--committed] [PART OF A CASE'S NAME]...
       (--convert: to msgpack; --committed: those that are beside this file only)

One line a case, as JSON: whether Ray loaded it, whether the weights are equal, how far the outputs
on the stored observations are from what the checkpoint's own Ray made of them, and whether training
went on. Cases of several agents are written twice: by themselves, and for the training with their
environment and the function that maps their agents, which no file brings along. The last line is
the sum.
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

from tests.rllib.cases import ALGORITHMS, CASES, COMMITTED
from tests.rllib.live_outputs import furthest
from tune_ckpt.rllib import (
    convert_to_msgpack_checkpoint,
    get_checkpoint_info,
    load_weights,
    upgrade_checkpoint,
)


def score(case, folder, write):
    """Return what became of one case."""
    row, began = {"case": case.name}, time.perf_counter()
    try:
        _score(case, folder, row, write)
    except Exception as error:  # noqa: BLE001  # whatever Ray raises is the answer
        text = " ".join(str(error).split())
        row["error"] = f"{type(error).__name__}: {text[:300]}"
    return {**row, "seconds": round(time.perf_counter() - began, 1)}


def _score(case, folder, row, write):
    # Without an environment Ray opens no msgpack, and the code of Python 3.13 crashes older ones.
    needs_help = not _several(case) or "py3.13" in case.name
    is_helped = needs_help and write is convert_to_msgpack_checkpoint
    written = write(case.path, folder / "plain", config=settings_for(case) if is_helped else None)
    row["type"] = get_checkpoint_info(written, details=False)["type"]
    lost = written.notes if write is upgrade_checkpoint else written.not_carried
    row["notes"] = [str(note) for note in lost]
    models = OPEN[row["type"]](written, case)
    row["loaded"] = True
    row["weights"] = weights_are_equal(case, models)
    row["output error"] = furthest(case, models)
    if row["type"] == "Algorithm":
        row["trained"] = _trained(case, folder, write)


def _weights(model):
    found = model.get_weights() if hasattr(model, "get_weights") else model.get_state()
    return {name: np.asarray(value) for name, value in found.items()}


def weights_are_equal(case, models):
    """Check that models have exactly the weights that the case stores."""
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
    algorithm = _restored(path, case)
    if algorithm.config.enable_rl_module_and_learner:
        modules = algorithm.learner_group._learner.module
        return {name: module.unwrapped() for name, module in modules.items()}
    ids = load_weights(case.path)
    several = isinstance(next(iter(ids.values())), dict)
    return {name: algorithm.get_policy(name) for name in (ids if several else ["default_policy"])}


def _restored(path, case):
    from ray.rllib.algorithms.algorithm import Algorithm

    info = get_checkpoint_info(path, details=False)
    needs_help = info["format"] == "msgpack" and info["checkpoint_version"] < 2 and _several(case)
    mapping = _mapping(sorted(load_weights(case.path))) if needs_help else None
    return Algorithm.from_checkpoint(str(path), policy_mapping_fn=mapping)


def _several(case):
    return "multi" in case.name


def _open_policy(path, case):
    from ray.rllib.policy.policy import Policy

    return {"__policy__": Policy.from_checkpoint(str(path))}


def _open_module(path, case):
    from ray.rllib.core.rl_module.rl_module import RLModule

    return {"__module__": RLModule.from_checkpoint(str(path))}


OPEN = {"Algorithm": _open_algorithm, "Policy": _open_policy, "RLModule": _open_module}

# ----------------------------------------------------------------------------------- training


def _trained(case, folder, write):
    path = write(case.path, folder / "trained", config=settings_for(case))
    algorithm = _restored(path, case)
    before = algorithm.iteration
    result = algorithm.train()
    algorithm.stop()
    assert result["training_iteration"] == before + 1
    return f"iteration {before} to {before + 1}"


def settings_for(case):
    """Return what no file of the case brings along, or None."""
    if _several(case):
        mapping = _mapping(sorted(load_weights(case.path)))
        return {"env": _env(), "policy_mapping_fn": mapping}
    if "usermodule" in case.name or "v0.1" in case.name:
        few = {"train_batch_size": 64, "minibatch_size": 32, "num_epochs": 1}
        return {"env": "CartPole-v1", "env_config": {}, **few}
    return None


def _env():
    from ray.rllib.env.multi_agent_env import make_multi_agent

    return make_multi_agent("CartPole-v1")


def _mapping(ids):
    def mapping(agent_id, *args, **kwargs):
        return ids[int(agent_id) % len(ids)]

    return mapping


def start_ray():
    """Start a small Ray that says nothing."""
    import ray

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
    register_environments()


def register_environments():
    """Register the environments that cases name."""
    from ray import tune

    for name in ("ma_cartpole_named", "MultiEnv"):
        tune.register_env(name, lambda config: _env()(config))


def main(arguments):
    """Score the cases, and print a line for each, and their sum."""
    start_ray()
    options = {argument for argument in arguments if argument.startswith("--")}
    parts = [argument for argument in arguments if argument not in options]
    write = convert_to_msgpack_checkpoint if "--convert" in options else upgrade_checkpoint
    cases = [*(COMMITTED if "--committed" in options else CASES), *ALGORITHMS]
    chosen = [case for case in cases if not parts or any(part in case.name for part in parts)]
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for case in chosen:
            rows.append(score(case, Path(temporary) / case.name, write))
            print(json.dumps(rows[-1]), flush=True)
    _print_sum(rows)


def _print_sum(rows):
    for kind in OPEN:
        of_kind = [row for row in rows if row.get("type") == kind]
        good = [row for row in of_kind if "error" not in row and (row["output error"] or 0) < 1e-6]
        print(f"{kind}: {len(good)} of {len(of_kind)}")
    print(f"no type: {sum('type' not in row for row in rows)}")


if __name__ == "__main__":
    main(sys.argv[1:])
