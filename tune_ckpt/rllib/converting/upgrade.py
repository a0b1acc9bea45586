"""Checkpoints of any older Ray as ones that Ray 2.60 loads, made on their files alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tune_ckpt.errors import CorruptDataError, Fault, NotACheckpointError
from tune_ckpt.rllib.converting.first_generation import Whole, read_whole
from tune_ckpt.rllib.converting.folders import Folder, open_empty, write
from tune_ckpt.rllib.converting.given import Given, given
from tune_ckpt.rllib.converting.modules import has_module
from tune_ckpt.rllib.converting.new_stack import NewStack
from tune_ckpt.rllib.converting.old_stack import OldStack
from tune_ckpt.rllib.reading.finding import Part, find
from tune_ckpt.rllib.reading.generations import ALGORITHM, POLICY
from tune_ckpt.rllib.reading.members import all_members, check_told
from tune_ckpt.tree.apart import check_outside
from tune_ckpt.tree.storage.store import address_of


class Upgraded(str):
    """Where an upgraded checkpoint is; it is the path.

    Attributes:
        notes: What could not be carried, by its path.
    """

    notes: tuple[Fault, ...] = ()


def upgrade_checkpoint(
    src: Any, dst: Any, *, config: Any = None, env: Any = None, filesystem: Any = None
) -> Upgraded:
    """Write a checkpoint of an older Ray again, as one that Ray 2.60 loads.

    It works on the files: nothing that they name is imported, and no Algorithm or environment is
    built. The result is restored by ``Algorithm.from_checkpoint``, ``Policy.from_checkpoint`` or
    ``RLModule.from_checkpoint``, and trains on. Its pickles bring no code along, but what the
    caller gives. Policies of Ray 2.5 to 2.30 that are RLModules inside become those.

    Args:
        src: A checkpoint of any version, of an Algorithm, a Policy or an RLModule: a local path, a
            URI, or a Ray Checkpoint.
        dst: The new checkpoint's folder, which must be empty or not exist.
        config: Settings in the place of stored ones: a dict, by old names or new ones; or an
            AlgorithmConfig in the place of all. Functions and classes in it are carried. A setting
            that the checkpoint itself has not, be it new or mistyped, is written, and noted.
        env: The environment, in the place of the stored one, whose code no file has.
        filesystem: A ``pyarrow.fs.FileSystem`` in which both are to be looked up.

    Returns:
        The new folder's path, which also tells what could not be carried.

    Raises:
        NotACheckpointError: RLlib wrote nothing like it, or it is a part that opens in the whole
            checkpoint only.
        NotInCheckpointError: It is an Algorithm's, and has neither policies nor modules.
        UnsupportedStateError: Ray has no such algorithm any more, and no other is given.
        InvalidArgumentError: The configuration is none, or another algorithm's; or the new folder
            is in the checkpoint.
        CorruptDataError, CorruptCheckpointError: It is damaged.
        StorageError: The new folder is not empty, or cannot be written.
    """
    part = find(src, filesystem)
    check_convertible(part)
    target = open_empty(dst, filesystem, "upgrade into")
    check_outside("dst", target, part.folder.store)
    folder, notes = upgraded_folder(part, src, given(config, env), "pass env=", filesystem)
    write(target, folder)
    upgraded = Upgraded(address_of(dst, filesystem))
    upgraded.notes = notes
    return upgraded


def upgraded_folder(
    part: Part, src: Any, told: Given, env_advice: str, filesystem: Any = None
) -> tuple[Folder, tuple[Fault, ...]]:
    """Return the folder of an upgraded checkpoint, to be written, and what could not be carried.

    Args:
        part: The part of the checkpoint.
        src: Where that is, as the caller said it.
        told: What the caller says of the configuration.
        env_advice: How the caller can give an environment.
        filesystem: In which the checkpoint is to be looked up.

    Raises:
        NotACheckpointError, UnsupportedStateError: See `upgrade_checkpoint`.
    """
    stack = NewStack(told) if is_of_new_stack(part) else OldStack(told)
    with expecting_rllibs_own(part.state_path):
        folder = _upgraded(part, stack, lambda: read_whole(part, src, filesystem))
    return folder, tuple(_advised(note, env_advice) for note in stack.notes)


def check_convertible(part: Part) -> None:
    """Check that a part of a checkpoint has what it cannot be made without, and its weights.

    RLlib would make those up without a word.

    Raises:
        NotInCheckpointError: It is an Algorithm's, and has neither policies nor modules.
        CorruptDataError: It has not all of its policies, or not its constructor's arguments.
    """
    part.check_constructible()
    if part.type == ALGORITHM:
        for one in (part, part.child("learner")):
            if one is not None:
                all_members(one, "policies or modules")
    check_told(part)


@contextmanager
def expecting_rllibs_own(file: str) -> Iterator[None]:
    """Have code that takes a state for one of RLlib's say so where it is none.

    Raises:
        CorruptDataError: It is none.
    """
    try:
        yield
    except _MALFORMED as error:
        reason = f"it holds what no RLlib writes ({type(error).__name__}: {error})"
        raise CorruptDataError(file, reason) from error


_MALFORMED = (
    *(AssertionError, AttributeError, IndexError, KeyError, RecursionError, StopIteration),
    *(TypeError, ValueError),
)


def _advised(note: Fault, env_advice: str) -> Fault:
    is_lost_setting = note.path.startswith("config/") and note.reason.endswith("was not carried")
    others = "pass it in config=" if is_lost_setting else None
    advice = {**_ADVICE, "config/env": env_advice}.get(note.path, others)
    return note if advice is None else Fault(note.path, f"{note.reason}; {advice}")


_ADVICE = {
    "config/policy_mapping_fn": "pass one in config=, or to Algorithm.from_checkpoint",
}


def _upgraded(part: Part, stack: NewStack | OldStack, whole: Callable[[], Whole]) -> Folder:
    if part.type == POLICY:
        return stack.policy(part)
    if isinstance(stack, NewStack):
        return stack.algorithm(part) if part.type == ALGORITHM else stack.tree(part)
    if part.type == ALGORITHM:
        return stack.algorithm(whole(), part.state_path)
    raise NotACheckpointError(part.path, f"its type is {part.type}; pass the whole checkpoint")


def is_of_new_stack(part: Part) -> bool:
    """Say whether a part of a checkpoint has RLModules, be it in policies."""
    has_tree = part.folder.ctor is not None or part.child("learner") is not None
    return has_tree or has_module(part)
