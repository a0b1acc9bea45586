"""Pickles that name what is in them, and bring no code: written without importing any of it.

A pickle of ours holds plain data, arrays, and three kinds of names, which the one who loads it
imports:

=============  ===========================================================
`Reference`    a class or function itself
`Instance`     an object of a class, with its attributes, not initialized
`Call`         what a class or function returns
=============  ===========================================================
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tune_ckpt.errors import Fault, UnsupportedStateError
from tune_ckpt.formats.pickle import Opaque
from tune_ckpt.formats.pickle_by_name import PicklerByName
from tune_ckpt.formats.references import Reference

_PARTIAL = Reference("functools:partial")


@dataclass(eq=False)
class Instance:
    """An object to be made of a class without its constructor.

    Attributes:
        cls: The class.
        state: What its ``__setstate__`` gets, or its attributes.
    """

    cls: Reference
    state: Any


@dataclass(eq=False)
class Call:
    """What calling something returns.

    Attributes:
        function: What is called.
        args: With what.
        kwargs: With what, by name.
        items: What is set in it then, as in a dict.
    """

    function: Reference | Call
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    items: dict[Any, Any] = field(default_factory=dict)


def dumps(value: Any) -> bytes:
    """Return the pickle of a value that may hold names; nothing is imported for it.

    Raises:
        UnsupportedStateError: It holds what cannot be pickled.
    """
    stream = io.BytesIO()
    try:
        _Pickler(stream, protocol=4).dump(value)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        reason = f"it cannot be pickled ({type(error).__name__}: {error})"
        raise UnsupportedStateError((Fault("", reason),)) from error
    return stream.getvalue()


class _Pickler(PicklerByName):
    dispatch: ClassVar[dict[Any, Any]] = dict(PicklerByName.dispatch)

    def _instance(self, value: Instance) -> None:
        self.save(value.cls)
        self.write(pickle.EMPTY_TUPLE + pickle.NEWOBJ)
        self.memoize(value)
        if value.state is not None:
            self.save(value.state)
            self.write(pickle.BUILD)

    def _call(self, value: Call) -> None:
        self._callable(value)
        self.save(() if value.kwargs else value.args)
        self.write(pickle.REDUCE)
        self.memoize(value)
        self._batch_setitems(value.items.items())

    def _callable(self, value: Call) -> None:
        if not value.kwargs:
            self.save(value.function)
            return
        # Pickle can call nothing by keyword, but a partial is data to it.
        self.save(_PARTIAL)
        self.save((value.function,))
        self.write(pickle.REDUCE)
        self.save((value.function, value.args, value.kwargs, None))
        self.write(pickle.BUILD)

    def _opaque(self, value: Opaque) -> None:
        raise pickle.PicklingError(f"{value.module}:{value.name} is not to be imported")

    dispatch.update({Instance: _instance, Call: _call, Opaque: _opaque})
