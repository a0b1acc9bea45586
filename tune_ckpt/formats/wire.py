"""msgpack's own classes, whatever another library has made of ``msgpack.packb`` meanwhile.

``msgpack_numpy.patch()`` replaces the names in the module ``msgpack`` for the whole process; the
classes behind them stay as they are.
"""

from __future__ import annotations

from typing import Any

try:
    from msgpack._cmsgpack import Packer, Unpacker, unpackb
except ImportError:  # msgpack was installed without its C part
    from msgpack.fallback import Packer, Unpacker, unpackb

__all__ = ["Packer", "Unpacker", "packb", "unpackb"]


def packb(value: Any, **options: Any) -> bytes:
    """Return a value as msgpack bytes."""
    packed: bytes = Packer(**options).pack(value)
    return packed
