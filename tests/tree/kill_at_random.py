"""Kills a saving process at random moments, again and again, and looks at what is there then.

Run it:  python -m tests.tree.kill_at_random [--seconds 600] [--seed 0]
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from itertools import count
from pathlib import Path

import tune_ckpt as tc
from tests.agents import Agent, trained

# What the process does in turn: options of `save_to_path`.
MANNERS = [
    {"use_msgpack": True},
    {},
    {"use_msgpack": True, "durable": True},
    {"use_msgpack": True, "base": "itself"},
]


def save_for_ever(path: Path, first: int) -> None:
    """Save one checkpoint after the other over ``path``; the step goes up by one each time."""
    for step in count(first):
        manner = dict(MANNERS[step % len(MANNERS)])
        if "base" in manner:
            manner["base"] = path
        trained(step=step, size=2000).save_to_path(path, **manner)


def run(folder: Path, seconds: float, seed: int) -> tuple[int, int]:
    """Return how many times the process was killed, and how many saves were done in all.

    Raises:
        AssertionError: There was no whole checkpoint, or an older one than before.
    """
    chance, path = random.Random(seed), folder / "c"
    trained(step=0, size=2000).save_to_path(path)
    last, kills, end = 0, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        process = os.fork()
        if process == 0:
            save_for_ever(path, last + 1)
        time.sleep(chance.uniform(0, 0.1))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        kills += 1
        report, step = tc.verify(path), Agent.from_checkpoint(path).step
        assert report.ok, report
        assert step >= last, f"{step} after {last}"
        last = step
    tc.clean(path)
    assert os.listdir(folder) == ["c"]
    return kills, last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kills, saves = run(Path(folder), options.seconds, options.seed)
    print(f"{kills} kills in {options.seconds:.0f} s, {saves} saves: old or new each time")


if __name__ == "__main__":
    main()
