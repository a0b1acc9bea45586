"""From the class that a checkpoint names to the one that is called; nothing is imported for it."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from tune_ckpt.errors import (
    ClassNotFoundError,
    CorruptDataError,
    InvalidArgumentError,
    UntrustedPickleError,
    listed,
)
from tune_ckpt.formats import pickle
from tune_ckpt.formats.file_format import ReadOptions
from tune_ckpt.objects.renaming import current_name
from tune_ckpt.objects.trust import Trust, imported
from tune_ckpt.tree.layout import CTOR
from tune_ckpt.tree.reading import OpenComponent

T = TypeVar("T")
LEFT_OUT = "left_out"  # the field of the file of class and arguments
# Where tune.with_resources and tune.with_parameters derive a class from the user's, which nobody
# could import from there. (In a trial's actor it has the name of the user's.)
_DERIVED_IN = "ray.tune.trainable.util"


def name_of_class(cls: type) -> str:
    """Return a class's name as checkpoints have it: ``module:QualName``.

    Of what Tune derives from a Trainable, to add resources or parameters, it is the Trainable's.
    """
    named = next((kind for kind in cls.__mro__ if kind.__module__ != _DERIVED_IN), cls)
    return f"{named.__module__}:{named.__qualname__}"


def same_class(mine: str, stored: str) -> bool:
    """Say whether a class is the one that a checkpoint names, by their names."""
    my_module, _, my_name = mine.partition(":")
    module, _, name = current_name(stored).partition(":")
    # A script's classes live in __main__ while it runs, and in its module when it is imported.
    somewhere = module == _DERIVED_IN or "__main__" in (my_module, module)
    return my_name == name and (my_module == module or somewhere)


def find_class(opened: OpenComponent, cls: type[T], options: ReadOptions, trust: Trust) -> type[T]:
    """Return the class that a checkpoint names, if it is ``cls`` or a subclass.

    It is imported already, or in a trusted module. With ``allow_pickle``, a pickle's class is taken
    from the pickle.

    Raises:
        ClassNotFoundError: It is none of them.
    """
    stored = opened.metadata.cls
    same = [kind for kind in family(cls) if same_class(name_of_class(kind), stored)]
    if same:
        return cls if cls in same else _newest(same)
    path, name = opened.store.location, current_name(stored)
    if trust.covers(name):
        found = imported(name, path)
    elif trust.allow_pickle and opened.metadata.format == "pickle" and _has_ctor(opened):
        found = opened.read(CTOR, options)["class"]
    else:
        known = listed([kind.__qualname__ for kind in family(cls)], 12)
        raise ClassNotFoundError(path, name, f"it is none of the classes known here ({known})")
    if isinstance(found, type) and issubclass(found, cls):
        return found
    raise ClassNotFoundError(path, name, f"it is no subclass of {cls.__qualname__}")


def _newest(same: list[type[T]]) -> type[T]:
    """Return the class that was defined last, as a notebook's cell does again.

    What Ray derives from a class, under its name, is not it.
    """
    return [kind for kind in same if not any(base in same for base in kind.__mro__[1:])][-1]


def _has_ctor(opened: OpenComponent) -> bool:
    return CTOR in opened.metadata.files


def family(cls: type[T]) -> Iterator[type[T]]:
    """Yield a class and its subclasses, as far as they are imported."""
    yield cls
    for child in cls.__subclasses__():
        yield from family(child)


def family_by_name(cls: type[Any]) -> dict[str, type]:
    """Return a class and its subclasses by the names that checkpoints have for them."""
    return {name_of_class(kind): kind for kind in reversed([*family(cls)])}  # a base, of the same


def signature_of(cls: type) -> inspect.Signature:
    """Return what arguments a class takes; any, where Python cannot tell."""
    try:
        return inspect.signature(cls)
    except ValueError:  # of a subclass of dict's, say, that has no __init__ of its own
        return inspect.signature(lambda *args, **kwargs: None)


@dataclass(frozen=True)
class Arguments:
    """A constructor's arguments.

    Attributes:
        args: Those without a name.
        kwargs: Those with one.
        left_out: The names of those that could not be stored.
    """

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, arguments: Any, left_out: Collection[str] = ()) -> Arguments:
        """Return what ``get_ctor_args_and_kwargs()`` returned, or a file has of it.

        Raises:
            InvalidArgumentError: It is something else.
        """
        try:
            args, kwargs = arguments
            named = dict(kwargs)
        except (TypeError, ValueError) as error:
            expected = ["a tuple of arguments, and a dict of those by name"]
            raise InvalidArgumentError("get_ctor_args_and_kwargs()", arguments, expected) from error
        # RLlib accepts a single argument without its tuple.
        args = tuple(args) if isinstance(args, tuple | list) else (args,)
        return cls(args, named, tuple(left_out))

    def stored(self) -> dict[str, Any]:
        """Return what the file of class and arguments has of them."""
        arguments = {"ctor_args_and_kwargs": (self.args, self.kwargs)}
        return {**arguments, LEFT_OUT: list(self.left_out)} if self.left_out else arguments


def read_ctor(opened: OpenComponent, options: ReadOptions, trust: Trust | None = None) -> Arguments:
    """Return the stored constructor arguments; the class beside them is not loaded.

    Raises:
        UntrustedPickleError: They hold objects of classes that nobody trusted.
        CorruptDataError: The file is not what was written.
    """
    if not _has_ctor(opened):
        return Arguments()
    file = opened.store.path(opened.metadata.files[CTOR].name)
    try:
        restricted, trust = replace(options, allow_pickle=False), trust or Trust()
        return _parsed(trust.read(lambda options: opened.read(CTOR, options), restricted), file)
    except UntrustedPickleError as refused:
        # Often only the class itself, pickled by value, which is not needed from there.
        arguments = _parsed(pickle.loads_inert(opened.raw(CTOR), file=file), file)
        if not pickle.holds_opaque([arguments.args, arguments.kwargs]):
            return arguments
        if not options.allow_pickle:
            raise refused from None
        return _parsed(opened.read(CTOR, options), file)


def _parsed(ctor: Any, file: str) -> Arguments:
    try:
        return Arguments.of(ctor["ctor_args_and_kwargs"], ctor.get(LEFT_OUT, ()))
    except (AttributeError, LookupError, TypeError, InvalidArgumentError) as error:
        raise CorruptDataError(file, "it holds no constructor arguments") from error
