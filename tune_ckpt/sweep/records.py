"""One checkpoint of a sweep, with what is known of it and what can be done with it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tune_ckpt.errors import MissingDependencyError, NotACheckpointError, TuneCkptError
from tune_ckpt.sweep.configs import config_text, telling_keys
from tune_ckpt.tree.apart import check_apart
from tune_ckpt.tree.archive import check_no_archive
from tune_ckpt.tree.not_checkpoints import check_no_sweep, is_surely_none
from tune_ckpt.tree.notebook import as_html
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.storage.store import Store, address_of, open_store

if TYPE_CHECKING:
    from ray.tune import Checkpoint

    from tune_ckpt.sweep.ranking import Ranking

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CheckpointRecord:
    """One checkpoint of a sweep with what is known of it.

    Attributes:
        path: Where it is: a local path, a URI, or a path within ``filesystem``.
        trial_id: The trial that wrote it.
        iteration: After which iteration, or report of a Train run; None where no one recorded it.
        config: The trial's config, at that iteration where it is recorded.
        metrics: Its own metrics: those of the result to which it belongs.
        metric: What it was ranked by; of several metrics the first.
        mode: ``"max"`` or ``"min"``.
        value: Its value of the metric.
        values: Its values of all metrics that were asked for, by name.
        scope: Which of its trial's values counted; None where only its own did.
        score: The trial's value in that scope; its own value without one.
        verified: Whether every byte was compared with a digest when it was found.
        runner_up: The next best checkpoint; it exists, but was not verified.
        passed_over: What was not considered, or was better but is not usable: one line each.
        converted: The path of its msgpack conversion beside it, where there is one.
        filesystem: The ``pyarrow.fs.FileSystem`` of ``path``; None for local paths and URIs.
        ranking: What found it, for `explain`; None where it was pickled since.
    """

    path: str
    trial_id: str
    iteration: int | None
    config: dict[str, Any] = field(repr=False)
    metrics: dict[str, Any] = field(repr=False)
    metric: str
    mode: str
    value: float
    values: dict[str, float] = field(repr=False)
    scope: str | None = field(repr=False)
    score: float = field(repr=False)
    verified: bool = False
    runner_up: CheckpointRecord | None = field(default=None, repr=False)
    passed_over: tuple[str, ...] = field(default=(), repr=False)
    converted: str | None = None
    filesystem: Any = field(default=None, repr=False)
    ranking: Ranking | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the ranking behind: it holds what is known of the whole sweep."""
        return {**self.__dict__, "ranking": None}

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint as a ``ray.tune.Checkpoint``.

        Raises:
            MissingDependencyError: Ray is not installed.
        """
        try:
            from ray.tune import Checkpoint
        except ImportError as error:
            raise MissingDependencyError("ray[tune]", "A ray.tune.Checkpoint") from error
        return Checkpoint(self.path, self.filesystem)

    def _repr_html_(self) -> str:
        runner_up = self.runner_up and f"{self.runner_up.value!r}, {self.runner_up.path}"
        facts = {
            "checkpoint": self.path,
            "trial": self.trial_id,
            "iteration": self.iteration,
            "config": config_text(self.config, keys_that_tell([self])),
            "converted": self.converted,
            "runner-up": runner_up,
        }
        known = ((name, value) for name, value in facts.items() if value not in (None, ""))
        return as_html(f"{self.metric} {self.value!r}", known)

    @cached_property
    def nbytes(self) -> int:
        """The size of all its files."""
        return open_store(self.path, self.filesystem).total_nbytes()

    @cached_property
    def format(self) -> str | None:
        """``"msgpack"`` or ``"pickle"``; None where another library wrote it."""
        try:
            return open_tree(open_store(self.path, self.filesystem)).metadata.format
        except TuneCkptError:
            return None

    def explain(self) -> str:
        """Return why it is this one, and why others were passed over.

        Results that were better but have no checkpoint left are told too, the best of each trial.
        """
        lines = [f"{self._told()}: {self.path}"]
        if self.ranking is not None:
            lines.append(self.ranking.told())
        if self.scope:
            lines.append(f"its trial's {self.metric} in the scope {self.scope!r} is {self.score!r}")
        lines += self.better_but_gone()
        lines += self.passed_over
        if self.runner_up is not None:
            lines.append(f"next best: {self.runner_up._told()}")
        return "\n  - ".join(lines)

    def better_but_gone(self) -> tuple[str, ...]:
        """Return a line of each trial that had better results, no checkpoint of which is left.

        Nothing is told where trials are compared in a scope, or by several metrics.
        """
        if self.ranking is None or self.scope or len(self.values) > 1:
            return ()
        return tuple(self.ranking.why.better_results(self.value))

    def _told(self) -> str:
        values = ", ".join(f"{name} {value!r}" for name, value in self.values.items())
        return f"trial {self.trial_id}, iteration {self.iteration} has {values}"

    def restore(self, cls: Any = None, *, allow_pickle: bool = False, **kwargs: Any) -> Any:
        """Return the object that was saved, such as the Trainable.

        Args:
            cls: Its class; by default the stored one, which must be imported already.
            allow_pickle: Let pickles import and call what they name. Only for sweeps whose writer
                you trust.
            kwargs: As for `tune_ckpt.restore_object`: ``trusted``, ``strict``, ...

        Raises:
            ClassNotFoundError: The stored class is not imported.
            UntrustedPickleError: A pickle names more than harmless things.
            TuneCkptError: All others are those of `tune_ckpt.restore_object`.
        """
        from tune_ckpt.objects.functions import restore_object

        return restore_object(self, cls, allow_pickle=allow_pickle, **kwargs)

    def load(self, component: str | None = None, *, allow_pickle: bool = False) -> Any:
        """Return the state as plain dicts; no class is imported.

        `tune_ckpt.load_state`, which takes a record too, has more options.

        Args:
            component: Only this subcomponent, ``/`` between levels.
            allow_pickle: Let pickles import and call what they name. Only for sweeps whose writer
                you trust.

        Raises:
            ComponentNotFoundError: There is no such component.
            UntrustedPickleError: A pickle names more than harmless things.
        """
        from tune_ckpt.objects.states import load_state

        return load_state(self, component, allow_pickle=allow_pickle)

    def export(self, path: str | os.PathLike[str], *, allow_pickle: bool = False) -> str:
        """Write a verified copy, all of it msgpack, and return its path.

        A copy of RLlib's own is one that RLlib reads. What neither wrote, such as a framework's own
        files, is copied as it is, unverified, and a warning is logged.

        Args:
            path: The copy's path or URI; one that ends in ``.zip`` becomes a single file, as of
                `tune_ckpt.archive`.
            allow_pickle: Let pickles import and call what they name. Only for sweeps whose writer
                you trust.

        Raises:
            InvalidArgumentError: The path is none, or is the checkpoint's own, or in it, or is a
                sweep's folder; or ends in ``.zip``, and the checkpoint is none of ours.
            UnsupportedStateError: msgpack cannot bring back some values; all are listed.
            UntrustedPickleError: A pickle names more than harmless things.
            OccupiedFolderError: Files that are no checkpoint's would be replaced.
            StorageError: The storage refuses; or the checkpoint is none of ours, and something is
                at the path.
        """
        from tune_ckpt.convert import convert_to_msgpack_checkpoint

        source = open_store(self.path, self.filesystem)
        target = open_store(path)
        check_apart("path", target, source)
        check_no_sweep("path", target)
        try:
            return convert_to_msgpack_checkpoint(self, path, allow_pickle=allow_pickle)
        except NotACheckpointError:
            if is_surely_none(source):
                raise
            return _copied(source, path)


def keys_that_tell(records: Sequence[CheckpointRecord]) -> list[str]:
    """Return the config's keys that are not the same in all trials of the sweep, shown or not."""
    ranking = records[0].ranking if records else None
    configs = ranking.sweep.configs() if ranking else []
    return telling_keys([*configs, *(record.config for record in records)])


def _copied(source: Store, path: str | os.PathLike[str]) -> str:
    from tune_ckpt.rllib.converting.folders import open_empty
    from tune_ckpt.tree.copying import copy_folder

    check_no_archive("path", path)
    copy_folder(source, open_empty(path, None, "export into"))
    told = "%s is copied as it is: neither tune_ckpt nor RLlib wrote it, so nothing was verified."
    _log.warning(told, source.location)
    return address_of(path)
