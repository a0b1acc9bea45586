"""Restores, migrates and exports cases in the Ray that is installed, and says how it went.

usage: python -m tests.rllib.score_restores [PART OF A CASE'S NAME]...
       (--committed: those that are beside this file only)

One line a case, as JSON: for the Algorithm and for each policy or module, what each function made
of it. Numbers say how far the outputs on the stored observations are from what the checkpoint's own
Ray made of them; texts are errors. What no file brings along (environments that were code, and the
functions that map agents) is given where the plain call asks for it; "asked" is what it said.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.rllib.cases import CASES, COMMITTED
from tests.rllib.live_outputs import outputs_of
from tests.rllib.score import settings_for, start_ray, weights_are_equal
from tune_ckpt import rllib
from tune_ckpt.errors import InvalidArgumentError, NotInCheckpointError

MODEL = {"model": {"fcnet_hiddens": [8, 8], "fcnet_activation": "tanh", "vf_share_layers": False}}


def score(case, folder):
    """Return what became of one case."""
    row = {"case": case.name}
    if rllib.get_checkpoint_info(case.path)["type"] == "Algorithm":
        row["restore_algorithm"] = _attempt(_algorithm, case, row)
    for name in sorted({key.partition("/")[0] for key in case.outputs}):
        given = None if name.startswith("__") else name
        for function, attempt in _FUNCTIONS.items():
            row[f"{function} {name}"] = _attempt(attempt, case, name, given, folder)
    return row


def _attempt(attempt, *arguments):
    try:
        return attempt(*arguments)
    except Exception as error:  # noqa: BLE001  # whatever is raised is the answer
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _algorithm(case, row):
    try:
        algorithm = rllib.restore_algorithm(case.path)
    except (InvalidArgumentError, NotInCheckpointError) as error:
        row["asked"] = " ".join(str(error).split())
        algorithm = rllib.restore_algorithm(case.path, **_help(case))
    try:
        names = algorithm.config.policies
        weights_are_equal(case, {name: _live(algorithm, name) for name in names})
        before = algorithm.iteration
        return f"iteration {before} to {algorithm.train()['training_iteration']}"
    finally:
        algorithm.stop()


def _help(case):
    told = settings_for(case) or {}
    given = {name: told.pop(name) for name in ("env", "policy_mapping_fn") if name in told}
    return {**given, "config": told}


def _live(algorithm, name):
    if algorithm.config.enable_rl_module_and_learner:
        return algorithm.learner_group._learner.module[name].unwrapped()
    return algorithm.get_policy(name)


def _model_of(case):
    return {"config": MODEL} if "v0.1" in case.name else {}


def _part(case, name, given, _):
    try:
        model = rllib.restore_policy(case.path, given, **_model_of(case))
    except NotInCheckpointError:
        model = rllib.restore_module(case.path, given)
    wanted = {key.partition("/")[2]: case.outputs[key] for key in case.outputs if _of(key, name)}
    made = outputs_of(model, case.observations, wanted)
    return max(float(np.abs(made[key] - values).max()) for key, values in wanted.items())


def _of(key, name):
    return key.startswith(f"{name}/")


def _migrated(case, name, given, folder):
    try:
        migrated = rllib.migrate_to_rl_module(
            case.path, policy_id=given, path=folder / f"m{name}", **_model_of(case)
        )
    except NotInCheckpointError:
        rllib.restore_module(case.path, given)  # it is one already
        return "is a module"
    return max(migrated.differences.values())


def _bundle(case, name, given, folder):
    rllib.export_bundle(case.path, folder / f"b{name}", given, **_model_of(case))
    bundle = rllib.load_bundle(folder / f"b{name}")
    bundle.network.filter = None  # the expected outputs are those of the model alone
    return _distance(case, name, np.asarray(bundle.network(*_inputs(bundle, case))[0]))


def _inputs(bundle, case):
    import torch

    rows = torch.from_numpy(case.observations)
    states = torch.zeros(len(rows), bundle.network.state_size)
    return [rows, states, states] if bundle.network.state_size else [rows]


def _distance(case, name, found):
    ends = ("q_values", "logits", "action_dist_inputs")
    keys = [key for end in ends for key in case.outputs if key == f"{name}/{end}"]
    keys += [key for key in case.outputs if key.startswith(f"{name}/inference/action_dist")]
    return float(np.abs(found - case.outputs[keys[0]]).max())


def _onnx(case, name, given, folder):
    import onnxruntime

    exported = rllib.export_model(case.path, "onnx", folder / f"o{name}", given, **_model_of(case))
    session = onnxruntime.InferenceSession(exported.path)
    rows = [case.observations, *[np.zeros((len(case.observations), 0), np.float32)] * 2]
    inputs = session.get_inputs()
    for number, one in enumerate(inputs[1:], 1):
        rows[number] = np.zeros((len(rows[0]), one.shape[1]), np.float32)
    given_to = {one.name: row for one, row in zip(inputs, rows, strict=False)}
    return _distance(case, name, session.run(None, given_to)[0])


_FUNCTIONS = {
    "restored": _part,
    "migrated": _migrated,
    "bundle": _bundle,
    "onnx": _onnx,
}


def main(parts):
    """Score the cases, and print a line for each."""
    start_ray()
    cases, parts = (COMMITTED, []) if parts == ["--committed"] else (CASES, parts)
    with tempfile.TemporaryDirectory() as temporary:
        for case in cases:
            if not parts or any(part in case.name for part in parts):
                print(json.dumps(score(case, Path(temporary) / case.name)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
