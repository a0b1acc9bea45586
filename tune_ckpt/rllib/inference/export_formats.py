"""What models are exported as: TorchScript, torch.export, ONNX, a SavedModel, safetensors.

Each format is one function, which writes a model into a local folder and returns what it wrote.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tune_ckpt.errors import MissingDependencyError
from tune_ckpt.rllib.inference.inference import Inference, sample

_INPUTS = ("observations", "state_in_h", "state_in_c")
_OUTPUTS = ("action_dist_inputs", "actions", "state_out_h", "state_out_c")


def input_names(inference: Inference) -> tuple[str, ...]:
    """Return what a model's inputs are called; those of an LSTM are after the observations."""
    return _INPUTS if inference.recipe.lstm else _INPUTS[:1]


def output_names(inference: Inference) -> tuple[str, ...]:
    """Return what a model's outputs are called."""
    return _OUTPUTS if inference.recipe.lstm else _OUTPUTS[:2]


def _torchscript(inference: Inference, folder: Path) -> Path:
    import torch

    path = folder / "model.pt"
    trace: Any = torch.jit.trace  # torch does not type it
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that TorchScript is deprecated
        trace(inference.network(), _example(inference)).save(str(path))
    return path


def _torch_export(inference: Inference, folder: Path) -> Path:
    import torch

    path, network = folder / "model.pt2", inference.network()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of how torch's own LSTM keeps its weights
        shapes = _any_batch(inference)
        program = torch.export.export(network, _example(inference), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


def _onnx(inference: Inference, folder: Path) -> Path:
    import torch

    path, network = folder / "model.onnx", inference.network()
    with warnings.catch_warnings(), _errors_only("torch.onnx"):  # it misses torchvision
        warnings.simplefilter("ignore")  # torch's own, of its own deprecations
        program = torch.onnx.export(
            network,
            _example(inference),
            dynamo=True,
            dynamic_shapes=_any_batch(inference),
            input_names=list(input_names(inference)),
            output_names=list(output_names(inference)),
            verbose=False,
        )
    assert program is not None
    program.save(str(path), external_data=False)
    return path


@contextmanager
def _errors_only(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _example(inference: Inference) -> tuple[Any, ...]:
    import torch

    rows = torch.from_numpy(sample(inference.observation_space, 2).astype(np.float32))
    # Each state is a tensor of its own: torch tells inputs by identity.
    return (rows, *(torch.zeros(2, inference.state_size) for _ in input_names(inference)[1:]))


def _any_batch(inference: Inference) -> tuple[Any, ...]:
    import torch

    batch = {0: torch.export.Dim("batch", min=1)}
    return (batch, (batch, batch)) if inference.recipe.lstm else (batch,)


def _keras(inference: Inference, folder: Path) -> Path:
    import tensorflow as tf

    path, network = folder / "saved_model", inference.tensorflow_network()
    shape, size = inference.observation_space["shape"], inference.state_size
    first, *states = input_names(inference)
    signature = [
        tf.TensorSpec((None, *shape), tf.float32, first),
        *(tf.TensorSpec((None, size), tf.float32, name) for name in states),
    ]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]  # TensorFlow is not typed
    def serve(*inputs: Any) -> dict[str, Any]:
        """Return the outputs by their names."""
        return dict(zip(output_names(inference), network(*inputs), strict=True))

    tf.saved_model.save(network, str(path), {"serving_default": serve})
    return path


def _safetensors(inference: Inference, folder: Path) -> Path:
    from safetensors.numpy import save_file

    path = folder / "model.safetensors"
    arrays = {name: np.ascontiguousarray(array) for name, array in inference.weights.items()}
    if inference.filter is not None:
        arrays |= {"filter.mean": inference.filter.mean, "filter.std": inference.filter.std}
    save_file(arrays, path, {"recipe": json.dumps(inference.plain()["recipe"])})
    return path


Write = Callable[[Inference, Path], Path]


def _needing(package: str, write: Write) -> Write:
    """Return a format's function, which says so where the package that it needs is not there."""

    def checked(inference: Inference, folder: Path) -> Path:
        """Export, if the package is installed."""
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(package, f"Exporting to {write.__name__.lstrip('_')}")
        return write(inference, folder)

    return checked


FORMATS: dict[str, Write] = {
    "torchscript": _torchscript,
    "torch_export": _torch_export,
    "onnx": _needing("onnxscript", _onnx),
    "keras": _needing("tensorflow", _keras),
    "safetensors": _needing("safetensors", _safetensors),
}
