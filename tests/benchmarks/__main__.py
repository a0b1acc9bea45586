"""All benchmarks, one after the other: what README's section "How fast" is made of.

Run it:  python -m tests.benchmarks [NAME ...]

It takes about an hour, on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

# By name, with what is given to it. What takes longest comes last.
BENCHMARKS = {
    "formats": (),
    "memory": (),
    "incremental": (),
    "async_save": (),
    "trainable_state": (),
    "experiment": (),
    "train": (),
    "callback": ("--rounds", "2"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := set(names) - BENCHMARKS.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    for name in names:
        command = [sys.executable, "-m", f"tests.benchmarks.{name}", *BENCHMARKS[name]]
        print(f"\n# python {' '.join(command[1:])}", flush=True)
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
