"""Many conversions at a time: in processes of this machine, or on a Ray cluster.

One that fails does not stop the others; why it failed is gathered. After an interrupt, those that
run are finished, so that nothing is left half-done, and no other one is begun.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tune_ckpt.cli import cluster, failing, interrupts
from tune_ckpt.convert import convert_checkpoint
from tune_ckpt.errors import TuneCkptError
from tune_ckpt.sweep.opening import open_sweep
from tune_ckpt.sweep.paths import below
from tune_ckpt.tree.progress import steps_bar
from tune_ckpt.tree.storage.store import address_of


@dataclass(frozen=True)
class Conversion:
    """One checkpoint to be converted.

    Attributes:
        src: Its path.
        dst: The new one's; None for in place.
        options: As for `convert_checkpoint`.
    """

    src: str
    dst: str | None
    options: dict[str, Any] = field(default_factory=dict)

    def run_or_raise(self) -> Outcome:
        """Do it."""
        made = convert_checkpoint(self.src, self.dst, **self.options)
        lost = getattr(made, "not_carried", ())
        return Outcome(self.src, str(made), None, tuple(map(str, lost)))

    def run(self) -> Outcome:
        """Do it; an error is the outcome as well."""
        try:
            return self.run_or_raise()
        except (TuneCkptError, OSError) as error:
            return self.failed(error)

    def failed(self, error: Exception) -> Outcome:
        """Return the outcome that an error is."""
        return Outcome(self.src, None, failing.at_the_prompt(str(error)))


@dataclass(frozen=True)
class Outcome:
    """What became of a conversion.

    Attributes:
        src: The old checkpoint.
        dst: The new one; None where it failed.
        error: Why it failed.
        not_carried: What msgpack could not hold.
    """

    src: str
    dst: str | None
    error: str | None
    not_carried: tuple[str, ...] = ()


def conversions(experiment: str, dst: str | None, options: dict[str, Any]) -> list[Conversion]:
    """Return the conversions of all checkpoints of a sweep; none where it is no sweep.

    Args:
        experiment: The sweep's folder.
        dst: Where the new ones shall be, each in its trial's folder; None for in place.
        options: As for `convert_checkpoint`.
    """
    sweep = open_sweep(experiment)
    base = dst and address_of(dst)  # a cluster's workers are in other folders
    places = [(trial.name, name) for trial in sweep.look() for name in sorted(trial.checkpoints)]
    return [
        Conversion(sweep.path(*place), base and below(base, *place), options) for place in places
    ]


def run_all(
    batch: Sequence[Conversion], *, jobs: int | None, address: str | None, progress: bool
) -> list[Outcome]:
    """Run conversions, and return what became of each, in order.

    Args:
        batch: The conversions.
        jobs: How many at a time; by default as many as there are processors.
        address: A Ray cluster's address; None for this machine.
        progress: Show a progress bar on stderr.
    """
    done = _on_ray(batch, address) if address else _in_processes(batch, jobs)
    outcomes: dict[int, Outcome] = {}
    with steps_bar(f"Converting {len(batch)} checkpoints", len(batch), shown=progress) as advance:
        for number, outcome in done:
            outcomes[number] = outcome
            advance(1)
    return [outcomes[number] for number in range(len(batch))]


def _in_processes(batch: Sequence[Conversion], jobs: int | None) -> Iterator[tuple[int, Outcome]]:
    workers = min(jobs or os.cpu_count() or 1, len(batch))
    if workers == 1:
        yield from ((number, each.run()) for number, each in enumerate(batch))
        return
    spawned = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, spawned)
    try:
        with interrupts.left_to_this_process():
            futures = {pool.submit(each.run): number for number, each in enumerate(batch)}
        for future in as_completed(futures):
            number = futures[future]
            try:
                yield number, future.result()
            except BrokenProcessPool as error:  # one was killed, and all that wait go with it
                yield number, batch[number].failed(error)
    finally:
        pool.shutdown(cancel_futures=True)


def _on_ray(batch: Sequence[Conversion], address: str) -> Iterator[tuple[int, Outcome]]:
    cluster.check_installed("tune-ckpt convert --address")
    import ray

    cluster.connect(address)
    remote = ray.remote(Conversion.run)
    rest = iter(enumerate(batch))
    begun: dict[ray.ObjectRef[Outcome], int] = {}
    try:
        while True:
            for number, each in islice(rest, max(0, _room() - len(begun))):
                begun[remote.remote(each)] = number
            if not begun:
                return
            (ref,), _ = ray.wait([*begun])
            number = begun.pop(ref)
            try:
                yield number, ray.get(ref)
            except ray.exceptions.RayError as error:  # its node is lost, or cannot import this
                yield number, batch[number].failed(error)
    finally:
        # ray.cancel would interrupt them anywhere, in the midst of cleaning up as well.
        if begun:
            ray.wait([*begun], num_returns=len(begun))


def _room() -> int:
    """Return how many conversions are begun at a time: one in two waits for a processor."""
    import ray

    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's is not typed
    return 2 * max(1, int(resources.get("CPU", 0)))
