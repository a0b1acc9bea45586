"""Subcomponents that have their own ``save_to_path`` or ``restore_from_path``, which are called.

As in RLlib, whatever such a method does happens: before and after it calls the inherited one, with
a folder in which it may keep files of its own. But the tree is one, and written and read as one:
the inherited method only does the part of the walk that is the subcomponent's, and the files become
a component below it, verified and moved about like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from tune_ckpt.errors import CorruptDataError, InvalidNameError
from tune_ckpt.formats import pickle
from tune_ckpt.objects.adapters.rllib_algorithms import is_algorithm, send_weights
from tune_ckpt.objects.classes import name_of_class
from tune_ckpt.objects.components import walk
from tune_ckpt.tree.layout import FileNames, Format
from tune_ckpt.tree.packing import DICT, Component, PackedComponent, pack_tree

FILES = "files_of_its_own"  # the component below

_OURS, _RLLIBS = "tune_ckpt.checkpointable", "ray.rllib.utils.checkpoints"  # of the base classes


def overridden(cls: type) -> list[str]:
    """Return which of ``save_to_path`` and ``restore_from_path`` are a Checkpointable's own."""
    methods = (getattr(cls, name, None) for name in ("save_to_path", "restore_from_path"))
    return [
        method.__name__
        for method in methods
        if method and method.__module__ not in (_OURS, _RLLIBS)
    ]


def overrides_ours(value: Any, method: str) -> bool:
    """Say whether an object has its own method of that name over ours."""
    return _inherits(value, _OURS) and method in overridden(type(value))


def overrides_rllibs(value: Any, method: str) -> bool:
    """Say whether an object has its own method of that name over RLlib's."""
    return _inherits(value, _RLLIBS) and method in overridden(type(value))


def _inherits(value: Any, module: str) -> bool:
    return any(kind.__module__ == module for kind in type(value).__mro__)


# ------------------------------------------------------------- what the inherited method does then

StandIn = Callable[..., Any]
_STAND_INS: ContextVar[Mapping[int, StandIn]] = ContextVar(
    "stand_ins", default=MappingProxyType({})
)


def stand_in_for(value: Any) -> StandIn | None:
    """Return what an object's inherited method has to do instead; None for its usual work."""
    return _STAND_INS.get().get(id(value))


@contextmanager
def _standing_in(value: Any, stand_in: StandIn) -> Iterator[None]:
    token = _STAND_INS.set({**_STAND_INS.get(), id(value): stand_in})
    try:
        yield
    finally:
        _STAND_INS.reset(token)


# -------------------------------------------------------------------------------- saving, restoring


@dataclass(frozen=True)
class ByItself:
    """A node of a tree whose object has its own ``save_to_path``.

    Attributes:
        value: The object.
        state: Its state as far as its owner told it, or None.
        build: Makes its component of a state.
    """

    value: Any
    state: Any
    build: Callable[[Any], Component]

    def pack(self, format: Format) -> PackedComponent:
        """Return it packed, with the files that its method left in the folder.

        Raises:
            InvalidNameError: A component of its own has the name under which they are kept.
        """
        built: list[Component] = []
        with (
            TemporaryDirectory(prefix="tune_ckpt-") as folder,
            _standing_in(self.value, lambda state: built.append(self.build(state))),
        ):
            options = {"filesystem": None, "use_msgpack": format == "msgpack"}
            self.value.save_to_path(folder, state=self.state, **options)
            files = _files_in(Path(folder))
        component = built[-1] if built else Component(name_of_class(type(self.value)), {})
        if files:
            if FILES in component.components:
                raise InvalidNameError(FILES, "its files are kept under that name")
            component.components[FILES] = Component(DICT, files)
        return pack_tree(component, format)


def _files_in(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def checked_files(state: Any, path: str) -> dict[str, bytes]:
    """Return the files in the state of the component that keeps them.

    Raises:
        CorruptDataError: It holds something else.
    """
    if not isinstance(state, dict) or not all(type(data) is bytes for data in state.values()):
        raise CorruptDataError(path, "it holds no files")
    return state


def restore_by_itself(
    value: Any, files: Mapping[str, bytes], inherited: Callable[[], None]
) -> bool:
    """Let an object's own ``restore_from_path`` restore it.

    Args:
        value: The object.
        files: The files that its ``save_to_path`` left, by their paths in the folder.
        inherited: Does what the inherited method has to do.

    Returns:
        Whether that was called.
    """
    called: list[bool] = []

    def stand_in() -> None:
        """Do the usual walk in the place of the inherited method."""
        called.append(True)
        inherited()

    with TemporaryDirectory(prefix="tune_ckpt-") as folder, _standing_in(value, stand_in):
        for name, data in files.items():
            path = _inside(Path(folder), name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        value.restore_from_path(folder, filesystem=None)
    return bool(called)


def restore_by_rllib(value: Any, states: Mapping[str, Any]) -> None:
    """Let an object of RLlib's restore itself, from a folder like one that RLlib wrote.

    Its ``restore_from_path`` may do more than give states: an Algorithm's tells its actors.

    Args:
        value: The object.
        states: The states, by the paths in the object.
    """
    objects = dict(walk(value))
    with TemporaryDirectory(prefix="tune_ckpt-") as folder:
        for path, state in states.items():
            place = Path(folder) / path
            place.mkdir(parents=True, exist_ok=True)
            stem = getattr(objects.get(path), "STATE_FILE_NAME", FileNames().state)
            (place / f"{stem}.pkl").write_bytes(pickle.dumps(state))
        value.restore_from_path(folder)
    if is_algorithm(value):
        send_weights(value)


def _inside(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise CorruptDataError(name, "it leads out of the folder")
    return path
