"""The end of a sweep: what is still missing, and the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from threading import Thread
from typing import Any

from tune_ckpt.errors import StorageError
from tune_ckpt.tree.storage.store import open_store
from tune_ckpt.tune.beside import convert_all, convert_best, convert_last
from tune_ckpt.tune.jobs import tidy
from tune_ckpt.tune.options import CheckpointOptions
from tune_ckpt.tune.outcomes import REPORT, Outcome, Summary, report_json
from tune_ckpt.tune.pinning import pin_best
from tune_ckpt.tune.private import experiment_folder, own_latest_path, trial_folder
from tune_ckpt.tune.source import Source

PIN = "best"  # the key of jobs that pin: one after the other, whichever trial they come from
_TIDY = "tidy"


def missing_jobs(trials: Sequence[Any], options: CheckpointOptions) -> Iterator[tuple[Any, ...]]:
    """Yield what a killed driver, a deleted or rewritten checkpoint may have left undone.

    Yields:
        Key, job and arguments of each. The jobs look into storage, and do what is not done.
    """
    experiment, filesystem = experiment_folder(trials[0])
    convert, metric = options.convert, options.ranked_by
    if convert == "best":
        yield PIN, convert_best, experiment, metric, filesystem
    if options.pin_best:
        yield PIN, pin_best, experiment, metric, convert != "never", filesystem
    for trial in trials:
        if convert in ("all", "at end"):
            yield trial.trial_id, convert_all, *trial_folder(trial)
        elif convert == "last":
            yield from last_jobs(trial)
    if filesystem is None:
        yield _TIDY, tidy, [trial_folder(trial)[0] for trial in trials], options.owner


def last_jobs(trial: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the job that converts a trial's last checkpoint, if it has one.

    One that it took over from another trial, as in PBT, is that one's.
    """
    path = own_latest_path(trial)
    if path is not None:
        yield trial.trial_id, convert_last, Source(path, trial_folder(trial)[1])


def report(trial: Any, outcomes: Sequence[Outcome], timeout_secs: float) -> None:
    """Print the summary, and write the report into the sweep's folder.

    Args:
        trial: One of the sweep's.
        outcomes: What became of its checkpoints.
        timeout_secs: How long to wait for the storage.

    Raises:
        StorageError: The storage refuses, or does not answer; the summary is printed by then.
    """
    print(Summary.of(outcomes))
    folder, filesystem = experiment_folder(trial)
    path, data = f"{folder}/{REPORT}", report_json(outcomes)
    written = _in_thread(lambda: open_store(folder, filesystem).write_bytes(REPORT, data))
    try:
        written.result(timeout_secs)
    except NotYet:
        raise StorageError(path, "write", f"no answer for {timeout_secs:g} s") from None
    print(f"  each of them in {path}")


def _in_thread(call: Callable[[], None]) -> Future[None]:
    """Make a call that holds up nobody where it hangs, not even the end of the process."""
    result: Future[None] = Future()

    def work() -> None:
        """Make the call, and keep what comes of it."""
        try:
            call()
            result.set_result(None)
        except BaseException as error:  # noqa: BLE001  # it is raised where the result is taken
            result.set_exception(error)

    Thread(target=work, name="tune_ckpt", daemon=True).start()
    return result
