"""What becomes of a Train run's checkpoints after they were reported; runs as a Ray actor.

The actor asks for no CPU, and belongs to nobody: when a run ends, its controller is gone at once,
and what is left to do is still done. It ends by itself when it has had nothing to do for a while.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import ray

from tune_ckpt.errors import TuneCkptError
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.store import open_store
from tune_ckpt.tree.verify import verify
from tune_ckpt.tune.beside import FOLDER, Outcome, convert_one, split

REPORT = "tune_ckpt_report.json"
_IDLE_SECS = 600.0
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What is to be done with one checkpoint.

    Attributes:
        checkpoint: Its path.
        filesystem: The pyarrow filesystem it lies on; None for the local disk.
        metrics: What was reported with it.
        convert: Whether to convert it.
        keep: Which conversions stay: ``"this"`` one alone, or those whose original ``"exists"``.
        verify: Whether to verify it.
        source: Its snapshot, to be read instead; it is deleted afterwards.
    """

    checkpoint: str
    filesystem: Any
    metrics: dict[str, Any]
    convert: bool
    keep: str
    verify: bool
    source: str | None = None


class Converter:
    """Does one job after the other in a thread of its own, and notes what came of each."""

    def __init__(self) -> None:
        self._outcomes: list[Outcome] = []
        self._jobs: queue.Queue[Job] = queue.Queue()
        me = ray.get_runtime_context().current_actor
        threading.Thread(target=self._work, args=[me], daemon=True).start()

    def take(self, job: Job) -> None:
        """Queue a job."""
        self._jobs.put(job)

    def outcomes(self) -> list[Outcome]:
        """Wait until all jobs are done, and return what came of them."""
        self._jobs.join()
        return self._outcomes

    def _work(self, me: Any) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_IDLE_SECS)
            except queue.Empty:
                me.__ray_terminate__.remote()
                return
            self._do(job)
            self._jobs.task_done()

    def _do(self, job: Job) -> None:
        start = time.monotonic()
        try:
            self._outcomes += _done(job)
            self._report(job)
        except Exception as error:
            logger.exception("tune_ckpt: %s", job.checkpoint)
            seconds = time.monotonic() - start
            self._outcomes.append(Outcome(job.checkpoint, "failed", repr(error), seconds))

    def _report(self, job: Job) -> None:
        report = json.dumps([asdict(outcome) for outcome in self._outcomes], indent=2)
        run = open_store(split(job.checkpoint)[0], job.filesystem)
        run.write_bytes(REPORT, report.encode())


def start_converter(name: str) -> Any:
    """Return the actor of that name; it is started where there is none."""
    options = {"name": name, "lifetime": "detached", "get_if_exists": True, "max_concurrency": 8}
    actor: Any = ray.remote(num_cpus=0)(Converter)
    return actor.options(**options).remote()


def _done(job: Job) -> list[Outcome]:
    outcomes = [*_verified(job)] if job.verify else []
    if job.convert:
        converted = convert_one(job.checkpoint, job.filesystem, job.source)
        outcomes += converted
        if converted[0].status == "converted":
            _annotate(job)
        _drop_others(job)
    return outcomes


def _verified(job: Job) -> Iterable[Outcome]:
    start = time.monotonic()
    try:
        report = verify(job.source or job.checkpoint, filesystem=job.filesystem)
        faults = "; ".join(map(str, report.faults))
    except TuneCkptError as error:
        faults = str(error)
    if faults:
        yield Outcome(job.checkpoint, "failed", f"damaged: {faults}", time.monotonic() - start)


def _annotate(job: Job) -> None:
    """Write the metrics into a conversion's metadata, where the original had none."""
    run, name = split(job.checkpoint)
    store = open_store(f"{run}/{FOLDER}/{name}", job.filesystem)
    opened = open_tree(store)
    if "metrics" not in opened.metadata.extra:
        opened.metadata.extra["metrics"] = job.metrics
        store.write_bytes(opened.metadata_file, opened.metadata.to_json())


def _drop_others(job: Job) -> None:
    run, name = split(job.checkpoint)
    store = open_store(run, job.filesystem)
    kept = {name} if job.keep == "this" else {entry.name for entry in store.list()}
    folder = store.child(FOLDER)
    for entry in folder.list():
        if entry.is_dir and entry.name.startswith("checkpoint_") and entry.name not in kept:
            folder.delete(entry.name)
