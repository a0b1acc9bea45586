"""Reading the rllib dialect: see `tune_ckpt.formats.rllib_dialect`."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import xxhash
from msgpack import UnpackException

from tune_ckpt.errors import CorruptDataError
from tune_ckpt.formats.arrays import array_of_bytes
from tune_ckpt.formats.extensions import expect
from tune_ckpt.formats.io import Source, read_range
from tune_ckpt.formats.parts import label
from tune_ckpt.formats.unpacking import MALFORMED
from tune_ckpt.formats.wire import streamed, unpackb, why_unread


def load(source: Source, digest: str | None = None) -> Any:
    """Return a state that RLlib or we wrote; arrays are writable and own their memory.

    Args:
        source: The file.
        digest: Its expected XXH3-128, hexadecimal.

    Raises:
        CorruptDataError: The bytes are not what was written.
        UntrustedPickleError: An array of objects holds more than plain data.
        PickleReadError: One is nested too deeply.
        MissingDependencyError: One holds a value that needs a package that is not installed.
    """
    data = read_range(source, 0, source.nbytes)
    if digest is not None and xxhash.xxh3_128_hexdigest(data) != digest:
        raise CorruptDataError(source.name, "it is not the file that was committed", 0)
    _check_lengths(source.name, data)
    try:
        return unpackb(data, object_hook=_Decoder(source.name), strict_map_key=False)
    except MALFORMED as error:
        raise CorruptDataError(source.name, _where(source.name, data, error)) from error


def _check_lengths(file: str, data: memoryview) -> None:
    # Before any of them is believed.
    unpacker = streamed(data)
    try:
        unpacker.skip()
    except (ValueError, UnpackException) as error:
        reason = f"it cannot be read: {why_unread(error)}"
        raise CorruptDataError(file, reason, unpacker.tell()) from error
    if unpacker.tell() != len(data):
        raise CorruptDataError(file, "something follows its end", unpacker.tell())


class _Decoder:
    """msgpack's hook for dicts: makes arrays and numbers of those that stand for them."""

    def __init__(self, file: str) -> None:
        self._file = file

    def __call__(self, items: dict[Any, Any]) -> Any:
        if b"nd" in items and b"type" in items and b"data" in items:
            return self._array(items) if items[b"nd"] is True else _scalar(items)
        if b"complex" in items and b"data" in items:
            return complex(_text(items[b"data"]))
        return items

    def _array(self, items: dict[bytes, Any]) -> Any:
        if items.get(b"kind") == b"O":
            return self._objects(items)
        return array_of_bytes(decode_descr(items[b"type"]), [*items[b"shape"]], items[b"data"])

    def _objects(self, items: dict[bytes, Any]) -> Any:
        from tune_ckpt.formats import pickle  # loads cloudpickle, for this rare case

        value = pickle.loads_restricted(expect(bytes, items[b"data"]), file=self._file)
        return expect(np.ndarray, value)


def with_arrays(value: Any, file: str) -> Any:
    """Return a plain state with arrays and numbers in the place of the dicts that stand for them.

    RLlib's patch of msgpack, once a process has it, leaves such dicts in what Ray's workers send,
    and so in pickles.

    Raises:
        CorruptDataError: One of them stands for no array.
    """
    try:
        return _with_arrays(value, _Decoder(file))
    except MALFORMED as error:
        raise CorruptDataError(file, f"it holds what no writer writes ({error})") from error


def _with_arrays(value: Any, decode: _Decoder) -> Any:
    if type(value) is dict:
        return decode({key: _with_arrays(item, decode) for key, item in value.items()})
    if type(value) in (list, tuple):
        return type(value)(_with_arrays(item, decode) for item in value)
    return value


def _scalar(items: dict[bytes, Any]) -> Any:
    data = bytearray(expect(bytes, items[b"data"]))
    (value,) = np.frombuffer(data, decode_descr(items[b"type"]))
    return value


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else expect(str, value)


_PLAIN = re.compile(r"[<>|][biufcSUV]\d{1,9}")


def decode_descr(code: Any) -> np.dtype[Any]:
    """Return the dtype that NumPy's text or ``descr`` stands for.

    Raises:
        ValueError, TypeError: This dialect has no such dtype.
    """
    if isinstance(code, list | tuple):
        fields = [(_text(name), decode_descr(kind), *_shape(*rest)) for name, kind, *rest in code]
        return np.dtype(fields)
    if not _PLAIN.fullmatch(_text(code)):
        raise ValueError("no dtype of RLlib's dialect")
    return np.dtype(_text(code))


def _shape(*shape: Any) -> list[tuple[int, ...]]:
    return [tuple(expect(int, size) for size in sizes) for sizes in shape]


def _where(file: str, data: memoryview, error: Exception) -> str:
    """Say where the value is of which an array or a number could not be made."""
    bad = object()

    def decode(items: dict[Any, Any]) -> Any:
        """Decode a dict, unless it is the bad one that is looked for."""
        try:
            return _Decoder(file)(items)
        except MALFORMED:
            return bad

    try:
        stack: list[tuple[tuple[Any, ...], Any]] = [
            ((), unpackb(data, object_hook=decode, strict_map_key=False))
        ]
    except MALFORMED:
        stack = []
    while stack:
        steps, value = stack.pop()
        if value is bad:
            return f"at {'/'.join(map(label, steps)) or '(root)'}: {error}"
        if isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            stack += [((*steps, step), item) for step, item in items]
    return f"it holds what no writer writes ({error})"
