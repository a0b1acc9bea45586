"""Stores that tests look at, or look through."""

from __future__ import annotations

from contextlib import contextmanager

from tune_ckpt.tree.storage.store import LocalStore


def content_of(folder):
    """The bytes of each file below a folder, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class CountingStore(LocalStore):
    """A local folder that is read by ranges as a remote one is, and counts what is read.

    Attributes:
        opened: The paths of the files that were opened, in order.
        nbytes: How many bytes were read; like `opened`, of the folders below too.
    """

    def __init__(self, root, counts=None, top=None):
        super().__init__(root, top)
        self.counts = {"opened": [], "nbytes": 0} if counts is None else counts

    @property
    def opened(self):
        return self.counts["opened"]

    @property
    def nbytes(self):
        return self.counts["nbytes"]

    def at(self, root, top=None):
        return CountingStore(root, self.counts, top)

    @contextmanager
    def open(self, name):
        self.counts["opened"].append(name)
        with super().open(name) as source:
            yield _Counting(source, self.counts)


class _Counting:
    def __init__(self, source, counts):
        self.name, self.nbytes, self.chunk_nbytes = source.name, source.nbytes, 2**23
        self._source, self._counts = source, counts

    def read_into(self, offset, *buffers):
        self._counts["nbytes"] += sum(buffer.nbytes for buffer in buffers)
        self._source.read_into(offset, *buffers)

    def mapped(self):
        return None
