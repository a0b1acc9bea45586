"""A state to one msgpack document and back, exactly (the typed dialect).

msgpack's own packer walks the state; our hook sees only the values that msgpack lacks. Where that
fails, or where a value would pass for another type unnoticed, a slower walk in Python finds every
such value and its path.
"""

from __future__ import annotations

import gc
import importlib.util
import math
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import msgpack
import numpy as np

from tune_ckpt.errors import CorruptDataError, Fault, UnsupportedStateError
from tune_ckpt.formats import arrays, random_states
from tune_ckpt.formats.document import Document, Head, check_blob, in_threads, read_blob, read_head
from tune_ckpt.formats.extensions import Refused, Row, row_of, row_with
from tune_ckpt.formats.io import BytesSink, BytesSource, Source

__all__ = ["check", "dumps", "load", "loads", "pack", "verify"]

INLINE_NBYTES = 1024  # arrays up to this size stand in the tree itself
SHARED = 100  # the ext code of a second name for an earlier value
MAX_DEPTH = 200  # of what the slow walk follows; Python's own stack sets the bound
Tensors = Literal["torch", "numpy"]

_LOADED = arrays, random_states  # whose rows are registered by being imported
_SHARED_TAG = msgpack.ExtType(SHARED, b"")
_NATIVE = {type(None), bool, float, str, bytes}
# The packer writes these as something else without asking the hook.
_DISGUISED = {bytearray, memoryview, msgpack.ExtType, msgpack.Timestamp}
_CONTAINERS = {dict, list, tuple, set, frozenset, OrderedDict, defaultdict, Counter, deque}


class Packing:
    """What is known while one state is packed; handed to each row's ``write``."""

    def __init__(self, *, slow: bool = False) -> None:
        self.slow = slow
        self.blobs: list[memoryview] = []
        self.dtype_codes: dict[np.dtype[Any], Any] = {}
        self._numbers: dict[Hashable, int] = {}
        self._kept: list[Any] = []  # an identity is only good while its owner lives

    def default(self, value: Any) -> list[Any]:
        """Return the tagged parts of a value that msgpack lacks: the packer's hook."""
        row = row_of(type(value))
        if row is None:
            raise Refused(f"values of type {_type_name(value)} cannot be written")
        if row.identity is None:
            return [row.tag, *row.write(value, self)]
        key, count = (row.code, row.identity(value)), len(self._numbers)
        number = self._numbers.setdefault(key, count)
        if number < count:
            return [_SHARED_TAG, number]
        self._kept.append(value)
        return [row.tag, *row.write(value, self)]

    def data(self, raw: memoryview) -> bytes | int:
        """Return what stands for an array's bytes in the tree: themselves, or a blob's number."""
        if raw.nbytes <= INLINE_NBYTES:
            return bytes(raw)
        self.blobs.append(raw)
        return len(self.blobs) - 1

    def guard(self, values: list[Any]) -> list[Any]:
        """Return values that a row took out of its object, after a look for disguised ones."""
        if not self.slow and _holds_disguised(values):
            raise Refused("a value that only the slow walk can write")
        return values

    def key_bytes(self, value: Any) -> bytes:
        """Return bytes that order the members of a set, the same in every run."""
        row = row_of(type(value))
        if row is not None and row.identity is not None:
            raise Refused(f"a set with a member of type {_type_name(value)} has no order")
        packed: bytes = msgpack.packb(value, default=Packing().default, strict_types=True)
        return packed


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


# ------------------------------------------------------------------------------------- writing


def pack(state: Any) -> Document:
    """Pack a state; its arrays are referred to, not copied.

    Raises:
        UnsupportedStateError: It holds values that could not be brought back; all are listed.
    """
    packing = Packing()
    try:
        packed = msgpack.packb(state, default=packing.default, strict_types=True)
    except (Refused, TypeError, ValueError, OverflowError, RecursionError, AttributeError):
        return _pack_slowly(state)
    if _may_hold_disguised(packed) and _holds_disguised([state]):
        return _pack_slowly(state)
    return Document(packed, packing.blobs)


def dumps(state: Any) -> bytes:
    """Return a state as one document in memory.

    Raises:
        UnsupportedStateError: It holds values that could not be brought back; all are listed.
    """
    document = pack(state)
    sink = BytesSink(document.nbytes)
    document.write(sink)
    return bytes(sink.buffer)


_BIN_AND_EXT = [bytes([code]) for code in (*range(0xC4, 0xCA), *range(0xD4, 0xD9))]


def _may_hold_disguised(packed: bytes) -> bool:
    # They are written as bin and ext objects: without such a byte there are none.
    return any(code in packed for code in _BIN_AND_EXT)


