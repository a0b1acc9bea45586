"""How much memory a save needs above the state, and a load above its result.

Run it:  python -m tests.benchmarks.memory [--gib 2]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.benchmarks.formats import load_ours, save_ours


def _memory(field: str) -> float:
    """Return one of this process's figures of memory in MiB (``VmRSS`` or its peak, ``VmHWM``)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(field)]
    return int(line.split()[1]) / 1024


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _save(path: Path, gib: float) -> None:
    count = int(gib * 2**30 / 64 / 8)
    state = {str(i): np.full(count, float(i)) for i in range(64)}
    _forget_peak()
    before = _memory("VmRSS")
    save_ours(state, path)
    print(f"save: {_memory('VmHWM') - before:.1f} MiB above the state")


def _load(path: Path, gib: float) -> None:
    _forget_peak()
    before = _memory("VmRSS")
    state = load_ours(path)
    result = sum(array.nbytes for array in state.values()) / 2**20
    print(f"load: {_memory('VmHWM') - before - result:.1f} MiB above the result")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gib", type=float, default=2.0)
    parser.add_argument("--do", nargs=2, metavar=("WHAT", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.do:
        {"save": _save, "load": _load}[options.do[0]](Path(options.do[1]), options.gib)
        return
    with tempfile.TemporaryDirectory() as folder:
        for what in ("save", "load"):  # each in a process of its own
            path = str(Path(folder) / "state")
            command = [sys.executable, "-m", "tests.benchmarks.memory", "--do", what, path]
            subprocess.run([*command, "--gib", str(options.gib)], check=True)


if __name__ == "__main__":
    main()
