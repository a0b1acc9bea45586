"""Sweeps' folders made by hand, as Tune writes them."""

from __future__ import annotations

import json

import numpy as np

import tune_ckpt as tc
from tests.agents import trained
from tune_ckpt.formats import pickle

A, B, C = "aaaaa_00000", "aaaaa_00001", "aaaaa_00002"


def function_trial(experiment, trial, results, *, checkpoints=True, config=None):
    """Write what Tune writes for a function: results that name their checkpoints."""
    folder = experiment / f"train_{trial}_0_lr=1_2026-01-01_00-00-00"
    folder.mkdir(parents=True)
    (folder / "params.json").write_text(json.dumps(config or {"lr": 1}))
    lines = []
    for number, metrics in enumerate(results):
        line = {"training_iteration": number + 1, "trial_id": trial, **metrics}
        if checkpoints:
            line |= {"checkpoint_dir_name": f"checkpoint_{number:06}", "should_checkpoint": True}
            plain_checkpoint(folder / line["checkpoint_dir_name"], line)
        lines.append(json.dumps(line, default=float) + "\n")
    (folder / "result.json").write_text("".join(lines))
    return folder


def plain_checkpoint(folder, content=None):
    """Write a checkpoint of nobody's format."""
    folder.mkdir(parents=True)
    (folder / "weights.txt").write_text(json.dumps(content, default=float))


def class_trial(experiment, trial, results):
    """Write what Tune writes for a class, and return its entry in the experiment state."""
    from ray.train import Checkpoint
    from ray.train._internal.checkpoint_manager import _CheckpointManager
    from ray.train._internal.session import _TrainingResult

    folder = function_trial(experiment, trial, results, checkpoints=False)
    manager = _CheckpointManager(None)
    for number, metrics in enumerate(results):
        plain_checkpoint(folder / f"checkpoint_{number:06}")
        where = Checkpoint(f"/where/it/was/{folder.name}/checkpoint_{number:06}")
        known = {"training_iteration": number + 1, "trial_id": trial, **metrics}
        manager.register_checkpoint(_TrainingResult(where, known))
    blob = {"_type": "CLOUDPICKLE_FALLBACK", "value": pickle.dumps(manager).hex()}
    trial = {"relative_logdir": folder.name, "status": "RUNNING"}
    return [json.dumps(trial), json.dumps({"checkpoint_manager": blob})]


def write_state(experiment, *trials, time="2026-01-01_00-00-00"):
    """Write the experiment state of trials' entries, and return its path."""
    path = experiment / f"experiment_state-{time}.json"
    path.write_text(json.dumps({"trial_data": trials, "runner_data": {}}))
    return path


def own_checkpoint(folder, metrics, iteration, trial=A):
    """Write a checkpoint of ours, with what it knows of its moment."""
    tc.save_state({"w": np.ones(3)}, folder)
    edit(folder, metrics=metrics, trial={"id": trial, "iteration": iteration})


def edit(folder, **fields):
    """Change what a checkpoint of ours says of itself."""
    from tune_ckpt.tree.metadata import Metadata

    path = folder / "metadata.json"
    metadata = Metadata.from_json(path.read_bytes(), str(path))
    metadata.extra.update(fields)
    path.write_bytes(metadata.to_json())


def names(records):
    """Return which checkpoints records are of."""
    return [(record.trial_id, record.iteration) for record in records]


TRIALS = {"aaaaa_00000": (0.1, [0.5, 0.7, 0.9]), "aaaaa_00001": (0.2, [0.4, 0.6, 0.8])}


def make_sweep(root, trials=TRIALS, *, deleted=("checkpoint_000000",), use_msgpack=False):
    """Write a sweep of functions that save agents; the first checkpoint of each was deleted."""
    for trial, (lr, values) in trials.items():
        folder = root / f"train_{trial}_0_lr={lr}_2026-01-01_00-00-00"
        folder.mkdir(parents=True)
        (folder / "params.json").write_text(json.dumps({"lr": lr, "same": 1}))
        lines = []
        for place, value in enumerate(values):
            name = f"checkpoint_{place:06}"
            facts = {
                "training_iteration": place + 1,
                "trial_id": trial,
                "checkpoint_dir_name": name,
                "should_checkpoint": True,
            }
            told = {**facts, "timestamp": 1_790_000_000 + place, "eval": {"acc": value}}
            lines.append(json.dumps(told) + "\n")
            if name not in deleted:
                agent = trained(step=place + 1, size=3)
                agent.save_to_path(folder / name, use_msgpack=use_msgpack)
        (folder / "result.json").write_text("".join(lines))
    (root / "experiment_state-2026-01-01_00-00-00.json").write_text("{}")
    return root
