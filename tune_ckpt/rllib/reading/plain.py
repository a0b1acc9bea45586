"""From inert records to plain data: what a configuration or a space says, without its classes.

================================  ================================================================
in the file                       here
================================  ================================================================
a class or function               a `Reference` with its name; also where its code is in the file
an object with fields             the dict of its fields (configurations, specs, dataclasses)
a member of an enum               its value
a subclass of dict                a dict
anything else that is no data     the `Opaque` record, as it was read
================================  ================================================================
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tune_ckpt.errors import PickleReadError
from tune_ckpt.formats.pickle import Opaque
from tune_ckpt.formats.references import Reference

T = TypeVar("T")
_ENUMS = ("TorchCompileWhatToCompile",)


def plain(value: Any, file: str) -> Any:
    """Return nested plain data, with `Reference` names for what was code.

    Args:
        value: What was read inertly; it is not changed.
        file: What to call its file in messages.

    Raises:
        PickleReadError: It is nested too deeply.
    """
    try:
        return _plain(value, ())
    except RecursionError as error:
        raise PickleReadError(file, "it is nested too deeply") from error


def _plain(value: Any, above: tuple[int, ...]) -> Any:
    make = of_type(_KINDS, value)
    if make is None or id(value) in above:
        return value
    return make(value, (*above, id(value)))


def _dict(value: dict[Any, Any], above: tuple[int, ...]) -> dict[Any, Any]:
    return {_key(key, above): _plain(item, above) for key, item in value.items()}


def _sequence(kind: Callable[[Any], Any]) -> Callable[[Any, tuple[int, ...]], Any]:
    return lambda value, above: kind([_plain(item, above) for item in value])


def _set(kind: Callable[[Any], Any]) -> Callable[[Any, tuple[int, ...]], Any]:
    return lambda value, above: kind([_key(item, above) for item in value])


def _key(value: Any, above: tuple[int, ...]) -> Any:
    """Return a dict's key or a set's item; what would be a dict cannot be one, and stays."""
    made = _plain(value, above)
    try:
        hash(made)
    except TypeError:
        return value
    return made


def _deque(value: deque[Any], above: tuple[int, ...]) -> deque[Any]:
    return deque((_plain(item, above) for item in value), value.maxlen)


def _opaque(value: Opaque, above: tuple[int, ...]) -> Any:
    if value.args is None:
        return Reference(f"{value.module}:{value.name}")
    name = code_name(value)
    if name is not None:
        return Reference(name)
    if value.name.rpartition(".")[2] in _ENUMS and len(value.args) == 1:
        return _plain(value.args[0], above)
    found = fields(value)
    return value if found is None else _dict(found, above)


_KINDS: dict[type, Callable[[Any, tuple[int, ...]], Any]] = {
    dict: _dict,
    list: _sequence(list),
    tuple: _sequence(tuple),
    set: _set(set),
    frozenset: _set(frozenset),
    deque: _deque,
    Opaque: _opaque,
}


def of_type(table: Mapping[type, T], value: object) -> T | None:
    """Return what a table has for a value's type, or for the nearest that it is derived from."""
    return next((table[cls] for cls in type(value).__mro__ if cls in table), None)


def fields(value: Any) -> dict[Any, Any] | None:
    """Return a dict itself, or the fields of an object; None where there are none."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, Opaque) or value.args is None or code_name(value) is not None:
        return None
    if value.pairs:  # a kind of dict
        return dict(value.pairs)
    state = value.state
    match state:
        case (dict() | None as attributes, dict() as slots):
            return {**(attributes or {}), **slots}
        case dict():
            return state
    is_empty = state is None and not (value.args or value.items)
    return value.kwargs if value.kwargs or is_empty else None


def with_colon(name: str) -> str:
    """Return a class's name as ``module:Name``; RLlib's msgpack has it with dots only."""
    return name if ":" in name else ":".join(name.rsplit(".", 1))


def stored_name(value: Any) -> str:
    """Return the name of a class or function, stored in whatever way; empty for none."""
    if isinstance(value, Opaque):
        return code_name(value) or f"{value.module}:{value.name}"
    return value.name if isinstance(value, Reference) else str(value or "")


def last_name(name: str) -> str:
    """Return a class's name without where it is."""
    return re.split("[.:]", name)[-1]


def code_name(value: Opaque) -> str | None:
    """Return the ``module:name`` of a class or function whose code is in the file, or None."""
    read = _CODE.get(value.name) if "cloudpickle" in value.module else None
    return None if read is None or not value.args else read(*value.args)


def _class_name(_: Any, name: Any = "", bases: Any = (), attributes: Any = None, *rest: Any) -> str:
    return f"{_told(attributes, '__module__')}:{name or '<unknown>'}"


def _function_name(code: Any, known: Any = None, *rest: Any) -> str:
    # The code's own arguments have its file, its name, and since Python 3.11 its qualified name.
    _, *names = [arg for arg in getattr(code, "args", None) or () if isinstance(arg, str)] or [""]
    return f"{_told(known, '__name__')}:{names[-1] if names else '<unknown>'}"


def _told(attributes: Any, key: str) -> str:
    found = attributes.get(key) if isinstance(attributes, dict) else None
    return found if isinstance(found, str) and found else "__main__"


# What cloudpickle calls to make code that is in the file.
_CODE: dict[str, Callable[..., str]] = {
    "_make_skeleton_class": _class_name,
    "_make_skeleton_enum": _class_name,
    "_make_function": _function_name,
    "_make_skel_func": _function_name,
}
