"""What becomes of each trial of a sweep that is resumed: where it goes on, and why there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ray.tune.utils import flatten_dict

from tune_ckpt.errors import listed
from tune_ckpt.sweep.metrics import number
from tune_ckpt.tune import private
from tune_ckpt.tune.resuming.past import Metrics, PastTrial
from tune_ckpt.tune.resuming.soundness import Soundness
from tune_ckpt.tune.statuses import ERROR, PENDING, TERMINATED


@dataclass(frozen=True)
class Continuation:
    """What becomes of one trial.

    Attributes:
        trial_id: The trial.
        status: ``"finished"``, ``"errored"`` (and left so), ``"lost"`` (nothing tells its config,
            so it stays as it is), ``"continues"`` or ``"starts"``.
        checkpoint: The path of the checkpoint from which it goes on.
        iteration: The iteration of that checkpoint.
        detail: Why there, where that is not plain.
    """

    trial_id: str
    status: str
    checkpoint: str | None = None
    iteration: int | None = None
    detail: str = ""

    def __str__(self) -> str:
        where = f" after iteration {self.iteration} ({self.checkpoint})" if self.checkpoint else ""
        where = " from the start" if self.status == "starts" else where
        return f"trial {self.trial_id} {_VERBS[self.status]}{where}" + (
            f": {self.detail}" if self.detail else ""
        )


_VERBS = {
    "finished": "has finished",
    "errored": "has failed, and is left so",
    "lost": "stays as it is",
    "continues": "goes on",
    "starts": "begins",
}


@dataclass(frozen=True)
class Revival:
    """What the caller wants of the trials that have ended.

    Attributes:
        extend: Values of metrics up to which trials go on that ended by their stop criterion.
        resume_errored: Whether failed trials go on.
    """

    extend: Mapping[str, float] | None = None
    resume_errored: bool = False


def continue_trial(
    trial: Any, past: PastTrial, sound: Soundness, revival: Revival, *, newest: bool
) -> Continuation:
    """Make a trial go on from its newest valid checkpoint, if it is to go on at all.

    Args:
        trial: Ray's Trial, which is changed.
        past: Its folder.
        sound: Verifies checkpoints.
        revival: What shall become of trials that have ended.
        newest: Whether checkpoints count that are newer than what Tune noted last; not where the
            scheduler's state is of that moment.
    """
    private.write_next_at(trial, past.highest_index() + 1)
    passed_over: dict[str, list[str]] = {}
    found = next(_usable(trial, past, sound, passed_over, newest=newest), None)
    notes = [_told(names, reason) for reason, names in passed_over.items()]
    private.forget(trial, sound.moved)
    if newest and trial.status not in _ENDED:
        _note_its_end(trial, past, found)
    has_criterion = bool(trial.stopping_criterion)
    if not _goes_on(trial, revival):
        if trial.status == TERMINATED and revival.extend and not has_criterion:
            notes.append("nothing tells that it ended by a stop criterion, so it is not extended")
        private.set_latest(trial, found, trial.storage.storage_filesystem)
        return Continuation(trial.trial_id, _ENDED[trial.status], detail="; ".join(notes))
    trial.set_status(PENDING)
    if found is None:
        private.start_over(trial)
        detail = "; ".join(notes) or "it has no checkpoint"
        return Continuation(trial.trial_id, "starts", detail=detail)
    path, metrics = found
    private.go_on_from(trial, path, metrics, trial.storage.storage_filesystem)
    iteration = metrics.get("training_iteration")
    return Continuation(trial.trial_id, "continues", path, iteration, "; ".join(notes))


_ENDED = {TERMINATED: "finished", ERROR: "errored"}


def _goes_on(trial: Any, revival: Revival) -> bool:
    met_its_criterion = _meets(trial.stopping_criterion, trial.last_result)
    trial.stopping_criterion = {**trial.stopping_criterion, **(revival.extend or {})}
    if trial.status == ERROR and revival.resume_errored:
        trial.run_metadata.error_filename = trial.run_metadata.pickled_error_filename = None
        trial.run_metadata.num_failures = 0
        return True
    if trial.status == TERMINATED and revival.extend:
        return met_its_criterion and not _meets(trial.stopping_criterion, trial.last_result)
    return str(trial.status) not in _ENDED


def _note_its_end(trial: Any, past: PastTrial, found: tuple[str, Metrics] | None) -> None:
    """Note that a trial has finished after Tune noted it last."""
    last = past.results[-1] if past.results else {}
    reached = found[1] if found else {}
    if (last.get("done") and not _goes_beyond(trial, last)) or _meets(
        trial.stopping_criterion, reached
    ):
        trial.set_status(TERMINATED)
        trial.run_metadata.last_result = dict(last or reached)


def _goes_beyond(trial: Any, last: Metrics) -> bool:
    """Say whether Tune noted that a trial goes on from where it had once ended."""
    noted = trial.last_result
    same = noted.get("training_iteration") == last.get("training_iteration")
    return same and noted.get("done") is False


def _meets(criterion: Mapping[str, float], result: Metrics) -> bool:
    flat: Metrics = flatten_dict(result)
    pairs = ((number(flat.get(name)), number(value)) for name, value in criterion.items())
    return any(reached >= at for reached, at in pairs if reached is not None and at is not None)


def _usable(
    trial: Any,
    past: PastTrial,
    sound: Soundness,
    passed_over: dict[str, list[str]],
    *,
    newest: bool,
) -> Iterator[tuple[str, Metrics]]:
    """Yield the valid checkpoints that a trial could go on from, the newest first.

    Others are noted in ``passed_over``, by why.
    """
    known = private.recorded(trial)
    for path in _candidates(trial, past, newest=newest):
        name = path.rpartition("/")[2]
        metrics = _metrics(past, name, known.get(path)) if _is_own(trial, path) else known[path]
        if not sound.is_valid(path):
            passed_over.setdefault("damaged or gone", []).append(name)
        elif metrics is None:
            passed_over.setdefault("not used: no file tells the iteration", []).append(name)
        else:
            yield path, metrics


def _told(names: list[str], reason: str) -> str:
    return f"{listed(names, _LISTED)} {'is' if len(names) == 1 else 'are'} {reason}"


_LISTED = 3


def _candidates(trial: Any, past: PastTrial, *, newest: bool) -> list[str]:
    own = [f"{trial.storage.trial_fs_path}/{name}" for name in past.checkpoints()]
    latest = private.latest(trial)
    if latest is None:
        return own if newest else []
    noted = latest.checkpoint.path
    if not _is_own(trial, noted):  # another trial's, which it exploits
        return [noted, *own]
    own = own if noted in own else sorted([*own, noted], reverse=True)
    return own if newest else [path for path in own if path <= noted]


def _is_own(trial: Any, path: str) -> bool:
    return bool(path.rpartition("/")[0] == trial.storage.trial_fs_path)


def _metrics(past: PastTrial, name: str, noted: Metrics | None) -> Metrics | None:
    """Return a checkpoint's metrics; what it says itself counts, since Tune may be behind."""
    own = past.metrics_of(name)
    same = own and noted and own["training_iteration"] == noted.get("training_iteration")
    return noted if own is None or same else own
