"""How long a training step stands still for a save in the background, beside a blocking save.

Run it:  python -m tests.benchmarks.async_save [--gib 1] [--rounds 5] [--folder FOLDER]

Each round saves the same float32 parameters in both ways, in turn. The stall is the time until
`save_async` comes back, with nothing under way before. The first one stands apart: it asks the
system for the memory that later ones use again. Beside it, what a plain copy of the state costs,
into memory that is there already: no snapshot can be quicker. The last two columns tell how long
the save goes on, and the longest time for which a busy thread of Python did not run meanwhile.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from tests.agents import Weights
from tune_ckpt import PendingSave


class Params(Weights):
    """So many GiB of parameters, in 64 arrays."""

    def __init__(self, gib: float) -> None:
        super().__init__()
        count = int(gib * 2**30 / 64 / 4)
        self.params = {f"layer{i}": np.full(count, float(i), np.float32) for i in range(64)}

    def get_state(self, *args: object, **kwargs: object) -> dict[str, object]:
        return {"params": self.params}


def timed(work: Callable[[], object]) -> tuple[float, object]:
    os.sync()  # so that no one pays for what another has written
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def rounds(
    params: Params, folder: Path, count: int, use_msgpack: bool
) -> Iterator[dict[str, float]]:
    """Yield the times of each round, in seconds."""
    for _ in range(count + 1):  # the first one of each is apart
        blocking, _ = timed(lambda: params.save_to_path(folder / "a", use_msgpack=use_msgpack))
        stall, pending = timed(lambda: params.save_async(folder / "b", use_msgpack=use_msgpack))
        after, pause = until_done(pending)
        yield {"blocking": blocking, "stall": stall, "after": after, "pause": pause}


def until_done(pending: PendingSave) -> tuple[float, float]:
    """Return for how long a save went on, and the longest pause of this thread meanwhile."""
    start = last = time.perf_counter()
    pause = 0.0
    while not pending.done():
        now = time.perf_counter()
        pause, last = max(pause, now - last), now
    pending.result()
    return time.perf_counter() - start, pause


def plain_copy(params: Params) -> float:
    """Return the seconds that a plain copy takes, of the second time on."""
    targets = {name: np.zeros_like(array) for name, array in params.params.items()}

    def copy() -> None:
        for name, array in params.params.items():
            np.copyto(targets[name], array)

    return statistics.median(timed(copy)[0] for _ in range(5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="where to write; by default, for temporary files")
    options = parser.parse_args()
    table = Table(title=f"{options.gib:g} GiB, seconds, medians of {options.rounds} rounds")
    headings = "format", "blocking", "first stall", "stall", "of blocking", "then written", "pause"
    for heading in headings:
        table.add_column(heading, justify="right")
    for format in ("msgpack", "pickle"):
        params = Params(options.gib)
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            first, *rest = rounds(params, Path(folder), options.rounds, format == "msgpack")
        blocking, stall, after, pause = (
            statistics.median(times[what] for times in rest) for what in first
        )
        figures = [f"{value:.3f}" for value in (blocking, first["stall"], stall)]
        percent = f"{stall / blocking:.0%}"
        table.add_row(format, *figures, percent, f"{after:.3f}", f"{pause:.3f}")
    Console().print(table)
    print(f"A plain copy of the state: {plain_copy(params):.3f} s")


if __name__ == "__main__":
    main()
