"""Saving in the background: the caller waits for a copy of the state, a thread does the rest.

The state is packed in the caller's thread, where it cannot change meanwhile and where whatever
cannot be written is reported at once. Then the arrays' memory is copied, and the caller goes on.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from tune_ckpt.errors import SaveInFlightError
from tune_ckpt.tree.layout import Format
from tune_ckpt.tree.packing import Node
from tune_ckpt.tree.snapshot import Arena, snapshot
from tune_ckpt.tree.storage.store import address_of, open_store, path_and_filesystem
from tune_ckpt.tree.writing import Saved, write_tree

_log = logging.getLogger(__name__)


class PendingSave:
    """A save that is being written in the background.

    Attributes:
        path: Where the checkpoint will be.
    """

    def __init__(self, path: str, future: Future[Saved]) -> None:
        self.path = path
        self._future = future
        self._told = False

    def done(self) -> bool:
        """Say whether the save has ended, well or not."""
        return self._future.done()

    def result(self, timeout: float | None = None) -> Saved:
        """Wait for the end of the save, and return what it did.

        Args:
            timeout: How many seconds to wait; by default, as long as it takes.

        Raises:
            TimeoutError: It has not ended by then; it goes on.
            StorageError: The storage refused; an older checkpoint there is untouched.
            UnsupportedStateError: A pickle would hold objects that cannot be unpickled.
        """
        wait([self._future], timeout)
        if not self._future.done():
            message = f"The save to {self.path} has not ended within {timeout} s; it goes on."
            raise TimeoutError(message)
        self._told = True
        return self._future.result()

    def settle(self) -> None:
        """Wait for the end of the save; raise its error, unless somebody has had it already."""
        if not self._told:
            self.result()


class Saver:
    """Saves one object in the background, one save at a time.

    It keeps the memory of a snapshot for the next one.
    """

    def __init__(self) -> None:
        self.forget()
        _SAVERS.add(self)

    def forget(self) -> None:
        """Start again, without what is under way."""
        self._lock = threading.Lock()
        self._arena = Arena()
        self._pending: PendingSave | None = None

    def start(
        self,
        component: Callable[[], Node],
        path: Any,
        format: Format,
        *,
        wait: bool,
        filesystem: Any,
        base: Any,
        durable: bool,
    ) -> PendingSave:
        """Take a snapshot of an object, and begin to write it.

        Args:
            component: Returns the object's tree.
            path: A local path or a URI.
            format: How its files are packed.
            wait: Whether to wait for the save before this one.
            filesystem: As for `tune_ckpt.tree.writing.write_tree`, like the rest.
            base: Another checkpoint, whose files are taken over.
            durable: Whether the save ends only when it would survive a loss of power.

        Raises:
            SaveInFlightError: The save before this one has not ended, and ``wait`` is false.
            UnsupportedStateError: The format cannot bring back some values; all are listed.
            StorageError: The save before this one failed. This one was not begun.
        """
        place = _absolute(path, filesystem)
        old = None if base is None else _absolute(base, filesystem)
        options = {"filesystem": filesystem, "base": old, "durable": durable}
        with self._alone(wait):
            self._settle()
            packed = snapshot(component(), format, self._arena)
            self._pending = _in_background(place, lambda: write_tree(packed, place, **options))
            return self._pending

    def settle(self) -> None:
        """Wait for the save that is under way, if one is, and raise its error."""
        with self._alone(wait=True):
            self._settle()

    @contextmanager
    def _alone(self, wait: bool) -> Iterator[None]:
        free = self._lock.acquire(blocking=wait)
        try:
            if not wait and (not free or (self._pending and not self._pending.done())):
                raise SaveInFlightError(self._pending.path if self._pending else "another path")
            yield
        finally:
            if free:
                self._lock.release()

    def _settle(self) -> None:
        if self._pending is not None:
            self._pending.settle()


def _absolute(path: Any, filesystem: Any) -> Any:
    """Return a path that means the same when this process works in another folder."""
    if path_and_filesystem(path, filesystem)[1] is None:
        return address_of(path)  # a URI as it is: to open it, S3 may be asked for its region
    store = open_store(path, filesystem)
    return path if store.filesystem is not None else store.location


def _in_background(path: Any, write: Callable[[], Saved]) -> PendingSave:
    pool = ThreadPoolExecutor(1, "tune_ckpt-save")
    future = pool.submit(write)
    pool.shutdown(wait=False)  # the thread ends with the save
    _UNDER_WAY.add(future)
    future.add_done_callback(lambda done: _report(path, done))
    return PendingSave(str(path), future)


def _report(path: Any, future: Future[Saved]) -> None:
    error = future.exception()
    if error is not None:  # the program may end before anybody asks
        _log.error("The background save to %s failed: %s", path, error)


# --------------------------------------------------------------------------- who saves which object

_SAVERS: weakref.WeakSet[Saver] = weakref.WeakSet()
_BY_OWNER: dict[int, Saver] = {}  # by id: an object need not be hashable, and must stay picklable


def saver_of(owner: Any) -> Saver:
    """Return what saves an object in the background; it lives as long as the object."""
    new = Saver()
    saver = _BY_OWNER.setdefault(id(owner), new)  # in one step: there may be several threads
    if saver is new:
        weakref.finalize(owner, _BY_OWNER.pop, id(owner), None).atexit = False
    return saver


def settle(owner: Any) -> None:
    """Wait for an object's background save, if one is under way, and raise its error."""
    saver = _BY_OWNER.get(id(owner))
    if saver is not None:
        saver.settle()


# ------------------------------------------------------------------- when the program ends or forks

_UNDER_WAY: weakref.WeakSet[Future[Saved]] = weakref.WeakSet()


def _finish() -> None:
    wait(list(_UNDER_WAY))


def _forget() -> None:
    # A forked process has its parent's objects, but not the threads that would end their saves.
    _UNDER_WAY.clear()
    for saver in _SAVERS:
        saver.forget()


# Threads are waited for in any case. But a save may use a pool of threads itself, which takes no
# work any more once Python has begun to wait for threads: we have to be asked before.
getattr(threading, "_register_atexit", atexit.register)(_finish)
os.register_at_fork(after_in_child=_forget)
