"""What makes an action of an observation, as plain data: a recipe, by families of algorithms.

`register_family` adds one: a function from what is known of a policy to its recipe.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tune_ckpt.errors import NotInCheckpointError
from tune_ckpt.rllib.layers import (
    Layer,
    Layers,
    convolutions,
    default_filters,
    dense_layers,
    layers_below,
)
from tune_ckpt.rllib.spaces import Space
from tune_ckpt.rllib.weights import Weights


@dataclass(frozen=True)
class Recipe:
    """How a network is put together from its weights.

    Attributes:
        family: The name of the family.
        trunk: The layers that see the observation.
        head: Those that come after, to the inputs of the actions' distribution (or to advantages).
        value: Where values are added to advantages: the layers to them.
        lstm: Between trunk and head, if there is one: how its weights' names begin.
        log_std: Weights that are the logarithms of standard deviations, for any observation.
        log_std_clip: Where logarithms of standard deviations are clipped.
        squashed: Whether a mean goes through tanh to be an action.
    """

    family: str
    trunk: Layers
    head: Layers
    value: Layers = ()
    lstm: str = ""
    log_std: str = ""
    log_std_clip: float | None = None
    squashed: bool = False

    @property
    def weights(self) -> list[str]:
        """How the names begin of all weights that are needed."""
        layers = (*self.trunk, *self.head, *self.value)
        named = [f"{layer.weights}." for layer in layers]
        return [*named, *filter(None, [self.lstm and f"{self.lstm}.", self.log_std])]


@dataclass(frozen=True)
class Known:
    """What is known of a policy or module.

    Attributes:
        path: The checkpoint.
        cls: The last name of its class.
        weights: Its weights.
        model: Its model's configuration.
        observation_space: Of what the network sees.
        action_space: Of the environment.
        config: The rest of its configuration.
    """

    path: str
    cls: str
    weights: Weights
    model: dict[str, Any]
    observation_space: Space
    action_space: Space
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def is_continuous(self) -> bool:
        """Whether actions are real numbers."""
        space = self.action_space
        return space["space"] == "box" and "float" in str(space["dtype"])

    def check(self, what: str, is_fine: bool) -> None:
        """Check that a network can be told in a recipe.

        Raises:
            NotInCheckpointError: It cannot.
        """
        if not is_fine:
            reason = f"it is a {self.cls} with {what}; see restore_module for the module itself"
            raise NotInCheckpointError(self.path, "network that this package can build", reason)


Make = Callable[[Known], Recipe]
_FAMILIES: dict[str, Make] = {}


def register_family(make: Make, *classes: str) -> None:
    """Tell how recipes are made for policies or RLModules of some classes.

    Args:
        make: From what is known of one to its recipe.
        classes: The last names of the classes.
    """
    _FAMILIES.update(dict.fromkeys(classes, make))


def make_recipe(known: Known) -> Recipe:
    """Return the recipe of a policy or module.

    Raises:
        NotInCheckpointError: Its class belongs to no family, or its network is not a built-in one.
    """
    make = _FAMILIES.get(known.cls)
    if make is None:
        reason = f"{known.cls} is in none of {', '.join(sorted(_FAMILIES))}; see register_family"
        raise NotInCheckpointError(known.path, "network that this package can build", reason)
    recipe = make(known)
    known.check("other layers than RLlib's own", bool(recipe.head or recipe.trunk))
    return recipe


# ----------------------------------------------------------------------------- the old API stack


def _old_layers(
    known: Known, prefix: str, model: dict[str, Any], head: str
) -> tuple[Layers, Layers]:
    """Return trunk and head of a ModelV2 whose weights' names begin with ``prefix``."""
    start, weights, shape = re.escape(prefix), known.weights, known.observation_space["shape"]
    is_image = any(layers_below(f"{prefix}_convs.", weights))
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


def _old_actor(known: Known) -> Recipe:
    has_lstm = any(layers_below("lstm.", known.weights))
    uses_more = known.model.get("lstm_use_prev_action") or known.model.get("lstm_use_prev_reward")
    known.check("an LSTM that sees earlier actions or rewards", not uses_more)
    known.check("attention", not known.model.get("use_attention"))
    trunk, head = _old_layers(known, "", known.model, "_logits_branch" if has_lstm else "_logits")
    log_std = "_append_free_log_std.log_std"
    return Recipe(
        "actor",
        trunk,
        head,
        lstm="lstm" if has_lstm else "",
        log_std=log_std if log_std in known.weights else "",
    )


