"""The table of harmless globals: what a pickle of plain data names, and how each is made here.

Nothing that the pickle names is called. Each row makes the value anew from its recorded arguments
and state, through public constructors that check them.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import os
import pathlib
import types
import uuid
from collections.abc import Callable
from typing import Any

from tune_ckpt.formats import pickle_numpy, pickle_random
from tune_ckpt.formats.pickle_build import Make, UnknownVariantError
from tune_ckpt.formats.pickle_nodes import Node

_PLAIN = (bool, dict, float, int, list, str, tuple)  # as values; pickles never call them
_BUILTINS = (bytearray, bytes, complex, frozenset, object, range, set, slice)
_LIBRARY = (
    *(collections.Counter, collections.OrderedDict, collections.defaultdict, collections.deque),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone),
    *(decimal.Decimal, fractions.Fraction, types.SimpleNamespace),
)
_PATHS = (
    *(pathlib.PurePath, pathlib.PurePosixPath, pathlib.PureWindowsPath),
    *(pathlib.Path, pathlib.PosixPath, pathlib.WindowsPath),
)


def _constructor(function: Callable[..., Any]) -> Make:
    def make(node: Node) -> object:
        """Return what the node constructs."""
        made = function(*node.args, **node.kwargs)
        if node.state is not None:
            vars(made).update(node.state)  # attributes, such as an OrderedDict may have
        return made

    return make


def _path(cls: type[pathlib.PurePath]) -> Make:
    # Another system's concrete paths cannot be made here; the pure kind of them can.
    foreign = {"posix": "WindowsPath", "nt": "PosixPath"}[os.name]
    return _constructor(getattr(pathlib, f"Pure{foreign}") if cls.__name__ == foreign else cls)


def _encode(node: Node) -> bytes:
    text, encoding = node.args
    if encoding not in ("latin1", "latin-1"):
        raise UnknownVariantError
    return bytes(text, "latin1")


def _name(kind: type) -> str:
    return f"{kind.__module__.replace('pathlib._local', 'pathlib')}:{kind.__qualname__}"


VALUES: dict[str, object] = {
    **{_name(kind): kind for kind in (*_PLAIN, *_BUILTINS, *_LIBRARY, *_PATHS)},
    "builtins:Ellipsis": Ellipsis,
    "builtins:NotImplemented": NotImplemented,
    "uuid:UUID": uuid.UUID,
    **pickle_numpy.VALUES,
    **pickle_random.VALUES,
}

CALLS: dict[str, Make] = {
    **{_name(kind): _constructor(kind) for kind in (*_BUILTINS, *_LIBRARY)},
    **{_name(kind): _path(kind) for kind in _PATHS},
    "_codecs:encode": _encode,
    "uuid:UUID": lambda node: uuid.UUID(int=node.state["int"]),
    **pickle_numpy.CALLS,
    **pickle_random.CALLS,
}
