"""A searcher's state made anew: it is told of the trials there are, and makes only what is left."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ray.tune.search import BasicVariantGenerator, SearchGenerator
from ray.tune.utils import flatten_dict

from tune_ckpt.tree.storage.store import Store
from tune_ckpt.tune import private
from tune_ckpt.tune.resuming.replay import Past


def write_search_state(
    tuner: Any, param_space: dict[str, Any] | None, pasts: list[Past], store: Store, session: str
) -> str:
    """Write the state that a sweep's searcher has after its past, as Tune itself would.

    Args:
        tuner: The sweep's Tuner, whose searcher counts.
        param_space: The search space.
        pasts: The trials there are, in the order in which they were made.
        store: The sweep's folder.
        session: The session's name in the files' names.

    Returns:
        What was done, for the report.
    """
    if not param_space:
        return "no new trials are made: without param_space the search space is not known"
    search = private.begun_search(tuner, param_space)
    tell = next((tell for cls, tell in _TELLERS if isinstance(search, cls)), None)
    if tell is None:
        return f"no new trials are made: {type(search).__name__} cannot be told of past ones"
    note: str = tell(search, pasts)
    with tempfile.TemporaryDirectory() as folder:
        search.save_to_dir(folder, session_str=session)
        for file in Path(folder).iterdir():
            store.write_bytes(file.name, file.read_bytes())
    return note


def _skip(search: Any, pasts: list[Past]) -> str:
    """Let a generator of variants pass over those that exist: its order is the same again."""
    for _ in pasts:
        search.next_trial()
    alive = {past.trial.trial_id for past in pasts if not past.trial.is_finished()}
    private.set_live_trials(search, alive)
    return f"the searcher makes what is left of {search.total_samples} trials"


def _teach(search: Any, pasts: list[Past]) -> str:
    """Let a searcher suggest the past trials again, and tell it of their results."""
    searcher = private.innermost(search)
    told = [past for past in pasts if private.suggest_again(searcher, past.trial)]
    for past in told:
        for result in map(flatten_dict, past.results):
            searcher.on_trial_result(past.trial.trial_id, result)
        if past.trial.is_finished():
            last = flatten_dict(past.results[-1]) if past.results else None
            failed = past.trial.status == "ERROR"
            searcher.on_trial_complete(past.trial.trial_id, None if failed else last, error=failed)
    alive = {past.trial.trial_id for past in pasts if not past.trial.is_finished()}
    private.count_made(search, len(pasts), alive)
    name = type(searcher).__name__
    return f"{name} was told of {len(told)} of {len(pasts)} past trials" + (
        "" if told else "; only OptunaSearch can be"
    )


_TELLERS: list[tuple[type, Any]] = [(BasicVariantGenerator, _skip), (SearchGenerator, _teach)]
