"""Folders and files that hold no checkpoint of RLlib's."""

from __future__ import annotations

from tune_ckpt.errors import listed
from tune_ckpt.rllib.reading.generations import STATES
from tune_ckpt.tree.inspection.foreign import ForeignComponent
from tune_ckpt.tree.not_checkpoints import why_of_a_sweep

TUNE_PARAMS = ("params.pkl", "params.json")
WHAT_PARAMS_ARE = (
    "it is the configuration that Tune wrote into the trial's folder; pass the checkpoint beside "
    "it (checkpoint_<N>), for which it is found by itself where that needs it"
)


def what_it_is(folder: ForeignComponent) -> str:
    """Return what such a folder is instead, for a message."""
    if not folder.entries:
        return "there is nothing"
    folders = [entry.name for entry in folder.entries if entry.is_dir]
    names = [name for name in folders if name.startswith("checkpoint_")]
    if names:
        return f"it is a folder of checkpoints; pass one of them: {listed(names[::-1], 5)}"
    sweep = why_of_a_sweep(entry.name for entry in folder.entries)
    if sweep:
        return sweep
    inside = f"; the folders in it: {listed(folders, 5)}" if folders else ""
    states = ", ".join((*STATES, "checkpoint-<N>"))
    return f"it has no metadata of tune_ckpt's, and none of RLlib's state files ({states}){inside}"
