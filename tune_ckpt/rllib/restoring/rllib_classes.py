"""RLlib's own classes by the names that checkpoints of any age have; others only if trusted."""

from __future__ import annotations

from typing import Any

from tune_ckpt.errors import ClassNotFoundError, NotInCheckpointError
from tune_ckpt.objects.classes import current_name, family, name_of_class, same_class
from tune_ckpt.objects.trust import Trust, imported
from tune_ckpt.rllib.converting.algorithms import REMOVED_ALGORITHMS
from tune_ckpt.rllib.converting.moves import moved

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
    name = current_name(name if ":" in name else ":".join(name.rsplit(".", 1)))
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
