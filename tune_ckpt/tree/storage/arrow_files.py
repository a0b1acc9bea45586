"""Files on pyarrow filesystems: read by ranges, several at a time, and written as streams."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tune_ckpt.errors import CorruptDataError
from tune_ckpt.tree.storage import retrying, traffic
from tune_ckpt.tree.storage.folder import reported

_REQUEST_NBYTES = 2**23
_REQUESTS = 4  # at a time, for one range
_BUFFERED_NBYTES = 2**26
_DELETED = re.compile("AWS Error NO_SUCH_KEY|NOT_FOUND")


class ArrowSource:
    """A file that is read by ranges; where a read fails, it is opened again."""

    chunk_nbytes = _REQUESTS * _REQUEST_NBYTES

    def __init__(self, open_file: Callable[[], Any], name: str) -> None:
        self._open = open_file
        self.name = name
        with reported("open", name):
            self._file = retrying.RETRY.call(open_file)
            self.nbytes: int = self._file.size()

    def read_into(self, offset: int, *buffers: memoryview) -> None:
        """Fill the buffers one after another, beginning at byte ``offset``."""
        wanted = sum(buffer.nbytes for buffer in buffers)

        def fetch(start: int) -> None:
            """Fill what one request brings."""
            nbytes = min(_REQUEST_NBYTES, wanted - start)
            _scatter(self._fetch(offset + start, nbytes), start, buffers)

        starts = range(0, wanted, _REQUEST_NBYTES)
        if len(starts) == 1:
            fetch(0)
        else:
            with ThreadPoolExecutor(_REQUESTS) as pool:
                list(pool.map(fetch, starts))

    def _fetch(self, offset: int, nbytes: int) -> bytes:
        first = iter([self._file])

        def attempt() -> bytes:
            """Make the request, after a failure with a file that is opened again."""
            file = next(first, None) or self._reopened()
            data = _read(file, nbytes, offset)
            if len(data) < nbytes:
                raise ConnectionError(f"it ended at byte {offset + len(data)}")
            traffic.tell(nbytes)
            return data

        with reported("read", self.name):
            return retrying.RETRY.call(attempt)

    def _reopened(self) -> Any:
        file = self._open()
        if file.size() != self.nbytes:
            raise CorruptDataError(self.name, "it was replaced while it was being read")
        self._file = file  # for what is read later, too: the former one may never work again
        return file

    def mapped(self, offset: int = 0, nbytes: int | None = None) -> memoryview | None:
        """Return None: it cannot be mapped."""
        return None

    def close(self) -> None:
        """Close the file."""
        with reported("close", self.name):
            self._file.close()


def _read(file: Any, nbytes: int, offset: int) -> bytes:
    try:
        data: bytes = file.read_at(nbytes, offset)  # one request; thread-safe
    except OSError as error:
        if _DELETED.search(str(error)) is None:
            raise
        raise FileNotFoundError(errno.ENOENT, "it was deleted since it was opened") from error
    return data


def _scatter(data: bytes, start: int, buffers: tuple[memoryview, ...]) -> None:
    """Copy data to where it belongs, ``start`` bytes behind the beginning of the first buffer."""
    view, base = memoryview(data), 0
    for buffer in buffers:
        low, high = max(start, base), min(start + len(data), base + buffer.nbytes)
        if low < high:
            buffer[low - base : high - base] = view[low - start : high - start]
        base += buffer.nbytes


class ArrowSink:
    """A file that is written as a stream, from its beginning to its end."""

    random_access = False

    def __init__(self, stream: Any, name: str) -> None:
        self._stream = stream
        self._name = name
        self._buffered = 0

    def write_at(self, offset: int, buffer: bytes | memoryview) -> None:
        """Write what follows."""
        with reported("write", self._name):
            self._stream.write(buffer)
            self._buffered += len(buffer)
            traffic.tell(len(buffer))
            if self._buffered >= _BUFFERED_NBYTES:
                # Uploads go on in the background, however slow: wait, or memory would fill up.
                self._stream.flush()
                self._buffered = 0
