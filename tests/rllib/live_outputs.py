"""What live models of RLlib's make of a case's observations."""

import numpy as np


def furthest(case, models):
    """Return how far outputs are from what the case's own Ray made; None: nothing is stored."""
    try:
        expected = case.outputs
    except FileNotFoundError:
        return None
    by_model = {}
    for key in expected.files:
        name, _, output = key.partition("/")
        by_model.setdefault(name, {})[output] = expected[key]
    furthest = 0.0
    for name, wanted in by_model.items():
        model = models.get(name) or next(iter(models.values()))
        made = outputs_of(model, case.observations, wanted)
        for output, values in wanted.items():
            furthest = max(furthest, float(np.abs(made[output] - values).max()))
    return furthest


def outputs_of(model, observations, wanted):
    """Return what a model makes of observations, by the names that are wanted."""
    import torch

    with torch.no_grad():
        made = (
            _of_policy(model, observations)
            if hasattr(model, "model")
            else _of_module(model, observations, wanted)
        )
    return {name: np.asarray(value) for name, value in made.items()}


def _of_policy(policy, observations):
    import torch
    from ray.rllib.policy.sample_batch import SampleBatch

    observed = torch.from_numpy(observations)
    states = [
        torch.zeros(len(observed), *state.shape) for state in policy.model.get_initial_state()
    ]
    lengths = torch.ones(len(observed), dtype=torch.int32)
    batch = SampleBatch({"obs": observed, "obs_flat": observed})
    if states:
        out, after = policy.model(batch, states, lengths)
    else:
        out, after = policy.model({"obs": observed, "obs_flat": observed.float()})
    made = {"logits": out, "model_out": out}
    made |= {f"state_out_{number}": state for number, state in enumerate(after)}
    if hasattr(policy.model, "get_q_value_distributions"):
        made["q_values"] = _q_values(policy, observed)
        return made
    return made | {"vf": policy.model.value_function()}


def _q_values(policy, observed):
    from ray.rllib.algorithms.dqn.dqn_torch_policy import compute_q_values

    batch = {"obs": observed, "obs_flat": observed.float()}
    return compute_q_values(policy, policy.model, batch, explore=False)[0]


def _of_module(module, observations, wanted):
    import torch

    observed = {"obs": torch.from_numpy(observations)}
    ways = {"inference/": module.forward_inference, "": module.forward_inference}
    ways["train_"] = module.forward_train
    made = {}
    for prefix, forward in ways.items():
        if any(key.startswith(prefix) and "vf" not in key for key in wanted):
            made |= {prefix + key: value for key, value in forward(dict(observed)).items()}
    if "vf_preds" in wanted or "train_vf_preds" in wanted:
        made["vf_preds"] = made["train_vf_preds"] = module.compute_values(dict(observed))
    if "q_values" in wanted:
        made["q_values"] = module.compute_q_values(dict(observed))["qf_preds"]
    return {key: made[key] for key in wanted}
