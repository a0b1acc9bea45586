"""A pickle of a value with its large arrays and tensors lifted out, and the value again.

Pickling arrays takes much longer than copying them. So for a snapshot everything else is pickled,
and the arrays' memory is left to be copied. The pickle for the file is made later, of the value
that `drop` makes of both. All of it stays in this process: there is nobody to mistrust.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from tune_ckpt.errors import Fault, UnsupportedStateError
from tune_ckpt.formats.arrays import in_memory_order, mapped_array, raw_bytes
from tune_ckpt.formats.pickle import dumps

WORTH_LIFTING_NBYTES = 2**16

Rebuild = Callable[[memoryview], Any]


@dataclass(frozen=True)
class Lifted:
    """Something that was lifted out of a pickle.

    Attributes:
        memory: Its memory, which belongs to the value.
        rebuild: Returns it again, over a copy of its memory.
    """

    memory: memoryview
    rebuild: Rebuild


def lift(value: Any) -> tuple[bytes, list[Lifted]]:
    """Return a value's pickle, and what was lifted out of it; it is an ordinary pickle if nothing.

    Raises:
        UnsupportedStateError: Something in it cannot be pickled.
    """
    import cloudpickle  # reading needs no more than Python's own pickle

    found = _Found()

    class Lifting(cloudpickle.Pickler):  # type: ignore[misc]  # it ships no types
        def persistent_id(self, part: Any) -> int | None:
            """Return the number of what is lifted out; None for the rest."""
            return found.number_of(part)

    return dumps(value, pickler=Lifting), found.lifted


def drop(data: bytes, parts: Sequence[Any]) -> Any:
    """Return the value of a pickle, given what was lifted out of it.

    Raises:
        UnsupportedStateError: Something in it cannot be unpickled.
    """

    class Dropping(pickle.Unpickler):
        def persistent_load(self, number: int) -> Any:
            """Return what was lifted out under a number."""
            return parts[number]

    try:
        return Dropping(io.BytesIO(data)).load()
    except Exception as error:  # whatever the value's own code raises
        reason = f"it cannot be unpickled again ({type(error).__name__}: {error})"
        raise UnsupportedStateError((Fault("", reason),)) from error


@dataclass
class _Found:
    lifted: list[Lifted] = field(default_factory=list)
    numbers: dict[Hashable, int] = field(default_factory=dict)
    owners: list[Any] = field(default_factory=list)  # an identity is only good while they live

    def number_of(self, part: Any) -> int | None:
        """Return the number under which a part is lifted out, or None where it stays."""
        kind = type(part)
        known = _KINDS.get((kind.__module__, kind.__name__))
        identity = None if known is None else known.identity(part)
        if known is None or identity is None:
            return None
        if identity not in self.numbers:
            self.numbers[identity] = len(self.lifted)
            self.lifted.append(known.lift(part))
            self.owners.append(part)
        return self.numbers[identity]


# ----------------------------------------------------------------------------- what can be lifted


@dataclass(frozen=True)
class _Kind:
    identity: Callable[[Any], Hashable]  # None for what is better left in the pickle
    lift: Callable[[Any], Lifted]


def _identity_of_array(array: npt.NDArray[Any]) -> Hashable:
    return None if array.nbytes < WORTH_LIFTING_NBYTES or array.dtype.hasobject else id(array)


def _lift_array(array: npt.NDArray[Any]) -> Lifted:
    straight, order = in_memory_order(array)
    dtype, shape, writeable = array.dtype, list(array.shape), array.flags.writeable

    def rebuild(memory: memoryview) -> Any:
        """Return the array over other memory."""
        copy = mapped_array(dtype, shape, order, memory, 0)
        copy.flags.writeable = writeable
        return copy

    return Lifted(raw_bytes(straight), rebuild)


def _identity_of_storage(storage: Any) -> Hashable:
    untyped = storage._untyped_storage
    if untyped.nbytes() < WORTH_LIFTING_NBYTES or untyped.device.type == "meta":
        return None
    return untyped._cdata, storage.dtype


def _lift_storage(storage: Any) -> Lifted:
    # What a tensor pickles is its storage, together with the dtype.
    import torch

    dtype, host = storage.dtype, storage._untyped_storage.cpu()
    typed: Any = torch.storage.TypedStorage

    def rebuild(memory: memoryview) -> Any:
        """Return the storage over other memory."""
        copy = torch.frombuffer(memory, dtype=torch.uint8).untyped_storage()
        return typed(wrap_storage=copy, dtype=dtype, _internal=True)

    return Lifted(torch.empty(0, dtype=torch.uint8).set_(host).numpy().data, rebuild)


_KINDS = {
    ("numpy", "ndarray"): _Kind(_identity_of_array, _lift_array),
    ("torch.storage", "TypedStorage"): _Kind(_identity_of_storage, _lift_storage),
}
