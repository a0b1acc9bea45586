"""A bar that moves with every byte that is read or written, where somebody watches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tune_ckpt.cli import output


@contextmanager
def watched(what: str, paths: Iterable[str] = (), *, passes: int = 1) -> Iterator[None]:
    """Show a progress bar on stderr while something is done with whole folders or files.

    Args:
        what: What is done.
        paths: With what, so that the bar can tell what is left; only looked at where there is one.
        passes: How often their bytes move: twice, where they are read and written again, thrice
            where they are encoded in between.
    """
    if not output.is_terminal():
        yield
        return
    from tune_ckpt.tree.progress import bytes_bar
    from tune_ckpt.tree.storage import traffic

    nbytes = passes * sum(map(_nbytes, paths)) or None
    with bytes_bar(what, nbytes, shown=True) as advance, traffic.heard(advance):
        yield


def _nbytes(path: str) -> int:
    from tune_ckpt.tree.storage.store import open_parent, open_store

    parent, name = open_parent(path)
    entry = parent.stat(name) if name else None
    if entry is not None and not entry.is_dir:
        return entry.nbytes
    return open_store(path).total_nbytes()
