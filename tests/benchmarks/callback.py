"""What the callback costs a sweep: wall time, the processors' time, and the time within its hooks.

Run it:  python -m tests.benchmarks.callback [--trials 200] [--rounds 3]

The same sweep of short trials, five checkpoints each, without the callback and with it, in turn.
The processors' time is the whole machine's: it depends less on what else a host does. Two sweeps
without the callback still differ by several percent, so what the callback computed itself is told
too: its hooks, and the process of its jobs. Then the hooks of one sweep whose storage takes a
second for every operation; its end waits for few jobs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import ray
from pyarrow.fs import FSSpecHandler, PyFileSystem
from ray import tune
from rich.console import Console

import tune_ckpt as tc
from tests.benchmarks.formats import rounds_of
from tests.benchmarks.slow_disk import SlowDisk

HOOKS = ("setup", "on_trial_start", "on_trial_result", "on_checkpoint", "on_trial_complete")
HOOKS += ("on_step_end", "on_experiment_end", "get_state")
TICKS_PER_SEC = os.sysconf("SC_CLK_TCK")


class Short(tc.CheckpointableTrainable):
    """Does a little work in each of five steps."""

    def setup(self, config: dict[str, object]) -> None:
        self.weights = np.zeros(10_000)

    def step(self) -> dict[str, float]:
        end = time.perf_counter() + 0.05
        while time.perf_counter() < end:
            self.weights += 1e-3
        return {"loss": float(self.weights[0])}

    def get_state(self, *args: object, **kwargs: object) -> dict[str, object]:
        return {"weights": self.weights}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        self.weights = state["weights"]


class Timed(tc.CheckpointCallback):
    """Keeps how long each call of a hook took, in seconds, and how long it computed."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self.taken: dict[str, list[tuple[float, float]]] = {name: [] for name in HOOKS}

    def __getattribute__(self, name: str) -> object:
        found = super().__getattribute__(name)
        if name not in HOOKS:
            return found

        def hook(*args: object, **kwargs: object) -> object:
            start, computed = time.perf_counter(), time.thread_time()
            result = found(*args, **kwargs)
            computed = time.thread_time() - computed
            self.taken[name].append((time.perf_counter() - start, computed))
            return result

        return hook


def sweep(trials: int, callback: tune.Callback | None, filesystem: object = None) -> None:
    """Run a sweep in a new folder, which is deleted afterwards."""
    folder = Path(tempfile.mkdtemp())
    try:
        run_config = tune.RunConfig(
            name="run",
            storage_path=str(folder),
            storage_filesystem=filesystem,
            verbose=0,
            stop={"training_iteration": 5},
            callbacks=[callback] if callback else [],
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
        )
        space = {"trial": tune.grid_search(list(range(trials)))}
        tune_config = tune.TuneConfig(reuse_actors=False)
        tuner = tune.Tuner(Short, param_space=space, run_config=run_config, tune_config=tune_config)
        assert not tuner.fit().errors
    finally:
        shutil.rmtree(folder)


def busy_secs() -> float:
    """Return for how long all processors together have worked, in seconds."""
    user, nice, system = Path("/proc/stat").read_text().split(maxsplit=4)[1:4]
    return (int(user) + int(nice) + int(system)) / TICKS_PER_SEC


class JobsClock(threading.Thread):
    """Looks twice a second for how long the process of a callback's jobs has worked by then."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._stopped = threading.Event()
        self._ticks = 0

    def run(self) -> None:
        """Look until it is stopped."""
        while not self._stopped.wait(0.5):
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):  # it has ended
                    if (process / "cmdline").read_bytes().startswith(b"ray::_Process"):
                        times = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
                        self._ticks = max(self._ticks, sum(map(int, times)))

    def stop(self) -> float:
        """Stop it, and return the seconds."""
        self._stopped.set()
        self.join()
        return self._ticks / TICKS_PER_SEC


def report_hooks(console: Console, title: str, taken: dict[str, list[tuple[float, float]]]) -> None:
    """Print the median, the 99th percentile and the longest time of all calls, in ms.

    What a hook computed is what it costs; how long it took depends on what else the machine does.
    """
    console.print(title)
    for name, times in taken.items():
        if times:
            whole, computed = (np.array(part) * 1e3 for part in zip(*times, strict=True))
            console.print(
                f"  {name:18} {len(times):5} calls, median {np.median(whole):.3f} ms, "
                f"99% {np.percentile(whole, 99):.3f} ms, longest {whole.max():.3f} ms; "
                f"computed: 99% {np.percentile(computed, 99):.3f} ms"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    console = Console(width=140)
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    callbacks: list[Timed] = []
    busy: dict[str, list[float]] = {"none": [], "best": [], "all": []}
    own: dict[str, list[float]] = {name: [] for name in busy}

    def run(name: str) -> float:
        callback = Timed(name, metric="loss", mode="min", pin_best=True) if name != "none" else None
        clock = JobsClock()
        clock.start()
        start, worked = time.perf_counter(), busy_secs()
        sweep(options.trials, callback)
        taken = time.perf_counter() - start
        busy[name].append(busy_secs() - worked)
        own[name].append(clock.stop())
        if callback:
            callbacks.append(callback)
            own[name][-1] += sum(secs for times in callback.taken.values() for _, secs in times)
        return taken

    sweep(8, None)  # the first one of a new Ray is unlike those that follow
    wall = rounds_of([*busy], run, options.rounds)
    work = {name: statistics.median(secs) for name, secs in busy.items()}
    itself = {name: statistics.median(secs) for name, secs in own.items()}
    for name in busy:
        console.print(
            f"convert={name:5} {wall[name]:7.1f} s, {wall[name] / wall['none'] - 1:+.1%}; "
            f"processors {work[name]:7.1f} s, {work[name] / work['none'] - 1:+.1%}; "
            f"the callback itself {itself[name]:5.1f} s, {itself[name] / work['none']:.1%}"
        )
    taken = {name: [t for one in callbacks for t in one.taken[name]] for name in HOOKS}
    report_hooks(console, "hooks, local disk", taken)
    slow = Timed("all", metric="loss", mode="min", verify=True, pin_best=True, drain_timeout_secs=9)
    sweep(2, slow, PyFileSystem(FSSpecHandler(SlowDisk())))
    report_hooks(console, "hooks, storage that takes a second for every operation", slow.taken)


if __name__ == "__main__":
    main()
