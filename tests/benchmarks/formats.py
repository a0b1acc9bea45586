"""Save and load of large and of many small values, beside the peers, in one run.

Run it:  python -m tests.benchmarks.formats [--gib 0.5] [--rounds 7]

Every figure is a median of several rounds, in which the candidates take turns, forwards and
backwards. Each save follows one of the same kind whose file is removed again, and each load is the
second one of a fresh process: a virtual machine's host hands memory out at the first touch, and
takes back what lies idle, at a price that changes from minute to minute and would be all that is
measured.
"""

from __future__ import annotations

import argparse
import os
import pickle
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import msgpack_numpy
import numpy as np
from rich.console import Console
from rich.table import Table

from tune_ckpt.formats import msgpack as ours
from tune_ckpt.formats import rllib_dialect, rllib_reading
from tune_ckpt.tree.storage.store import LocalStore


def save_ours(state: Any, path: Path) -> None:
    document = ours.pack(state)
    with LocalStore(path.parent).create(path.name, document.nbytes) as sink:
        document.write(sink)


def load_ours(path: Path, **options: Any) -> Any:
    with LocalStore(path.parent).open(path.name) as source:
        return ours.load(source, **options)


def save_pickle(state: Any, path: Path) -> None:
    with path.open("wb") as file:
        pickle.dump(state, file, protocol=5)


def load_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        return pickle.load(file)


def save_msgpack_numpy(state: Any, path: Path) -> None:
    with path.open("wb") as file:
        msgpack.pack(state, file, default=msgpack_numpy.encode)


def load_msgpack_numpy(path: Path) -> Any:
    with path.open("rb") as file:
        return msgpack.unpack(file, object_hook=msgpack_numpy.decode, strict_map_key=False)


def save_ours_for_rllib(state: Any, path: Path) -> None:
    stream = rllib_dialect.pack(state)
    with LocalStore(path.parent).create(path.name, stream.nbytes) as sink:
        stream.write(sink)


def load_ours_for_rllib(path: Path) -> Any:
    with LocalStore(path.parent).open(path.name) as source:
        return rllib_reading.load(source)


@dataclass(frozen=True)
class Candidate:
    """Who is measured: saves a state to a file, and loads it from its own file or another's."""

    load: Callable[[Path], Any]
    save: Callable[[Any, Path], None] | None = None
    file_of: str = ""


OURS = "tune_ckpt"


def save_torch(state: Any, path: Path) -> None:
    import torch

    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, path)


def load_torch(path: Path, **options: Any) -> Any:
    import torch

    return torch.load(path, **options)


def save_safetensors(state: Any, path: Path) -> None:
    from safetensors.numpy import save_file

    save_file(state, path)


def load_safetensors(path: Path) -> Any:
    from safetensors.numpy import load_file

    return load_file(path)


CANDIDATES = {
    OURS: Candidate(load_ours, save_ours),
    "tune_ckpt, mapped": Candidate(lambda path: load_ours(path, mmap=True), file_of=OURS),
    "tune_ckpt, 1 array": Candidate(lambda path: load_ours(path, at="17"), file_of=OURS),
    "tune_ckpt, rllib dialect": Candidate(load_ours_for_rllib, save_ours_for_rllib),
    "pickle 5": Candidate(load_pickle, save_pickle),
    "msgpack_numpy": Candidate(load_msgpack_numpy, save_msgpack_numpy),
    "torch.save": Candidate(load_torch, save_torch),
    "torch, mapped": Candidate(lambda path: load_torch(path, mmap=True), file_of="torch.save"),
    "safetensors": Candidate(load_safetensors, save_safetensors),
}
FOR_ANY_STATE = [OURS, "tune_ckpt, rllib dialect", "pickle 5", "msgpack_numpy"]


def rounds_of(names: list[str], measure: Callable[[str], float], rounds: int) -> dict[str, float]:
    """Return each candidate's median time in seconds; they take turns in both orders."""
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names[:: 1 if number % 2 == 0 else -1]:
            times[name].append(measure(name))
    return {name: statistics.median(taken) for name, taken in times.items()}


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds that something takes; what it returns lives until they are taken."""
    start = time.perf_counter()
    result = work()
    taken = time.perf_counter() - start
    del result
    return taken


def measure(state: Any, names: list[str], rounds: int, folder: Path) -> list[dict[str, float]]:
    """Return the medians of saving and of loading a state."""
    files = {name: folder / (CANDIDATES[name].file_of or name).replace(" ", "_") for name in names}
    savers = {name: save for name in names if (save := CANDIDATES[name].save)}

    def save(name: str) -> float:
        files[name].unlink(missing_ok=True)
        os.sync()
        savers[name](state, files[name])
        files[name].unlink()
        return timed(lambda: savers[name](state, files[name]))

    def load(name: str) -> float:
        command = [sys.executable, "-m", "tests.benchmarks.formats", "--load", name]
        run = subprocess.run([*command, str(files[name])], stdout=subprocess.PIPE, check=True)
        return float(run.stdout)

    saved = rounds_of([*savers], save, rounds)
    os.sync()
    return [saved, rounds_of(names, load, rounds)]


def load_once(name: str, path: Path) -> None:
    """Print the seconds that a second load takes in this process."""
    load = CANDIDATES[name].load
    load(path)
    print(timed(lambda: load(path)))


def states(gib: float) -> dict[str, Any]:
    """Return what is saved, by its description."""
    rng = np.random.default_rng(0)
    count = int(gib * 2**30 / 64 / 8)
    replay = [
        {"obs": [i * 0.5, i * 0.25], "action": i % 4, "reward": i / 7, "done": False}
        for i in range(100_000)
    ]
    return {
        f"{gib} GiB in 64 arrays": {str(i): rng.random(count) for i in range(64)},
        "100,000 small dicts": replay,
        "10,000 arrays of 1 KiB": {str(i): rng.random(128) for i in range(10_000)},
    }


def report(console: Console, title: str, saved: dict[str, float], loaded: dict[str, float]) -> None:
    """Print one table: milliseconds, and how many times as long as ours the others take."""
    table = Table(title=title)
    for column in ("", "save, ms", "as long as ours", "load, ms", "as long as ours"):
        table.add_column(column, justify="right" if column else "left")
    for name in loaded:
        cells = [name]
        for times in (saved, loaded):
            taken = times.get(name)
            cells.append(f"{taken * 1e3:.1f}" if taken else "")
            cells.append(f"{taken / times[OURS]:.2f}x" if taken else "")
        table.add_row(*cells)
    console.print(table)


def _processor() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found.group(1) if found else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gib", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--load", nargs=2, metavar=("WHO", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        load_once(options.load[0], Path(options.load[1]))
        return
    console = Console(width=100)
    console.print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {_processor()}")
    for title, state in states(options.gib).items():
        # The others want flat dicts of arrays.
        who = list(CANDIDATES) if isinstance(state, dict) else FOR_ANY_STATE
        folder = Path(tempfile.mkdtemp())
        try:
            report(console, title, *measure(state, who, options.rounds, folder))
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
