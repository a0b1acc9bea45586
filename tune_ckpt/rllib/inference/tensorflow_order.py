"""The names of weights that TensorFlow's eager mode keeps in a list: told by the order of layers.

Keras orders a model's layers by their distance from its outputs, the farthest first; of those at
the same distance, the actor's are before the critic's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tune_ckpt.rllib.inference.layers import default_filters
from tune_ckpt.rllib.inference.recipes import Known
from tune_ckpt.rllib.reading.weights import Weights

WITH_HEADS, WITH_CRITICS = ("DQN", "SimpleQ"), ("SAC", "CQL")


def names_in_order(known: Known, kind: str) -> Weights:
    """Return a policy's weights by the names that they have where TensorFlow names them.

    Args:
        known: The policy, its weights in their order.
        kind: The algorithm. Where critics come after the actor, they are left out.

    Raises:
        NotInCheckpointError: There are more or fewer weights than RLlib's own network has.
    """
    found = [*known.weights.values()]
    if kind in WITH_CRITICS:
        model = known.config.get("policy_model_config") or {}
        names = [*_network(known, model, False)]
        found = found[: len(names)]
    else:
        heads = known.config.get("hiddens") if kind in WITH_HEADS else None
        names = [*_network(known, known.model, bool(heads)), *_heads(known, heads or ())]
    known.check(f"{len(found)} weights instead of {len(names)}", len(found) == len(names))
    return dict(zip(names, found, strict=True))


def _network(known: Known, model: dict[str, Any], has_heads: bool) -> Iterator[str]:
    is_image = len(known.observation_space["shape"]) == 3
    has_lstm = bool(model.get("use_lstm"))
    if model.get("free_log_std") and not is_image:
        yield "log_std"
    layers = _images(known, model) if is_image else _vectors(model)
    actor, critic = layers
    if has_heads:
        actor = [*actor[:-2], actor[-1]]  # the last layer is the heads' input
    elif has_lstm:
        actor = actor[:-1]
    after = int(bool(has_lstm if is_image else model.get("free_log_std")))  # layers without weights
    order = _by_distance((actor, after), (critic, int(is_image and len(critic) > 1)))
    yield from _parameters(order)
    if has_lstm:
        yield from (f"lstm_cell/{part}" for part in ("kernel", "recurrent_kernel", "bias"))
        yield from _parameters(["logits", "values"])


def _vectors(model: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the names of the actor's layers and of the critic's own."""
    sizes = [*(model.get("fcnet_hiddens") or ()), *(model.get("post_fcnet_hiddens") or ())]
    numbers = range(1, len(sizes) + 1)
    critic = [] if model.get("vf_share_layers", True) else [f"fc_value_{n}" for n in numbers]
    return [*(f"fc_{n}" for n in numbers), "fc_out"], [*critic, "value_out"]


def _images(known: Known, model: dict[str, Any]) -> tuple[list[str], list[str]]:
    shape = known.observation_space["shape"]
    numbers = range(1, len(model.get("conv_filters") or default_filters(shape, known.path)) + 1)
    actor = [*(f"conv{n}" for n in numbers), "conv_out"]
    if model.get("vf_share_layers", True):
        return actor, ["value_out"]
    return actor, [*(f"conv_value_{n}" for n in numbers), "conv_value_out"]


def _by_distance(*branches: tuple[list[str], int]) -> list[str]:
    """Return the layers of branches in Keras' order.

    Args:
        branches: The layers of each, and how many without weights come after them.
    """
    placed = [
        (after + len(layers) - place, layer)
        for layers, after in branches
        for place, layer in enumerate(layers)
    ]
    return [layer for _, layer in sorted(placed, key=lambda one: -one[0])]


def _heads(known: Known, hidden: Any) -> Iterator[str]:
    if not hidden:
        return
    n_values = len(hidden) + 1 if known.config.get("dueling", True) else 0
    dense = [f"dense_{number}" for number in range(1 + n_values)]
    yield from _parameters([*(f"hidden_{number}" for number in range(len(hidden))), *dense])


def _parameters(layers: list[str]) -> Iterator[str]:
    return (f"{layer}/{part}" for layer in layers for part in ("kernel", "bias"))
