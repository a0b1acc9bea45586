"""Whether every worker and learner of an Algorithm holds the same weights, by their digests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tune_ckpt.errors import Fault

Digests = dict[str, dict[str, str]]  # by module, and by the weights' names
Answer = tuple[int, Digests]  # after the worker's number


def differing_workers(algorithm: Any, weights: Mapping[str, Mapping[str, Any]]) -> list[Fault]:
    """Return which workers and learners hold other weights than these, and where.

    Args:
        algorithm: An Algorithm of either API stack.
        weights: By policy or module, the weights by their names.
    """
    ask = _asking([*weights])
    _, expected = ask({name: _arrays(arrays) for name, arrays in weights.items()})
    faults = []
    for place, found in _held(algorithm, ask):
        for name in expected:
            faults += _differences(f"{place}/{name}", found.get(name, {}), expected[name])
    return faults


def _arrays(weights: Mapping[str, Any]) -> dict[str, Any]:
    return {name: np.asarray(value) for name, value in weights.items()}


def _differences(place: str, found: dict[str, str], expected: dict[str, str]) -> list[Fault]:
    if not found:
        return [Fault(place, "it does not answer, or has no weights")]
    wrong = [key for key, digest in found.items() if expected.get(key, digest) != digest]
    return [Fault(place, f"other weights than restored: {', '.join(wrong)}")] if wrong else []


def _held(algorithm: Any, ask: Callable[[Any], Answer]) -> Iterator[tuple[str, Digests]]:
    groups = {"env_runner": algorithm.env_runner_group, "eval": algorithm.eval_env_runner_group}
    for kind, group in groups.items():
        if group is not None:
            # RLlib passes over those that have died, so they are counted here.
            held: dict[int, Digests] = {n + 1: {} for n in range(group.num_remote_workers())}
            held |= dict(group.foreach_env_runner(ask))
            for number, found in held.items():
                yield f"{kind} {number}", found
    if algorithm.config.enable_env_runner_and_connector_v2:
        for number, result in enumerate(algorithm.learner_group.foreach_learner(ask)):
            yield f"learner {number}", result.get()[1]


def _asking(names: list[str]) -> Callable[[Any], Answer]:
    # A function within a function is sent with its code: workers' nodes need not have this package.
    def digests(holder: Any) -> Answer:
        """Return the digests of the weights that a runner or learner holds."""
        import hashlib

        import numpy as np

        def digest(value: Any) -> str:
            """Return the digest of one array's bytes."""
            array = value.detach().cpu().numpy() if hasattr(value, "detach") else value
            # RLlib's states have arrays of no dimensions as numbers.
            array = np.float32(array) if type(array) is float else array
            return hashlib.blake2b(np.ascontiguousarray(array).tobytes()).hexdigest()

        def weights() -> Any:
            """Return the weights, whatever the holder is."""
            if isinstance(holder, dict):
                return holder
            if hasattr(holder, "policy_map"):  # a worker of the old API stack
                return holder.get_weights(names)
            module = holder.module  # a runner that acts for one module has it without its id
            parts = module if hasattr(module, "keys") else dict.fromkeys(names, module)
            # Runners are not sent what only learners need, such as value functions.
            part = {"inference_only": not hasattr(holder, "compute_gradients")}
            present = [name for name in names if name in parts]
            return {name: parts[name].get_state(**part) for name in present}

        held = weights()
        found = {
            name: {key: digest(value) for key, value in held[name].items()}
            for name in names
            if held.get(name)
        }
        return getattr(holder, "worker_index", 0), found

    return digests
