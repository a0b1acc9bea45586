"""A policy or RLModule as a model for other runtimes: in which ways, tells `export_formats`.

What is exported takes a batch of flat tensors and gives the inputs of the actions' distribution and
the actions without exploration. The filter of observations, and bringing actions to the
environment's bounds, are in it; what is not, the metadata say.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.rllib.converting.folders import Folder, add
from tune_ckpt.rllib.inference.export_formats import FORMATS, input_names, output_names
from tune_ckpt.rllib.inference.inference import Inference, read_inference
from tune_ckpt.rllib.reading.finding import find
from tune_ckpt.sweep.paths import below
from tune_ckpt.tree.apart import check_apart
from tune_ckpt.tree.storage.store import address_of, open_store

_METADATA = "metadata.json"


@dataclass(frozen=True)
class Exported:
    """An exported model.

    Attributes:
        path: Its file; a SavedModel is a folder.
        metadata: What ``metadata.json`` beside it says: inputs, outputs, spaces, what is done to
            observations and actions, and what is not.
    """

    path: str
    metadata: dict[str, Any] = field(repr=False)  # a screenful


def export_model(
    checkpoint: Any,
    format: str,
    path: Any,
    policy_id: str | None = None,
    *,
    config: dict[str, Any] | None = None,
    filesystem: Any = None,
) -> Exported:
    """Write a policy or RLModule of any version as a model for another runtime.

    Neither Ray nor anything of the checkpoint's is imported. The network must be one of RLlib's
    built-in ones, see `register_family` for others. Batches may be of any size.

    >>> exported = export_model("new_checkpoint", "safetensors", "served", "p0")
    >>> exported.metadata["file"], exported.metadata["outputs"]
    ('model.safetensors', ['action_dist_inputs', 'actions'])

    Args:
        checkpoint: A checkpoint of an Algorithm or any part of one: a local path, a URI, or a Ray
            Checkpoint.
        format: ``"torchscript"``, ``"torch_export"``, ``"onnx"``, ``"keras"`` (a SavedModel), or
            ``"safetensors"`` (the weights by their names; how the network is put together is in the
            metadata).
        path: The folder for the model and its ``metadata.json``: a local path or a URI; it may
            exist.
        policy_id: Which policy or module; not needed where there is only one.
        config: Entries of the configuration, instead of those that are stored; version 0.1 stores
            none.
        filesystem: A ``pyarrow.fs.FileSystem`` in which both paths are to be looked up.

    Returns:
        The file, and what is known of it.

    Raises:
        InvalidArgumentError: There is no such format, or there are several policies; or the folder
            is the checkpoint, or in it.
        MissingDependencyError: The format needs a package that is not installed.
        ComponentNotFoundError: There is no such policy.
        NotInCheckpointError: Its network is none of RLlib's own, or something is not told.
        CorruptDataError, CorruptCheckpointError: The checkpoint is damaged.
        StorageError: The folder cannot be written.
    """
    if format not in tuple(FORMATS):
        raise InvalidArgumentError("format", format, tuple(FORMATS))
    target = open_store(path, filesystem)
    check_apart("path", target, find(checkpoint, filesystem).folder.store)
    inference = read_inference(checkpoint, policy_id, filesystem, config)
    with TemporaryDirectory() as local:
        name = FORMATS[format](inference, Path(local)).name
        made = Folder.read(Path(local))
    metadata = {"format": format, "file": name, **_metadata(inference)}
    made.metadata[_METADATA] = json.dumps(metadata, indent=2, default=_as_json).encode()
    add(target, made)
    return Exported(below(address_of(path, filesystem), name), metadata)


def _metadata(inference: Inference) -> dict[str, Any]:
    told = inference.plain()
    first, *states = input_names(inference)
    shape = list(inference.observation_space["shape"])
    size = inference.state_size
    return {
        "inputs": [
            {"name": first, "shape": ["batch", *shape], "dtype": "float32"},
            *({"name": name, "shape": ["batch", size], "dtype": "float32"} for name in states),
        ],
        "outputs": list(output_names(inference)),
        "filter": "included" if inference.filter is not None else "none",
        "exploration": "none: the best choice, or the mean",
        "action_transform": inference.actions.transform,
        **{name: told[name] for name in ("absent", "source", "recipe", "observation_space")},
        "action_space": inference.actions.space,
    }


def _as_json(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return _finite(value.tolist())
    return str(value)


def _finite(value: Any) -> Any:
    # JSON has no infinity.
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
