"""Feeds damaged documents with true digests to the reader until time or a count runs out.

Run it:  python -m tests.formats.fuzz_msgpack [--seconds 60] [--executions 1000000] [--seed 0]
         python -m tests.formats.fuzz_msgpack --atheris      (guided by coverage, if installed)

Every outcome must be a value or one of our errors, soon, and without a heap of memory.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from tests.formats.forging import forge, mutate_bytes, mutate_tree, parts_of, tree_of
from tests.formats.golden_values import VALUES
from tune_ckpt.errors import TuneCkptError, UnsupportedStateError
from tune_ckpt.formats import msgpack
from tune_ckpt.formats.listing import list_arrays
from tune_ckpt.formats.making import make

LIMIT_SECS = 10.0
LIMIT_NBYTES = 2**32  # on top of what the process has already


class Defect(AssertionError):
    """A document was answered with something else than a value or one of our errors."""


def read(data: bytes) -> str:
    """Read a document in every way; return ``"value"`` or ``"error"``.

    Raises:
        Defect: It was answered otherwise.
    """
    start = time.perf_counter()
    outcome = _attempt(lambda: msgpack.dumps(msgpack.loads(data)), data)
    _attempt(lambda: list(list_arrays(tree_of(data))), data)
    _attempt(lambda: msgpack.loads(data, at="0", mmap=True), data)
    _attempt(lambda: _made_of_the_tree(data), data)
    if time.perf_counter() - start > LIMIT_SECS:
        raise Defect(f"took {time.perf_counter() - start:.1f} s: {data!r}")
    return outcome


def _made_of_the_tree(data: bytes) -> Any:
    tree = tree_of(data)
    return make(tree, tree.state, mmap=True)


def _attempt(work: Any, data: bytes) -> str:
    try:
        work()
    except UnsupportedStateError:
        return "value"  # of things that can be read but not written, like a list in itself
    except TuneCkptError as error:
        str(error)
        return "error"
    except BaseException as error:
        raise Defect(f"{type(error).__name__}: {error}: {data!r}") from error
    return "value"


def seeds() -> list[tuple[bytes, list[bytes]]]:
    """Return the states and blobs of a document for each row of the table."""
    # Not jax: it compiles for each new shape, and keeps that in memory.
    chosen = (make for name, make in VALUES.items() if name != "jax array")
    return [parts_of(msgpack.dumps([make()])) for make in chosen]


def run(executions: int, seconds: float, seed: int) -> dict[str, int]:
    """Read damaged documents; return how many of them gave which outcome."""
    chance, corpus = random.Random(seed), seeds()
    counts = {"value": 0, "error": 0}
    end = time.monotonic() + seconds
    for _ in range(executions):
        if time.monotonic() > end:
            break
        (state, blobs), (other, _) = chance.choice(corpus), chance.choice(corpus)
        mutate = chance.choice([mutate_bytes, mutate_tree, mutate_tree])
        counts[read(forge(mutate(state, chance, other), blobs))] += 1
    return counts


def run_guided(arguments: list[str]) -> None:
    """Let atheris choose the bytes of the states."""
    import atheris

    for name in [name for name in sys.modules if name.startswith(("tune_ckpt", "tests."))]:
        del sys.modules[name]
    with atheris.instrument_imports(include=["tune_ckpt"]):
        from tests.formats import forging, fuzz_msgpack
    blobs = [b"\0" * 2400, b"\1" * 1100]
    atheris.Setup(
        [sys.argv[0], *arguments], lambda data: fuzz_msgpack.read(forging.forge(data, blobs))
    )
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true")
    options, rest = parser.parse_known_args()
    warnings.simplefilter("error")
    read(forge(b"\x90"))  # imports what is imported on first use
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + LIMIT_NBYTES,) * 2)
    if options.atheris:
        run_guided(rest)
    start = time.monotonic()
    counts = run(options.executions, options.seconds, options.seed)
    print(f"{sum(counts.values())} executions in {time.monotonic() - start:.0f} s: {counts}")


if __name__ == "__main__":
    main()
