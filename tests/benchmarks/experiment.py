"""The best checkpoint of a sweep from its folder, beside ``Tuner.restore`` and ``get_best_result``.

Run it:  python -m tests.benchmarks.experiment [--trials 100 1000 10000] [--ray-up-to 10000]

The sweeps are copies of a small one that Ray ran: of trials with 20 results, each with a
checkpoint. Each figure is of a process of its own, that of Ray with as much as it imports.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

METHODS = {
    "tune_ckpt": """
import tune_ckpt
{start}
best = tune_ckpt.best_checkpoint({folder!r}, {metric!r})
{stop}
found = best.value
""",
    "tune_ckpt, second look": """
import tune_ckpt
sweep = tune_ckpt.Sweep.open({folder!r})
tune_ckpt.best_checkpoint(sweep, {metric!r})
{start}
best = tune_ckpt.best_checkpoint(sweep, {metric!r})
{stop}
found = best.value
""",
    "Ray": """
from ray import tune
from tests.benchmarks.sweeps import TRAINABLES
{start}
results = tune.Tuner.restore({folder!r}, TRAINABLES[{kind!r}]).get_results()
best = results.get_best_result({metric!r}, "max", scope="all")
{stop}
found = max(metrics["eval"]["score"] for _, metrics in best.best_checkpoints)
""",
}
START, STOP = "import time; start = time.perf_counter()", "seconds = time.perf_counter() - start"
TELL = r"""
import json, re
status = open("/proc/self/status").read()  # getrusage() tells the parent's, if that had more
peak = int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / 1024
print(json.dumps([seconds, peak, found]))
"""


def measured(method: str, **facts: str) -> list[float]:
    """Return a method's seconds, peak memory in MiB, and the value that it found."""
    code = METHODS[method].format(start=START, stop=STOP, **facts) + TELL
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--ray-up-to", type=int, default=10_000, help="its largest sweep")
    parser.add_argument("--kinds", nargs="+", default=["function", "class"])
    options = parser.parse_args()
    from tests.benchmarks.sweeps import METRIC, RESULTS, grow, run_template

    table = Table("trainable", "trials", "method", "seconds", "peak MiB", "as long as ours")
    folder = Path(tempfile.mkdtemp())
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Measuring", total=len(options.kinds) * len(options.trials))
        for kind in options.kinds:
            template = run_template(folder, kind)
            for trials in options.trials:
                sweep = grow(template, folder / f"{kind}-{trials}", trials)
                methods = [m for m in METHODS if m != "Ray" or trials <= options.ray_up_to]
                facts = {"folder": str(sweep), "metric": METRIC, "kind": kind}
                rows = {method: measured(method, **facts) for method in methods}
                assert len({found for *_, found in rows.values()}) == 1, rows
                for method, (seconds, peak, _) in rows.items():
                    ratio = f"{seconds / rows['tune_ckpt'][0]:.1f}x"
                    row = (kind, f"{trials:,}", method, f"{seconds:.2f}", f"{peak:.0f}", ratio)
                    table.add_row(*row)
                shutil.rmtree(sweep)
                progress.advance(task)
    shutil.rmtree(folder)
    table.title = f"{RESULTS} results a trial, each with a checkpoint"
    Console().print(table)


if __name__ == "__main__":
    main()
