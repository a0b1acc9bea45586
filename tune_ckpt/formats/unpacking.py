"""msgpack bytes and blobs to a state again, in one pass of msgpack's own unpacker.

Nothing is imported, called or constructed but the types of the table.
"""

from __future__ import annotations

import gc
import importlib.util
from typing import Any, Literal

import numpy as np
from msgpack import UnpackException

from tune_ckpt.formats import arrays
from tune_ckpt.formats.document import in_threads
from tune_ckpt.formats.document_reading import Head, read_blob
from tune_ckpt.formats.extensions import Row, expect, row_with
from tune_ckpt.formats.io import Source
from tune_ckpt.formats.packing import SHARED, UNWRITABLE, same_bytes
from tune_ckpt.formats.short_form import parts_of
from tune_ckpt.formats.wire import unpackb

Tensors = Literal["torch", "numpy"]

# What malformed parts may raise while a value is made of them.
MALFORMED = (*UNWRITABLE, UnpackException)
_PENDING = object()


class Unpacking:
    """What is known while one state is unpacked; handed to each row's ``read``.

    Args:
        source: Where the blobs lie.
        head: What stands before them.
        tensors: Whether tensors come back as such or as NumPy arrays; None for the former where
            their library is installed.
        mmap: Whether to map the blobs instead of reading them.
    """

    def __init__(self, source: Source, head: Head, tensors: Tensors | None, *, mmap: bool) -> None:
        self._source = source
        self._head = head
        self._tensors = tensors
        self._mapped = source.mapped() if mmap else None
        self._shared: list[Any] = []
        self._open: list[int] = []  # the places in it of the values under way; -1 for no place
        self._claimed = 0
        self._installed: dict[str, bool] = {}  # asked for each tensor, and slow to find out
        self._jobs: list[tuple[int, memoryview]] = []

    def state(self) -> Any:
        """Return the state, its arrays filled.

        Raises:
            ValueError: Or any other of `MALFORMED`, where the tree is malformed.
        """
        state = unpack_with(self._head.state, self._ext_hook, self._list_hook)
        if self._open or self._claimed != len(self._head.blobs):
            raise ValueError("tags or blobs that nothing uses")
        self.settle()
        return state

    def _ext_hook(self, code: int, payload: bytes) -> Any:
        row = _ROW_WITH.get(code) or find_row(code)
        if payload:
            read = row.read_short
            value = read(payload) if read else row.read(self, *short_parts(row, payload))
            self._shared.append(value)
            return value
        if row.identity is None:
            self._open.append(-1)
        else:
            self._open.append(len(self._shared))
            self._shared.append(_PENDING)
        return row

    def _list_hook(self, items: list[Any]) -> Any:
        if not items or items[0].__class__ is not Row:
            return items
        row, *parts = items
        value = row.read(self, *parts)
        # Tags are nested as values are. Where one stands elsewhere, it stays open to the end.
        number = self._open.pop()
        if number >= 0:
            self._shared[number] = value
        return value

    # ------------------------------------------------------------------- what rows make use of

    def shared_value(self, number: Any) -> Any:
        """Return an earlier value."""
        if type(number) is not int or not 0 <= number < len(self._shared):
            raise ValueError("there is no earlier value of that number")
        value = self._shared[number]
        if value is _PENDING:
            raise ValueError("a value that contains itself")
        return value

    def wants(self, package: str) -> bool:
        """Return whether a package's own tensors are wanted, not NumPy arrays instead of them."""
        if self._tensors in ("numpy", package):
            return self._tensors == package
        if package not in self._installed:
            self._installed[package] = importlib.util.find_spec(package) is not None
        return self._installed[package]

    def equal(self, first: Any, second: Any) -> bool:
        """Return whether two values are equal down to every type and bit.

        One that cannot be written is equal to none that was.
        """
        self.settle()
        try:
            return same_bytes(first, second)
        except UNWRITABLE:
            return False

    def array(self, dtype: np.dtype[Any], shape: Any, data: Any, order: Any) -> arrays.Array:
        """Return an array whose bytes are there, or will be when the state is returned.

        Args:
            dtype: Its dtype.
            shape: Its shape, as a list of sizes.
            data: A blob's number, the bytes, or the list of its elements.
            order: The axes in memory order; None for C order.

        Raises:
            ValueError: The data's size does not fit.
        """
        if dtype.subdtype is not None:
            raise ValueError("an array whose dtype is itself an array")
        if dtype.hasobject:
            return arrays.array_of_objects(dtype, shape, expect(list, data), order)
        if type(data) is int:
            return self._blob_array(dtype, shape, data, order)
        return arrays.array_of_bytes(dtype, shape, expect(bytes, data), order)

    def _blob_array(self, dtype: Any, shape: Any, number: int, order: Any) -> arrays.Array:
        pieces = self._claim(number)
        due = arrays.nbytes_of(shape, dtype)
        if self._head.nbytes_of(number) != due:
            raise ValueError(f"blob {number} does not have {due} bytes")
        if self._mapped is not None and len(pieces) == 1:
            return arrays.mapped_array(dtype, shape, order, self._mapped, pieces[0].offset)
        array, straight = arrays.empty_array(dtype, shape, order)
        self._jobs.append((number, arrays.raw_bytes(straight)))
        return array

    def _claim(self, number: int) -> Any:
        # Each blob belongs to one array, in order: a document cannot ask for more than it holds.
        if number != self._claimed or number >= len(self._head.blobs):
            raise ValueError(f"blob {number} is out of order")
        self._claimed += 1
        return self._head.blobs[number]

    def settle(self) -> None:
        """Fill the arrays that were made so far: for a row that needs more than their memory."""
        jobs, self._jobs = self._jobs, []

        def fill(job: tuple[int, memoryview]) -> None:
            """Read one array's data into its place."""
            read_blob(self._source, self._head, *job)

        in_threads(fill, jobs, sum(target.nbytes for _, target in jobs))


def _read_shared(unpacking: Unpacking, number: Any) -> Any:
    return unpacking.shared_value(number)


SHARED_ROW = Row(SHARED, "shared value", lambda *_: [], _read_shared)
_ROW_WITH: dict[int, Row] = {SHARED: SHARED_ROW}


def find_row(code: int) -> Row:
    """Return the row with this ext code.

    Raises:
        ValueError: There is none.
    """
    row = _ROW_WITH.get(code) or row_with(code)
    if row is None:
        raise ValueError(f"ext code {code} is not known here")
    return _ROW_WITH.setdefault(code, row)


def short_parts(row: Row, payload: bytes) -> tuple[Any, Any, bytes]:
    """Return the parts of an array in the short form.

    Raises:
        ValueError: Values of this row have none, or the payload does not begin as it should.
    """
    if not row.is_array:
        raise ValueError(f"ext code {row.code} with a payload")
    return parts_of(payload)


def unpack_with(data: memoryview, ext_hook: Any, list_hook: Any) -> Any:
    """Return what msgpack bytes hold.

    The garbage collector pauses: it would search a growing tree again and again.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        return unpackb(
            data,
            ext_hook=ext_hook,
            list_hook=list_hook,
            strict_map_key=False,
            timestamp=3,  # no writer of ours writes msgpack's own: they are read as it says
        )
    finally:
        if enabled:
            gc.enable()
