"""Two calls for whatever runs a training function: a Tune trial or the workers of a Train run.

>>> def train(config):
...     start = tc.restore({"model": model}).get("step", 0)  # empty at the first start
...     for step in range(start, 10):
...         ...
...         tc.report({"loss": loss}, {"model": model, "step": step + 1})
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tune_ckpt.errors import RestoreReport
from tune_ckpt.objects.bundle import check_parts
from tune_ckpt.objects.functions import Restored, restore_by_name
from tune_ckpt.objects.wishes import Wishes
from tune_ckpt.session import current_session
from tune_ckpt.sweep.as_json import plain_metrics
from tune_ckpt.tree.layout import Format, check_format
from tune_ckpt.tree.metadata import RESTORED_FROM

if TYPE_CHECKING:
    from collections.abc import Collection

    from ray.train import CheckpointUploadMode

    from tune_ckpt.objects.selection import Patterns
    from tune_ckpt.objects.wishes import Strict


def report(
    metrics: Mapping[str, Any],
    parts: Mapping[str, Any] | None = None,
    *,
    save: bool = True,
    just_in_time: bool = False,
    format: Format = "msgpack",
    checkpoint_upload_mode: CheckpointUploadMode | None = None,
    timeout_secs: float = 1800.0,
    **options: Any,
) -> None:
    """Report metrics and a checkpoint from a Tune function or a Train worker.

    The checkpoint is written once, straight to the storage path, and holds the metrics, the trial,
    the iteration and what it was resumed from in its metadata.

    All workers of a Train run call this equally often. A part that several workers give, such as a
    replicated model, is saved by the lowest rank; one that a single worker gives, under a name of
    its own like ``f"rng_{rank}"``, by that worker. Together they are one checkpoint, which is
    committed when all parts are there.

    Args:
        metrics: As for ``ray.tune.report`` and ``ray.train.report``.
        parts: Objects and plain values, as for `tune_ckpt.save`; None for metrics alone.
        save: Whether to save them this time.
        just_in_time: Save them, whatever ``save`` says, when Ray Train has announced a preemption
            of a worker's node (to all workers at the same call), or when a Tune trial got
            SIGTERM; a Train worker's SIGTERM is no notice. It is only looked at here, so call
            this often. A trial then ends after its report, as the signal demands, and goes
            on from there if ``FailureConfig(max_failures=...)`` allows. Neither helps where no call
            comes before the process is killed.
        format: ``"msgpack"`` or ``"pickle"``.
        checkpoint_upload_mode: Ray Train's. With ``ASYNC`` a snapshot is taken, and training goes
            on while it is written. A Tune function always waits.
        timeout_secs: How long a Train worker waits for the others, of which it warns every minute;
            and, with ``ASYNC``, for the upload before this one.
        options: Others of ``ray.train.report`` (``validation``, ``checkpoint_dir_name``).

    Raises:
        NoSessionError: No trial or worker is running here.
        InvalidArgumentError: ``parts`` is no dict, or an option has no such value.
        UnsupportedStateError: The format cannot bring back some values; all are listed.
        StorageError: The storage refuses.
        WorkerFailedError: Another worker could not save its part.
        WorkerMissingError: Another worker has not come to this report; its rank is named.
    """
    check_format(format)
    if parts is not None:
        check_parts(parts)
    if checkpoint_upload_mode is not None:
        options["checkpoint_upload_mode"] = checkpoint_upload_mode
    session = current_session("tc.report")
    announced = just_in_time and session.is_preempted(timeout_secs)
    parts = parts if save or announced else None
    session.report(metrics, parts, format, _facts(metrics), timeout_secs, **options)
    if announced:
        session.leave()


_restored_from: str | None = None  # the content digest of what this process goes on from


def _facts(metrics: Mapping[str, Any]) -> dict[str, Any]:
    lineage = {RESTORED_FROM: _restored_from} if _restored_from else {}
    return {"metrics": plain_metrics(metrics), **lineage}


def restore(
    parts: Mapping[str, Any],
    path: Any = None,
    *,
    components: Patterns | None = None,
    exclude: Patterns | None = None,
    rename: Mapping[str, str] | None = None,
    device: Any = None,
    tolerance: float | None = None,
    filesystem: Any = None,
    allow_pickle: bool | None = None,
    trusted: str | Collection[str] = (),
    strict: Strict = True,
) -> Restored:
    """Restore the objects of a checkpoint that `save` or `report` made; return its plain values.

    All of it is read, verified and compared before an object is touched. What does not fit are
    components that only the objects or only the checkpoint have; arrays of torch modules that are
    missing, too many, or of another shape or dtype; and optimizers and the like that were saved
    from another class. Random state (`RngState`) is restored last.

    >>> restore({"model": model, "optimizer": optimizer}, "run/3")["step"]
    3

    Args:
        parts: The objects by name, as they were saved. Of plain values only the names count: the
            checkpoint must have them. But random generators (NumPy's, ``random.Random``) go on in
            place, and are among what is returned.
        path: The checkpoint: a local path, a URI, or a Ray Checkpoint. By default the one that the
            running Tune trial or Train worker is to go on from, which is trusted: the same sweep
            wrote it. What only other workers saved is left to them.
        components: Patterns of the components to restore, by their paths in the checkpoint, like
            ``"policies/*"``; with all that is below them. ``"."`` are the plain values. Nothing
            else is read.
        exclude: Patterns of components to leave as they are.
        rename: From components' paths in the checkpoint to those in ``parts``.
        device: Where torch tensors among the values are put; by default on the CPU. Modules and
            optimizers stay where they are.
        tolerance: How much self-tests may differ, instead of what the components allow.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.
        allow_pickle: Let pickles import and call what they name. Only for checkpoints whose writer
            you trust; by default the running trial's own.
        trusted: Modules and packages whose classes and functions the checkpoint may name; they are
            imported. (What pickles name are classes only; functions need ``allow_pickle``.)
        strict: True: an error lists all that does not fit, and no object is touched; where objects'
            own code raises an error on the way, all are given their former states again (which are
            copied for that, in actors by each of them). ``"warn"`` and ``"ignore"``: what fits is
            restored.

    Returns:
        The checkpoint's plain values, and in its attribute ``report`` what was loaded. At the first
        start of a trial or worker it is empty, and nothing is touched.

    Raises:
        NoSessionError: There is no path, and no trial or worker is running here.
        InvalidArgumentError: ``parts`` is no dict, or an option has no such value.
        NotACheckpointError, IncompleteCheckpointError: There is no checkpoint.
        CorruptDataError: A file is not what was written.
        UntrustedPickleError: A pickle names more than harmless things.
        UntrustedTypesError: An estimator of scikit-learn's does.
        PickleReadError: A trusted pickle cannot be read here, or holds code of another Python.
        RestoreError: The checkpoint does not fit; all differences are listed.
        SelfTestError: A component's ``selftest()`` returns something other than when it was saved.
        StateRefusedError: An object's own code raised an error.
        NoHealthyActorError, ActorsFailedError: All actors of a component are dead, or some raised
            an error.
    """
    check_parts(parts)
    wishes = Wishes.of(
        strict=strict,
        components=components,
        exclude=exclude,
        rename=rename,
        device=device,
        tolerance=tolerance,
        allow_pickle=path is None if allow_pickle is None else allow_pickle,
        trusted=trusted,
    )
    if path is None:
        return _restore_own(parts, wishes)
    return restore_by_name(parts, path, filesystem, wishes)[0]


def _restore_own(parts: Mapping[str, Any], wishes: Wishes) -> Restored:
    global _restored_from
    session = current_session("tc.restore without a path")
    checkpoint, _restored_from = session.checkpoint(), None
    if checkpoint is None:
        return _first_start()
    selection = wishes.selection.without(session.of_others(checkpoint, parts))
    own = replace(wishes, selection=selection)
    restored, metadata = restore_by_name(parts, checkpoint, None, own)
    _restored_from = None if metadata is None else metadata.digest
    return restored


def _first_start() -> Restored:
    nothing = Restored()
    nothing.report = RestoreReport("")
    return nothing
