"""Whether a sweep's trials can go on up to where the caller wants, told before anything is touched.

What is written into the trials' criterion stays there: a slip would end the sweep for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.sweep.metrics import Metric, names, nearest_first, number
from tune_ckpt.tune.resuming.past import Metrics, PastTrial

_NEAREST = 5
_A_STOP = (
    "one that says where trials stop, as no file tells that: give "
    'run_config=tune.RunConfig(stop={"training_iteration": 50}), or extend=; stop={} where their '
    "own code ends them"
)


def check_form(extend: Any) -> None:
    """Refuse what is neither None nor a dict of metrics and numbers.

    Raises:
        InvalidArgumentError: It is neither.
    """
    if extend is None:
        return
    pairs = extend.items() if isinstance(extend, Mapping) else [(None, None)]
    if not all(isinstance(n, str) and n and number(value) is not None for n, value in pairs):
        expected = 'a dict of metrics and numbers, as {"training_iteration": 50}'
        raise InvalidArgumentError("extend", extend, (expected,))


def check_extend(
    extend: Mapping[str, float], stop: Mapping[str, Any], pasts: Iterable[PastTrial]
) -> None:
    """Refuse limits that would end trials earlier than before, and names that no result has.

    The present limit itself is taken: whoever repeats a command goes on with what it began.

    Args:
        extend: Metrics and values up to which trials shall go on.
        stop: Where they stop now, as far as it is known.
        pasts: The trials' folders, which are read only where ``stop`` does not tell.

    Raises:
        InvalidArgumentError: There is such a limit or name.
    """
    for name in sorted(extend.keys() & stop.keys()):
        if extend[name] < stop[name]:
            more = f"{name} of {stop[name]} or more: trials stop there now"
            raise InvalidArgumentError("extend", dict(extend), (more,))
    new = sorted(extend.keys() - stop.keys())
    results = [found for past in pasts if (found := _told(past))] if new else []
    for name in new if results else ():
        _check_new(name, extend, stop, results)


def _told(past: PastTrial) -> list[Metrics]:
    """Return a trial's results; where a kill left none, what its newest checkpoint tells."""
    newest = (past.metrics_of(name) for name in past.checkpoints())
    return past.results or [metrics for metrics in newest if metrics][:1]


def check_stop(stop: Mapping[str, Any] | None, run_config: Any) -> None:
    """Refuse to make trials again that would run for ever.

    Args:
        stop: Where they stop, as the sweep's files tell; None where none does.
        run_config: What the caller says of it.

    Raises:
        InvalidArgumentError: Nobody tells.
    """
    if stop is None and (run_config is None or run_config.stop is None):
        raise InvalidArgumentError("run_config", run_config, (_A_STOP,))


def _check_new(
    name: str, extend: Mapping[str, float], stop: Mapping[str, Any], results: list[list[Metrics]]
) -> None:
    metric = Metric(name)
    if all(metric.find(result) is None for of_trial in results for result in of_trial):
        known = {*stop, *(each for of_trial in results for each in names(of_trial[-1]))}
        nearest = ", ".join(nearest_first(name, known)[:_NEAREST])
        told = f"of metrics that results report, nearest to {name!r} first: {nearest}"
        raise InvalidArgumentError("extend", dict(extend), (told,))
    reached = [metric.value(of_trial[-1]) for of_trial in results]
    if all(value is not None and value > extend[name] for value in reached):
        beyond = min(value for value in reached if value is not None)
        more = f"{name} of {beyond:g} or more: every trial has reached that"
        raise InvalidArgumentError("extend", dict(extend), (more,))
