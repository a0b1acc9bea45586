"""A filesystem that makes trouble at its n-th operation, and processes that are killed there."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal

from tests.agents import trained
from tests.s3 import CREDENTIALS

_COUNTED = {
    "get_file_info",
    "open_input_file",
    "open_output_stream",
    "create_dir",
    "move",
    "delete_file",
    "delete_dir",
    "read_at",
    "write",
    "close",
}


class FaultyFilesystem:
    """A pyarrow filesystem that calls ``act`` before its n-th operation and from then on not."""

    def __init__(self, inner, act, n, count=None):
        self._inner, self._act, self._n = inner, act, n
        self._count = [0] if count is None else count

    def __getattr__(self, name):
        value = getattr(self._inner, name)
        return self._counting(value) if name in _COUNTED else value

    def _counting(self, function):
        def call(*args, **kwargs):
            self._count[0] += 1
            if self._count[0] == self._n:
                self._act()
            result = function(*args, **kwargs)
            streams = hasattr(result, "read_at") and hasattr(result, "write")
            return FaultyFilesystem(result, self._act, self._n, self._count) if streams else result

        return call


def moments(what):
    """Yield when to kill: at each operation of the main case, at each third of the others."""
    step = 1 if what == "msgpack" else 3
    return range(random.randint(1, step), 1000, step)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def save_to_s3_and_die(endpoint, path, what, n):
    """Save step 2 to S3; be killed before the n-th operation. Runs in a process of its own."""
    from pyarrow import fs

    s3 = fs.S3FileSystem(endpoint_override=endpoint, scheme="http", **CREDENTIALS)
    _save(path, what, FaultyFilesystem(s3, die, n))


def save_in_place_and_die(path, what, n):
    """Save step 2 into a local folder that cannot be exchanged, and be killed likewise."""
    from tune_ckpt.tree import writing

    left = [n]

    def deadly(function):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                die()
            return function(*args, **kwargs)

        return call

    writing.can_stage = lambda store: False
    for name in ("mkdir", "replace", "pwrite", "open", "unlink"):
        setattr(os, name, deadly(getattr(os, name)))
    _save(path, what, None)


def _save(path, what, filesystem):
    import tune_ckpt as tc

    if what == "convert":
        tc.convert_to_msgpack_checkpoint(path, filesystem=filesystem)
    else:
        use_msgpack = what == "msgpack"
        trained(step=2).save_to_path(path, filesystem=filesystem, use_msgpack=use_msgpack)


def save_again_and_again(path, filesystem_of, steps, use_msgpack):
    """Replace a checkpoint by newer ones. Runs in a process of its own."""
    filesystem = filesystem_of() if filesystem_of else None
    for step in steps:
        trained(step, size=50).save_to_path(path, filesystem=filesystem, use_msgpack=use_msgpack)


class S3At:
    """Makes the filesystem, in the process in which it is called."""

    def __init__(self, endpoint):
        self.endpoint = endpoint

    def __call__(self):
        from pyarrow import fs

        return fs.S3FileSystem(endpoint_override=self.endpoint, scheme="http", **CREDENTIALS)


PROCESSES = multiprocessing.get_context("forkserver")  # quick: what they need is imported already
PROCESSES.set_forkserver_preload(["tests.tree.killing", "tune_ckpt.tree.writing", "pyarrow.fs"])


def run(target, *args):
    """Run a function in a process of its own and return its exit code."""
    process = PROCESSES.Process(target=target, args=args)
    process.start()
    process.join()
    return process.exitcode
