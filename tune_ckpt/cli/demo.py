"""``tune-ckpt demo``."""

from __future__ import annotations

import shlex
import tempfile
from importlib.util import find_spec
from typing import Annotated

import typer

from tune_ckpt.cli import cluster, output
from tune_ckpt.cli.options import AsJson

_METRIC = "eval/acc"
_NEXT = """Now try:
  tune-ckpt ls {path} --metric {metric}
  tune-ckpt best {path} --metric {metric} -o {path}-best
  tune-ckpt show {best} --arrays
  tune-ckpt diff {best} {other}
  tune-ckpt verify {best}
  tune-ckpt plot {path} --metric {metric} -o sweep.html{plot}"""

_PLOTS = "  # after: pip install matplotlib"


def demo(
    folder: Annotated[
        str | None, typer.Argument(help="Where to put the sweep; by default a temporary folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a small sweep with Ray Tune, some seconds long, and tell what to type next."""
    cluster.check_installed("tune-ckpt demo")
    from tune_ckpt.cli.demo_sweep import RESULTS, run
    from tune_ckpt.tree.progress import steps_bar

    place = folder or tempfile.mkdtemp(prefix="tune-ckpt-demo-")
    output.remark(f"Running 4 trials with Ray Tune in {place} ...")
    with steps_bar("Running", RESULTS, shown=output.is_terminal()) as advance:
        path = run(place, advance)
    answer = _answer(path)
    if as_json:
        output.say_json(answer)
    else:
        output.say(path)
        typed = {key: shlex.quote(value) for key, value in answer.items()}
        has_plots = find_spec("matplotlib") is not None
        output.remark(_NEXT.format(**typed, plot="" if has_plots else _PLOTS))


def _answer(path: str) -> dict[str, str]:
    import tune_ckpt as tc

    best, other = tc.rank_checkpoints(path, _METRIC, k=2, verify=False)
    return {"path": path, "metric": _METRIC, "best": best.path, "other": other.path}
