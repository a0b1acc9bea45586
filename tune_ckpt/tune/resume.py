"""Resuming a sweep: from what is valid, wherever it lies now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ray import cloudpickle, tune
from ray.tune.schedulers import PopulationBasedTraining
from rich.console import Console

from tune_ckpt.errors import Fault, InvalidArgumentError, NotACheckpointError, PickleReadError
from tune_ckpt.formats.pickle import list_globals
from tune_ckpt.tree.store import Store, open_store
from tune_ckpt.tune import private
from tune_ckpt.tune.callback import SCHEDULER, CheckpointCallback
from tune_ckpt.tune.continuing import Continuation, Wishes, continue_trial
from tune_ckpt.tune.past import PastTrial, past_trials
from tune_ckpt.tune.portable import Plain, new_tuner_for
from tune_ckpt.tune.rebuild import TrialMaker, code_of_another_python, plain_stop
from tune_ckpt.tune.replay import Past, is_timeless, replayed
from tune_ckpt.tune.scheduler_memory import Snapshot, class_name
from tune_ckpt.tune.searching import write_search_state
from tune_ckpt.tune.soundness import Soundness, broken_pickle
from tune_ckpt.tune.state_files import CALLBACKS, STATE, TUNER, StateFiles

_PORTABLE = "resume(..., portable=True) goes on without the sweep's pickles"


@dataclass
class ResumeReport:
    """What `resume` found and did.

    Attributes:
        path: The sweep's folder.
        trials: What becomes of each trial.
        set_aside: What was damaged: each with its new path (in a folder ``set_aside`` beside where
            it was) and what is wrong with it.
        notes: What else is good to know: how the scheduler and the searcher go on.
    """

    path: str
    trials: list[Continuation] = field(default_factory=list)
    set_aside: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"Resuming {self.path}:", *(f"  {trial}" for trial in self.trials)]
        lines += [f"  set aside: {fault}" for fault in self.set_aside]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


class _Guard(tune.Callback):
    """Stops what Ray does when it cannot resume: begin anew in the same folder."""

    def setup(self, *args: Any, **info: Any) -> None:
        """Raise an error before anything is written."""
        controller = private.controller()
        if controller is not None and not private.has_resumed(controller):
            path = private.state_path(controller)
            raise PickleReadError(path, f"Ray could not resume, as its log says; {_PORTABLE}")


class ResumedTuner(tune.Tuner):
    """The Tuner of a sweep that is resumed: call its ``fit()``.

    Attributes:
        report: What was found and done.
    """

    report: ResumeReport


def resume(
    path: str | os.PathLike[str],
    trainable: Any,
    *,
    extend: Mapping[str, float] | None = None,
    retry_errored: bool = False,
    resources: Any = None,
    max_concurrent: int | None = None,
    portable: bool = False,
    param_space: dict[str, Any] | None = None,
    tune_config: tune.TuneConfig | None = None,
    run_config: tune.RunConfig | None = None,
    filesystem: Any = None,
) -> ResumedTuner:
    """Return a Tuner that goes on with a sweep, from every trial's newest valid checkpoint.

    Nothing may be running the sweep any more. What is damaged is set aside: renamed into a folder
    ``set_aside`` beside it, never deleted. What was found is printed, and is in the Tuner's
    ``report``. The sweep's own pickles are loaded, as Tune does: only for sweeps that you trust.

    The scheduler goes on with its own state. Where the sweep ran with a `CheckpointCallback`, that
    is exact for every scheduler of Ray: ASHA, HyperBand, HyperBandForBOHB, MedianStoppingRule,
    PopulationBasedTraining and its Replay, PB2, ResourceChangingScheduler, and with Python's and
    NumPy's random generators. Elsewhere it is made again from the trials' results: exactly for
    HyperBand, MedianStoppingRule and ASHA with one bracket; of PopulationBasedTraining and PB2 all
    but their random choices from there on; PopulationBasedTrainingReplay and
    ResourceChangingScheduler are not possible so (what they did stands in no result) and begin
    anew. Searchers are brought back by Tune itself, if they can be saved; all of Ray's can.

    Args:
        path: The sweep's folder: a path or URI, also where it was moved or copied to.
        trainable: What the sweep ran; of the same name as then.
        extend: Metrics and values up to which trials go on that ended by their stop criterion, as
            ``{"training_iteration": 50}``; unfinished trials stop there too.
        retry_errored: Go on with failed trials, from their newest valid checkpoint.
        resources: What each trial needs, as for ``tune.with_resources``.
        max_concurrent: How many trials the searcher may have under way.
        portable: Do without the sweep's own pickles, which only the Python and Ray that wrote them
            are sure to read: they are set aside, and the sweep is made again from plain data, the
            trials' ``params.json``, ``result.json`` and checkpoints. Finished trials stay finished,
            the others go on. What no file can tell is to be given again: see the next three.
        param_space: The sweep's own. With ``portable``, what is left of it is sampled; without it,
            no new trials are made. Else needed only where it holds references of Ray.
        tune_config: With ``portable``: the scheduler and the searcher; of both, the state is made
            again from the results (of searchers, OptunaSearch's and the default one's). By default,
            metric, mode and number of samples as they were, and no scheduler.
        run_config: With ``portable``: callbacks and the like. By default, the stop criterion and
            when trials save and may fail, as they were. Its name and storage path do not count.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.

    Raises:
        NotACheckpointError: There is no sweep at ``path``.
        PickleReadError: One of the sweep's own pickles cannot be read here.
        StorageError: The storage refuses.
    """
    place = _Place.of(path, filesystem)
    if resources is not None:
        trainable = tune.with_resources(trainable, resources)
    files = StateFiles.look(place.store)
    plain = None
    if portable:
        where = place.fs_path, private.local_or(place.filesystem)
        plain = new_tuner_for(files, trainable, param_space, tune_config, run_config, where)
    # Else Ray would look for its placeholders in the trials' configs, which hold the values.
    references = param_space if files.document is not None else None
    tuner = _restored(place, trainable, references, filesystem)
    report = ResumeReport(place.path)
    trials = _trials(place, files, tuner, report, plain, param_space)
    callback = _callback(tuner)
    callback.memory.limit = max_concurrent
    sound = Soundness(private.local_or(place.filesystem))
    wishes = Wishes(extend, retry_errored)
    _continue(place, files, trials, tuner, sound, wishes, report)
    session = files.write(list(private.dump_trials(trials)))
    if not files.has_search_state() or (files.document is None and param_space):
        told = _pasts(trials, place.pasts())
        report.notes.append(write_search_state(tuner, param_space, told, place.store, session))
    _extend_stop(tuner, extend)
    report.set_aside += [*files.faults, *sound.faults]
    resumed = ResumedTuner(_tuner_internal=private.internals(tuner))
    resumed.report = report
    Console(stderr=True, soft_wrap=True).print(str(report), markup=False, highlight=False)
    return resumed


@dataclass(frozen=True)
class _Place:
    """Where a sweep lies: for us, and for Ray."""

    path: str
    store: Store
    filesystem: Any
    fs_path: str

    @classmethod
    def of(cls, path: str | os.PathLike[str], filesystem: Any) -> _Place:
        text = os.fspath(path).rstrip("/")
        if filesystem is None and "://" not in text:
            text = os.path.abspath(os.path.expanduser(text))
        arrow, fs_path = private.filesystem_and_path(text, filesystem)
        store = open_store(fs_path, private.local_or(arrow))
        if not list(past_trials(store)):
            found = "no trial's folder is in it" if store.list() else "there is nothing"
            raise NotACheckpointError(store.location, f"{found}; give the sweep's own folder")
        return cls(text, store, arrow, fs_path)

    def pasts(self) -> dict[str, PastTrial]:
        return {past.name: past for past in past_trials(self.store)}


def _restored(place: _Place, trainable: Any, param_space: Any, filesystem: Any) -> tune.Tuner:
    if not place.store.exists(TUNER):
        raise NotACheckpointError(place.path, f"it has no {TUNER}; {_PORTABLE}")
    where = place.store.path(TUNER)
    reason = broken_pickle(place.store, TUNER)
    if reason is None:
        names = list_globals(place.store.read_bytes(TUNER), file=where)
        reason = code_of_another_python(list(place.pasts().values()), names)
    if reason is not None:
        raise PickleReadError(where, f"{reason}; {_PORTABLE}")
    try:
        return tune.Tuner.restore(
            place.path, trainable, param_space=param_space, storage_filesystem=filesystem
        )
    except ValueError as error:
        if "identifier" not in str(error):
            raise
        raise InvalidArgumentError("trainable", trainable, (str(error),)) from error
    except Exception as error:  # whatever the pickle's own code raises
        raise PickleReadError(where, f"{type(error).__name__}: {error}; {_PORTABLE}") from error


def _trials(
    place: _Place,
    files: StateFiles,
    tuner: Any,
    report: ResumeReport,
    plain: Plain | None,
    param_space: dict[str, Any] | None,
) -> list[Any]:
    """Return the trials as Tune noted them, or as their folders tell."""
    if files.document is None:
        why = "the sweep's pickles are not used" if plain else "no whole experiment state is left"
        report.notes.append(f"{why}: the trials are made again from their folders")
        if param_space is None:
            report.notes.append("trials that had not begun are lost, unless param_space is given")
        return _made_again(place, tuner, plain or Plain(), param_space)
    where = files.store.path(files.names[STATE])
    try:
        trials = private.load_trials(files.document)
    except Exception as error:  # whatever the pickles' own code raises
        raise PickleReadError(where, f"{type(error).__name__}: {error}; {_PORTABLE}") from error
    for trial in trials:
        private.relocate(trial, place.filesystem, place.fs_path)
    return trials


def _made_again(
    place: _Place, tuner: Any, plain: Plain, param_space: dict[str, Any] | None
) -> list[Any]:
    trainable = private.internals(tuner).converted_trainable
    run_config = private.run_config(tuner)
    maker = TrialMaker(
        private.trainable_name(trainable),
        place.filesystem,
        place.fs_path,
        plain_stop(run_config),
        private.checkpoint_config(tuner, trainable),
        run_config.failure_config.max_failures,
        param_space or {},
        plain.facts,
    )
    made = [maker.make(past) for past in place.pasts().values()]
    return sorted(made, key=lambda trial: trial.trial_id)


# --------------------------------------------------------------- the scheduler and the trials


def _callback(tuner: Any) -> CheckpointCallback:
    """Return the sweep's callback that keeps the scheduler's state; it gains one if need be."""
    run_config = private.run_config(tuner)
    callbacks = list(run_config.callbacks or ())
    found = next((c for c in callbacks if isinstance(c, CheckpointCallback)), None)
    if found is None:
        found = CheckpointCallback()
        callbacks.append(found)
    if not any(isinstance(callback, _Guard) for callback in callbacks):
        callbacks.append(_Guard())
    run_config.callbacks = callbacks
    return found


def _continue(
    place: _Place,
    files: StateFiles,
    trials: list[Any],
    tuner: Any,
    sound: Soundness,
    wishes: Wishes,
    report: ResumeReport,
) -> None:
    """Let every trial go on where it can, and the scheduler with them."""
    scheduler = private.tune_config(tuner).scheduler
    kept = None if is_timeless(scheduler) else _kept(files, scheduler, trials, place)
    # Else the trials must be as they were when Tune noted them: PBT has changed their configs.
    changes = isinstance(scheduler, PopulationBasedTraining) and files.document is not None
    newest = kept is None and not changes
    pasts = place.pasts()
    for trial in trials:
        name = str(trial.relative_logdir)
        past = pasts.setdefault(name, PastTrial(name, place.store.child(name)))
        report.trials.append(continue_trial(trial, past, sound, wishes, newest=newest))
    report.trials.sort(key=lambda trial: trial.trial_id)
    memory = _callback(tuner).memory
    memory.packed = kept or _replayed(place, trials, pasts, tuner)
    if scheduler is not None:
        report.notes.append(_of_the_scheduler(scheduler, kept, memory.packed))


def _kept(files: StateFiles, scheduler: Any, trials: list[Any], place: _Place) -> bytes | None:
    """Return the snapshot that a `CheckpointCallback` kept, if it is of these trials."""
    if CALLBACKS not in files.names:
        return None
    states = cloudpickle.loads(files.store.read_bytes(files.names[CALLBACKS]))
    found = (state.get(SCHEDULER) for state in states.values() if isinstance(state, dict))
    packed: bytes | None = next((packed for packed in found if packed), None)
    if packed is None:
        return None
    try:
        snapshot = Snapshot.unpack(packed, trials, place.fs_path, place.filesystem)
    except Exception as error:  # whatever the pickle's own code raises
        reason = f"{type(error).__name__}: {error}; {_PORTABLE}"
        raise PickleReadError(files.store.path(files.names[CALLBACKS]), reason) from error
    same = set(snapshot.statuses) == {trial.trial_id for trial in trials}
    return packed if same and snapshot.cls == class_name(scheduler) else None


def _replayed(
    place: _Place, trials: list[Any], pasts: Mapping[str, PastTrial], tuner: Any
) -> bytes | None:
    config = private.tune_config(tuner)
    told = _pasts(trials, pasts)
    snapshot = replayed(config.scheduler, told, config.metric, config.mode)
    return snapshot.pack(place.fs_path) if snapshot else None


def _pasts(trials: list[Any], pasts: Mapping[str, PastTrial]) -> list[Past]:
    """Return what schedulers and searchers know of the trials, in the order of their making."""
    told = [Past(trial, _told(trial, pasts[str(trial.relative_logdir)])) for trial in trials]
    return sorted(told, key=lambda past: _number(past.trial))


def _number(trial: Any) -> tuple[int, str]:
    """Return which trial of the sweep one is, as its tag begins."""
    number = str(trial.experiment_tag).partition("_")[0]
    return int(number) if number.isdigit() else -1, str(trial.trial_id)


def _told(trial: Any, past: PastTrial) -> list[dict[str, Any]]:
    """Return the results that a scheduler knew of when the trial was where it now goes on."""
    latest = private.latest(trial)
    if trial.is_finished() or private.exploits(trial):
        return past.results
    upto = latest.metrics.get("training_iteration", 0) if latest else 0
    return [past.by_iteration[number] for number in sorted(past.by_iteration) if number <= upto]


def _of_the_scheduler(scheduler: Any, kept: bytes | None, packed: bytes | None) -> str:
    if kept is not None:
        return "the scheduler goes on with the state that it had"
    if packed is not None:
        return "the scheduler's state was made again from the trials' results"
    if is_timeless(scheduler):
        return "the scheduler has no state"
    return "the scheduler begins anew: nothing tells its state (see tune_ckpt.resume)"


def _extend_stop(tuner: Any, extend: Mapping[str, float] | None) -> None:
    """Let trials that are still to be made stop where the extended ones do."""
    run_config = private.run_config(tuner)
    if extend and isinstance(run_config.stop, dict):
        run_config.stop = {**run_config.stop, **extend}
    _callback(tuner).memory.stop = dict(extend or {})