def _old_q(known: Known) -> Recipe:
    known.check("noisy or distributional values", _is_plain_q(known))
    trunk, _ = _old_layers(known, "", known.model, "_logits")
    head = _dueling(known.weights, "advantage_module", "A")
    return Recipe("q", trunk, head, _dueling(known.weights, "value_module", "V"))


def _is_plain_q(known: Known) -> bool:
    told = {**known.config, **known.model}
    is_noisy = any("noisy" in name or "sigma" in name for name in known.weights)
    return int(told.get("num_atoms") or 1) == 1 and not is_noisy


def _dueling(weights: Weights, module: str, letter: str) -> Layers:
    pattern = rf"{module}\.dueling_{letter}_(\d+)\._model\.0"
    hidden = dense_layers(weights, pattern, "relu", "relu")
    last = f"{module}.{letter}._model.0"
    return (*hidden, Layer("dense", last)) if f"{last}.weight" in weights else ()


def _old_sac(known: Known) -> Recipe:
    model = known.config.get("policy_model_config") or {"fcnet_activation": "relu"}
    trunk, head = _old_layers(known, "action_model.", model, "_logits")
    return Recipe("sac", trunk, head, squashed=known.is_continuous)


# ----------------------------------------------------------------------------- the new API stack


def _new_layers(known: Known, prefix: str) -> tuple[Layers, str]:
    """Return an encoder's layers, and the beginning of its LSTM's names, if it has one."""
    weights, model = known.weights, known.model
    known.check("a GRU", not any(layers_below(f"{prefix}.gru.", weights)))
    lstm = f"{prefix}.lstm" if any(layers_below(f"{prefix}.lstm.", weights)) else ""
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


def _new_head(known: Known, prefix: str) -> Layers:
    activation = known.model.get("head_fcnet_activation", "relu")
    return dense_layers(known.weights, rf"{prefix}\.net\.mlp\.(\d+)", activation, None)


def _actor_of(family: str, encoders: tuple[str, ...], head: str) -> Make:
    def make(known: Known) -> Recipe:
        named = (prefix for prefix in encoders if any(layers_below(f"{prefix}.", known.weights)))
        trunk, lstm = _new_layers(known, next(named, encoders[0]))
        log_std, clip = f"{head}.log_std", known.weights.get(f"{head}.log_std_clip_param_const")
        return Recipe(
            family,
            trunk,
            _new_head(known, head),
            lstm=lstm,
            log_std=log_std if log_std in known.weights else "",
            log_std_clip=float(clip[0]) if clip is not None and known.is_continuous else None,
        )

    return make


def _new_q(known: Known) -> Recipe:
    known.check("noisy or distributional values", _is_plain_q(known))
    trunk, _ = _new_layers(known, "encoder")
    return Recipe("q", trunk, _new_head(known, "af"), _new_head(known, "vf"))


_OLD_ACTORS = ("PPO", "APPO", "Impala", "MARWIL", "BC", "A3C", "A2C", "PG")
_NEW_ACTORS = ("PPO", "APPO", "Impala", "IMPALA", "MARWIL")
_SHARED_OR_NOT = ("encoder.encoder", "encoder.actor_encoder")


def _of_modules(*names: str) -> list[str]:
    return [f"{start}{name}TorchRLModule" for name in names for start in ("", "Default")]


register_family(_old_actor, *(f"{name}TorchPolicy" for name in _OLD_ACTORS))
register_family(_old_q, "DQNTorchPolicy", "SimpleQTorchPolicy")
register_family(_old_sac, "SACTorchPolicy", "CQLTorchPolicy")
register_family(_actor_of("actor", _SHARED_OR_NOT, "pi"), *_of_modules(*_NEW_ACTORS))
register_family(_actor_of("actor", ("_encoder",), "_pi_head"), *_of_modules("BC"))
register_family(_new_q, *_of_modules("DQN", "DQNRainbow"))
# The new stack's distribution does not squash the mean when it acts without exploration: neither
# does this, or actions would be others than in RLlib.
register_family(_actor_of("sac", ("pi_encoder",), "pi"), *_of_modules("SAC", "CQL"))
