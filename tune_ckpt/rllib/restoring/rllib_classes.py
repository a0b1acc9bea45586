"""RLlib's own classes by the names that checkpoints of any age have, and objects of them.

Others are found only if they are trusted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from tune_ckpt.errors import (
    ClassNotFoundError,
    ConstructorError,
    MissingDependencyError,
    NotInCheckpointError,
    PickleReadError,
    TuneCkptError,
)
from tune_ckpt.formats import pickle
from tune_ckpt.objects.classes import family, name_of_class, same_class
from tune_ckpt.objects.renaming import current_name
from tune_ckpt.objects.trust import Trust, imported
from tune_ckpt.rllib.converting.algorithms import REMOVED_ALGORITHMS
from tune_ckpt.rllib.converting.moves import moved
from tune_ckpt.rllib.reading.plain import with_colon

_RLLIB = "ray.rllib."


def find_rllib_class(name: str, base: type, trust: Trust, path: str) -> Any:
    """Return a class that a checkpoint names: imported already, RLlib's own, or trusted.

    Args:
        name: Its name, with a colon or dots only.
        base: What it must be or be derived from.
        trust: What the caller trusts.
        path: The checkpoint.

    Raises:
        ClassNotFoundError: It is none of these.
    """
    name = current_name(with_colon(name))
    if name.startswith(_RLLIB):
        name = moved(name)
    candidate: type
    for candidate in family(base):
        if same_class(name_of_class(candidate), name):
            return candidate
    if not (name.startswith(_RLLIB) or trust.covers(name)):
        raise ClassNotFoundError(path, name, "it is neither imported nor in a trusted module")
    found = imported(name, path)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ClassNotFoundError(path, name, f"it is no {base.__name__}")
    return found


def check_installed() -> None:
    """Check that RLlib is there, and torch.

    Raises:
        MissingDependencyError: One is not.
    """
    for package, modules in _NEEDED.items():
        if any(find_spec(module) is None for module in modules):
            raise MissingDependencyError(package, "Restoring objects of RLlib's")


_NEEDED = {"ray[rllib]": ("ray", "gymnasium", "tree"), "torch": ("torch",)}


def find_algorithm(name: str) -> Any:
    """Return the class of one of RLlib's own algorithms, by its name.

    Tune's registry would import all of them for it, which takes seconds, and packages (Pillow for
    DreamerV3) that not everybody has.
    """
    from ray.rllib.algorithms.registry import ALGORITHMS

    find: Any = ALGORITHMS[name]  # RLlib does not type it
    return find()[0]


def unpickled(data: bytes, file: str) -> Any:
    """Return what a trusted pickle of RLlib's holds.

    Raises:
        CorruptDataError: It is damaged.
        PickleReadError: It cannot be unpickled here, most often because it is of another Ray.
    """
    try:
        return pickle.loads(data, file=file)
    except PickleReadError as error:
        advice = "Without allow_pickle=True it is read as plain data, whatever Ray wrote it."
        raise PickleReadError(file, error.reason, advice) from error


@contextmanager
def constructing(cls: str, path: str, advice: str) -> Iterator[None]:
    """Turn what RLlib raises where it builds something that is not as it wants it.

    Args:
        cls: What is built, for the message.
        path: The checkpoint.
        advice: What the caller may do.

    Raises:
        ConstructorError: It cannot be built.
    """
    try:
        yield
    except TuneCkptError:
        raise
    except Exception as error:  # RLlib has errors of its own, and those of environments
        raise ConstructorError(path, cls, repr(error), advice) from error


def check_exists(algorithm: str, path: str) -> None:
    """Check that RLlib has not removed an algorithm.

    Args:
        algorithm: Its name.
        path: The checkpoint.

    Raises:
        NotInCheckpointError: It has.
    """
    if algorithm in REMOVED_ALGORITHMS:
        reason = (
            f"Ray removed {algorithm} in {REMOVED_ALGORITHMS[algorithm]}; load_weights reads its "
            "weights, export_bundle most of its policies, and restore_algorithm makes them another "
            "algorithm's where their models are the same: pass that one's configuration as config="
        )
        raise NotInCheckpointError(path, "algorithm of today's RLlib", reason)
