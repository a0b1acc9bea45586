"""A TensorFlow policy's weights by torch's names and in its layout: one recipe does for both.

==========================  ================================  ====================================
layers of TensorFlow's      torch's                           layout
==========================  ================================  ====================================
``fc_<i>``, ``conv<i>``     ``_hidden_layers.<i - 1>``,       torch has a kernel's outputs first
                            ``_convs.<i - 1>``
``fc_out``, ``conv_out``    ``_logits``; below DQN's heads,
                            one more layer of the same kind
``logits``                  ``_logits_branch``
``lstm/lstm_cell``          ``lstm``                          torch adds two biases
``log_std``                 ``_append_free_log_std.log_std``
``hidden_<i>``, ``dense``   ``advantage_module``
further ones of ``dense``   ``value_module``
==========================  ================================  ====================================

Critics take no part in acting, and are left out. In TensorFlow's eager mode weights have no names:
`tune_ckpt.rllib.inference.tensorflow_order` knows them by their places.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tune_ckpt.rllib.inference.recipes import Known
from tune_ckpt.rllib.inference.tensorflow_order import WITH_CRITICS, names_in_order
from tune_ckpt.rllib.reading.weights import Weights

_CLASS = re.compile(r"(\w+?)TF[12]?Policy(?:_eager)?(?:_traced)?")
_NAME = re.compile(r"(?:.*/)?(\w+)/(kernel|recurrent_kernel|bias)(?::0)?")
_CRITIC = re.compile(r"(fc|conv)_value_\w+|value_out|values")


def as_torch(known: Known) -> Known:
    """Return what is known of a policy of TensorFlow's as if torch had made it; others as they are.

    Raises:
        NotInCheckpointError: There are more or fewer weights than RLlib's own network has.
    """
    match = _CLASS.fullmatch(known.cls)
    if match is None:
        return known
    kind, named = match[1], known.weights
    if all(name.isdigit() for name in named):
        named = names_in_order(known, kind)
    renamed = _of_actor(named) if kind in WITH_CRITICS else _of_all(named)
    weights = {name: np.ascontiguousarray(array) for name, array in renamed.items()}
    return replace(known, cls=f"{kind}TorchPolicy", weights=weights)


def _of_actor(named: Weights) -> Weights:
    # Critics' layers are called like the actor's, but for a number after it: fc_1_1.
    places = _places({layer for layer, _ in map(_split, named)})
    return {f"action_model.{name}": array for name, array in _renamed(named, places)}


def _of_all(named: Weights) -> Weights:
    layers = {layer for layer, _ in map(_split, named)}
    strange = {n: a for n, a in named.items() if not _CRITIC.fullmatch(_split(n)[0])}
    places = {**_places(layers), **_places_of_heads(layers)}
    known = {n: a for n, a in strange.items() if _split(n)[0] in places}
    # What has no place keeps its name, and will be refused.
    return {n: a for n, a in strange.items() if n not in known} | dict(_renamed(known, places))


def _split(name: str) -> tuple[str, str]:
    """Return the layer's name and the parameter's; what is in no layer is one by itself."""
    match = _NAME.fullmatch(name)
    return (match[1], match[2]) if match else (name.rpartition("/")[2].removesuffix(":0"), "")


# ---------------------------------------------------------------------------- names and layouts

_STACKS = {"fc_": "_hidden_layers", "conv": "_convs"}
_OUTPUTS = {"fc_": "fc_out", "conv": "conv_out"}
_SINGLE = {
    **dict.fromkeys(_OUTPUTS.values(), "_logits._model.0"),
    **dict.fromkeys(("lstm", "lstm_cell"), "lstm"),
    "logits": "_logits_branch._model.0",
    "log_std": "_append_free_log_std.log_std",
}


def _places(layers: Collection[str]) -> dict[str, str]:
    """Return what torch calls each layer between observations and actions."""
    stacked = {
        layer: f"{stack}.{number - 1}._model.0"
        for start, stack in _STACKS.items()
        for number, layer in _numbered(start, layers).items()
    }
    return stacked | {layer: _SINGLE[layer] for layer in layers if layer in _SINGLE}


def _places_of_heads(layers: Collection[str]) -> dict[str, str]:
    """Return what torch calls the layers of DQN's heads, and the one below them."""
    hidden, dense = [*_numbered("hidden_", layers).values()], [*_dense(layers)]
    if not hidden or not dense:
        return {}
    advantage, *value = dense
    below = {
        out: f"{_STACKS[start]}.{len(_numbered(start, layers))}._model.0"
        for start, out in _OUTPUTS.items()
        if out in layers
    }
    return {
        **below,
        **{layer: f"advantage_module.dueling_A_{i}._model.0" for i, layer in enumerate(hidden)},
        advantage: "advantage_module.A._model.0",
        **{layer: f"value_module.dueling_V_{i}._model.0" for i, layer in enumerate(value[:-1])},
        **dict.fromkeys(value[-1:], "value_module.V._model.0"),
    }


def _numbered(start: str, layers: Collection[str]) -> dict[int, str]:
    matches = (re.fullmatch(rf"{start}(\d+)", layer) for layer in layers)
    return dict(sorted((int(match[1]), match[0]) for match in matches if match))


def _dense(layers: Collection[str]) -> Iterator[str]:
    yield from (layer for layer in layers if layer == "dense")  # Keras numbers the first by nothing
    yield from _numbered("dense_", layers).values()


def _renamed(
    named: Weights, places: dict[str, str]
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    for name, array in named.items():
        layer, part = _split(name)
        place = places.get(layer, "")
        if place == "lstm":
            yield from _of_lstm(part, array)
        elif place:
            yield f"{place}{_ENDS[part]}", _outputs_first(array)


_ENDS = {"kernel": ".weight", "bias": ".bias", "": ""}


def _outputs_first(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T


def _of_lstm(
    part: str, array: npt.NDArray[np.float32]
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    if part == "bias":
        yield "lstm.bias_ih_l0", array
        yield "lstm.bias_hh_l0", np.zeros_like(array)
    else:
        yield f"lstm.weight_{'ih' if part == 'kernel' else 'hh'}_l0", array.T
