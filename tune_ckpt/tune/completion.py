"""The end of a sweep: what is still missing, and the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tune_ckpt.sweep.metrics import Metric
from tune_ckpt.tree.storage.store import open_store
from tune_ckpt.tune.beside import convert_all, convert_best, convert_last
from tune_ckpt.tune.jobs import tidy
from tune_ckpt.tune.outcomes import Outcome, Summary, report_json
from tune_ckpt.tune.pinning import pin_best
from tune_ckpt.tune.private import experiment_folder, local_or, trial_folder
from tune_ckpt.tune.resuming.source import Source

REPORT = "tune_ckpt_report.json"
PIN = "best"  # the key of jobs that pin: one after the other, whichever trial they come from
_TIDY = "tidy"


def missing_jobs(
    trials: Sequence[Any], convert: str, metric: Metric | None, pin: bool
) -> Iterator[tuple[Any, ...]]:
    """Yield what a killed driver, a deleted or rewritten checkpoint may have left undone.

    Yields:
        Key, job and arguments of each. The jobs look into storage, and do what is not done.
    """
    experiment, filesystem = experiment_folder(trials[0])
    if convert == "best":
        yield PIN, convert_best, experiment, metric, filesystem
    if pin:
        yield PIN, pin_best, experiment, metric, convert != "never", filesystem
    for trial in trials:
        if convert in ("all", "at end"):
            yield trial.trial_id, convert_all, *trial_folder(trial)
        elif convert == "last" and trial.checkpoint:
            yield trial.trial_id, convert_last, last_of(trial)
    if filesystem is None:
        yield _TIDY, tidy, [trial_folder(trial)[0] for trial in trials]


def last_of(trial: Any) -> Source:
    """Return a trial's last checkpoint."""
    return Source(trial.checkpoint.path, local_or(trial.checkpoint.filesystem))


def report(trial: Any, outcomes: Sequence[Outcome]) -> None:
    """Print the summary, and write the report into the sweep's folder.

    Raises:
        StorageError: The storage refuses; the summary is printed by then.
    """
    print(Summary.of(outcomes))
    folder, filesystem = experiment_folder(trial)
    open_store(folder, filesystem).write_bytes(REPORT, report_json(outcomes))
    print(f"  each of them in {folder}/{REPORT}")
