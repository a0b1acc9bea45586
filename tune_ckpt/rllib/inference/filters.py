"""RLlib's filters of observations: their running means and deviations, wherever they are kept."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_ckpt.errors import CorruptDataError
from tune_ckpt.rllib.converting.portable import Carrying, filter_fields, with_newest_statistics
from tune_ckpt.rllib.reading.connectors import (
    env_to_module_pipeline,
    is_own,
    stored_connectors,
)
from tune_ckpt.rllib.reading.finding import Part
from tune_ckpt.rllib.reading.generations import ALGORITHM
from tune_ckpt.rllib.reading.member_kinds import Member, Policy
from tune_ckpt.rllib.reading.plain import fields, last_name
from tune_ckpt.rllib.reading.spaces import decoded_array
from tune_ckpt.rllib.reading.state_files import read_nested

_SMALL = 1e-6  # RLlib's, so that nothing is divided by zero


@dataclass(frozen=True)
class Filter:
    """What a filter does: subtract the mean, divide by the deviation, clip.

    Attributes:
        mean: By element of an observation; zero where it is not subtracted.
        std: Likewise; one where it is not divided by.
        clip: The largest result, of either sign; None where it is not clipped.
    """

    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    clip: float | None = None

    @classmethod
    def of(cls, state: dict[str, Any]) -> Filter | None:
        """Return what a filter's state tells; None where it is for a composite observation."""
        (stats, *more) = _leaves(state.get("running_stats"))
        if more or not isinstance(stats, dict):
            return None
        n, mean = int(stats["num_pushes"]), _array(stats["mean_array"])
        squares = _array(stats["sum_sq_diff_array"])
        std = np.sqrt(squares / (n - 1) if n > 1 else np.square(mean)) + _SMALL
        demean = state.get("demean", state.get("de_mean_to_zero", True))
        destd = state.get("destd", state.get("de_std_to_one", True))
        clip = state.get("clip", state.get("clip_by_value"))
        return cls(
            mean if demean else np.zeros_like(mean),
            std if destd else np.ones_like(std),
            None if clip is None else float(clip),
        )


def _leaves(value: Any) -> list[Any]:
    return [*value] if isinstance(value, list | tuple) else [value]


def _array(value: Any) -> npt.NDArray[np.float64]:
    return np.asarray(decoded_array(value), np.float64)


def find_filter(part: Part, member: Member, name: str) -> tuple[Filter | None, list[str]]:
    """Return the filter of a policy or module, and what else stands between it and observations.

    Args:
        part: The checkpoint, as it was given.
        member: The policy or module.
        name: Its id.

    Returns:
        The filter, if there is one; and what a network without Ray does not do.
    """
    is_policy = isinstance(member, Policy)
    found = [*(_of_policy(part, member, name) if is_policy else _of_module(part, name))]
    filters = [one for one in found if isinstance(one, Filter)]
    absent = [one for one in found if isinstance(one, str)]
    return (filters[0] if filters else None), absent


# ------------------------------------------------------------------------------ the old API stack

_OLD_FILTER = "MeanStdObservationFilterAgentConnector"
_OLD_CONNECTORS = {
    *("ObsPreprocessorConnector", "StateBufferConnector", "ViewRequirementAgentConnector"),
    *("ClipRewardAgentConnector", "FlattenDataAgentConnector", _OLD_FILTER),
}


def _of_policy(part: Part, policy: Any, name: str) -> Iterator[Filter | str]:
    state = policy.state if isinstance(policy.state, dict) else {}
    connectors = (fields(state.get("connector_configs")) or {}).get("agent")
    found = False
    for kind, told in connectors[1] if connectors else ():
        if kind == _OLD_FILTER:
            found = True
            yield _made(Carrying(part.path).state(told), part.path)
        elif kind not in _OLD_CONNECTORS:
            yield f"the connector {kind}"
    if not found and part.type == ALGORITHM:
        yield from _of_worker(part, name)


def _of_worker(part: Part, name: str) -> Iterator[Filter | str]:
    worker = read_nested((fields(part.state) or {}).get("worker"), part.state_path)
    filters = fields((fields(worker) or {}).get("filters")) or {}
    stored = filter_fields(filters.get(name))
    if stored:
        stats = fields(stored.get("running_stats"))
        told = Carrying(part.path).state({**stored, "running_stats": stats, "buffer": None})
        yield _made(told, part.path)


def _made(state: Any, path: str) -> Filter | str:
    try:
        return Filter.of(state) or "the filter of a composite observation"
    except _MALFORMED as error:
        raise CorruptDataError(path, f"it holds a malformed filter ({error!r})") from error


_MALFORMED = (AttributeError, KeyError, TypeError, ValueError, zlib.error, EOFError)


# ------------------------------------------------------------------------------ the new API stack


def _of_module(part: Part, name: str) -> Iterator[Filter | str]:
    pipeline = env_to_module_pipeline(part)
    stored = {} if pipeline is None else pipeline.children("ConnectorV2")
    for cls, _, _ in stored_connectors(part):
        short = last_name(cls)
        if short != _NEW_FILTER:
            if not is_own(cls):
                yield f"the connector {cls}"
        elif short in stored:
            yield from _of_agents(fields(stored[short].state) or {}, name, part.path)


_NEW_FILTER = "MeanStdFilter"


def _of_agents(states: dict[Any, Any], name: str, path: str) -> Iterator[Filter | str]:
    # The filter is by agent; which agent a module acts for, only a function knows.
    state = states.get(name) or (next(iter(states.values())) if len(states) == 1 else None)
    if state is None:
        agents = ", ".join(map(str, states))
        yield f"the filters of the agents {agents}, of which nothing tells which one is meant"
    else:
        yield _made(with_newest_statistics(state), path)
