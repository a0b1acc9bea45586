"""Training functions that the Train tests share; imported by the workers' processes."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import ray.train

import tune_ckpt as tc
from tests.agents import Weights
from tune_ckpt.tune.private import in_train_worker, takes_upload_function

STEPS = 4


def walk(config):
    """A random walk of replicated weights; each worker has a generator of its own."""
    rank = ray.train.get_context().get_world_rank() if in_train_worker() else 0
    weights, noise = Weights(3), Weights(2)
    parts = {"weights": weights, f"noise_{rank}": noise}
    found = tc.restore(parts, strict=config.get("strict", True))
    rng = np.random.default_rng(5)
    for step in range(config.get("steps", STEPS)):
        change = rng.normal(size=3)
        if step < found.get("step", 0):
            continue
        weights.w = weights.w + change
        noise.w = noise.w * 2 + step + rank
        _die_once(config, rank, step)
        metrics = {"at": float(weights.w.sum()), "step": step, "started_at": found.get("step", 0)}
        values = {"step": step + 1, f"seen_{rank}": step}
        tc.report(metrics, {**parts, **values}, **config.get("options", {}))
    if config.get("waits"):  # for the end of its driver
        threading.Event().wait()


def expected(steps):
    """Return the weights and each rank's noise after so many steps."""
    rng, at, noise = np.random.default_rng(5), np.zeros(3), np.zeros((2, 2))
    for step in range(steps):
        at = at + rng.normal(size=3)
        noise = noise * 2 + step + np.arange(2)[:, None]
    return at, noise


def _die_once(config, rank, step):
    """End by a signal, once for each place in ``die_at``."""
    number = config.get("die_at", {}).get((rank, step))
    if number is None:
        return
    marker = Path(config["markers"], f"{rank}-{step}")
    if not marker.exists():
        marker.touch()
        storage = ray.train.get_context().get_storage()
        while registered(storage.experiment_fs_path) < step:  # Ray Train looks from time to time
            time.sleep(0.01)
        os.kill(os.getpid(), number)
        threading.Event().wait()  # Ray ends the process in its main thread


def registered(run):
    """Return of how many checkpoints Ray Train knows, by a run's folder."""
    snapshot = Path(run, "checkpoint_manager_snapshot.json")
    try:
        return len(json.loads(snapshot.read_text())["checkpoint_results"])
    except (FileNotFoundError, ValueError):  # not yet, or half written
        return 0


def save_their_own_way(config):
    """Report pickle trees through a temporary folder; one is damaged, one converted on its way."""
    weights = Weights(3)
    for step in range(STEPS):
        weights.w = weights.w + 1
        with tempfile.TemporaryDirectory() as folder:
            tc.save({"weights": weights, "step": step}, folder, format="pickle")
            if step == config["damaged"]:
                Path(folder, "state.pkl").write_bytes(b"damaged")
            metrics = {"score": [0.1, 0.9, 0.5, 0.2][step]}
            options = {}
            if step == config["converted"] and takes_upload_function():
                options = {"checkpoint_upload_fn": partial(tc.upload_as_msgpack, metrics=metrics)}
            checkpoint = ray.train.Checkpoint.from_directory(folder)
            ray.train.report(metrics, checkpoint, **options)
