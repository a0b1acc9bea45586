"""Recipes for the policies of the old API stack, with RLlib's built-in models (ModelV2)."""

from __future__ import annotations

import re
from typing import Any

from tune_ckpt.rllib.inference.layers import (
    Layer,
    Layers,
    convolutions,
    default_filters,
    dense_layers,
    has_weights,
)
from tune_ckpt.rllib.inference.recipes import Known, Make, Recipe
from tune_ckpt.rllib.reading.weights import Weights

# What takes no part in acting.
_OTHERS = re.compile(r"(action_model\.)?_value_branch|(twin_)?q_net\.|log_alpha|target_entropy")


def _layers(known: Known, prefix: str, model: dict[str, Any], head: str) -> tuple[Layers, Layers]:
    """Return trunk and head of a ModelV2 whose weights' names begin with ``prefix``."""
    custom = model.get("custom_model")
    known.check(f"the custom model {custom!r}", not custom)
    start, weights, shape = re.escape(prefix), known.weights, known.observation_space["shape"]
    is_image = has_weights(weights, f"{prefix}_convs.")
    known.check("layers after its convolutions", not (is_image and model.get("post_fcnet_hiddens")))
    if is_image:
        *first, last = model.get("conv_filters") or default_filters(shape, known.path)
        trunk = convolutions(
            weights,
            rf"{start}_convs\.(\d+)\._model\.\d",
            model.get("conv_activation", "relu"),
            [*first, [*last[:3], "valid"]],
            shape,
            known.path,
        )
    else:
        is_after = bool(model.get("post_fcnet_hiddens")) and not model.get("fcnet_hiddens")
        activation = model.get(*_AFTER if is_after else _BEFORE)
        pattern = rf"{start}_hidden_layers\.(\d+)\._model\.0"
        trunk = dense_layers(weights, pattern, activation, activation)
    names = (name for name in weights if re.fullmatch(rf"{start}{head}\._model\.\d\.weight", name))
    return trunk, tuple(Layer("dense", name.removesuffix(".weight")) for name in names)


# Where RLlib's old models have the activation's name, and the default.
_BEFORE, _AFTER = ("fcnet_activation", "tanh"), ("post_fcnet_activation", "relu")


def _actor(known: Known) -> Recipe:
    has_lstm = has_weights(known.weights, "lstm.")
    uses_more = known.model.get("lstm_use_prev_action") or known.model.get("lstm_use_prev_reward")
    known.check("an LSTM that sees earlier actions or rewards", not uses_more)
    known.check("attention", not known.model.get("use_attention"))
    trunk, head = _layers(known, "", known.model, "_logits_branch" if has_lstm else "_logits")
    log_std = "_append_free_log_std.log_std"
    recipe = Recipe(
        "actor",
        trunk,
        head,
        lstm="lstm" if has_lstm else "",
        log_std=log_std if log_std in known.weights else "",
    )
    return known.checked(recipe, _OTHERS)


def _q(known: Known) -> Recipe:
    known.check("noisy layers", not known.config.get("noisy"))
    trunk, logits = _layers(known, "", known.model, "_logits")
    advantages = _dueling(known.weights, "advantage_module", "A")
    is_dueling = bool(known.config.get("dueling", known.cls != "SimpleQTorchPolicy"))
    known.check("dueling values without layers of their own", bool(advantages) or not is_dueling)
    value = _dueling(known.weights, "value_module", "V") if is_dueling else ()
    recipe = Recipe("q", trunk, advantages or logits, value, support=known.support)
    return known.checked(recipe, _OTHERS)


def _dueling(weights: Weights, module: str, letter: str) -> Layers:
    pattern = rf"{module}\.dueling_{letter}_(\d+)\._model\.0"
    hidden = dense_layers(weights, pattern, "relu", "relu")
    last = f"{module}.{letter}._model.0"
    return (*hidden, Layer("dense", last)) if f"{last}.weight" in weights else ()


def _sac(known: Known) -> Recipe:
    # Where only some of its settings are given, the others are those of any model, not SAC's.
    told = known.config.get("policy_model_config")
    model = {"fcnet_activation": "relu"} if told is None else told
    trunk, head = _layers(known, "action_model.", model, "_logits")
    return known.checked(Recipe("sac", trunk, head, squashed=known.is_continuous), _OTHERS)


_ACTORS = ("PPO", "APPO", "Impala", "MARWIL", "BC", "A3C", "A2C", "PG")

OLD_FAMILIES: dict[str, Make] = {
    **{f"{name}TorchPolicy": _actor for name in _ACTORS},
    **{f"{name}TorchPolicy": _q for name in ("DQN", "SimpleQ")},
    **{f"{name}TorchPolicy": _sac for name in ("SAC", "CQL")},
}
