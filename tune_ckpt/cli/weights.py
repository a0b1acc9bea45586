"""``tune-ckpt weights``."""

from __future__ import annotations

from typing import Annotated

import typer

from tune_ckpt.cli import output
from tune_ckpt.cli.options import AsJson, Checkpoint, Component, check_no_sweep, part_of
from tune_ckpt.cli.watching import watched


def weights(
    checkpoint: Checkpoint,
    to: Annotated[
        str, typer.Option("-o", "--output", help="The new file, *.safetensors or *.npz.")
    ],
    component: Component = None,
    as_json: AsJson = False,
) -> None:
    """Write a checkpoint's arrays into one file, by their names; torch and Ray are not needed.

    Of RLlib's own checkpoints these are the policies' weights; --component is one policy.
    """
    from tune_ckpt.tree.units import human
    from tune_ckpt.weights_file import check_name, read_arrays, write_arrays

    check_no_sweep(checkpoint)
    check_name(to)
    with watched("Writing arrays", [part_of(checkpoint, component)], passes=3):
        arrays = read_arrays(checkpoint, component)
        path = write_arrays(arrays, to)
    nbytes = sum(array.nbytes for array in arrays.values())
    if as_json:
        facts = {
            name: {"dtype": str(array.dtype), "shape": array.shape}
            for name, array in arrays.items()
        }
        output.say_json({"path": path, "nbytes": nbytes, "arrays": facts})
    else:
        output.say(path)
        output.remark(f"{len(arrays):,} arrays, {human(nbytes)}")
