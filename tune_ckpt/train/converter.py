"""What becomes of a Train run's checkpoints after they were reported; runs as a Ray actor.

The actor asks for no CPU, and belongs to nobody: when a run ends, its controller is gone at once,
and what is left to do is still done. It ends by itself when it has had nothing to do for a while.
"""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass, replace
from typing import Any

import ray

from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.store import open_store
from tune_ckpt.trial_folder import CONVERTED
from tune_ckpt.tune.beside import convert_one, keep_only
from tune_ckpt.tune.jobs import verify_one
from tune_ckpt.tune.outcomes import Outcome, failed, report_json
from tune_ckpt.tune.source import Source

REPORT = "tune_ckpt_report.json"
_IDLE_SECS = 600.0
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What is to be done with one checkpoint.

    Attributes:
        source: The checkpoint.
        metrics: What was reported with it.
        convert: Whether to convert it.
        keep: Which conversions stay: ``"this"`` one alone, or those whose original ``"exists"``.
        verify: Whether to verify it.
    """

    source: Source
    metrics: dict[str, Any]
    convert: bool
    keep: str
    verify: bool


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
        try:
            self._outcomes += _done(job)
            run = open_store(job.source.trial, job.source.filesystem)
            run.write_bytes(REPORT, report_json(self._outcomes))
        except Exception as error:
            logger.exception("tune_ckpt: %s", job.source.path)
            self._outcomes.append(failed(job.source.path, "hook", error))


def start_converter(name: str) -> Any:
    """Return the actor of that name; it is started where there is none."""
    options = {"name": name, "lifetime": "detached", "get_if_exists": True, "max_concurrency": 8}
    actor: Any = ray.remote(num_cpus=0)(Converter)
    return actor.options(**options).remote()


def _done(job: Job) -> list[Outcome]:
    outcomes = verify_one(replace(job.source, snapshot=None)) if job.verify else []
    if not job.convert:
        return outcomes
    (converted,) = convert_one(job.source)
    if converted.status == "done":
        _annotate(job)
    run = open_store(job.source.trial, job.source.filesystem)
    kept = {job.source.name} if job.keep == "this" else {entry.name for entry in run.list()}
    keep_only(run, kept)
    return [*outcomes, converted]


def _annotate(job: Job) -> None:
    """Write the metrics into a conversion's metadata, where the original had none."""
    run = open_store(job.source.trial, job.source.filesystem)
    store = run.child(CONVERTED).child(job.source.name)
    opened = open_tree(store)
    if "metrics" not in opened.metadata.extra:
        opened.metadata.extra["metrics"] = job.metrics
        store.write_bytes(opened.metadata_file, opened.metadata.to_json())
