"""The sweep of ``tune-ckpt demo``: a linear classifier learns which points lie above a line."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from ray import tune

from tune_ckpt.tune.trainable import CheckpointableTrainable

_NAME = "demo"
_RATES, _ITERATIONS = (0.03, 0.3, 3.0, 30.0), 8
RESULTS = len(_RATES) * _ITERATIONS


class Line(CheckpointableTrainable):
    """Logistic regression in the plane; saved as msgpack."""

    checkpoint_format = "msgpack"

    def setup(self, config: dict[str, Any]) -> None:
        """Make the data, and weights that know nothing."""
        points = np.random.default_rng(0).normal(size=(400, 3))
        points[:, 2] = 1.0
        self._points, self._above = points, points @ [1.0, -2.0, 0.5] > 0
        self._w = np.random.default_rng(config["seed"]).normal(size=3)

    def step(self) -> dict[str, Any]:
        """Take one step of gradient descent."""
        error = 1 / (1 + np.exp(-self._points @ self._w)) - self._above
        self._w = self._w - self.config["lr"] * self._points.T @ error / len(error)
        accuracy = np.mean((self._points @ self._w > 0) == self._above)
        return {"eval": {"acc": float(accuracy), "loss": float(np.square(error).mean())}}

    def get_state(self, components: Any = None, **_: Any) -> dict[str, Any]:
        """Return the weights."""
        return {"w": self._w}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take the weights."""
        self._w = state["w"]


class _Told(tune.Callback):
    """Tells of every result. Tune keeps a copy of it, which tells nobody."""

    def __init__(self, advance: Callable[[int], object]) -> None:
        self._advance = advance

    def __reduce__(self) -> tuple[Any, ...]:
        return tune.Callback, ()

    def on_trial_result(self, *_: Any, **__: Any) -> None:
        """Tell of one."""
        self._advance(1)


def run(folder: str, advance: Callable[[int], object]) -> str:
    """Run the sweep and return its folder.

    Args:
        folder: Where it is put, as ``demo``.
        advance: What to call with the number of results that came.
    """
    import ray

    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # no tables: the answer is what counts
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns
    if not ray.is_initialized():
        ray.init(
            "local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    results = tune.Tuner(
        Line,
        param_space={"lr": tune.grid_search([*_RATES]), "seed": 7},
        run_config=tune.RunConfig(
            name=_NAME,
            storage_path=os.path.abspath(folder),
            stop={"training_iteration": _ITERATIONS},
            verbose=0,
            callbacks=[_Told(advance)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=2, num_to_keep=3),
        ),
    ).fit()
    return str(results.experiment_path)
