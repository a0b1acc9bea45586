"""What older Rays called the weights of RLlib's own RLModules, and what Ray 2.60 calls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tune_ckpt.rllib.reading.plain import last_name

# By the last name of the module's class, old or (with Default before it) new: how names began, and
# how they begin.
_BEGINNINGS = {
    "APPOTorchRLModule": {"old_encoder.": "_old_encoder.", "old_pi.": "_old_pi."},
    "BCTorchRLModule": {"encoder.": "_encoder.", "pi.": "_pi_head."},
}
# Copies of other weights, which the optimizers of older Rays counted among theirs.
_COPIES = "_old_"


def newest_names(weights: Any, cls: str) -> Any:
    """Return an RLModule's weights by the names of today; what are no weights as it is.

    Args:
        weights: The weights by their names.
        cls: The name of the module's class.
    """
    beginnings = _BEGINNINGS.get(last_name(cls).removeprefix("Default"))
    if beginnings is None or not isinstance(weights, Mapping):
        return weights
    return {_newest(str(name), beginnings): value for name, value in weights.items()}


def _newest(name: str, beginnings: dict[str, str]) -> str:
    old = next((start for start in beginnings if name.startswith(start)), None)
    return name if old is None else beginnings[old] + name.removeprefix(old)


def counts_copies(cls: str) -> bool:
    """Say whether an optimizer of an RLModule's may count copies among its parameters.

    Args:
        cls: The name of the module's class.
    """
    told = _BEGINNINGS.get(last_name(cls).removeprefix("Default"), {})
    return any(new.startswith(_COPIES) for new in told.values())


def without_copies(optimizer: Any, names: list[str]) -> Any:
    """Return an optimizer's state without the parameters that are copies of others.

    Args:
        optimizer: The state of a torch optimizer over all of a module's weights; any other is
            returned as it is.
        names: The weights' names of today, in the module's order.
    """
    match optimizer:
        case {"param_groups": [{"params": [*numbers]} as group], "state": dict(state)} if len(
            numbers
        ) == len(names):
            named = zip(numbers, names, strict=True)
            kept = [number for number, name in named if not name.startswith(_COPIES)]
            state = {number: item for number, item in state.items() if number in kept}
            return {**optimizer, "param_groups": [{**group, "params": kept}], "state": state}
    return optimizer
