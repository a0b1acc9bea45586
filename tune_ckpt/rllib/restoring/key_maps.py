"""From the names of the old API stack's built-in models to those of the new stack's modules.

==========================================  =====================================================
old (ModelV2)                               new (RLModule)
==========================================  =====================================================
``_hidden_layers.<i>``                      the encoder's ``net.mlp.<2i>``, or its tokenizer's
``_convs.<i>``                              the encoder's ``net.0.cnn.<3i+1>``; the last layer has
                                            no padding, so it is ``<3i>``
``lstm``                                    ``encoder.encoder.lstm``
``_logits``, ``_logits_branch``             ``pi.net.mlp.0``
``_append_free_log_std.log_std``            ``pi.log_std``
``_value_branch_separate.<i>``              the same of ``encoder.critic_encoder``
``_value_branch``                           ``vf.net.mlp.0``
``advantage_module.dueling_A_<i>``, ``A``   DQN's ``af.net.mlp.<2i>``, after ``encoder.net.mlp``
``value_module.dueling_V_<i>``, ``V``       DQN's ``vf.net.mlp.<2i>``
==========================================  =====================================================

Where a value branch of its own ends with a convolution, that is ``vf.net.mlp.0``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

KeyMap = dict[str, str]  # from new names to old ones
Old = dict[int, str]  # a stack's layers, by their numbers: each the old names' common beginning


def default_key_map(names: Collection[str]) -> KeyMap | None:
    """Return the map for a built-in model, told by its weights' names; None for any other.

    Args:
        names: The old names.
    """
    if any(name.startswith(_NOT_KNOWN) for name in names):
        return None
    for sign, make in _MODELS.items():
        if any(name.startswith(sign) for name in names):
            return make(names)
    return None


def _layers(names: Collection[str], stack: str) -> Old:
    """Return a stack's layers; between its name and the parameter's there may be torch's own."""
    pattern = re.compile(rf"({re.escape(stack)}\.(\d+)\._model\.\d+)\.weight")
    found = (pattern.fullmatch(name) for name in names)
    return {int(match[2]): match[1] for match in sorted(filter(None, found), key=lambda m: m[1])}


def _head(names: Collection[str], head: str) -> str | None:
    pattern = re.compile(rf"({re.escape(head)}\._model\.\d+)\.weight")
    return next((match[1] for name in names if (match := pattern.fullmatch(name))), None)


def _pairs(new: str, old: str | None) -> KeyMap:
    return {f"{new}.{part}": f"{old}.{part}" for part in ("weight", "bias")} if old else {}


def _dense(prefix: str, layers: Old) -> KeyMap:
    pairs = (_pairs(f"{prefix}.{2 * number}", old) for number, old in layers.items())
    return {new: old for pair in pairs for new, old in pair.items()}


def _convolutions(prefix: str, layers: Old) -> KeyMap:
    last = max(layers)
    places = {number: 3 * number + (number != last) for number in layers}
    pairs = (_pairs(f"{prefix}.{places[number]}", old) for number, old in layers.items())
    return {new: old for pair in pairs for new, old in pair.items()}


def _fully_connected(names: Collection[str]) -> KeyMap:
    separate = _layers(names, "_value_branch_separate")
    actor = "encoder.actor_encoder" if separate else "encoder.encoder"
    log_std = "_append_free_log_std.log_std"
    return {
        **_dense(f"{actor}.net.mlp", _layers(names, "_hidden_layers")),
        **_dense("encoder.critic_encoder.net.mlp", separate),
        **_pairs("pi.net.mlp.0", _head(names, "_logits")),
        **_pairs("vf.net.mlp.0", _head(names, "_value_branch")),
        **({"pi.log_std": log_std} if log_std in names else {}),
    }


def _convolutional(names: Collection[str]) -> KeyMap:
    separate = _layers(names, "_value_branch_separate")
    actor = "encoder.actor_encoder" if separate else "encoder.encoder"
    value = separate.pop(max(separate)) if separate else _head(names, "_value_branch")
    critic = _convolutions("encoder.critic_encoder.net.0.cnn", separate) if separate else {}
    return {
        **_convolutions(f"{actor}.net.0.cnn", _layers(names, "_convs")),
        **critic,
        **_pairs("pi.net.mlp.0", _head(names, "_logits")),
        **_pairs("vf.net.mlp.0", value),
    }


def _recurrent(names: Collection[str]) -> KeyMap:
    # The value branch of the network before the LSTM is there, but unused.
    layers, convolutions = _layers(names, "_hidden_layers"), _layers(names, "_convs")
    tokenizer = "encoder.encoder.tokenizer.net"
    before = _convolutions(f"{tokenizer}.0.cnn", convolutions) if convolutions else {}
    return {
        **(before or _dense(f"{tokenizer}.mlp", layers)),
        **{f"encoder.encoder.{name}": name for name in names if name.startswith("lstm.")},
        **_pairs("pi.net.mlp.0", _head(names, "_logits_branch")),
        **_pairs("vf.net.mlp.0", _head(names, "_value_branch")),
    }


def _q_values(names: Collection[str]) -> KeyMap:
    return {
        **_dense("encoder.net.mlp", _layers(names, "_hidden_layers")),
        **_dense("af.net.mlp", _dueling(names, "advantage_module", "A")),
        **_dense("vf.net.mlp", _dueling(names, "value_module", "V")),
    }


def _dueling(names: Collection[str], module: str, letter: str) -> Old:
    hidden = re.compile(rf"{module}\.dueling_{letter}_(\d+)\._model\.0\.weight")
    found = {int(match[1]): name for name in names if (match := hidden.fullmatch(name))}
    found[len(found)] = f"{module}.{letter}._model.0.weight"
    return {i: name.removesuffix(".weight") for i, name in found.items() if name in names}


# SAC's models: of its new module's outputs, the actions are others; and attention, which no module
# of the new stack has.
_NOT_KNOWN = ("action_model.", "q_net.", "twin_q_net.", "gtrxl.")

# Told by how some names begin, the most special first.
_MODELS: dict[str, Callable[[Collection[str]], KeyMap]] = {
    "advantage_module.": _q_values,
    "lstm.": _recurrent,
    "_convs.": _convolutional,
    "_hidden_layers.": _fully_connected,
}


def migrated_model_config(model: dict[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the new stack's model configuration for an old one.

    Args:
        model: The old one.
        shape: The observations'.
    """
    hiddens = [*(model.get("fcnet_hiddens") or ()), *(model.get("post_fcnet_hiddens") or ())]
    told = {key: model[key] for key in _SAME if model.get(key) is not None}
    config = {**told, "fcnet_hiddens": hiddens}
    if not model.get("fcnet_hiddens"):
        config["fcnet_activation"] = model.get("post_fcnet_activation", "relu")
    if model.get("use_lstm"):
        config["vf_share_layers"] = True  # the LSTM's output is what both branches take
    if len(shape) == 3:
        *first, last = model.get("conv_filters") or _default_filters(shape)
        filters = [[*layer] for layer in first]
        config |= {"conv_filters": [*filters, [*last[:3], "valid"]], "fcnet_hiddens": []}
    return config


_SAME = (
    *("fcnet_activation", "conv_activation", "free_log_std", "log_std_clip_param"),
    *("vf_share_layers", "use_lstm", "max_seq_len", "lstm_cell_size"),
)


def _default_filters(shape: tuple[int, ...]) -> Any:
    from ray.rllib.models.utils import get_filter_config

    find_filters: Any = get_filter_config  # RLlib does not type it
    return find_filters(shape)
