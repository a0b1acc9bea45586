"""Pickles that name classes which are not imported: where a state has a `Reference`, its name."""

from __future__ import annotations

import io
import pickle
from typing import Any, ClassVar

from tune_ckpt.errors import Fault, UnsupportedStateError
from tune_ckpt.formats.pickle import list_globals, unpicklable
from tune_ckpt.formats.references import Reference

_OURS = "tune_ckpt.formats."  # stand-ins for what was not imported


# Only the pickler that is written in Python lets a pickle name what was not imported.
_Base: Any = pickle._Pickler


class PicklerByName(_Base):  # type: ignore[misc]  # the stubs leave its internals out
    """Writes a `Reference` as pickle writes the class or function itself."""

    dispatch: ClassVar[dict[Any, Any]] = _Base.dispatch.copy()

    def _save_reference(self, reference: Reference) -> None:
        module, _, name = reference.name.partition(":")
        self.save(module)
        self.save(name)
        self.write(pickle.STACK_GLOBAL)
        self.memoize(reference)

    dispatch[Reference] = _save_reference


def dumps_by_name(value: Any, stream: io.BytesIO | None = None) -> bytes:
    """Return the pickle of plain values, arrays and `Reference` names, importing none of those.

    Args:
        value: The value.
        stream: Where to write it, for a caller that watches it grow.

    Raises:
        UnsupportedStateError: It holds something else, or an object whose class was not imported.
    """
    stream = stream or io.BytesIO()
    try:
        PicklerByName(stream, protocol=5).dump(value)
    except Exception as error:  # whatever the value's own code raises
        raise unpicklable(error) from error
    data = stream.getvalue()
    inert = [name for name in list_globals(data, file="pickle") if name.startswith(_OURS)]
    if inert:
        reason = f"its class is not imported, so no pickle can be made of it ({inert[0]})"
        raise UnsupportedStateError((Fault("", reason),))
    return data
