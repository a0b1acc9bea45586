"""A policy or RLModule as a model for other runtimes: TorchScript, torch.export, ONNX, safetensors.

What is exported takes a batch of flat tensors and gives the inputs of the actions' distribution and
the actions without exploration. The filter of observations, and bringing actions to the
environment's bounds, are in it; what is not, the metadata say.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tune_ckpt.errors import InvalidArgumentError, MissingDependencyError
from tune_ckpt.rllib.inference import Inference, read_inference, sample

_METADATA = "metadata.json"
_OUTPUTS = ("action_dist_inputs", "actions", "state_out_h", "state_out_c")
_INPUTS = ("observations", "state_in_h", "state_in_c")


@dataclass(frozen=True)
class Exported:
    """An exported model.

    Attributes:
        path: Its file.
        metadata: What ``metadata.json`` beside it says: inputs, outputs, spaces, what is done to
            observations and actions, and what is not.
    """

    path: str
    metadata: dict[str, Any]


def export_model(
    checkpoint: Any,
    format: str,
    dir: Any,
    policy_id: str | None = None,
    *,
    config: dict[str, Any] | None = None,
    filesystem: Any = None,
) -> Exported:
    """Write a policy or RLModule of any version as a model for another runtime.

    Neither Ray nor anything of the checkpoint's is imported. The network must be one of RLlib's
    built-in ones, see `register_family` for others. Batches may be of any size.

    >>> export_model("new_checkpoint", "safetensors", "served", "p0").path
    'served/model.safetensors'

    Args:
        checkpoint: A checkpoint of an Algorithm or any part of one: a local path, a URI, or a Ray
            Checkpoint.
        format: ``"torchscript"``, ``"torch_export"``, ``"onnx"``, or ``"safetensors"`` (the weights
            by their names; how the network is put together is in the metadata).
        dir: The local folder for the model and its ``metadata.json``; it may exist.
        policy_id: Which policy or module; not needed where there is only one.
        config: Entries of the configuration, instead of those that are stored; version 0.1 stores
            none.
        filesystem: A ``pyarrow.fs.FileSystem`` in which the checkpoint is to be looked up.

    Returns:
        The file, and what is known of it.

    Raises:
        InvalidArgumentError: There is no such format, or there are several policies.
        MissingDependencyError: The format needs a package that is not installed.
        ComponentNotFoundError: There is no such policy.
        NotInCheckpointError: Its network is none of RLlib's own, or something is not told.
        CorruptDataError, CorruptCheckpointError: The checkpoint is damaged.
    """
    if format not in _FORMATS:
        raise InvalidArgumentError("format", format, tuple(_FORMATS))
    inference = read_inference(checkpoint, policy_id, filesystem, config)
    folder = Path(dir)
    folder.mkdir(parents=True, exist_ok=True)
    file = _FORMATS[format](inference, folder)
    metadata = {"format": format, "file": file.name, **_metadata(inference)}
    (folder / _METADATA).write_text(json.dumps(metadata, indent=2, default=_as_json))
    return Exported(str(file), metadata)


def _metadata(inference: Inference) -> dict[str, Any]:
    told = inference.plain()
    shape = list(inference.observation_space["shape"])
    has_states, size = bool(inference.recipe.lstm), inference.network().state_size
    states = [{"name": name, "shape": ["batch", size]} for name in _INPUTS[1:]]
    return {
        "inputs": [
            {"name": _INPUTS[0], "shape": ["batch", *shape], "dtype": "float32"},
            *(states if has_states else []),
        ],
        "outputs": list(_OUTPUTS if has_states else _OUTPUTS[:2]),
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


# ---------------------------------------------------------------------------------- the formats


def _example(inference: Inference, network: Any) -> tuple[Any, ...]:
    import torch

    rows = torch.from_numpy(sample(inference.observation_space, 2).astype(np.float32))
    states = [torch.zeros(2, network.state_size) for _ in range(2)]  # torch tells them by identity
    return (rows, *states) if network.state_size else (rows,)


def _torchscript(inference: Inference, folder: Path) -> Path:
    import torch

    network, path = inference.network(), folder / "model.pt"
    trace: Any = torch.jit.trace  # torch does not type it
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that TorchScript is deprecated
        trace(network, _example(inference, network)).save(str(path))
    return path


def _torch_export(inference: Inference, folder: Path) -> Path:
    import torch

    path = folder / "model.pt2"
    torch.export.save(_program(inference), path)
    return path


def _program(inference: Inference) -> Any:
    import torch

    network = inference.network()
    inputs, shapes = _example(inference, network), _any_batch(network)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of how torch's own LSTM keeps its weights
        return torch.export.export(network, inputs, dynamic_shapes=shapes)


def _any_batch(network: Any) -> tuple[Any, ...]:
    import torch

    batch = {0: torch.export.Dim("batch", min=1)}
    return (batch, (batch, batch)) if network.state_size else (batch,)


def _onnx(inference: Inference, folder: Path) -> Path:
    _require("onnxscript", "exporting to ONNX")
    import torch

    network, path = inference.network(), folder / "model.onnx"
    inputs = _example(inference, network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its own deprecations
        program = torch.onnx.export(
            network,
            inputs,
            dynamo=True,
            dynamic_shapes=_any_batch(network),
            input_names=list(_INPUTS[: len(inputs)]),
            output_names=list(_OUTPUTS[: 4 if network.state_size else 2]),
            verbose=False,
        )
    assert program is not None
    program.save(str(path), external_data=False)
    return path


def _safetensors(inference: Inference, folder: Path) -> Path:
    _require("safetensors", "exporting to safetensors")
    from safetensors.numpy import save_file

    path = folder / "model.safetensors"
    arrays = {name: np.ascontiguousarray(array) for name, array in inference.weights.items()}
    if inference.filter is not None:
        arrays |= {"filter.mean": inference.filter.mean, "filter.std": inference.filter.std}
    save_file(arrays, path, {"recipe": json.dumps(inference.plain()["recipe"])})
    return path


def _require(package: str, purpose: str) -> None:
    import importlib.util

    if importlib.util.find_spec(package) is None:
        raise MissingDependencyError(package, purpose)


_FORMATS: dict[str, Callable[[Inference, Path], Path]] = {
    "torchscript": _torchscript,
    "torch_export": _torch_export,
    "onnx": _onnx,
    "safetensors": _safetensors,
}
