"""Whether a sweep's saved searcher can make new trials without being given the search space again.

Tune saves a search space with placeholders for its functions and objects. A Tuner that is restored
without the space gives new trials those placeholders for values.
"""

from __future__ import annotations

import math

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.formats import pickle
from tune_ckpt.sweep.metrics import number
from tune_ckpt.tune import private
from tune_ckpt.tune.resuming.place import Place
from tune_ckpt.tune.resuming.plain import trials_of
from tune_ckpt.tune.resuming.state_files import SEARCH, StateFiles


def check_space(files: StateFiles, place: Place) -> None:
    """Refuse to make new trials in a space of which Tune has not saved everything.

    Args:
        files: The sweep's files.
        place: Its folder.

    Raises:
        InvalidArgumentError: Functions or objects of it are missing.
    """
    made = len(list(trials_of(files.document or {}))) or len(place.pasts())
    for name in (files.names[kind] for kind in SEARCH if kind in files.names):
        state = files.store.read_bytes(name)
        if private.lacks_its_space(state) and _total(state, files.store.path(name)) > made:
            raise InvalidArgumentError("param_space", None, (_ITS_OWN,), _UNSAVED)


_ITS_OWN = "the sweep's own, in tune_ckpt.resume(path, trainable, param_space=...)"
_UNSAVED = (
    "new trials are still to be made, and Tune has not saved the functions (tune.sample_from) and "
    "objects of the search space"
)


def _total(state: bytes, where: str) -> float:
    """Return how many trials a search algorithm makes in all, as its saved state tells."""
    facts = pickle.loads_inert(state, file=where)
    facts = facts if isinstance(facts, dict) else {}
    totals = (number(facts.get(name)) for name in ("_total_samples", "total_samples"))
    return next((total for total in totals if total is not None), math.inf)
