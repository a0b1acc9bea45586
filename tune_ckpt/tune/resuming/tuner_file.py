"""``tuner.pkl``: the Tuner of a sweep that is resumed, if it can be read here."""

from __future__ import annotations

from typing import Any

from ray import tune

from tune_ckpt.errors import InvalidArgumentError, NotACheckpointError, PickleReadError
from tune_ckpt.formats.pickle import list_globals
from tune_ckpt.tree import pickled_code
from tune_ckpt.tune import private
from tune_ckpt.tune.resuming.past import PastTrial
from tune_ckpt.tune.resuming.place import Place
from tune_ckpt.tune.resuming.portable import PORTABLE
from tune_ckpt.tune.resuming.soundness import broken_pickle
from tune_ckpt.tune.resuming.state_files import TUNER


def check_tuner(place: Place) -> None:
    """See to it that the Tuner's pickle is there, whole, and of this Python.

    Args:
        place: The sweep's folder.

    Raises:
        NotACheckpointError: It is not there.
        PickleReadError: It is damaged, or holds code of another Python.
    """
    if not place.store.exists(TUNER):
        raise NotACheckpointError(place.path, f"it has no {TUNER}; {PORTABLE}", "a whole sweep")
    where = place.store.path(TUNER)
    reason = broken_pickle(place.store, TUNER)
    if reason is None:
        names = list_globals(place.store.read_bytes(TUNER), file=where)
        reason = _code_of_another_python(list(place.pasts().values()), names)
    if reason is not None:
        raise PickleReadError(where, f"{reason}; {PORTABLE}")


def _made_by(pasts: list[PastTrial]) -> set[str]:
    """Return the Python versions (``3.11``) of the trials' newest checkpoints, where they tell."""
    written = (pickled_code.minor_of(past.python()) for past in pasts)
    return {version for version in written if version}


def _code_of_another_python(pasts: list[PastTrial], names: tuple[str, ...]) -> str | None:
    """Say why a pickle must not be used here: it holds code of another Python, which would crash.

    Args:
        pasts: The trials' folders.
        names: What the pickle would import.
    """
    others = _made_by(pasts)
    # Where some trial has gone on here already, the pickles were made again here, too.
    if not others or pickled_code.here() in others or not pickled_code.holds_code(names):
        return None
    return pickled_code.told(others)


def restored_tuner(place: Place, trainable: Any, param_space: Any, filesystem: Any) -> tune.Tuner:
    """Return the Tuner, as Tune itself restores it; its pickle is loaded.

    Args:
        place: The sweep's folder.
        trainable: What the sweep ran.
        param_space: Its search space, where Tune is to look for references of Ray in it.
        filesystem: The pyarrow filesystem that the caller gave.

    Raises:
        InvalidArgumentError: The sweep ran a trainable of another name.
        PickleReadError: The pickle cannot be read here.
    """
    try:
        options = {"param_space": param_space, "storage_filesystem": filesystem}
        tuner: tune.Tuner = private.restored(place.path, trainable, **options)
        return tuner
    except ValueError as error:
        if "identifier" not in str(error):
            raise
        raise InvalidArgumentError(
            "trainable", trainable, (_of_the_name(error, trainable),)
        ) from error
    except Exception as error:  # whatever the pickle's own code raises
        where = place.store.path(TUNER)
        raise PickleReadError(where, f"{type(error).__name__}: {error}; {PORTABLE}") from error


def _of_the_name(refusal: ValueError, given: Any) -> str:
    """Return what the trainable may be, after Ray has refused another's name."""
    name = str(refusal).rpartition("expected ")[2].rstrip(".").strip("'")
    such_as = f" (class {name}({given.__name__}): pass)" if isinstance(given, type) else ""
    code = f"a class or function of that name{such_as}"
    return f"what the sweep ran, {name!r}: {code}; with portable=True of any name"
