"""The typed dialect's table: one row a Python type that msgpack lacks.

A value of such a type is written as an array whose first element is an ext object with the row's
code and an empty payload (its *tag*); the other elements are what the row's ``write`` returns, and
``read`` makes the value of them again. No value of a user can look like that, since msgpack's own
ext objects are refused. A new type is one new row in one of the modules that fill the table.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from types import GeneratorType
from typing import TYPE_CHECKING, Any, NamedTuple

from msgpack import ExtType, Timestamp

if TYPE_CHECKING:
    from tune_ckpt.formats.packing import Packing

Write = Callable[[Any, "Packing"], "list[Any] | tuple[Any, ...]"]
Read = Callable[..., Any]  # called with the Unpacking and the parts


class Refused(Exception):
    """A row cannot write this value; the message is the reason (never leaves floor 1)."""


@dataclass(frozen=True, eq=False)
class Row:
    """How one type is written and read.

    Attributes:
        code: The tag's ext code, 0 to 127; part of the format, never reused.
        name: What the specification and messages call it.
        write: The value's parts: anything that can itself be written. Values that it takes out of
            an object that is no container go through `Packing.guard`.
        read: The value again, from the `Unpacking` and the parts, one argument each. Wrong parts
            may raise any ordinary error.
        identity: Where one object under two names must stay one object: what two such objects
            differ in. None for other types.
        is_array: Whether the parts are ``[dtype, shape, data, ...]``: a small one has a short form.
        read_short: The value again, from a short form's payload, where there is a quicker way than
            by the parts.
        contents: For containers into which paths lead: the dict or list of the items, of the parts.
        parts_are_items: Whether the path of a part has its number as a step.
        tag: The array element that announces this row.
    """

    code: int
    name: str
    write: Write
    read: Read
    identity: Callable[[Any], Hashable] | None = None
    is_array: bool = False
    read_short: Callable[[bytes], Any] | None = None
    contents: Callable[..., Any] | None = None
    parts_are_items: bool = False
    tag: ExtType = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make the tag once: it is written with every value."""
        object.__setattr__(self, "tag", ExtType(self.code, b""))


ROWS: dict[int, Row] = {}
_BY_TYPE: dict[type, Row | None] = {}
_FAMILIES: list[tuple[Callable[[type], bool], Row]] = []


def register(row: Row, *types: type, family: Callable[[type], bool] | None = None) -> None:
    """Add a row for exactly these types, or for the family of types that a test accepts."""
    assert row.code not in ROWS, f"ext code {row.code} is taken"
    ROWS[row.code] = row
    _BY_TYPE.update(dict.fromkeys(types, row))
    if family:
        _FAMILIES.append((family, row))


class _Backend(NamedTuple):
    """A module that registers an optional package's rows, when the first value or code is met."""

    module: str
    packages: tuple[str, ...]
    codes: range

    def load(self) -> None:
        """Have the rows registered."""
        importlib.import_module(f"tune_ckpt.formats.{self.module}")


_BACKENDS = (
    _Backend("torch_tensors", ("torch",), range(60, 70)),
    _Backend("jax_arrays", ("jax", "jaxlib"), range(80, 90)),
)


def row_of(kind: type) -> Row | None:
    """Return the row for values of exactly this type, or None where there is none."""
    try:
        return _BY_TYPE[kind]
    except KeyError:
        for backend in _BACKENDS:
            if package_of(kind) in backend.packages:
                backend.load()
        found = (row for accepts, row in _FAMILIES if accepts(kind))
        return _BY_TYPE.setdefault(kind, next(found, None))


def row_with(code: int) -> Row | None:
    """Return the row with this ext code, or None where there is none."""
    if code not in ROWS:  # it is asked for every value
        for backend in _BACKENDS:
            if code in backend.codes:
                backend.load()
    return ROWS.get(code)


def container_types() -> frozenset[type]:
    """Return the types that hold other values: msgpack's own, and those of rows that say so."""
    rows = {kind: row for kind, row in _BY_TYPE.items() if row is not None}
    found = [kind for kind, row in rows.items() if row.contents or row.parts_are_items]
    return frozenset({dict, list, *found})


def package_of(kind: type) -> str:
    """Return the name of the package that a type says it comes from."""
    return str(kind.__module__).partition(".")[0]


def unpacked(read: Callable[..., Any]) -> Read:
    """Return a row's ``read`` that needs the parts alone."""
    return lambda _, *parts: read(*parts)


def expect(kind: type, value: Any) -> Any:
    """Return a part that has to be of this very type.

    Raises:
        TypeError: It is not.
    """
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} expected, got {type(value).__name__}")
    return value


# ------------------------------------------------------------------------ what is refused, and why

_REASONS: dict[type, str] = {
    memoryview: "a memoryview is a window on another object's memory: write bytes(value)",
    ExtType: "msgpack's ExtType belongs to the format itself: write its code and data",
    Timestamp: "msgpack's Timestamp belongs to the format itself: write value.to_datetime()",
    GeneratorType: "a generator can be read only once: write list(value)",
}
_BY_TYPE.update(dict.fromkeys(_REASONS))
_PLAIN = (dict, list, str, bytes, bytearray, int, float, complex, tuple, set, frozenset)
ADVICE: dict[type, str] = {base: f"{base.__name__}(value)" for base in _PLAIN}


def why_refused(kind: type) -> str:
    """Return why values of a type that has no row cannot be written, and what to do."""
    if kind in _REASONS:
        return _REASONS[kind]
    name = f"{kind.__module__}.{kind.__qualname__}"
    for base in kind.__mro__[1:]:
        if base in ADVICE:
            return (
                f"{name} is a subclass of {base.__name__}, and would come back as a plain one: "
                f"write {ADVICE[base]}"
            )
    return f"values of type {name} cannot be written"
