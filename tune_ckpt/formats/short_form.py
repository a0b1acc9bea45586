"""The short form of a small array: one ext object instead of a tagged list.

A state may hold very many of them, and this form costs a reader one call each instead of three. The
payload is the length of a description (one byte), the description (a msgpack array of dtype and
shape), and the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from msgpack import ExtType

from tune_ckpt.formats.wire import packb, unpackb

_LONGEST = 255


def shortened(code: int, parts: Sequence[Any]) -> ExtType | None:
    """Return the ext object that stands for an array's row and parts, or None where none does.

    There is none for data in a blob, for objects, for a structured dtype, for another memory order
    than C's, and for what is read-only.
    """
    if len(parts) != 3 or type(parts[2]) is not bytes or type(parts[0]) is not str:
        return None
    description = _describe(parts[0], tuple(parts[1]))
    return ExtType(code, description + parts[2]) if description else None


def parts_of(payload: bytes) -> tuple[Any, Any, bytes]:
    """Return the parts for which a payload stands: dtype, shape, data.

    Raises:
        ValueError: It does not begin with a description.
    """
    end = 1 + payload[0]
    dtype, shape = described(payload[:end])
    return dtype, shape, payload[end:]


@lru_cache(1024)
def _describe(dtype: str, shape: tuple[int, ...]) -> bytes | None:
    packed = packb([dtype, list(shape)])
    return bytes([len(packed)]) + packed if len(packed) <= _LONGEST else None


def described(description: bytes) -> tuple[Any, Any]:
    """Return dtype and shape, as parts, of what a payload begins with.

    Raises:
        ValueError: It is not a description.
    """
    dtype, shape = unpackb(description[1:])
    return dtype, shape
