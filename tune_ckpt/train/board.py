"""What the workers of a Train run tell each other: small values by topic, posted and collected.

Ray Train itself can only broadcast from rank 0, and waits for ever for a worker that does not come.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tune_ckpt.errors import WorkerMissingError
from tune_ckpt.tune.private import worker_group

Topic = tuple[int, str]  # which report, and what about
_KEPT = 8  # how many reports back a topic may still be asked for
_WARN_SECS = 60.0  # as Ray Train warns of its own barriers
_LOOK_SECS = 0.1
logger = logging.getLogger(__name__)


class Posted:
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

    async def collect(self, topic: Topic, ranks: list[int], secs: float) -> dict[int, Any]:
        """Return the workers' values, once all of them are there; by then those that are."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._all_there(topic, ranks), secs)
        values = self._values.get(topic, {})
        return {rank: values[rank] for rank in ranks if rank in values}

    async def _all_there(self, topic: Topic, ranks: list[int]) -> None:
        async with self._news:
            await self._news.wait_for(lambda: {*ranks} <= self._values.get(topic, {}).keys())


class Patience:
    """Warns of workers that do not come, and gives them up in the end.

    Args:
        timeout_secs: How long to wait for them.
    """

    def __init__(self, timeout_secs: float) -> None:
        self._timeout_secs = timeout_secs
        self._start = self._warned = time.monotonic()

    def lack(self, ranks: list[int]) -> None:
        """Take note that workers are not there yet.

        Raises:
            WorkerMissingError: The time is up.
        """
        now = time.monotonic()
        error = WorkerMissingError(ranks, now - self._start)
        if now - self._start >= self._timeout_secs:
            raise error
        if now - self._warned >= _WARN_SECS:
            self._warned = now
            logger.warning("tune_ckpt: %s", error)


class Board:
    """One worker's view of what all of them post. A worker that is alone needs no actor.

    Args:
        rank: The worker's rank.
        size: How many workers there are.

    Attributes:
        timeout_secs: How long to wait for the others.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.rank = rank
        self.ranks = range(size)
        self.timeout_secs = math.inf
        self._alone: dict[Topic, Any] | None = {} if size == 1 else None

    @cached_property
    def _posted(self) -> Any:
        name = f"tune_ckpt-{worker_group()}"
        if self.rank != 0:
            return self._found(name)
        # Here, not where another worker's end may take it along; it lives as long as this handle.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor: Any = ray.remote(num_cpus=0)(Posted)
        return actor.options(name=name, scheduling_strategy=here).remote()

    def _found(self, name: str) -> Any:
        patience = Patience(self.timeout_secs)
        while True:
            try:
                return ray.get_actor(name)
            except ValueError:
                patience.lack([0])
                time.sleep(_LOOK_SECS)

    def post(self, topic: Topic, value: Any) -> None:
        """Leave a value for the others."""
        if self._alone is not None:
            self._alone = {topic: value}
        else:
            ray.get(self._posted.post.remote(topic, self.rank, value))

    def collect(self, topic: Topic, ranks: Iterable[int]) -> dict[int, Any]:
        """Return what workers have posted, by rank; wait for those that have not.

        Raises:
            WorkerMissingError: Some have not for ``timeout_secs``.
        """
        if self._alone is not None:
            return dict.fromkeys(ranks, self._alone.get(topic))
        asked, secs = sorted(ranks), min(_WARN_SECS, self.timeout_secs)
        patience = Patience(self.timeout_secs)
        while True:
            found: dict[int, Any] = ray.get(self._posted.collect.remote(topic, asked, secs))
            missing = [rank for rank in asked if rank not in found]
            if not missing:
                return found
            patience.lack(missing)

    def meet(self, number: int) -> None:
        """Wait until all workers have come to a report.

        Raises:
            WorkerMissingError: Some have not for ``timeout_secs``.
        """
        self.post((number, "here"), None)
        self.collect((number, "here"), self.ranks)
