"""The folder of one component in a tree of version 2.1, as Ray 2.60 reads it."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib.converting import pickling
from tune_ckpt.rllib.converting.folders import Folder
from tune_ckpt.rllib.reading.generations import MODULE, STATE_OF_TYPE
from tune_ckpt.tree.layout import CHECKPOINT_VERSION, CTOR, RLLIB_FIELDS, STATE, FileNames

_NAMES = FileNames()
CTOR_FILE = _NAMES.ctor


def component_folder(
    cls: Reference, state: Any, kwargs: Any = MappingProxyType({}), stem: str = _NAMES.state
) -> Folder:
    """Return the folder of a component that has nothing below it yet.

    Args:
        cls: The component's class.
        state: Its state.
        kwargs: What it is constructed with.
        stem: The name of its state file, without a suffix.
    """
    folder = Folder({f"{stem}.pkl": pickling.dumps(state), CTOR_FILE: ctor_file(cls, (), kwargs)})
    folder.metadata[_NAMES.metadata] = metadata_file(stem)
    return folder


def module_folder(cls: Reference, kwargs: dict[str, Any], weights: Any) -> Folder:
    """Return the folder of an RLModule."""
    return component_folder(cls, weights, kwargs, STATE_OF_TYPE[MODULE])


def ctor_file(cls: Reference, args: tuple[Any, ...], kwargs: Any) -> bytes:
    """Return the file of a component's class and constructor arguments."""
    return pickling.dumps({"class": cls, "ctor_args_and_kwargs": (args, dict(kwargs))})


def metadata_file(stem: str, stored: Any = MappingProxyType({})) -> bytes:
    """Return a component's metadata.

    Args:
        stem: The name of its state file, without a suffix.
        stored: The old metadata, of which Ray's version is kept.
    """
    ours = {
        RLLIB_FIELDS[CTOR]: CTOR_FILE,
        RLLIB_FIELDS[STATE]: stem,
        "checkpoint_version": CHECKPOINT_VERSION,
    }
    kept = {key: item for key, item in stored.items() if key.startswith("ray_")}
    return json.dumps({**kept, **ours}).encode()
