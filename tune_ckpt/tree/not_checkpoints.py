"""Folders that hold no checkpoint of ours: what they are instead, told in full."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tune_ckpt.errors import (
    IncompleteCheckpointError,
    InvalidArgumentError,
    NotACheckpointError,
    listed,
)
from tune_ckpt.tree.layout import has_name_of_ours
from tune_ckpt.tree.storage.folder import TEMPORARY, Store

_TRIALS = "result.json"  # what Tune writes beside a trial's checkpoints
_TUNES_DICT = "_dict_checkpoint.pkl"
_SWEEPS = "experiment_state-"  # how the name of a file begins that Tune writes beside trials
_OTHERS = (
    "at least none of tune_ckpt's own. Of RLlib's, tune_ckpt.rllib.load_weights() returns the "
    "weights, restore_algorithm() the Algorithm, export_bundle() makes what load_bundle() opens, "
    "and an object's own restore_from_path() restores that; tune_ckpt.convert_checkpoint() writes "
    "it again as msgpack"
)
_OF_OLD_RLLIB = (
    "it is RLlib's, but of an old version without metadata, such as 0.1, which is a single file. "
    "tune_ckpt.rllib reads it: get_checkpoint_info() tells what is in it, load_weights() returns "
    "the weights; upgrade_checkpoint(old, new) writes it again as one that can be described and "
    "compared"
)
_OF_TUNE = (
    "Tune wrote it, of the dict that a Trainable's save_checkpoint() returned: the Trainable's own "
    "restore() reads it, or pickle.load() where you trust it"
)
IS_A_FILE = "it is a file: a checkpoint is a folder, or a *.zip that tune_ckpt.archive() made"
_OLD_RLLIBS = re.compile(r"checkpoint-\d+|(algorithm|policy)_state\..+")  # which had no metadata


def why_of_a_sweep(files: Iterable[str]) -> str | None:
    """Return why a folder with these files is none, where it is a trial's or a whole sweep's."""
    files = [*files]
    if _TRIALS in files:
        return "it is a trial's folder; its checkpoints are the folders in it"
    if _is_sweep(files):
        return "it is a whole sweep's folder; tune_ckpt.best_checkpoint() finds its checkpoints"
    return None


def _is_sweep(names: Iterable[str]) -> bool:
    return any(name.startswith(_SWEEPS) for name in names)


def is_surely_none(store: Store) -> bool:
    """Say whether a folder is no library's checkpoint: there is nothing in it, or a whole sweep."""
    names = [entry.name for entry in store.list()]
    return not names or _is_sweep(names)


def check_no_sweep(argument: str, target: Store) -> None:
    """Check that a checkpoint would not be written among a sweep's or a trial's own files.

    Args:
        argument: What the caller's argument for it is called.
        target: The folder that is to be written.

    Raises:
        InvalidArgumentError: It would.
    """
    why = why_of_a_sweep(entry.name for entry in target.list())
    if why:
        expected = ("a folder's path of the checkpoint's own",)
        raise InvalidArgumentError(argument, target.location, expected, why.partition(";")[0])


def is_of_old_rllib(names: Iterable[str]) -> bool:
    """Say whether a folder is RLlib's though it has no metadata, by the names of its files."""
    return any(map(_OLD_RLLIBS.fullmatch, names))


def why_not_rllibs(names: Iterable[str]) -> str:
    """Return why there is no checkpoint of RLlib's that has metadata, by the names of the files."""
    names = [*names]
    return _OF_OLD_RLLIB if is_of_old_rllib(names) else _whose(names)


def _whose(names: Iterable[str]) -> str:
    """Say who wrote what is neither RLlib's nor of this package, and what reads it."""
    nobodys = "neither tune_ckpt nor RLlib wrote it; read it with what did"
    return _OF_TUNE if _TUNES_DICT in names else nobodys


def why_none(store: Store, files: list[str], names: list[str]) -> Exception:
    """Return the error for a folder without our metadata.

    Args:
        store: The folder.
        files: The names of the files in it.
        names: These, and the names of the folders in it.
    """
    if any(name.endswith(".json") for name in files):
        return NotACheckpointError(store.location, _OTHERS)
    if not names:
        return NotACheckpointError(store.location, "nothing is there")
    if any(has_name_of_ours(name) or TEMPORARY in name for name in names):
        return IncompleteCheckpointError(store.location)
    if is_of_old_rllib(names):
        return NotACheckpointError(store.location, _OTHERS)
    found = listed(names, 5)
    whose = f": {_whose(files)}" if files else ""
    return NotACheckpointError(store.location, f"it holds {found}, but no metadata.json{whose}")
