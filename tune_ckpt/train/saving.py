"""One checkpoint of all workers of a Train run: what each packs, writes and tells the others.

1. Each tells which parts it gives, so that each knows which of them it is to save (`Shares`).
2. The one that commits gets the others' plain values, which stand in the root's state.
3. Each packs its share. All this happens while training waits.
4. Each writes its components into the checkpoint's folder and tells their digests to the one that
   commits. It writes the root, which names them all.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tune_ckpt.errors import StorageError, WorkerFailedError
from tune_ckpt.objects.bundle import Bundle
from tune_ckpt.train.board import Board, Topic
from tune_ckpt.train.shares import WORKERS, Shares
from tune_ckpt.tree.merging import commit, write_components
from tune_ckpt.tree.packing import Component, PackedComponent
from tune_ckpt.tree.storage.store import Store, open_store
from tune_ckpt.tree.writing import write_packed


@dataclass
class Save:
    """A worker's share of one checkpoint.

    Attributes:
        board: Where the workers tell each other.
        number: Which report of the run it is.
        shares: What each worker saves.
        component: The worker's share as a tree.
        packed: It packed.
    """

    board: Board
    number: int
    shares: Shares
    component: Component
    packed: PackedComponent | None = None
    _ended: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def agreed(cls, board: Board, number: int, parts: Mapping[str, Any]) -> Save:
        """Agree with the other workers on who saves what."""
        bundle = Bundle(parts)
        objects, values = dict.fromkeys(bundle.objects, True), dict.fromkeys(bundle.values, False)
        board.post((number, "names"), {**objects, **values})
        shares = Shares(board.collect((number, "names"), board.ranks))
        own = {n: bundle.objects[n] for n in shares.names(board.rank, objects=True)}
        component = Bundle(own).component()
        component.state = _values(board, number, shares, bundle.values)
        some_only = shares.some_only()
        component.extra = {WORKERS: some_only} if some_only else {}
        return cls(board, number, shares, component)

    @property
    def is_empty(self) -> bool:
        """Say whether this worker has nothing to write."""
        return not self._commits and not self.component.components

    @property
    def _commits(self) -> bool:
        return self.board.rank == self.shares.committer

    @property
    def _records(self) -> Topic:
        return self.number, "records"

    def wait(self, timeout_secs: float) -> None:
        """Wait until the packed share is not needed any more.

        Raises:
            StorageError: It still is when the time is up: its upload hangs.
        """
        if not self._ended.wait(timeout_secs):
            reason = f"the upload of report {self.number} has not ended for {timeout_secs:g} s"
            raise StorageError("the checkpoint before this one", "write", reason)

    def give_up(self) -> None:
        """Let nobody wait for a share that will not be written."""
        if self._ended.is_set():
            return
        self._ended.set()
        if not self._commits:
            self.board.post(self._records, None)

    def write(self, path: str, filesystem: Any = None) -> None:
        """Write this worker's share of the checkpoint at a path.

        Raises:
            StorageError: The storage refuses; the checkpoint will not be committed.
            WorkerFailedError: Another worker could not write its share.
            WorkerMissingError: Another worker does not come.
        """
        try:
            self._write(open_store(path, filesystem))
        except BaseException:
            self.give_up()
            raise
        self._ended.set()

    def _write(self, store: Store) -> None:
        assert self.packed is not None
        others = [rank for rank in self.shares.savers(objects=True) if rank != self.board.rank]
        if self._commits and not others:
            write_packed(store, self.packed)
            return
        records = write_components(store, self.packed)
        if not self._commits:
            self.board.post(self._records, records)
            return
        for rank, found in self.board.collect(self._records, others).items():
            if found is None:
                raise WorkerFailedError(store.location, rank)
            records |= found
        commit(store, self.packed, records)


def _values(board: Board, number: int, shares: Shares, values: Mapping[str, Any]) -> dict[str, Any]:
    """Bring all plain values to the worker that commits; return what this one has to write."""
    topic = (number, "values")
    own = {name: values[name] for name in shares.names(board.rank, objects=False)}
    if board.rank == shares.committer:
        others = [rank for rank in shares.savers(objects=False) if rank != board.rank]
        for found in board.collect(topic, others).values():
            own |= found
        return own
    if own:
        board.post(topic, own)
    return {}
