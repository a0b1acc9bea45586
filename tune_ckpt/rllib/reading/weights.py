"""The weights of any checkpoint of RLlib's, as arrays by their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from tune_ckpt.errors import NotInCheckpointError, listed
from tune_ckpt.formats.parts import label
from tune_ckpt.formats.pickle import Opaque
from tune_ckpt.rllib.reading.member_kinds import Member
from tune_ckpt.rllib.reading.members import of_each

_TENSORS = ("torch", "jax", "ml_dtypes", "tensorflow")  # what may turn out to be one

Weights = dict[str, npt.NDArray[Any]]


def load_weights(
    checkpoint: Any, policy_id: str | None = None, *, filesystem: Any = None
) -> Weights | dict[str, Weights]:
    """Return a checkpoint's weights as NumPy arrays, by their names.

    Ray, torch and TensorFlow are not needed, and nothing in the checkpoint is imported or called.
    The rule: one policy's (or module's) weights are ``{name: array}``; several policies' are
    ``{policy_id: {name: array}}``. With ``policy_id`` it is always one.

    Args:
        checkpoint: A checkpoint of any version, of an Algorithm or any part of one that has
            policies or modules: its folder or its file, a local path, a URI, or a Ray Checkpoint.
        policy_id: The policy or RLModule whose weights are wanted; only its files are read.
        filesystem: A ``pyarrow.fs.FileSystem`` in which the path is to be looked up.

    Returns:
        The arrays, with the names that the model gives them. Weights that have no names (policies
        of TensorFlow's eager mode) are named by their place, ``"0"``, ``"1"``, ...; nested ones
        with ``/`` between the levels. bfloat16 comes as ``ml_dtypes`` has it, or as float32 where
        that is not installed.

    Raises:
        NotACheckpointError: RLlib wrote nothing like it.
        NotInCheckpointError: It has no policies or modules, or weights that cannot be arrays.
        ComponentNotFoundError: It has no policy or module of that id.
        CorruptDataError, CorruptCheckpointError: It is damaged.
    """
    weights: Weights | dict[str, Weights]
    weights = of_each(checkpoint, policy_id, filesystem, "weights", weights_of)
    return weights


def weights_of(member: Member) -> Weights:
    """Return the weights of one policy or module."""
    found = dict(_arrays(member.weights, ""))
    strange = [name for name, array in found.items() if isinstance(array, Opaque)]
    if strange:
        reason = f"no array can be made of {listed(strange, 5)} (is ml_dtypes installed?)"
        raise NotInCheckpointError(member.path, "plain weights", reason)
    return cast("Weights", found)


def _arrays(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, np.ndarray | np.generic):
        yield path or "weights", np.asarray(value)
    elif isinstance(value, Opaque) and value.module.startswith(_TENSORS) and value.args is not None:
        yield path, value
    elif isinstance(value, Mapping | list | tuple):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from _arrays(item, f"{path}/{label(key)}" if path else label(key))
