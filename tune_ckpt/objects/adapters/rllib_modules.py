"""RLlib's torch modules: `Checkpointable` themselves, but silent about arrays that are missing."""

from __future__ import annotations

from typing import Any

from tune_ckpt.objects.adapters.registry import Adapter, Fit, Stored
from tune_ckpt.objects.adapters.torch_objects import fit_arrays
from tune_ckpt.objects.classes import name_of_class

_NAME = "ray.rllib.core.rl_module.torch.torch_rl_module:TorchRLModule"


def _fit(module: Any, stored: Stored) -> Fit:
    base: Any = next(kind for kind in type(module).__mro__ if name_of_class(kind) == _NAME)
    if type(module).get_state is not base.get_state or type(module).set_state is not base.set_state:
        return Fit(stored.state)  # a subclass has its own idea of a state
    fit = fit_arrays(module.state_dict(), stored.state)
    # A module for inference takes its part of the state of one for training.
    unexpected = () if module.inference_only else fit.unexpected
    return Fit(fit.state, fit.usable, fit.missing, unexpected, fit.mismatched)


ADAPTERS = {
    _NAME: Adapter(
        get_state=lambda module: module.get_state(),
        set_state=lambda module, state: module.set_state(state),
        fit=_fit,
        of_checkpointables=True,
    )
}
