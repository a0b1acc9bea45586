"""Resuming a sweep: from what is valid, wherever it lies now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ray import tune
from rich.console import Console

from tune_ckpt.errors import InvalidArgumentError, PickleReadError
from tune_ckpt.tune import private
from tune_ckpt.tune.callback import CheckpointCallback
from tune_ckpt.tune.resuming.continuing import Revival
from tune_ckpt.tune.resuming.extending import check_extend, check_form, check_stop
from tune_ckpt.tune.resuming.place import Place
from tune_ckpt.tune.resuming.plain import Plain
from tune_ckpt.tune.resuming.portable import PORTABLE, new_tuner_for
from tune_ckpt.tune.resuming.report import ResumeReport
from tune_ckpt.tune.resuming.resumption import Resumption
from tune_ckpt.tune.resuming.search_memory import SearchMemory
from tune_ckpt.tune.resuming.space import check_space
from tune_ckpt.tune.resuming.state_files import StateFiles
from tune_ckpt.tune.resuming.tuner_file import check_tuner, restored_tuner


class _Guard(tune.Callback):
    """Stops what Ray does when it cannot resume: begin anew in the same folder."""

    def __init__(self, advice: str) -> None:
        self._advice = advice

    def setup(self, *args: Any, **info: Any) -> None:
        """Raise an error before anything is written."""
        controller = private.controller()
        if controller is not None and not private.has_resumed(controller):
            path = private.state_path(controller)
            raise PickleReadError(path, f"Ray could not resume, as its log says; {self._advice}")


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
    resume_errored: bool = False,
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
    ``set_aside`` beside it, never deleted. What becomes of the trials is written down at once,
    before ``fit()``; it is printed, too, and is in the Tuner's ``report``. The sweep's own pickles
    are loaded, as Tune does: only for sweeps that you trust.

    Schedulers go on with their own state. Where the sweep ran with a `CheckpointCallback`, all of
    that is as it was, with Python's and NumPy's random generators; elsewhere it is made again from
    the trials' results, as far as ``result.json`` has them (of a trial that was paused, Ray drops
    what it logged since it noted the sweep's state last). Then the sweep goes on as if it had not
    been interrupted, but for what the right column says::

        Scheduler                      with the callback   from the results alone
        FIFOScheduler                  it has no state
        ASHAScheduler                  exactly             exactly; lots for brackets are drawn anew
        HyperBandScheduler             exactly             exactly, where all were made at once
        HyperBandForBOHB               exactly             exactly
        MedianStoppingRule             exactly             exactly
        PopulationBasedTraining        exactly             scores are kept, not the dice
        PB2                            exactly             likewise; its model lacks the takeovers
        PopulationBasedTrainingReplay  exactly             at the step that its trial has reached
        ResourceChangingScheduler      exactly             as what it wraps; trials keep their share

    A save that asynchronous PBT had asked for, but that had not ended, is lost.

    Tune saves searchers itself. They go on from there, and are told which trials have ended since.
    With ``portable`` their state is made again: they suggest the past trials once more, and are
    told of their results (OptunaSearch then goes on with other random numbers than its seed's)::

        Searcher                       resumed             with portable=True
        BasicVariantGenerator          exactly             exactly, of the same random_state
        OptunaSearch                   exactly             told
        HyperOptSearch                 exactly             told, in a space without nested dicts
        BayesOptSearch                 exactly             told
        NevergradSearch                exactly             told
        TuneBOHB                       exactly             told, where HyperBandForBOHB is given
        ZOOptSearch                    not exactly: its    not told: it takes no points
                                       package's random generator is saved by nobody
        AxSearch, HEBOSearch           not tested: Ray 2.60 fails with their present packages
        ConcurrencyLimiter, Repeater   exactly             as what they wrap
        others                         as they save        told where they have add_evaluated_point

    Args:
        path: The sweep's folder: a path or URI, also where it was moved or copied to.
        trainable: What the sweep ran; of the same name as then. A name that was given to
            ``tune.register_trainable`` will do.
        extend: Metrics and values up to which trials go on that ended by their stop criterion, as
            ``{"training_iteration": 50}``; unfinished trials stop there too. It stays for later
            resumes.
        resume_errored: Go on with failed trials, from their newest valid checkpoint.
        resources: What each trial needs, as for ``tune.with_resources``.
        max_concurrent: How many trials the searcher may have under way.
        portable: Do without the sweep's own pickles, which only the Python and Ray that wrote them
            are sure to read: they are set aside, and the sweep is made again from plain data, the
            trials' ``params.json``, ``result.json`` and checkpoints. Finished trials stay finished,
            the others go on. What no file can tell is to be given again: see the next three.
        param_space: The sweep's own. With ``portable``, what is left of it is sampled; without it,
            no new trials are made. Else needed only where it holds functions (``tune.sample_from``)
            or objects, which Tune does not save, and new trials are still to be made.
        tune_config: Only with ``portable``: the scheduler and the searcher, whose states are made
            again from the results, and more samples than before. By default, metric, mode and
            number of samples as they were, and no scheduler.
        run_config: Only with ``portable``: callbacks and the like. By default, the stop criterion
            and when trials save and may fail, as they were. Its name and storage path do not count.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.

    Raises:
        NotACheckpointError: There is no sweep at ``path``.
        InvalidArgumentError: ``extend`` would end trials earlier than now or names what no result
            has, ``trainable`` is not of the name that the sweep ran, new trials need
            ``param_space``, a config was given without ``portable``, or with it nothing tells where
            trials stop.
        PickleReadError: One of the sweep's own pickles cannot be read here.
        StorageError: The storage refuses.
    """
    check_form(extend)
    if not portable:
        _check_unused(tune_config=tune_config, run_config=run_config)
    place = Place.of(path, filesystem)
    trainable = _with_resources(trainable, resources)
    files = StateFiles.look(place.store)
    if not portable and param_space is None:
        check_space(files, place)
    if extend or portable:
        _check_limits(place, files, extend, run_config)
    files.set_damaged_aside()
    plain = None
    if portable:
        plain = new_tuner_for(files, trainable, param_space, tune_config, run_config, place)
    else:
        check_tuner(place)
    # Else Ray would look for its placeholders in the trials' configs, which hold the values.
    references = param_space if files.document is not None else None
    tuner = restored_tuner(place, trainable, references, filesystem)
    memory = _callback(tuner, _OBJECTS if portable else PORTABLE).memory
    memory.search = SearchMemory(max_concurrent)
    resumption = Resumption(place, files, tuner, param_space, plain)
    resumption.carry_out(Revival(extend, resume_errored), memory)
    memory.resources = {} if resources is not None else memory.resources
    return _with_report(tuner, resumption.report)


