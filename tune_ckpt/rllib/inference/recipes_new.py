"""Recipes for the RLModules of the new API stack, with RLlib's built-in networks."""

from __future__ import annotations

import re

from tune_ckpt.rllib.inference.layers import Layers, convolutions, dense_layers, has_weights
from tune_ckpt.rllib.inference.recipes import Known, Make, Recipe

# What takes no part in acting.
_OTHERS = re.compile(r"encoder\.critic_encoder\.|vf|qf|_?target_|_old_|.*log_std_clip_param_const")


def _layers(known: Known, prefix: str) -> tuple[Layers, str]:
    """Return an encoder's layers, and the beginning of its LSTM's names, if it has one."""
    weights, model = known.weights, known.model
    known.check("a GRU", not has_weights(weights, f"{prefix}.gru."))
    lstm = f"{prefix}.lstm" if has_weights(weights, f"{prefix}.lstm.") else ""
    start = re.escape(f"{prefix}.tokenizer" if lstm else prefix)
    if any(re.match(rf"{start}\.net\.0\.cnn\.", name) for name in weights):
        trunk = convolutions(
            weights,
            rf"{start}\.net\.0\.cnn\.(\d+)",
            model.get("conv_activation", "relu"),
            model.get("conv_filters"),
            known.observation_space["shape"],
            known.path,
        )
        return trunk, lstm
    activation = model.get("fcnet_activation", "tanh")
    return dense_layers(weights, rf"{start}\.net\.mlp\.(\d+)", activation, activation), lstm


def _head(known: Known, prefix: str) -> Layers:
    activation = known.model.get("head_fcnet_activation", "relu")
    return dense_layers(known.weights, rf"{prefix}\.net\.mlp\.(\d+)", activation, None)


def _actor_of(family: str, encoders: tuple[str, ...], head: str) -> Make:
    def make(known: Known) -> Recipe:
        """Return the recipe of an actor."""
        named = (prefix for prefix in encoders if has_weights(known.weights, f"{prefix}."))
        trunk, lstm = _layers(known, next(named, encoders[0]))
        log_std, clip = f"{head}.log_std", known.weights.get(f"{head}.log_std_clip_param_const")
        recipe = Recipe(
            family,
            trunk,
            _head(known, head),
            lstm=lstm,
            log_std=log_std if log_std in known.weights else "",
            log_std_clip=float(clip[0]) if clip is not None and known.is_continuous else None,
        )
        return known.checked(recipe, _OTHERS)

    return make


def _q(known: Known) -> Recipe:
    trunk, _ = _layers(known, "encoder")
    # A distribution over values is the same with these added: each is one number for all of it.
    value = () if known.support else _head(known, "vf")
    recipe = Recipe("q", trunk, _head(known, "af"), value, support=known.support)
    return known.checked(recipe, _OTHERS)


def _modules(*names: str) -> list[str]:
    return [f"{start}{name}TorchRLModule" for name in names for start in ("", "Default")]


_ACTORS = ("PPO", "APPO", "Impala", "IMPALA", "MARWIL")
_SHARED_OR_NOT = ("encoder.encoder", "encoder.actor_encoder")

# The new stack's distribution does not squash the mean when it acts without exploration: neither
# does SAC's recipe, or actions would be others than in RLlib.
NEW_FAMILIES: dict[str, Make] = {
    **dict.fromkeys(_modules(*_ACTORS), _actor_of("actor", _SHARED_OR_NOT, "pi")),
    **dict.fromkeys(_modules("BC"), _actor_of("actor", ("_encoder",), "_pi_head")),
    **dict.fromkeys(_modules("DQN", "DQNRainbow"), _q),
    **dict.fromkeys(_modules("SAC", "CQL", "IQL", "TQC"), _actor_of("sac", ("pi_encoder",), "pi")),
}