def _holds_disguised(level: list[Any]) -> bool:
    while level:
        if not _DISGUISED.isdisjoint(map(type, level)):
            return True
        inner = [value for value in level if type(value) in _CONTAINERS]
        level = gc.get_referents(*inner) if inner else []
    return False


def check(state: Any) -> list[Fault]:
    """List what of a state could not be brought back, each with its path and the reason."""
    try:
        pack(state)
    except UnsupportedStateError as error:
        return list(error.faults)
    return []


def _pack_slowly(state: Any) -> Document:
    walk = _Walk()
    plain = walk.plain(state, ())
    if walk.faults:
        raise UnsupportedStateError(tuple(walk.faults))
    return Document(msgpack.packb(plain), walk.packing.blobs)


class _Walk:
    """Does in Python what the packer and its hook do, with the path of every value.

    Arrays become tuples, because a tagged array may be the key of a dict.
    """

    def __init__(self) -> None:
        self.packing = Packing(slow=True)
        self.faults: list[Fault] = []
        self._open: set[int] = set()

    def plain(self, value: Any, path: tuple[str, ...]) -> Any:
        """Return the value as msgpack's own types, or None and a fault."""
        kind = type(value)
        if kind in _NATIVE or (kind is int and -(2**63) <= value < 2**64):
            return self._text(value, path) if kind is str else value
        if id(value) in self._open:
            self._fault(path, "it contains itself")
            return None
        if len(path) > MAX_DEPTH:
            self._fault(path[:8], f"it is nested more than {MAX_DEPTH} levels deep")
            return None
        self._open.add(id(value))
        try:
            return self._dict(value, path) if kind is dict else self._items(value, path)
        finally:
            self._open.discard(id(value))

    def _fault(self, path: tuple[str, ...], reason: str) -> None:
        self.faults.append(Fault("/".join(path), reason))

    def _text(self, value: str, path: tuple[str, ...]) -> str:
        try:
            value.encode()
        except UnicodeEncodeError:
            self._fault(path, "this text has lone surrogates, which UTF-8 cannot express")
        return value

    def _dict(self, value: dict[Any, Any], path: tuple[str, ...]) -> dict[Any, Any]:
        plain = {}
        for key, item in value.items():
            step = (*path, str(key) if isinstance(key, str | int | float) else repr(key))
            plain[self.plain(key, step)] = self.plain(item, step)
        return plain

    def _items(self, value: Any, path: tuple[str, ...]) -> tuple[Any, ...] | None:
        if type(value) is list:
            tag, items = [], value
        else:
            try:
                tag, *items = self.packing.default(value)
            except (Refused, TypeError, ValueError, AttributeError) as error:
                self._fault(path, str(error))
                return None
            tag = [tag]
        plain = list(tag)
        numbered = isinstance(value, list | tuple | set | frozenset | deque)
        for index, item in enumerate(items):
            plain.append(self.plain(item, (*path, str(index)) if numbered else (*path, "")))
        return tuple(plain)


# ------------------------------------------------------------------------------------- reading


class _Tag:
    """The announcement of a row's parts; numbered where a later value may refer to it."""

    __slots__ = ("number", "row")

    def __init__(self, row: Row, number: int | None) -> None:
        self.row = row
        self.number = number


def _read_shared(unpacking: Unpacking, number: Any) -> Any:
    if type(number) is not int or not 0 <= number < len(unpacking.shared):
        raise ValueError(f"there is no earlier value {number!r}")
    return unpacking.shared[number]


_SHARED_ROW = Row(SHARED, "shared value", lambda *_: [], _read_shared)
_PENDING = object()


