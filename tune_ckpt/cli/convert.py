"""``tune-ckpt convert``."""

from __future__ import annotations

from typing import Annotated

import typer

from tune_ckpt.convert import convert_to_msgpack_checkpoint


def convert(
    src: Annotated[str, typer.Argument(help="The checkpoint: a path or a URI.")],
    dst: Annotated[str | None, typer.Argument(help="The new one; by default in place.")] = None,
    allow_pickle: Annotated[
        bool, typer.Option(help="Let its pickles import and call what they name.")
    ] = False,
) -> None:
    """Write a checkpoint again, all of it as msgpack."""
    print(convert_to_msgpack_checkpoint(src, dst, allow_pickle=allow_pickle))
