"""Networks of TensorFlow from recipes, as `tune_ckpt.rllib.inference.networks` makes them of torch.

This module imports TensorFlow; Ray and torch are not needed. Weights have torch's layout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.rllib.inference.actions import Actions
from tune_ckpt.rllib.inference.filters import Filter
from tune_ckpt.rllib.inference.layers import NORM_EPSILON, Layer, Layers
from tune_ckpt.rllib.inference.recipes import Recipe
from tune_ckpt.rllib.reading.weights import Weights

_ACTIVATIONS: dict[str, Any] = {
    "linear": tf.identity,
    "identity": tf.identity,
    "tanh": tf.tanh,
    "relu": tf.nn.relu,
    "elu": tf.nn.elu,
    "silu": tf.nn.silu,
    "swish": tf.nn.silu,
    "gelu": tf.nn.gelu,
    "sigmoid": tf.sigmoid,
    "leakyrelu": lambda x: tf.nn.leaky_relu(x, 0.01),  # torch's slope
    "selu": tf.nn.selu,
    "softplus": tf.math.softplus,
}


class _Layer(tf.Module):  # type: ignore[misc]  # TensorFlow is not typed
    def __init__(self, layer: Layer, weights: Weights) -> None:
        super().__init__()
        if layer.activation not in _ACTIVATIONS:
            raise InvalidArgumentError("activation", layer.activation, tuple(_ACTIVATIONS))
        self.layer, self.activation = layer, _ACTIVATIONS[layer.activation]
        self.kernel = tf.Variable(_KERNELS[layer.kind](weights[f"{layer.weights}.weight"]))
        bias = weights.get(f"{layer.weights}.bias")
        self.bias = tf.Variable(np.zeros(1, np.float32) if bias is None else bias)

    def __call__(self, values: Any) -> Any:
        found: Any = _COMPUTE[self.layer.kind](self, values)
        return self.activation(found + self.bias)


def _dense(layer: _Layer, values: Any) -> Any:
    return tf.reshape(values, (tf.shape(values)[0], layer.kernel.shape[0])) @ layer.kernel


def _norm(layer: _Layer, values: Any) -> Any:
    mean, variance = tf.nn.moments(values, [-1], keepdims=True)
    return (values - mean) / tf.sqrt(variance + NORM_EPSILON) * layer.kernel


def _conv(layer: _Layer, images: Any) -> Any:
    left, right, top, bottom = layer.layer.padding
    padded = tf.pad(images, [[0, 0], [top, bottom], [left, right], [0, 0]])
    return tf.nn.conv2d(padded, layer.kernel, list(layer.layer.stride), "VALID")


_COMPUTE = {"dense": _dense, "norm": _norm, "conv": _conv}

# From torch's layout to TensorFlow's; a convolution over one pixel may be a dense layer.
_KERNELS: dict[str, Any] = {
    "dense": lambda array: array.reshape(len(array), -1).T,
    "norm": lambda array: array,
    "conv": lambda array: array.transpose(2, 3, 1, 0),
}


class _Stack(tf.Module):  # type: ignore[misc]  # TensorFlow is not typed
    def __init__(self, layers: Layers, weights: Weights) -> None:
        super().__init__()
        self.layers = [_Layer(layer, weights) for layer in layers]

    def __call__(self, values: Any) -> Any:
        for layer in self.layers:
            values = layer(values)
        return tf.reshape(values, (tf.shape(values)[0], int(np.prod(values.shape[1:]))))


class _Lstm(tf.Module):  # type: ignore[misc]  # TensorFlow is not typed
    """One step of torch's LSTM."""

    def __init__(self, prefix: str, weights: Weights) -> None:
        super().__init__()
        self.inward = tf.Variable(weights[f"{prefix}.weight_ih_l0"].T)
        self.recurrent = tf.Variable(weights[f"{prefix}.weight_hh_l0"].T)
        biases = (weights[f"{prefix}.bias_{which}_l0"] for which in ("ih", "hh"))
        self.bias = tf.Variable(np.sum([*biases], 0))

    def __call__(self, values: Any, hidden: Any, cell: Any) -> tuple[Any, Any]:
        gates = values @ self.inward + hidden @ self.recurrent + self.bias
        into, forget, new, out = tf.split(gates, 4, 1)
        cell = tf.sigmoid(forget) * cell + tf.sigmoid(into) * tf.tanh(new)
        return tf.sigmoid(out) * tf.tanh(cell), cell


