"""A sweep's own checkpoint written again as msgpack, whether it is a component tree or RLlib's."""

from __future__ import annotations

from tune_ckpt import rllib
from tune_ckpt.errors import NotACheckpointError
from tune_ckpt.objects.rewriting import write_as_msgpack
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tune.source import Source


def convert(source: Source, target: str) -> tuple[str, ...]:
    """Write a sweep's own checkpoint again, as msgpack, and return what could not be carried.

    The sweep wrote its own pickles, so they are as trusted as the sweep.

    Args:
        source: The checkpoint: a component tree, or RLlib's own.
        target: The new one's path, in the same filesystem; RLlib's replaces nothing there.
    """
    path, filesystem = source.readable, source.filesystem
    if is_tree(source):
        write_as_msgpack(path, target, filesystem=filesystem, allow_pickle=True)
        return ()
    made = rllib.convert_to_msgpack_checkpoint(path, target, filesystem=filesystem)
    return tuple(map(str, made.not_carried))


def is_msgpack(source: Source) -> bool:
    """Say whether a checkpoint needs no conversion.

    Raises:
        NotACheckpointError: It is neither a component tree nor RLlib's own.
    """
    if is_tree(source):
        return open_tree(source.store).metadata.format == "msgpack"
    info = rllib.get_checkpoint_info(source.readable, filesystem=source.filesystem)
    return bool(info["format"] == "msgpack")


def is_tree(source: Source) -> bool:
    """Say whether a checkpoint is a component tree."""
    try:
        open_tree(source.store)
    except NotACheckpointError:
        return False
    return True
