"""Search algorithms as they are when a sweep has begun.

Checked with Ray 2.48, 2.54 and 2.60.
"""

from __future__ import annotations

import copy
import sys
from typing import Any

from tune_ckpt.tune.private.tuners import tune_config


def begun_search(tuner: Any, param_space: dict[str, Any]) -> Any:
    """Return a Tuner's search algorithm as Tune has it when a sweep begins; see ``tune.run``.

    The objects in the search space stay, instead of Tune's placeholders.
    """
    from ray.tune.experiment import Experiment
    from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter, Searcher, SearchGenerator

    local, config = tuner._local_tuner, tune_config(tuner)
    arguments = local._get_tune_run_arguments(local.converted_trainable)
    spec = ("name", "stop", "storage_path", "storage_filesystem", "checkpoint_config")
    space = copy.deepcopy(param_space)
    experiment = Experiment(
        run=local.converted_trainable,
        config=space,
        num_samples=sys.maxsize if config.num_samples == -1 else config.num_samples,
        max_failures=arguments["max_failures"],
        **{name: arguments[name] for name in spec},
    )
    search, limit = copy.deepcopy(config.search_alg), config.max_concurrent_trials
    search = search or BasicVariantGenerator(max_concurrent=limit or 0)
    if isinstance(search, Searcher):
        if limit and not isinstance(search, ConcurrencyLimiter):
            search = ConcurrencyLimiter(search, max_concurrent=limit)
        search = SearchGenerator(search)
    search.set_search_properties(config.metric, config.mode, space, **experiment.public_spec)
    search.add_configurations([experiment])
    return search


def innermost(search: Any) -> Any:
    """Return the searcher that others wrap."""
    while hasattr(search, "searcher"):
        search = search.searcher
    return search


def suggest_again(searcher: Any, trial: Any) -> bool:
    """Let a searcher suggest a past trial's values, under its id; say whether it can."""
    study = getattr(searcher, "_ot_study", None)  # Optuna's; no other has a queue
    if study is None or not isinstance(searcher._space, dict):
        return False
    from ray.tune.utils import flatten_dict

    values = flatten_dict(trial.config)
    study.enqueue_trial({name: values[name] for name in searcher._space if name in values})
    searcher.suggest(trial.trial_id)
    return True


def set_live_trials(search: Any, trial_ids: set[str]) -> None:
    """Tell a generator of variants which of its trials are under way."""
    search._live_trials = set(trial_ids)


def count_made(search: Any, number: int, alive: set[str]) -> None:
    """Tell a search generator how many trials there are, and its limiter which are under way."""
    search._counter = number
    limiter = search.searcher
    if hasattr(limiter, "live_trials"):
        limiter.live_trials = set(alive)
        limiter.num_unfinished_live_trials = len(alive)
