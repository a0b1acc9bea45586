"""From the class that a checkpoint names to the one that is called; nothing is imported for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

from tune_ckpt.errors import ClassNotFoundError, UntrustedPickleError
from tune_ckpt.formats import pickle
from tune_ckpt.tree.files import ReadOptions, read_verified
from tune_ckpt.tree.layout import CTOR
from tune_ckpt.tree.reading import OpenComponent

T = TypeVar("T")


def name_of_class(cls: type) -> str:
    """Return a class's name as checkpoints have it: ``module:QualName``."""
    return f"{cls.__module__}:{cls.__qualname__}"


def find_class(opened: OpenComponent, cls: type[T], options: ReadOptions) -> type[T]:
    """Return the class that a checkpoint names: ``cls`` or one of its imported subclasses.

    With ``allow_pickle``, a pickle's class is taken from the pickle.

    Raises:
        ClassNotFoundError: It is none of them.
    """
    name = opened.metadata.cls
    for candidate in family(cls):
        if _same_name(name_of_class(candidate), name):
            return candidate
    path = opened.store.location
    if (
        options.allow_pickle
        and opened.metadata.format == "pickle"
        and CTOR in opened.metadata.files
    ):
        stored = opened.read(CTOR, options)["class"]
        if isinstance(stored, type) and issubclass(stored, cls):
            return stored
        raise ClassNotFoundError(path, name, f"it is no subclass of {cls.__qualname__}")
    known = ", ".join(kind.__qualname__ for kind in family(cls))
    raise ClassNotFoundError(path, name, f"it is none of the classes at hand ({known})")


def family(cls: type[T]) -> Iterator[type[T]]:
    """Yield a class and its subclasses, as far as they are imported."""
    yield cls
    for child in cls.__subclasses__():
        yield from family(child)


def _same_name(mine: str, stored: str) -> bool:
    my_module, _, my_name = mine.partition(":")
    module, _, name = stored.partition(":")
    # A script's classes live in __main__ while it runs, and in its module when it is imported.
    return my_name == name and (my_module == module or "__main__" in (my_module, module))


def read_ctor(
    opened: OpenComponent, options: ReadOptions
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the stored constructor arguments; the class beside them is not loaded.

    Raises:
        UntrustedPickleError: They hold objects of classes that nobody trusted.
        CorruptDataError: The file is not what was written.
    """
    if CTOR not in opened.metadata.files:
        return (), {}
    args, kwargs = _read(opened, options)["ctor_args_and_kwargs"]
    if isinstance(args, tuple | list):
        return tuple(args), dict(kwargs)
    return (args,), dict(kwargs)  # RLlib accepts a single argument without its tuple


def _read(opened: OpenComponent, options: ReadOptions) -> Any:
    try:
        return opened.read(CTOR, replace(options, allow_pickle=False))
    except UntrustedPickleError as refused:
        # Often only the class itself, pickled by value, which is not needed from there.
        file = opened.metadata.files[CTOR]
        data = read_verified(opened.store, file)
        ctor: Any = pickle.loads_inert(data, file=opened.store.path(file.name))
        if not _holds_opaque(ctor["ctor_args_and_kwargs"]):
            return ctor
        if not options.allow_pickle:
            raise refused from None
        return opened.read(CTOR, options)


def _holds_opaque(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_opaque, (*value, *value.values())))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_holds_opaque, value))
    return isinstance(value, pickle.Opaque)
