"""A searcher's state made anew: it is told of the trials there are, and makes only what is left."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune.search import BasicVariantGenerator, SearchGenerator
from ray.tune.utils import flatten_dict

from tune_ckpt.sweep.metrics import number
from tune_ckpt.tree.storage.store import Store
from tune_ckpt.tune import private
from tune_ckpt.tune.resuming.histories import History
from tune_ckpt.tune.statuses import ERROR, TERMINATED


@dataclass(frozen=True)
class Told:
    """What a searcher was told.

    Attributes:
        note: In words, for the report.
        strangers: The trials that it does not know.
    """

    note: str
    strangers: frozenset[str] = frozenset()


def write_search_state(
    tuner: Any,
    param_space: dict[str, Any] | None,
    histories: list[History],
    store: Store,
    session: str,
) -> Told:
    """Write the state that a sweep's searcher has after its past, as Tune itself would.

    Args:
        tuner: The sweep's Tuner, whose searcher counts.
        param_space: The search space.
        histories: The trials there are, in the order in which they were made.
        store: The sweep's folder.
        session: The session's name in the files' names.
    """
    unknown = frozenset(history.trial.trial_id for history in histories)
    if not param_space:
        reason = "without param_space the search space is not known"
        return Told(f"no new trials are made: {reason}", unknown)
    search = private.begun_search(tuner, param_space)
    tell = next((tell for cls, tell in _TELLERS if isinstance(search, cls)), None)
    if tell is None:
        reason = f"{type(search).__name__} cannot be told of past ones"
        return Told(f"no new trials are made: {reason}", unknown)
    told: Told = tell(search, histories)
    with tempfile.TemporaryDirectory() as folder:
        search.save_to_dir(folder, session_str=session)
        for file in Path(folder).iterdir():
            store.write_bytes(file.name, file.read_bytes())
    return told


def _skip(search: Any, histories: list[History]) -> Told:
    """Let a generator of variants pass over those that exist: its order is the same again."""
    for _ in histories:
        search.next_trial()
        private.set_live_trials(search, set())  # else it may make no more: max_concurrent
    alive = {history.trial.trial_id for history in histories if not history.trial.is_finished()}
    private.set_live_trials(search, alive)
    return Told(f"the searcher makes what is left of {search.total_samples} trials")


def teach(search: Any, histories: list[History]) -> Told:
    """Let a searcher suggest the past trials again, and tell it of their results."""
    searcher = private.innermost(search)
    past = [history for history in histories if history.trial.config]  # else that is lost
    points = private.points_of(searcher, [history.trial.config for history in past])
    private.queue_points(searcher, points[:: private.repeats(search)])
    known = set()
    # Where it cannot suggest them, there are no points.
    for history, point in zip(past, points, strict=False):
        if _suggests(search.searcher, history, point):
            _retell(search, history)
            known.add(history.trial.trial_id)
    added = [] if points else [history for history in past if _add(searcher, history)]
    private.count_made(search, len(histories))
    count = len(known) + len(added)
    note = f"{type(searcher).__name__} was told of {count} of {len(histories)} past trials"
    strangers = frozenset(history.trial.trial_id for history in histories) - known
    return Told(note if count else f"{note}: there is no way (see tune_ckpt.resume)", strangers)


def _suggests(searcher: Any, history: History, point: Mapping[str, Any]) -> bool:
    """Let a searcher suggest a past trial's values, under its id; say whether it did."""
    suggested = searcher.suggest(history.trial.trial_id)
    flat = flatten_dict(suggested) if isinstance(suggested, dict) else {}
    return bool(flat) and all(_same(flat.get(name), value) for name, value in point.items())


def _same(suggested: Any, value: Any) -> bool:
    ours, theirs = number(value), number(suggested)
    if ours is None or theirs is None:
        return bool(suggested == value)
    return math.isclose(ours, theirs, rel_tol=1e-6)  # some keep them on another scale


def _retell(search: Any, history: History) -> None:
    """Tell a searcher of the results of a trial that it has suggested."""
    for result in history.results:
        search.on_trial_result(history.trial.trial_id, result)
    if history.trial.is_finished():
        last = history.results[-1] if history.results else {}
        metrics = [search.metric] if isinstance(search.metric, str) else search.metric or ()
        failed = history.trial.status == ERROR or not all(metric in last for metric in metrics)
        search.on_trial_complete(history.trial.trial_id, None if failed else last, error=failed)


def _add(searcher: Any, history: History) -> bool:
    """Tell a searcher of a finished trial that it has not suggested; say whether it can be told."""
    last = history.results[-1] if history.results else {}
    value = number(last.get(searcher.metric))
    if value is None or history.trial.status != TERMINATED or not private.takes_points(searcher):
        return False
    searcher.add_evaluated_point(dict(history.trial.config), value)
    return True


_TELLERS: list[tuple[type, Any]] = [(BasicVariantGenerator, _skip), (SearchGenerator, teach)]
