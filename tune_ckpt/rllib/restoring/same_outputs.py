"""Whether a policy of the old API stack and an RLModule of the new one give the same outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

_ROWS = 16


def compare_outputs(policy: Any, module: Any, observations: Any = None) -> dict[str, float]:
    """Return how much the two differ at most, by the outputs that both have.

    Args:
        policy: The policy.
        module: The module.
        observations: A batch of observations, as the model takes them; random ones by default.
    """
    import torch

    rows = _random(policy.observation_space) if observations is None else observations
    batch = torch.as_tensor(np.asarray(rows, np.float32))
    with torch.no_grad():
        old, new = _of_policy(policy, batch), _of_module(module, batch)
    return {name: _difference(old[name], new[name]) for name in old if name in new}


def _random(space: Any) -> Any:
    generator = np.random.default_rng(0)
    low, high = (np.clip(bound, space.low, space.high) for bound in (-1.0, 1.0))
    return generator.uniform(low, high, (_ROWS, *space.shape))


def _difference(old: Any, new: Any) -> float:
    if old.shape != new.shape:
        return float("inf")
    found = float((old - new).abs().max())
    return found if np.isfinite(found) else float("inf")


def _of_policy(policy: Any, batch: Any) -> dict[str, Any]:
    import torch

    model = policy.model.eval()
    states = [torch.as_tensor(state) for state in model.get_initial_state()]
    states = [state.unsqueeze(0).repeat(len(batch), 1) for state in states]
    if hasattr(model, "get_q_value_distributions"):
        return {"q_values": _q_values(policy, batch)}
    found, *_ = model({"obs": batch, "obs_flat": batch}, states, torch.ones(len(batch)))
    return {"action_dist_inputs": found, "vf_preds": model.value_function()}


def _q_values(policy: Any, batch: Any) -> Any:
    from ray.rllib.algorithms.dqn.dqn_torch_policy import compute_q_values

    find_values: Any = compute_q_values  # RLlib does not type it
    rows = {"obs": batch, "obs_flat": batch}
    return find_values(policy, policy.model, rows, explore=False)[0]


def _of_module(module: Any, batch: Any) -> dict[str, Any]:
    states = module.get_initial_state()
    rows = {"obs": batch}
    if states:
        rows = {"obs": batch.unsqueeze(1), "state_in": _repeated(states, len(batch))}
    found = module.eval().forward_inference(rows)
    outputs = {name: found[name] for name in ("action_dist_inputs",) if name in found}
    made = {name: value.reshape(len(batch), -1) for name, value in outputs.items()}
    if hasattr(module, "compute_q_values"):
        made["q_values"] = module.compute_q_values(rows)["qf_preds"]
    if hasattr(module, "compute_values"):
        made["vf_preds"] = module.compute_values(rows).reshape(-1)
    return made


def _repeated(states: Any, times: int) -> Any:
    import torch

    if isinstance(states, dict):  # an actor's and a critic's
        return {name: _repeated(state, times) for name, state in states.items()}
    return torch.as_tensor(states).unsqueeze(0).repeat(times, *[1] * states.ndim)
