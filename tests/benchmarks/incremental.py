"""A save that takes over what has not changed, beside a full one: nine tenths are frozen.

Run it:  python -m tests.benchmarks.incremental [--gib 0.5] [--rounds 7]
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console

import tune_ckpt as tc
from tests.benchmarks.formats import rounds_of, timed


class Part(tc.Checkpointable):
    """One tenth of a model."""

    def __init__(self, count: int) -> None:
        self.weights = np.random.default_rng(0).random(count)

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"weights": self.weights}

    def set_state(self, state):
        self.weights = state["weights"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gib", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    model = {f"layer{i}": Part(int(options.gib * 2**30 / 80)) for i in range(10)}
    folder = Path(tempfile.mkdtemp())
    tc.save(model, folder / "1")

    def save(name: str) -> float:
        os.sync()
        model["layer9"].weights += 1
        base = folder / "1" if name == "with a base" else None
        for _ in range(2):  # the first one asks the system for memory that the second uses
            shutil.rmtree(folder / "2", ignore_errors=True)
            taken = timed(lambda: tc.save(model, folder / "2", base=base))
        return taken

    times = rounds_of(["full", "with a base"], save, options.rounds)
    saved = tc.save(model, folder / "3", base=folder / "1")
    tc.verify(folder / "3").raise_faults()
    shutil.rmtree(folder)
    console = Console()
    for name, taken in times.items():
        console.print(f"{name:12} {taken * 1e3:7.1f} ms, {times['full'] / taken:.1f}x as fast")
    console.print(f"{saved.reused_nbytes / saved.nbytes:.0%} of {saved.nbytes:,} bytes taken over")


if __name__ == "__main__":
    main()
