"""What the workers of a Train run tell each other: small values by topic, posted and collected.

Ray Train itself can only broadcast from rank 0.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable
from typing import Any

import ray
from ray.train.collective import broadcast_from_rank_zero
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

Topic = tuple[int, str]  # which report, and what about
_KEPT = 8  # how many reports back a topic may still be asked for


class Notes:
    """What was posted, until it is too old for anybody to ask for; run as an actor."""

    def __init__(self) -> None:
        self._values: dict[Topic, dict[int, Any]] = {}
        self._news = asyncio.Condition()

    async def post(self, topic: Topic, rank: int, value: Any) -> None:
        """Keep a worker's value."""
        async with self._news:
            self._values.setdefault(topic, {})[rank] = value
            for old in [old for old in self._values if old[0] < topic[0] - _KEPT]:
                del self._values[old]
            self._news.notify_all()

    async def collect(self, topic: Topic, ranks: list[int]) -> dict[int, Any]:
        """Return the workers' values, once all of them are there."""
        async with self._news:
            await self._news.wait_for(lambda: {*ranks} <= self._values.get(topic, {}).keys())
            return {rank: self._values[topic][rank] for rank in ranks}


class Board:
    """One worker's view of what all of them post.

    All workers make theirs at the same time. A worker that is alone needs no actor.

    Args:
        rank: The worker's rank.
        size: How many workers there are.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.rank = rank
        self.ranks = range(size)
        self._alone: dict[Topic, Any] | None = {} if size == 1 else None
        if size > 1:
            self._notes = self._open()

    def _open(self) -> Any:
        name = f"tune_ckpt-{uuid.uuid4().hex}"
        if self.rank == 0:
            # Here, not where another worker's end may take it along.
            here = NodeAffinitySchedulingStrategy(
                ray.get_runtime_context().get_node_id(), soft=False
            )
            actor: Any = ray.remote(num_cpus=0)(Notes)
            notes = actor.options(name=name, scheduling_strategy=here).remote()
            ray.get(notes.__ray_ready__.remote())
            broadcast_from_rank_zero(name)
            return notes  # it lives as long as this handle
        return ray.get_actor(broadcast_from_rank_zero(name))

    def post(self, topic: Topic, value: Any) -> None:
        """Leave a value for the others."""
        if self._alone is not None:
            self._alone = {topic: value}
        else:
            ray.get(self._notes.post.remote(topic, self.rank, value))

    def collect(self, topic: Topic, ranks: Iterable[int]) -> dict[int, Any]:
        """Return what workers have posted, by rank; wait for those that have not."""
        if self._alone is not None:
            return dict.fromkeys(ranks, self._alone.get(topic))
        found: dict[int, Any] = ray.get(self._notes.collect.remote(topic, sorted(ranks)))
        return found
