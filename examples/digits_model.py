"""A small network for scikit-learn's digits, in NumPy; for the sweep and for those who serve it.

Imports no Ray, so that a checkpoint can be used where Ray is not installed.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

import tune_ckpt as tc


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return training images and labels, held-out images and labels."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order] / 16.0, labels[order]
    return images[:1200], labels[:1200], images[1200:], labels[1200:]


class Network(tc.Checkpointable):
    """64 pixels, one hidden layer, 10 classes."""

    def __init__(self, hidden: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.hidden, self.seed = hidden, seed
        self.weights = {
            "w1": rng.normal(0, 0.1, (64, hidden)),
            "b1": np.zeros(hidden),
            "w2": rng.normal(0, 0.1, (hidden, 10)),
            "b2": np.zeros(10),
        }

    def get_ctor_args_and_kwargs(self):
        """Return what makes another network like this one."""
        return (self.hidden, self.seed), {}

    def get_state(self, components=None, *, not_components=None, **kwargs):
        """Return the weights."""
        return self.weights

    def set_state(self, state):
        """Take the weights of a checkpoint."""
        self.weights = state


class Momentum(tc.Checkpointable):
    """Stochastic gradient descent with momentum."""

    def __init__(self, network: Network, learning_rate: float, momentum: float) -> None:
        self.network, self.learning_rate, self.momentum = network, learning_rate, momentum
        self.velocity = {name: np.zeros_like(w) for name, w in network.weights.items()}

    def get_state(self, components=None, *, not_components=None, **kwargs):
        """Return the velocities; the weights are the network's to save."""
        return {"velocity": self.velocity}

    def set_state(self, state):
        """Take the velocities of a checkpoint."""
        self.velocity = state["velocity"]

    def step(self, gradients: dict[str, np.ndarray]) -> None:
        """Move the weights against their gradients."""
        for name, gradient in gradients.items():
            self.velocity[name] *= self.momentum
            self.velocity[name] -= self.learning_rate * gradient
            self.network.weights[name] += self.velocity[name]


def forward(weights: dict[str, np.ndarray], images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the hidden activations and the class probabilities."""
    hidden = np.maximum(images @ weights["w1"] + weights["b1"], 0)
    logits = hidden @ weights["w2"] + weights["b2"]
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return hidden, odds / odds.sum(axis=1, keepdims=True)


def gradients(weights, images, labels) -> dict[str, np.ndarray]:
    """Return the gradient of the mean cross-entropy."""
    hidden, odds = forward(weights, images)
    odds[np.arange(len(labels)), labels] -= 1
    odds /= len(labels)
    back = (odds @ weights["w2"].T) * (hidden > 0)
    return {
        "w1": images.T @ back,
        "b1": back.sum(axis=0),
        "w2": hidden.T @ odds,
        "b2": odds.sum(axis=0),
    }


def accuracy(weights, images, labels) -> float:
    """Return the share of images that are classified right."""
    return float((forward(weights, images)[1].argmax(axis=1) == labels).mean())
