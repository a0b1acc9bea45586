"""Networks of torch from recipes; Ray is not needed. This module imports torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.rllib.inference.actions import Actions
from tune_ckpt.rllib.inference.filters import Filter
from tune_ckpt.rllib.inference.layers import NORM_EPSILON, Layer, Layers
from tune_ckpt.rllib.inference.recipes import Recipe
from tune_ckpt.rllib.reading.weights import Weights

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "linear": nn.Identity,
    "identity": nn.Identity,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "leakyrelu": nn.LeakyReLU,
    "selu": nn.SELU,
    "softplus": nn.Softplus,
}


def _dense(layer: Layer, weights: Weights) -> list[nn.Module]:
    array = weights[f"{layer.weights}.weight"]
    array = array.reshape(len(array), -1)  # a convolution over one pixel is a dense layer
    out, inward = array.shape
    made = nn.Linear(inward, out, f"{layer.weights}.bias" in weights)
    return [_filled(made, layer, weights, weight=array)]


def _norm(layer: Layer, weights: Weights) -> list[nn.Module]:
    size = weights[f"{layer.weights}.weight"].shape[0]
    return [_filled(nn.LayerNorm(size, eps=NORM_EPSILON), layer, weights)]


def _conv(layer: Layer, weights: Weights) -> list[nn.Module]:
    out, inward, *kernel = weights[f"{layer.weights}.weight"].shape
    has_bias = f"{layer.weights}.bias" in weights
    high, wide = kernel
    made = nn.Conv2d(inward, out, (high, wide), _pair(layer.stride), bias=has_bias)
    left, right, top, bottom = layer.padding
    return [nn.ZeroPad2d((left, right, top, bottom)), _filled(made, layer, weights)]


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    high, wide = values
    return high, wide


def _filled(made: nn.Module, layer: Layer, weights: Weights, **instead: Any) -> nn.Module:
    arrays = {name: instead.get(name, weights[f"{layer.weights}.{name}"]) for name in _own(made)}
    made.load_state_dict({name: _tensor(array) for name, array in arrays.items()})
    return made


def _own(made: nn.Module) -> list[str]:
    return list(made.state_dict())


def _tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(array))


_LAYERS = {"dense": _dense, "norm": _norm, "conv": _conv}


class _Images(nn.Module):
    """Puts channels first for convolutions, and last again before images become vectors."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Apply layers that want channels first to images that have them last."""
        found: torch.Tensor = self.layers(images.permute(0, 3, 1, 2))
        return found.permute(0, 2, 3, 1).flatten(1)


def _stack(layers: Layers, weights: Weights) -> nn.Module:
    made: list[nn.Module] = []
    for layer in layers:
        if layer.activation not in _ACTIVATIONS:
            raise InvalidArgumentError("activation", layer.activation, tuple(_ACTIVATIONS))
        made += [*_LAYERS[layer.kind](layer, weights), _ACTIVATIONS[layer.activation]()]
    is_image = any(layer.kind == "conv" for layer in layers)
    return _Images(nn.Sequential(*made)) if is_image else nn.Sequential(nn.Flatten(1), *made)


def _lstm(prefix: str, weights: Weights) -> nn.LSTM:
    inward = weights[f"{prefix}.weight_ih_l0"].shape[1]
    size = weights[f"{prefix}.weight_hh_l0"].shape[1]
    made = nn.LSTM(inward, size)
    made.load_state_dict({name: _tensor(weights[f"{prefix}.{name}"]) for name in _own(made)})
    return made


