"""A store whose operations can be counted, delayed, made to fail, or end the process."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from tune_ckpt.errors import StorageError
from tune_ckpt.tree.storage.folder import reported
from tune_ckpt.tree.storage.local import LocalStore

Before = Callable[[str], None]  # called with each operation before it is done


class FaultyStore(LocalStore):
    """The local disk, except for what ``before`` does."""

    def __init__(
        self, root: Path, before: Before, top: Path | None = None, *, durable: bool = False
    ):
        super().__init__(root, top, durable=durable)
        self._before = before

    def at(self, root, top=None):
        return FaultyStore(root, self._before, top, durable=self.is_durable)

    def durable(self):
        return FaultyStore(self.root, self._before, self._top, durable=True)

    def _do(self, operation: str) -> None:
        with reported(operation, self.root):
            self._before(operation)

    def list(self):
        self._do("list")
        return super().list()

    def stat(self, name):
        self._do("stat")
        return super().stat(name)

    def make(self):
        self._do("make")
        super().make()

    def sync(self):
        if self.is_durable:
            self._do("sync")
        super().sync()

    def take(self, name, source, source_name):
        self._do("take")
        return super().take(name, source, source_name)

    def delete(self, name):
        self._do("delete")
        super().delete(name)

    @contextmanager
    def open(self, name):
        self._do("open")
        with super().open(name) as source:
            yield source

    @contextmanager
    def create(self, name, nbytes):
        self._do("create")
        with super().create(name, nbytes) as sink:
            yield _FaultySink(sink, self._do)
            self._do("close")


class _FaultySink:
    def __init__(self, sink, do):
        self.random_access = sink.random_access
        self._sink = sink
        self._do = do

    def write_at(self, offset, buffer):
        self._do("write")
        self._sink.write_at(offset, buffer)


class Failing:
    """Fails at the n-th operation, and counts them."""

    def __init__(self, n: int, code: int = errno.EIO):
        self.left = n
        self.code = code
        self.failed = ""

    def __call__(self, operation: str) -> None:
        self.left -= 1
        if self.left == 0:
            self.failed = operation
            raise OSError(self.code, os.strerror(self.code))


def refusal_of(work: Callable[[], object]) -> StorageError | None:
    """Return the error with which the storage refused, or None."""
    try:
        work()
    except StorageError as error:
        return error
    return None