class Unpacking:
    """What is known while one state is unpacked; handed to each row's ``read``.

    Attributes:
        tensors: Whether torch tensors come back as such or as NumPy arrays.
        shared: The values that later ones may refer to, in order of their tags.
    """

    def __init__(self, source: Source, head: Head, tensors: Tensors, *, mmap: bool) -> None:
        self.tensors = tensors
        self.shared: list[Any] = []
        self._source = source
        self._head = head
        self._mapped = source.mapped() if mmap else None
        self._jobs: list[tuple[int, memoryview]] = []
        self._next_blob = 0
        self._open_tags = 0

    def state(self) -> Any:
        """Return the state, its arrays filled."""
        try:
            with _gc_paused():
                state = msgpack.unpackb(
                    self._head.state,
                    ext_hook=self._ext_hook,
                    list_hook=self._list_hook,
                    strict_map_key=False,
                )
            if self._open_tags or self._next_blob != len(self._head.blobs):
                raise ValueError("tags or blobs that nothing uses")
        except _MALFORMED as error:
            reason = f"its tree holds what no writer writes ({error})"
            raise CorruptDataError(self._source.name, reason) from error
        self._fill()
        return state

    def _ext_hook(self, code: int, payload: bytes) -> _Tag:
        row = _SHARED_ROW if code == SHARED else row_with(code)
        if row is None or payload:
            raise ValueError(f"ext code {code} is not known here")
        self._open_tags += 1
        if row.identity is None:
            return _Tag(row, None)
        self.shared.append(_PENDING)
        return _Tag(row, len(self.shared) - 1)

    def _list_hook(self, items: list[Any]) -> Any:
        if not items or items[0].__class__ is not _Tag:
            return items
        tag, *parts = items
        self._open_tags -= 1
        value = tag.row.read(self, *parts)
        if value is _PENDING:
            raise ValueError("a value that contains itself")
        if tag.number is not None:
            self.shared[tag.number] = value
        return value

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
        count = math.prod(arrays.checked_shape(shape))
        if type(data) is int:
            return self._blob_array(dtype, shape, self._claim(data, count * dtype.itemsize), order)
        kind, due = (list, count) if dtype.hasobject else (bytes, count * dtype.itemsize)
        if type(data) is not kind or len(data) != due:
            raise ValueError(f"wrong data for an array of shape {shape} and dtype {dtype}")
        array, straight = arrays.empty_array(dtype, shape, order)
        fill = arrays.fill_objects if dtype.hasobject else arrays.fill_bytes
        fill(straight, data)
        return array

    def _claim(self, number: int, nbytes: int) -> int:
        # Each blob belongs to one array, in order: a document cannot ask for more than it holds.
        if number != self._next_blob or number >= len(self._head.blobs):
            raise ValueError(f"blob {number} is out of order")
        if sum(piece.nbytes for piece in self._head.blobs[number]) != nbytes:
            raise ValueError(f"blob {number} does not have {nbytes} bytes")
        self._next_blob += 1
        return number

    def _blob_array(self, dtype: Any, shape: Any, number: int, order: Any) -> arrays.Array:
        pieces = self._head.blobs[number]
        if dtype.hasobject:
            raise ValueError("objects in a blob")
        if self._mapped is not None and len(pieces) == 1:
            return arrays.mapped_array(dtype, shape, order, self._mapped, pieces[0].offset)
        array, straight = arrays.empty_array(dtype, shape, order)
        self._jobs.append((number, arrays.raw_bytes(straight)))
        return array

    def _fill(self) -> None:
        def fill(job: tuple[int, memoryview]) -> None:
            read_blob(self._source, self._head, *job)

        in_threads(fill, self._jobs, sum(target.nbytes for _, target in self._jobs))


_MALFORMED = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    msgpack.UnpackException,
)


@contextmanager
def _gc_paused() -> Iterator[None]:
    # A tree of many containers would be searched for garbage again and again while it grows.
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def load(
    source: Source,
    *,
    mmap: bool = False,
    tensors: Tensors | None = None,
    digest: str | None = None,
) -> Any:
    """Return the state that a document holds, every byte of it verified.

    Nothing is imported, called or constructed but the types of the table.

    Args:
        source: The document.
        mmap: Map the arrays instead of reading them, where the source can be mapped: takes no time
            and no memory until they are touched, copies what is written to, and does not verify the
            arrays' bytes.
        tensors: How torch tensors come back: as such, or as NumPy arrays. By default, as tensors
            where torch is installed.
        digest: The document's expected digest.

    Raises:
        CorruptDataError: The bytes are not what was written.
        MissingDependencyError: A value needs a package that is not installed.
    """
    head = read_head(source)
    if digest is not None and digest != head.digest:
        raise CorruptDataError(source.name, "it is not the document that was committed", 0)
    if tensors is None:
        tensors = "torch" if importlib.util.find_spec("torch") else "numpy"
    return Unpacking(source, head, tensors, mmap=mmap).state()


def loads(data: bytes | bytearray | memoryview, **options: Any) -> Any:
    """Return the state that a document in memory holds; the options are those of `load`."""
    return load(BytesSource(data), **options)


def verify(source: Source) -> str:
    """Check every byte of a document and return its digest; needs no memory for the arrays.

    Raises:
        CorruptDataError: The bytes are not what was written.
    """
    head = read_head(source)

    def read(number: int) -> None:
        check_blob(source, head, number)

    nbytes = sum(piece.nbytes for pieces in head.blobs for piece in pieces)
    in_threads(read, range(len(head.blobs)), nbytes)
    return head.digest
