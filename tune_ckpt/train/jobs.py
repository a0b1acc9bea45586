"""What is done with a Train run's checkpoints; runs in the callback's actor.

A run's folder is laid out as a trial's, so Tune's jobs do it. There is one difference: a user's own
checkpoint says nothing of its metrics, so its conversion gets what was reported with it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tune_ckpt.errors import NotACheckpointError, TuneCkptError
from tune_ckpt.experiment import best_checkpoint
from tune_ckpt.sweep.as_json import plain_metrics
from tune_ckpt.sweep.metrics import Metric
from tune_ckpt.sweep.notes import Notes
from tune_ckpt.sweep.trial_folder import CONVERTED, TrialFolder
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.storage.folder import Store
from tune_ckpt.tree.storage.store import open_store
from tune_ckpt.tune.beside import convert_one, keep_only
from tune_ckpt.tune.jobs import tidy, verify_one
from tune_ckpt.tune.options import Convert
from tune_ckpt.tune.outcomes import Outcome
from tune_ckpt.tune.pinning import Pinning, pin_best, pin_one
from tune_ckpt.tune.source import Owner, Source


@dataclass(frozen=True)
class Wanted:
    """What the callback's options say.

    Attributes:
        convert: Which checkpoints to convert.
        metric: What is best.
        verify: Whether to verify all of them.
        pin_best: Whether to pin the best one.
        owner: Tells the callback's snapshots from others.
    """

    convert: Convert
    metric: Metric | None
    verify: bool
    pin_best: bool
    owner: Owner


def convert_reported(
    source: Source, metrics: Mapping[str, Any], keep_others: bool
) -> list[Outcome]:
    """Convert a checkpoint, with its metrics in the metadata.

    Args:
        source: The checkpoint.
        metrics: What was reported with it.
        keep_others: Keep the other conversions whose originals are still there.
    """
    outcomes = convert_one(source)
    run = open_store(source.trial, source.filesystem)
    if outcomes[0].status in ("done", "up to date"):
        annotate(run.child(CONVERTED).child(source.name), metrics)
    keep_only(run, {entry.name for entry in run.list()} if keep_others else {source.name})
    return outcomes


def pin_reported(source: Source, pinning: Pinning) -> list[Outcome]:
    """Pin a checkpoint; its iteration is the number of its report, where none was reported."""
    facts = pinning.facts
    if facts.iteration is None:
        known = _looked_at(source.trial, source.filesystem).pairs().get(source.name, {})
        facts = replace(facts, iteration=known.get("training_iteration"))
    return pin_one(source, replace(pinning, facts=facts))


def annotate(store: Store, metrics: Mapping[str, Any]) -> None:
    """Write metrics into a checkpoint's metadata, where it has none.

    RLlib's own checkpoints have no place for them and stay as they are.
    """
    try:
        opened = open_tree(store)
    except NotACheckpointError:
        return
    if not opened.metadata.extra.get("metrics"):
        opened.metadata.extra["metrics"] = plain_metrics(metrics)
        store.write_bytes(opened.metadata_file, opened.metadata.to_json())


def complete(
    folder: str, filesystem: Any, wanted: Wanted, seen: Collection[str] = ()
) -> list[Outcome]:
    """Do what a killed controller left undone, and what is to be done at the end.

    Args:
        folder: The run's folder.
        filesystem: The pyarrow filesystem it lies on; None for the local disk.
        wanted: The options.
        seen: The names of checkpoints that were verified as they came.
    """
    if filesystem is None:
        tidy([folder], wanted.owner)
    run = _looked_at(folder, filesystem)
    names, metrics = sorted(run.checkpoints), run.pairs()  # named by the time
    sources = {name: Source(f"{folder}/{name}", filesystem) for name in names}
    outcomes = []
    if wanted.verify:
        outcomes += [o for name in names if name not in seen for o in verify_one(sources[name])]
    for name in _to_convert(names, folder, filesystem, wanted):
        keep_others = wanted.convert in ("all", "at end")
        outcomes += convert_reported(sources[name], metrics.get(name, {}), keep_others)
    if wanted.pin_best and wanted.metric is not None:
        outcomes += pin_best(folder, wanted.metric, wanted.convert != "never", filesystem)
    return outcomes


def _looked_at(folder: str, filesystem: Any) -> TrialFolder:
    run = TrialFolder("", open_store(folder, filesystem), Notes())
    run.look()
    return run


def _to_convert(names: list[str], folder: str, filesystem: Any, wanted: Wanted) -> list[str]:
    if wanted.convert == "never":
        return []
    if wanted.convert == "last":
        return names[-1:]
    if wanted.convert == "best":
        best = _best(folder, filesystem, wanted.metric)
        return [name for name in names if name == best]
    return names


def _best(folder: str, filesystem: Any, metric: Metric | None) -> str | None:
    assert metric is not None
    try:
        best = best_checkpoint(folder, metric.name, metric.mode, filesystem=filesystem)
    except TuneCkptError:  # none has that metric
        return None
    return Source(best.path).name
