"""A sweep's own pickles replaced by those of a new Tuner for its folder."""

from __future__ import annotations

import copy
from typing import Any

from ray import tune

from tune_ckpt.errors import Fault, NotACheckpointError
from tune_ckpt.tune.resuming.aside import put_back, set_aside
from tune_ckpt.tune.resuming.place import Place
from tune_ckpt.tune.resuming.plain import Plain
from tune_ckpt.tune.resuming.state_files import CALLBACKS, SEARCH, TUNER, StateFiles

PORTABLE = "resume(..., portable=True) goes on without the sweep's pickles"
_REASON = "it is a pickle, or holds some, that need not be readable here (portable=True)"


def new_tuner_for(
    files: StateFiles,
    trainable: Any,
    param_space: dict[str, Any] | None,
    tune_config: tune.TuneConfig | None,
    run_config: tune.RunConfig | None,
    place: Place,
) -> Plain:
    """Set a sweep's pickles aside, write a new Tuner's, and return what they told.

    Args:
        files: The sweep's files.
        trainable: What the sweep ran.
        param_space: Its search space.
        tune_config: Its scheduler, searcher and the like; by default what is plain of the old one.
        run_config: Its stop criterion, callbacks and the like; likewise.
        place: The sweep's folder.

    Raises:
        NotACheckpointError: No trial is known.
        Exception: Ray's own, where it refuses an argument; then the pickles lie where they were.
    """
    plain = Plain.read(files.store, files.document)
    if not place.pasts(plain.trials):
        reason = "no trial is recorded in it that could be read without pickles; begin it anew"
        raise NotACheckpointError(place.path, reason, "a sweep that can go on")
    run_config = copy.copy(run_config or plain.run_config())
    run_config.storage_path, _, run_config.name = place.fs_path.rpartition("/")
    run_config.storage_filesystem = place.local_or_filesystem
    others = files.strays({CALLBACKS, *SEARCH})
    names = [n for n in (TUNER, *files.names.values(), *others) if files.store.exists(n)]
    moved = {name: set_aside(files.store, name) for name in names}
    try:
        tune.Tuner(
            trainable,
            param_space=param_space or {},
            tune_config=tune_config or plain.tune_config(),
            run_config=run_config,
        )
    except BaseException:
        for name, path in moved.items():
            put_back(files.store, name, path)
        raise
    files.faults += [Fault(path, _REASON) for path in moved.values()]
    files.document, files.names = None, {}
    return plain
