"""Storage as slow as a bad day's network; in a module that every process can import."""

from __future__ import annotations

import time

from fsspec.implementations.local import LocalFileSystem


class SlowDisk(LocalFileSystem):
    """The local disk, each of whose operations takes a second."""

    def info(self, *args: object, **kwargs: object) -> object:
        time.sleep(1)
        return super().info(*args, **kwargs)

    def open(self, *args: object, **kwargs: object) -> object:
        time.sleep(1)
        return super().open(*args, **kwargs)
