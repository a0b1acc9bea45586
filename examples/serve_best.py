"""A Ray Serve deployment follows the best model of a running sweep, and gets better as it runs.

Run it:  python examples/serve_best.py

The sweep pins its best checkpoint so far. The deployment looks for it again and again, and loads
what is new; requests never wait for that. Meanwhile images that no trial was trained on are sent to
it by HTTP. In the end it serves the best of all checkpoints.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
from digits_model import digits, forward
from digits_sweep import Digits
from ray import serve, tune
from settings import command
from starlette.requests import Request
from starlette.responses import JSONResponse

import tune_ckpt as tc

NAME = "digits"
METRIC, MODE = "eval/accuracy", "max"


@dataclass
class Settings:
    """What configs/serve_best.yaml says."""

    iterations: int
    epochs_per_iteration: int
    learning_rates: list[float]
    port: int
    look_every_seconds: float


@serve.deployment(ray_actor_options={"num_cpus": 0})  # the sweep has the CPUs
class Classifier:
    """Classifies images with the best network that a sweep has so far."""

    def __init__(self, experiment: str, look_every_seconds: float) -> None:
        self.serving: tuple[tc.CheckpointRecord, dict[str, np.ndarray]] | None = None
        wanted = experiment, look_every_seconds
        threading.Thread(target=self.follow, args=wanted, daemon=True).start()

    def follow(self, experiment: str, look_every_seconds: float) -> None:
        """Load the best checkpoint whenever there is another one."""
        while True:
            try:
                best = tc.pinned_checkpoint(experiment)
                if self.serving is None or best.path != self.serving[0].path:
                    self.serving = best, best.load("network")  # at once: no request sees half of it
            except tc.TuneCkptError as error:  # none yet, or no network for the moment
                print(error, file=sys.stderr)
            time.sleep(look_every_seconds)

    async def __call__(self, request: Request) -> JSONResponse:
        """Answer with the digit in each image, and with whose answer it is."""
        if self.serving is None:
            return JSONResponse({"error": "there is no model yet"}, status_code=503)
        best, weights = self.serving
        labels = forward(weights, np.array(await request.json()))[1].argmax(axis=1)
        told = {"path": best.path, "iteration": best.iteration, "reported": best.value}
        return JSONResponse({**told, "labels": labels.tolist()})


def new_tuner(settings: Settings, storage: Path) -> tune.Tuner:
    """Return a sweep that pins its best checkpoint."""
    space = {
        "learning_rate": tune.grid_search(settings.learning_rates),
        "epochs": settings.epochs_per_iteration,
        "momentum": 0.5,
        "hidden": 32,
        "batch_size": 64,
        "seed": 0,
    }
    return tune.Tuner(
        Digits,
        param_space=space,
        run_config=tune.RunConfig(
            name=NAME,
            storage_path=str(storage),
            verbose=0,
            stop={"training_iteration": settings.iterations},
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
            callbacks=[tc.CheckpointCallback("best", metric=METRIC, mode=MODE, pin_best=True)],
        ),
    )


def ask(port: int, images: np.ndarray) -> dict[str, Any] | None:
    """Return the server's answer about some images; None while it has no model."""
    url, body = f"http://127.0.0.1:{port}/", json.dumps(images.tolist()).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        if error.code != 503:
            raise
        return None


def models_served(port: int, experiment: Path, sweep: Future) -> Iterator[dict[str, Any]]:
    """Yield the answer of each model that is served, until it is the best of the ended sweep."""
    images, served, best = digits()[2], None, None
    while served is None or served != best:
        if sweep.done():
            sweep.result()  # what went wrong, if anything did
            best = tc.pinned_checkpoint(experiment).path
        answer = ask(port, images)
        if answer is not None and answer["path"] != served:
            served = answer["path"]
            yield answer
        time.sleep(0.05)


def main(settings: Settings, storage: Path) -> None:
    """Run the sweep, and ask the deployment as long as it runs."""
    experiment, labels = storage / NAME, digits()[3]
    ray.init(log_to_driver=False, ignore_reinit_error=True)
    serve.start(http_options={"port": settings.port})
    serve.run(Classifier.bind(str(experiment), settings.look_every_seconds), name=NAME)
    with ThreadPoolExecutor() as pool:
        sweep = pool.submit(new_tuner(settings, storage).fit)
        for answer in models_served(settings.port, experiment, sweep):
            right = float(np.mean(np.array(answer["labels"]) == labels))
            when = "the sweep has ended" if sweep.done() else "the sweep is running"
            print(f"Iteration {answer['iteration']}: {right:.4f} of the answers are right; {when}.")
            if right != answer["reported"]:
                sys.exit(f"The trial had reported {answer['reported']!r}, not {right!r}.")
    best = tc.best_checkpoint(experiment, METRIC, MODE)
    print(f"The best of the sweep, iteration {best.iteration}, had reported {best.value:.4f}.")


if __name__ == "__main__":
    settings = command(__doc__, Settings, "serve_best.yaml").parse_args().settings
    try:
        main(settings, Path(tempfile.mkdtemp(prefix="serve_best_")))
    finally:
        serve.shutdown()