class Network(tf.Module):  # type: ignore[misc]  # TensorFlow is not typed
    """From observations to actions, see `tune_ckpt.rllib.inference.networks.Network`."""

    def __init__(
        self, recipe: Recipe, weights: Weights, actions: Actions, filter: Filter | None = None
    ) -> None:
        super().__init__()
        self.recipe, self.actions, self.observations_filter = recipe, actions, filter
        self.trunk, self.head = _Stack(recipe.trunk, weights), _Stack(recipe.head, weights)
        self.value = _Stack(recipe.value, weights) if recipe.value else None
        self.lstm = _Lstm(recipe.lstm, weights) if recipe.lstm else None
        self.log_std = weights.get(recipe.log_std)
        self.constants = actions.constants()

    def check(self, observations: Any) -> None:
        """Check that weights fit each other and the observations.

        Raises:
            ValueError: They do not.
        """
        states = [tf.zeros((len(observations), self.state_size)) for _ in range(2)]
        try:
            self(tf.constant(observations), *(states if self.lstm is not None else ()))
        except tf.errors.OpError as error:
            raise ValueError(str(error)) from error

    @property
    def state_size(self) -> int:
        """The size of each of the LSTM's two states; 0 without one."""
        return 0 if self.lstm is None else int(self.lstm.recurrent.shape[0])

    def __call__(self, observations: Any, *states: Any) -> tuple[Any, ...]:
        """Return distribution inputs, actions and new states."""
        features = self.trunk(self._filtered(tf.cast(observations, tf.float32)))
        if self.lstm is not None:
            features, cell = self.lstm(features, *states)
            states = (features, cell)
        inputs = self._inputs(features)
        return (inputs, self._actions(inputs), *states)

    def _filtered(self, rows: Any) -> Any:
        filter = self.observations_filter
        if filter is None:
            return rows
        found = (rows - filter.mean.astype(np.float32)) / filter.std.astype(np.float32)
        return found if filter.clip is None else tf.clip_by_value(found, -filter.clip, filter.clip)

    def _inputs(self, features: Any) -> Any:
        found = self.head(features)
        if self.recipe.family == "q":
            return self._values(found, features)
        if self.log_std is not None:
            log_std = tf.broadcast_to(self.log_std, (tf.shape(found)[0], len(self.log_std)))
            found = tf.concat([found, log_std], 1)
        if self.recipe.log_std_clip is not None:
            mean, log_std = tf.split(found, 2, 1)
            clip = self.recipe.log_std_clip
            found = tf.concat([mean, tf.clip_by_value(log_std, -clip, clip)], 1)
        return found

    def _values(self, advantages: Any, features: Any) -> Any:
        found, support = advantages, self.recipe.support
        if support:
            found = tf.reshape(found, (tf.shape(found)[0], -1, len(support)))
        if self.value is not None:
            values = self.value(features)
            values = tf.expand_dims(values, 1) if support else values
            found = values + found - tf.reduce_mean(found, 1, keepdims=True)
        return tf.reduce_sum(tf.nn.softmax(found) * support, 2) if support else found

    def _actions(self, inputs: Any) -> Any:
        if self.actions.choices:
            parts = tf.split(inputs, list(self.actions.choices), 1)
            chosen = tf.stack([tf.argmax(part, 1) for part in parts], 1) + self.actions.start
            return tf.reshape(chosen, (-1, *self.actions.shape))
        mean = tf.split(inputs, 2, 1)[0]
        mean = tf.tanh(mean) if self.recipe.squashed else mean
        if "scale" in self.constants:
            mean = self.constants["low"] + (mean + 1.0) * self.constants["scale"]
        if "low" in self.constants:
            mean = tf.clip_by_value(mean, self.constants["low"], self.constants["high"])
        return tf.reshape(mean, (-1, *self.actions.shape))
