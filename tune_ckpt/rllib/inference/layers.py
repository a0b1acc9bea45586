"""The layers of RLlib's built-in networks as plain data, told by their weights' names and shapes.

A layer names its weights; nothing but the activation, strides and the kind of padding is taken from
the configuration. Images are read with channels last, as RLlib has them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_ckpt.errors import NotInCheckpointError
from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib.reading.plain import last_name
from tune_ckpt.rllib.reading.weights import Weights

NORM_EPSILON = 1e-3  # RLlib's, of normalizations


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        kind: ``dense``, ``norm`` or ``conv``.
        weights: How its weights' names begin, before ``.weight`` and ``.bias``.
        activation: What comes after it.
        stride: Of a convolution, along height and width.
        padding: Of a convolution, with zeros: left, right, top, bottom.
    """

    kind: str
    weights: str
    activation: str = "linear"
    stride: tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] = (0, 0, 0, 0)


Layers = tuple[Layer, ...]


def _activation_name(value: Any) -> str:
    """Return the name of an activation that is given by name, as a class, or not at all."""
    name = last_name(value.name) if isinstance(value, Reference) else value
    return str(name or "linear").lower()


def dense_layers(weights: Weights, pattern: str, activation: Any, last: Any) -> Layers:
    """Return a stack of dense layers, with normalizations among them.

    Args:
        weights: All weights.
        pattern: Of the layers' names, with one group, their numbers.
        activation: After each layer but the last.
        last: After the last layer.
    """
    names = [*_numbered(weights, pattern).values()]
    kinds = ["dense" if weights[f"{name}.weight"].ndim == 2 else "norm" for name in names]
    found = []
    for place, (kind, name) in enumerate(zip(kinds, names, strict=True)):
        is_last = "dense" not in kinds[place + 1 :]
        is_before_norm = kinds[place + 1 : place + 2] == ["norm"]
        after = None if is_before_norm else last if is_last else activation
        found.append(Layer(kind, name, _activation_name(after)))
    return tuple(found)


def convolutions(
    weights: Weights, pattern: str, activation: Any, filters: Any, shape: Sequence[int], path: str
) -> Layers:
    """Return a stack of convolutions.

    Args:
        weights: All weights.
        pattern: Of the layers' names, with one group, their numbers.
        activation: After each layer.
        filters: The configuration's: output channels, kernel, stride and perhaps padding of each.
            What has no padding is padded as TensorFlow does.
        shape: The observations' shape.
        path: The checkpoint.

    Raises:
        NotInCheckpointError: Nothing tells the strides.
    """
    size, found = tuple(shape[:2]), []
    names = [*_numbered(weights, pattern).values()]
    told = filters or default_filters(shape, path)
    if len(told) != len(names):
        reason = f"its configuration tells of {len(told)} layers, and there are {len(names)}"
        raise NotInCheckpointError(path, "strides of convolutions", reason)
    for name, (_, _, stride, *kind) in zip(names, told, strict=True):
        kernel, steps = weights[f"{name}.weight"].shape[2:], _both(stride)
        padding, size = _padding(size, kernel, steps, kind == ["valid"])
        found.append(Layer("conv", name, _activation_name(activation), steps, padding))
    return tuple(found)


def _numbered(weights: Mapping[str, Any], pattern: str) -> dict[int, str]:
    """Return the layers' names by their numbers, in order."""
    whole = re.compile(rf"({pattern})\.weight")
    found = {int(match[2]): match[1] for match in map(whole.fullmatch, weights) if match}
    return dict(sorted(found.items()))


def _both(value: Any) -> tuple[int, ...]:
    return (int(value),) * 2 if isinstance(value, int | float) else tuple(map(int, value))


def _padding(
    size: tuple[int, ...], kernel: Sequence[int], stride: tuple[int, ...], is_valid: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the padding on all sides, and the size of what comes out."""
    if is_valid:
        sizes = zip(size, kernel, stride, strict=True)
        return (0, 0, 0, 0), tuple(math.ceil((a - b + 1) / step) for a, b, step in sizes)
    out = tuple(math.ceil(a / step) for a, step in zip(size, stride, strict=True))
    high, wide = (
        (o - 1) * step + b - a for a, b, o, step in zip(size, kernel, out, stride, strict=True)
    )
    return (wide // 2, wide - wide // 2, high // 2, high - high // 2), out


# The strides of RLlib's default filters, by the images' size; the weights tell the rest.
_STRIDES: dict[tuple[int, ...], list[int | tuple[int, int]]] = {
    (480, 640): [(14, 18), 4, 1],  # of older Rays, like the next one
    (240, 320): [(7, 9), 4, 1],
    (96, 96): [4, 2, 2],
    (84, 84): [4, 2, 1],
    (64, 64): [2, 2, 2, 2],
    (42, 42): [2, 2, 1],
    (10, 10): [2, 2],
}


def default_filters(shape: Sequence[int], path: str) -> list[list[Any]]:
    """Return RLlib's default for images of a size.

    Raises:
        NotInCheckpointError: It has none.
    """
    strides = _STRIDES.get(tuple(shape[:2]))
    if strides is None:
        reason = "its configuration has none, and there is no default for such images"
        raise NotInCheckpointError(path, "strides of convolutions", reason)
    return [[None, None, stride] for stride in strides]


def has_weights(weights: Weights, prefix: str) -> bool:
    """Say whether the names of some weights begin like this."""
    return any(name.startswith(prefix) for name in weights)
