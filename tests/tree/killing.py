"""A filesystem that makes trouble at its n-th operation, and processes that are killed there."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal

from hypothesis import settings

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


def moments(stride):
    """Yield when to kill: at each ``stride``-th operation, or at every one in a thorough run."""
    if settings.get_current_profile_name() == "thorough":
        stride = 1
    return range(random.randint(1, stride), 1000, stride)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def do_on_s3_and_die(endpoint, path, what, n):
    """Do something to a checkpoint on S3; be killed before the n-th operation.

    Runs in a process of its own, like all below.
    """
    _do(what, path, FaultyFilesystem(S3At(endpoint)(), die, n))


_CHANGES = ("mkdir", "rename", "replace", "pwrite", "open", "unlink", "rmdir", "link", "fsync")


def do_and_die(path, what, n):
    """Do something to a local checkpoint; be killed before the n-th call that changes the disk."""
    from tune_ckpt.tree import staging

    left = [n]

    def deadly(function):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                die()
            return function(*args, **kwargs)

        return call

    for name in _CHANGES:
        setattr(os, name, deadly(getattr(os, name)))
    staging._exchange = deadly(staging._exchange)
    _do(what, path, None)


def do_in_place_and_die(path, what, n):
    """Do likewise in a folder that cannot be exchanged."""
    from tune_ckpt.tree import writing

    writing.can_stage = lambda store: False
    do_and_die(path, what, n)


def _do(what, path, filesystem):
    import tune_ckpt as tc

    def save(**options):
        trained(step=2).save_to_path(path, filesystem=filesystem, **options)

    def save_async():
        return trained(step=2).save_async(path, use_msgpack=True).result()

    {
        "pickle": save,
        "msgpack": lambda: save(use_msgpack=True),
        "durable": lambda: save(use_msgpack=True, durable=True),
        "base": lambda: save(base=path),
        "async": save_async,
        "convert": lambda: tc.convert_to_msgpack_checkpoint(path, filesystem=filesystem),
        "delete": lambda: tc.delete_checkpoint(path),
    }[what]()


def save_again_and_again(path, filesystem_of, steps, use_msgpack):
    """Replace a checkpoint by newer ones."""
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
PROCESSES.set_forkserver_preload(
    [
        "tests.tree.killing",
        "tune_ckpt.objects.background",
        "tune_ckpt.objects.rewriting",
        "pyarrow.fs",
    ]
)


def run(target, *args):
    """Run a function in a process of its own and return its exit code."""
    process = PROCESSES.Process(target=target, args=args)
    process.start()
    process.join()
    return process.exitcode