def _check_unused(**configs: Any) -> None:
    """Refuse what would be passed over: the sweep's own configs are in its pickles."""
    for name, config in configs.items():
        if config is not None:
            expected = ("None", "with portable=True, another than the sweep's own")
            raise InvalidArgumentError(name, config, expected, "the sweep's own is used")


def _with_resources(trainable: Any, resources: Any) -> Any:
    code = callable(trainable) or hasattr(trainable, "as_trainable")  # as Ray's trainers have it
    if not code and not (isinstance(trainable, str) and private.is_registered(trainable)):
        expected = ("a class or function", "a name given to tune.register_trainable in this Ray")
        raise InvalidArgumentError("trainable", trainable, expected)
    return trainable if resources is None else tune.with_resources(trainable, resources)


def _check_limits(
    place: Place, files: StateFiles, extend: Mapping[str, float] | None, run_config: Any
) -> None:
    """See to it that trials stop somewhere, and not before they would now."""
    told = Plain.without_pairs(place.store, files.document)
    pasts = place.pasts(told.trials)
    if extend:
        check_extend(extend, told.stop or {}, pasts.values())
    elif pasts:
        check_stop(told.stop, run_config)


_OBJECTS = "where that is for objects in the trials' configs, give param_space, which has them"


def _callback(tuner: Any, advice: str) -> CheckpointCallback:
    """Return the sweep's callback that keeps the scheduler's state; it gains one if need be."""
    run_config = private.run_config(tuner)
    callbacks = [c for c in run_config.callbacks or () if not isinstance(c, _Guard)]
    found = next((c for c in callbacks if isinstance(c, CheckpointCallback)), None)
    if found is None:
        found = CheckpointCallback()
        callbacks.append(found)
    run_config.callbacks = [*callbacks, _Guard(advice)]
    return found


def _with_report(tuner: tune.Tuner, report: ResumeReport) -> ResumedTuner:
    """Return the Tuner with its report, which is printed, too."""
    resumed: ResumedTuner = private.as_subclass(ResumedTuner, tuner)
    resumed.report = report
    Console(stderr=True, soft_wrap=True).print(str(report), markup=False, highlight=False)
    return resumed