class Network(nn.Module):
    """From observations to actions: a filter, the layers of a recipe, and the actions' transform.

    Its inputs are a batch of observations and, with an LSTM, its two states; its outputs are the
    inputs of the actions' distribution, the actions without exploration, and the new states.

    Args:
        recipe: How it is put together.
        weights: Its weights by their names.
        actions: How actions are made.
        filter: What is done to observations first.
    """

    low: torch.Tensor | None
    high: torch.Tensor
    scale: torch.Tensor | None
    log_std: torch.Tensor | None

    def __init__(
        self, recipe: Recipe, weights: Weights, actions: Actions, filter: Filter | None = None
    ) -> None:
        super().__init__()
        self.recipe, self.actions = recipe, actions
        self.trunk, self.head = _stack(recipe.trunk, weights), _stack(recipe.head, weights)
        self.value = _stack(recipe.value, weights) if recipe.value else None
        self.lstm = _lstm(recipe.lstm, weights) if recipe.lstm else None
        self.filter = _Filter(filter) if filter is not None else None
        self.support = torch.tensor(recipe.support)
        constants = {"log_std": weights.get(recipe.log_std), **actions.constants()}
        for name in ("log_std", "low", "high", "scale"):
            array = constants.get(name)
            self.register_buffer(name, None if array is None else _tensor(array))

    def check(self, observations: Any) -> None:
        """Check that weights fit each other and the observations.

        Raises:
            RuntimeError, IndexError: They do not.
        """
        states = [torch.zeros(len(observations), self.state_size) for _ in range(2)]
        with torch.no_grad():
            self(torch.as_tensor(observations), *(states if self.lstm is not None else ()))

    @property
    def state_size(self) -> int:
        """The size of each of the LSTM's two states; 0 without one."""
        return 0 if self.lstm is None else self.lstm.hidden_size

    def forward(self, observations: torch.Tensor, *states: torch.Tensor) -> Any:
        """Return distribution inputs, actions and new states."""
        found = observations.float()
        found = self.trunk(found if self.filter is None else self.filter(found))
        if self.lstm is not None:
            before = tuple(state.unsqueeze(0) for state in states)
            found, after = self.lstm(found.unsqueeze(0), before)
            inputs = self._inputs(found.squeeze(0))
            return inputs, self._actions(inputs), *(state.squeeze(0) for state in after)
        inputs = self._inputs(found)
        return inputs, self._actions(inputs)

    def _inputs(self, features: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(features)
        if self.recipe.family == "q":
            return self._values(found, features)
        if self.log_std is not None:
            found = torch.cat([found, self.log_std.expand(found.shape[0], -1)], 1)
        if self.recipe.log_std_clip is not None:
            mean, log_std = found.chunk(2, 1)
            clip = self.recipe.log_std_clip
            found = torch.cat([mean, log_std.clamp(-clip, clip)], 1)
        return found

    def _values(self, advantages: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        found, n_atoms = advantages, len(self.recipe.support)
        if n_atoms:
            found = found.reshape(found.shape[0], -1, n_atoms)
        if self.value is not None:
            values: torch.Tensor = self.value(features)
            values = values.unsqueeze(1) if n_atoms else values
            found = values + found - found.mean(1, keepdim=True)
        return (found.softmax(2) * self.support).sum(2) if n_atoms else found

    def _actions(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.actions.choices:
            split: Any = torch.split  # torch does not type it
            parts = split(inputs, list(self.actions.choices), 1)
            chosen = torch.stack([part.argmax(1) for part in parts], 1) + self.actions.start
            return chosen.reshape(-1, *self.actions.shape)
        mean = inputs.chunk(2, 1)[0]
        mean = mean.tanh() if self.recipe.squashed else mean
        if self.low is not None:
            mean = mean if self.scale is None else self.low + (mean + 1.0) * self.scale
            mean = torch.minimum(torch.maximum(mean, self.low), self.high)
        return mean.reshape(-1, *self.actions.shape)


class _Filter(nn.Module):
    def __init__(self, filter: Filter) -> None:
        super().__init__()
        self.clip = filter.clip
        self.register_buffer("mean", _tensor(filter.mean.astype(np.float32)))
        self.register_buffer("std", _tensor(filter.std.astype(np.float32)))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Bring observations to the scale that the policy was trained on."""
        mean: Any = self.mean
        found: torch.Tensor = (observations - mean) / self.std
        return found if self.clip is None else found.clamp(-self.clip, self.clip)
