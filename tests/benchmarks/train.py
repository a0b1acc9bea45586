"""What saving costs a Train run whose storage is slow: its steps, its reports, its controller.

Run it:  python -m tests.benchmarks.train [--reports 5] [--steps 200] [--mib 8]

One worker saves in the background, first to the local disk, then to one each of whose operations
takes a second. The callback's hook is timed in the controller.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import ray
import ray.train
from pyarrow.fs import FSSpecHandler, LocalFileSystem, PyFileSystem
from ray.train.torch import TorchTrainer

import tune_ckpt as tc
from tests.benchmarks.slow_disk import SlowDisk

_STEP_SECS = 0.05


def train(config: dict[str, int]) -> None:
    """Report now and then, and how long the steps and the report before took."""
    weights, report_secs = np.zeros(config["mib"] << 17), 0.0
    for _ in range(config["reports"] + 1):
        steps = [_step() for _ in range(config["steps"])]
        metrics = {"report_secs": report_secs, "step_secs": steps}
        start = time.perf_counter()
        mode = ray.train.CheckpointUploadMode.ASYNC
        tc.report(metrics, {"weights": weights}, checkpoint_upload_mode=mode)
        report_secs = time.perf_counter() - start


def _step() -> float:
    """Work for a while of the process's own time; return how long it took."""
    start, end = time.perf_counter(), time.thread_time() + _STEP_SECS
    while time.thread_time() < end:
        pass
    return time.perf_counter() - start


class Timed(tc.TrainCheckpointCallback):
    """Writes down how long each call of the hook took, since it is called in the controller."""

    def __init__(self, log: Path) -> None:
        super().__init__("all", verify=True)
        self._log = log

    def after_report(self, **reported: object) -> None:
        """Call the hook."""
        start, computed = time.perf_counter(), time.thread_time()
        super().after_report(**reported)
        computed = time.thread_time() - computed
        with self._log.open("a") as log:
            log.write(f"{time.perf_counter() - start} {computed}\n")


def fit(storage: PyFileSystem | LocalFileSystem, options: argparse.Namespace) -> str:
    """Return what one run cost, in words."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "hooks")
        callback = Timed(log)
        result = TorchTrainer(
            train,
            train_loop_config=vars(options),
            scaling_config=ray.train.ScalingConfig(num_workers=1),
            run_config=ray.train.RunConfig(
                name="run",
                storage_path=folder,
                storage_filesystem=storage,
                callbacks=[callback],
            ),
        ).fit()
        callback.wait(result)
        hooks, computed = np.loadtxt(log, unpack=True)
    metrics = [metrics for _, metrics in result.best_checkpoints]
    steps = [secs for one in metrics for secs in one["step_secs"]]
    reports = [one["report_secs"] for one in metrics[1:]]
    return (
        f"a step: {_ms(steps, 50)}, 99% {_ms(steps, 99)}; a report: {_ms(reports, 50)}; "
        f"the hook: {_ms(hooks, 50)}, 99% {_ms(hooks, 99)}; it computed: 99% {_ms(computed, 99)}"
    )


def _ms(secs: list[float] | np.ndarray, percentile: float) -> str:
    return f"{np.percentile(secs, percentile) * 1e3:.3f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--reports", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--mib", type=int, default=8)
    options = parser.parse_args()
    os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.1"
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    print(f"local disk: {fit(LocalFileSystem(), options)}")
    print(f"a second for every operation: {fit(PyFileSystem(FSSpecHandler(SlowDisk())), options)}")


if __name__ == "__main__":
    main()
