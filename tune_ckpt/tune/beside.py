"""Conversions beside the originals: ``<trial>/msgpack/checkpoint_N`` for ``<trial>/checkpoint_N``.

`convert_one` and its like run in the callback's actor, and return an `Outcome` for each checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import xxhash

from tune_ckpt.errors import TuneCkptError
from tune_ckpt.experiment import best_checkpoint
from tune_ckpt.sweep.best_file import FOLDER
from tune_ckpt.sweep.metrics import Metric
from tune_ckpt.sweep.trial_folder import CONVERTED
from tune_ckpt.tree.metadata import CONVERTED_FROM
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.storage.folder import Store
from tune_ckpt.tree.storage.store import open_store
from tune_ckpt.tune.conversion import convert, is_msgpack, is_tree
from tune_ckpt.tune.jobs import Done, outcome_of
from tune_ckpt.tune.outcomes import Outcome
from tune_ckpt.tune.source import Source

# In the conversion of what RLlib wrote: what of, and what could not be carried.
NOTE = "tune_ckpt_converted.json"


def convert_one(source: Source) -> list[Outcome]:
    """Convert one checkpoint of a running sweep, unless that is done already."""
    with source.used():
        return [outcome_of("convert", source, _convert_beside)]


def convert_last(source: Source) -> list[Outcome]:
    """Convert a trial's last checkpoint, and drop copies of its earlier ones."""
    outcomes = convert_one(source)
    keep_only(open_store(source.trial, source.filesystem), {source.name})
    return outcomes


def convert_all(trial: str, filesystem: Any = None) -> list[Outcome]:
    """Convert what is left of a trial's checkpoints, and drop copies of those that are gone.

    Args:
        trial: The trial's folder.
        filesystem: The pyarrow filesystem it lies on; None for the local disk.
    """
    store = open_store(trial, filesystem)
    names = _checkpoints(store)
    outcomes = [convert_one(Source(f"{trial}/{name}", filesystem)) for name in names]
    keep_only(store, set(names))
    return [outcome for one in outcomes for outcome in one]


def convert_best(experiment: str, metric: Metric, filesystem: Any = None) -> list[Outcome]:
    """Convert a sweep's best checkpoint, and drop the copies of all others.

    Args:
        experiment: The sweep's folder.
        metric: What is best.
        filesystem: The pyarrow filesystem it lies on; None for the local disk.
    """
    try:
        best = best_checkpoint(experiment, metric.name, metric.mode, filesystem=filesystem)
    except TuneCkptError as error:
        return [Outcome(experiment, "convert", "skipped", str(error))]
    found = Source(best.path, filesystem)
    source = found.original  # it may be gone: then its conversion is all that is left of it
    is_left = source == found and source.trial != f"{experiment}/{FOLDER}"  # nor a pinned copy
    outcomes = convert_one(source) if is_left else []
    store = open_store(experiment, filesystem)
    for entry in store.list():
        if entry.is_dir:
            kept = {source.name} if source.trial.endswith(f"/{entry.name}") else set()
            keep_only(store.child(entry.name), kept)
    return outcomes


def _convert_beside(source: Source) -> Done:
    if is_msgpack(source):
        return "skipped", "it is msgpack already", 0, 0
    path = f"{source.trial}/{CONVERTED}/{source.name}"
    target = open_store(path, source.filesystem)
    # Tune writes checkpoint_N again after a crash: compare content, not names.
    note = (_convert_tree if is_tree(source) else _convert_rllib)(source, path, target)
    if note is None:
        return "up to date", path, 0, 0
    return "done", path + note, source.store.total_nbytes(), target.total_nbytes()


def _convert_tree(source: Source, path: str, target: Store) -> str | None:
    if _tree_digest(target) == open_tree(source.store).metadata.digest:
        return None
    convert(source, path)
    return ""


def _tree_digest(target: Store) -> str | None:
    try:
        digest: str | None = open_tree(target).metadata.extra.get(CONVERTED_FROM)
    except TuneCkptError:
        return None  # none there, or an unusable one, which the next conversion replaces
    return digest


def _convert_rllib(source: Source, path: str, target: Store) -> str | None:
    digest = _content(source.store).hexdigest()
    if _noted_digest(target) == digest:
        return None
    for entry in target.list():
        target.delete(entry.name)
    lost = convert(source, path)
    note = {CONVERTED_FROM: digest, "not_carried": lost}
    target.write_bytes(NOTE, json.dumps(note, indent=2).encode())
    return f", without {len(lost)} values that are listed in its {NOTE}" if lost else ""


def _noted_digest(target: Store) -> Any:
    if not target.exists(NOTE):
        return None
    try:
        return json.loads(target.read_bytes(NOTE))[CONVERTED_FROM]
    except (ValueError, KeyError, TypeError):  # damaged: convert it again
        return None


def _content(store: Store, path: str = "") -> xxhash.xxh3_128:
    digest = xxhash.xxh3_128()
    for entry in store.list():
        digest.update(f"{path}{entry.name}\0{entry.nbytes}\0".encode())
        if entry.is_dir:
            digest.update(_content(store.child(entry.name), f"{path}{entry.name}/").digest())
        else:
            digest.update(store.read_bytes(entry.name))
    return digest


def keep_only(trial: Store, names: Collection[str]) -> None:
    """Delete the conversions in a trial's folder that have other names."""
    folder = trial.child(CONVERTED)
    for name in _checkpoints(folder):
        if name not in names:
            folder.delete(name)


def _checkpoints(store: Store) -> list[str]:
    return [e.name for e in store.list() if e.is_dir and e.name.startswith("checkpoint_")]
