"""torch's modules, optimizers, generators and samplers as components.

What they are given is copied to where they are: a state from a GPU goes into a module on the CPU.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import Sampler

from tune_ckpt.errors import Fault, UnsupportedComponentError
from tune_ckpt.objects.adapters.registry import STATE_DICT, Adapter, Fit, Stored, fit_same_class
from tune_ckpt.objects.classes import name_of_class
from tune_ckpt.objects.nested import replaced


def fit_arrays(expected: Mapping[str, Any], state: Any) -> Fit:
    """Compare arrays by name: those that are there, their shapes and dtypes."""
    if not isinstance(state, Mapping):
        fault = Fault("", f"a state of type {type(state).__name__}, not arrays by name")
        return Fit(state, False, mismatched=(fault,))
    # A lazy parameter takes whatever comes.
    lazy = torch.nn.parameter.is_lazy
    shared = [name for name, mine in expected.items() if name in state and not lazy(mine)]
    reasons = {name: _differences(expected[name], state[name]) for name in shared}
    usable: Any = copy.copy(state)  # with its attributes, in which torch keeps versions
    for name, found in reasons.items():
        if "shape" in found:
            del usable[name]
    return Fit(
        usable,
        missing=tuple(name for name in expected if name not in state),
        unexpected=tuple(name for name in state if name not in expected),
        mismatched=tuple(Fault(n, _told(found)) for n, found in reasons.items() if found),
    )


def _differences(mine: Any, stored: Any) -> dict[str, tuple[Any, Any]]:
    """Return what differs, as it is in the checkpoint and in the object."""
    facts = _facts(stored), _facts(mine)
    return {
        name: (facts[0].get(name), facts[1].get(name))
        for name in ("shape", "dtype")
        if facts[0].get(name) != facts[1].get(name)
    }


def _facts(value: Any) -> dict[str, Any]:
    if not hasattr(value, "shape"):
        return {}  # what a module's get_extra_state() returned may be anything
    return {"shape": tuple(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}


def _told(differences: dict[str, tuple[Any, Any]]) -> str:
    return "; ".join(
        f"{name} {stored} in the checkpoint, {mine} in the object"
        for name, (stored, mine) in differences.items()
    )


def _fit_module(module: Any, stored: Stored) -> Fit:
    return fit_arrays(module.state_dict(), stored.state)


def _set_module(module: torch.nn.Module, state: Any) -> None:
    if state.keys() == module.state_dict().keys():
        module.load_state_dict(state)
    else:  # what does not fit was reported, or refused, before
        module.load_state_dict(state, strict=False)


def _fit_optimizer(optimizer: torch.optim.Optimizer, stored: Stored) -> Fit:
    fit = fit_same_class(optimizer, stored)
    if not fit.usable:
        return fit
    sizes = [_sizes(groups) for groups in (stored.state["param_groups"], optimizer.param_groups)]
    if sizes[0] == sizes[1]:
        return fit
    reason = f"groups of {sizes[0]} parameters in the checkpoint, {sizes[1]} in the object"
    return Fit(stored.state, False, mismatched=(Fault("param_groups", reason),))


def _sizes(groups: Any) -> str:
    return " + ".join(str(len(group["params"])) for group in groups)


# ------------------------------------------------------------------------- generators and samplers


def _get_generator(generator: torch.Generator) -> Any:
    return generator.get_state().numpy()


def _set_generator(generator: torch.Generator, state: Any) -> None:
    generator.set_state(torch.from_numpy(state))


def _get_sampler(sampler: Any) -> dict[str, Any]:
    if hasattr(sampler, "state_dict"):
        state: dict[str, Any] = sampler.state_dict()
        return state
    if not type(sampler).__module__.startswith("torch.utils.data."):
        raise UnsupportedComponentError(name_of_class(type(sampler)))  # it may keep anything
    # One without a generator draws from torch's global one: see RngState.
    return {name: get(getattr(sampler, name)) for name, get, _ in _parts_of(sampler)}


def _set_sampler(sampler: Any, state: Any) -> None:
    if hasattr(sampler, "load_state_dict"):
        sampler.load_state_dict(state)
        return
    for name, _, give in _parts_of(sampler):
        if name in state:
            give(sampler, state[name])


def _parts_of(sampler: Any) -> list[tuple[str, Any, Any]]:
    """Return which attributes of a sampler of torch's change, and how they are taken and given."""
    return [part for part in _SAMPLER_PARTS if getattr(sampler, part[0], None) is not None]


_SAMPLER_PARTS: list[tuple[str, Any, Any]] = [
    ("epoch", lambda epoch: epoch, lambda sampler, epoch: sampler.set_epoch(epoch)),
    (
        "generator",
        _get_generator,
        lambda sampler, state: _set_generator(sampler.generator, state),
    ),
    ("sampler", _get_sampler, lambda sampler, state: _set_sampler(sampler.sampler, state)),
]


def _fit_sampler(sampler: Sampler[Any], stored: Stored) -> Fit:
    fit = fit_same_class(sampler, stored)
    if not fit.usable or hasattr(sampler, "load_state_dict"):
        return fit
    state, mine = stored.state, _get_sampler(sampler)
    missing = tuple(name for name in mine if name not in state)
    unexpected = tuple(name for name in state if name not in mine)
    return Fit(state, missing=missing, unexpected=unexpected)


_GENERATOR = Adapter(_get_generator, _set_generator)
ADAPTERS = {
    "torch.nn.modules.module:Module": Adapter(STATE_DICT.get_state, _set_module, _fit_module),
    "torch.optim.optimizer:Optimizer": Adapter(
        STATE_DICT.get_state, STATE_DICT.set_state, _fit_optimizer
    ),
    "torch.utils.data.sampler:Sampler": Adapter(_get_sampler, _set_sampler, _fit_sampler),
    "torch:Generator": _GENERATOR,
    "torch._C:Generator": _GENERATOR,
}


# ------------------------------------------------------------------------------------------ device


def moved(state: Any, device: Any) -> Any:
    """Return a state with its tensors on a device; all else in it is the same."""
    is_tensor = torch.is_tensor
    return replaced(state, lambda leaf: _on_device(leaf, device) if is_tensor(leaf) else leaf)


def _on_device(tensor: torch.Tensor, device: Any) -> torch.Tensor:
    there = tensor.detach().to(device)
    if isinstance(tensor, torch.nn.Parameter):
        return torch.nn.Parameter(there, tensor.requires_grad)
    return there.requires_grad_(tensor.requires_grad)
