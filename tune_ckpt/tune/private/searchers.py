"""Search algorithms as they are when a sweep has begun.

Checked with Ray 2.48, 2.54 and 2.60.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterable
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


def lacks_its_space(state: bytes) -> bool:
    """Say whether a saved search algorithm has placeholders for functions and objects of its space.

    Where Ray is not given the space again, new trials get those for values.
    """
    return any(token in state for token in (b"__fn_ph", b"__ref_ph"))


def innermost(search: Any) -> Any:
    """Return the searcher that others wrap."""
    while hasattr(search, "searcher"):
        search = search.searcher
    return search


def takes_points(searcher: Any) -> bool:
    """Say whether a searcher takes points that were evaluated elsewhere."""
    from ray.tune.search import Searcher

    return type(searcher).add_evaluated_point is not Searcher.add_evaluated_point


def repeats(search: Any) -> int:
    """Return to how many trials one suggestion goes."""
    number = 1
    while hasattr(search, "searcher"):
        search = search.searcher
        number *= getattr(search, "repeat", 1)
    return number


def points_of(searcher: Any, configs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return of trials' configs what a searcher has suggested; nothing if it cannot be queued."""
    from ray.tune.utils import flatten_dict

    way = _way(searcher)
    known = set(way[0](searcher)) if way else set()
    flat = [flatten_dict(config) for config in configs] if known else []
    return [{name: value for name, value in config.items() if name in known} for config in flat]


def queue_points(searcher: Any, points: list[dict[str, Any]]) -> None:
    """Let a fresh searcher suggest points (see `points_of`) before all others, in their order."""
    way = _way(searcher)
    if way:
        way[1](searcher, points)


def _way(searcher: Any) -> tuple[Callable[[Any], Any], Callable[[Any, Any], None]] | None:
    names = (cls.__name__ for cls in type(searcher).__mro__)  # their packages need not be there
    return next((_WAYS[name] for name in names if name in _WAYS), None)


def _queue_in_study(searcher: Any, points: list[dict[str, Any]]) -> None:
    for point in points:
        searcher._ot_study.enqueue_trial(point)
    if points:  # else the same seed draws them once more
        searcher._ot_study.sampler.reseed_rng()


def _queue_for_trials(searcher: Any, points: list[dict[str, Any]]) -> None:
    searcher._points_to_evaluate = points
    searcher._setup_hyperopt()
    for _ in points:  # else the same seed draws them once more
        searcher.rstate.randint(2**31 - 1)


def _queue_as_suggestions(searcher: Any, points: list[dict[str, Any]]) -> None:
    for point in reversed(points):  # the last comes first
        searcher._nevergrad_opt.suggest(point)


def _queue_first(searcher: Any, points: list[dict[str, Any]]) -> None:
    searcher._points_to_evaluate = [*points, *(searcher._points_to_evaluate or ())]


def _flat_space(searcher: Any) -> Any:
    """Return the names in a searcher's space, where that is a dict that holds no other."""
    space = searcher._space if isinstance(searcher._space, dict) else {}
    return () if any(isinstance(value, dict) for value in space.values()) else space


# What a searcher's points consist of, and how it is made to suggest some.
_WAYS: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], None]]] = {
    "OptunaSearch": (_flat_space, _queue_in_study),
    "HyperOptSearch": (_flat_space, _queue_for_trials),
    "BayesOptSearch": (_flat_space, _queue_first),
    "TuneBOHB": (lambda searcher: searcher._space or (), _queue_first),
    "NevergradSearch": (
        lambda searcher: getattr(searcher._space, "value", None) or (),
        _queue_as_suggestions,
    ),
}


def set_live_trials(search: Any, trial_ids: set[str]) -> None:
    """Tell a generator of variants which of its trials are under way."""
    search._live_trials = set(trial_ids)


def count_made(search: Any, number: int) -> None:
    """Tell a search generator how many trials there are."""
    search._counter = number
