"""Which checkpoints of a sweep may go: a decision from what is known of them, without touching any.

Ray deletes the best checkpoint where its score is nested, or where some results lack it. Here what
is kept has roles, and whatever has one stays: the newest, the best, every so many, pinned ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.sweep.metrics import Metric
from tune_ckpt.tune.arguments import check_count, is_whole

Pins = Callable[[Mapping[str, Any]], bool] | Collection[int]

_UNITS: dict[str, int] = {"": 1, "B": 1} | {
    f"{letter}{binary}B".upper(): (1024 if binary else 1000) ** power
    for power, letter in enumerate("KMGT", 1)
    for binary in ("", "i")
}
_SIZE = re.compile(r"\s*(\d+(?:_\d+)*(?:\.\d+)?)\s*([A-Za-z]*)\s*")


@dataclass(frozen=True)
class Retention:
    """Which checkpoints a sweep keeps; give it to `CheckpointCallback`.

    What has any role is kept. Never deleted are the newest checkpoint of a trial that is not
    finished (if it is damaged, the one before it either), what a scheduler such as PBT may still
    exploit, and pinned ones. Tune's own ``num_to_keep`` must be left unset: it knows no roles.

    Args:
        keep_last: How many of each trial, the newest first.
        keep_best: How many of each trial, the best first. NaN and results without the metric come
            after every number.
        metric: What is best, ``a/b`` for nested ones.
        mode: ``"max"`` or ``"min"``.
        keep_every: Those after every so many iterations.
        pinned: Iterations; or a function that says of a result whether its checkpoint is pinned.
        max_bytes: For the whole sweep, such as ``"50 GB"``. The best of all are kept, then the
            newest: the budget takes from the other end, whatever role a checkpoint has. A new
            checkpoint is measured at once, and takes no room until that is done: so the budget may
            be exceeded for that moment, and nothing goes that need not.
        late_metric: Whether first results may lack the metric. By default a sweep whose first
            result lacks it is stopped at once, since its name may be misspelled.

    Raises:
        InvalidArgumentError: An option has no such value, or ``keep_best`` lacks its metric.
    """

    keep_last: int = 1
    keep_best: int = 0
    metric: str | None = None
    mode: str = "max"
    keep_every: int | None = None
    pinned: Pins = ()
    max_bytes: int | str | None = None
    late_metric: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        check_count("keep_last", self.keep_last, 0)
        check_count("keep_best", self.keep_best, 0)
        if self.keep_every is not None:
            check_count("keep_every", self.keep_every, 1)
        _check_pins(self.pinned)
        if self.keep_best and self.metric is None:
            raise InvalidArgumentError("metric", None, ("the metric that says what is best",))
        if self.metric is not None:
            Metric(self.metric, self.mode)
        _nbytes(self.max_bytes)

    @property
    def ranked_by(self) -> Metric | None:
        """What is best."""
        return None if self.metric is None else Metric(self.metric, self.mode)

    @property
    def budget_nbytes(self) -> float:
        """How much the whole sweep may take."""
        return _nbytes(self.max_bytes)

    def pins(self, iteration: int, metrics: Mapping[str, Any]) -> bool:
        """Say whether a checkpoint is pinned."""
        if callable(self.pinned):
            return bool(self.pinned(metrics))
        return iteration in self.pinned


@dataclass(frozen=True)
class Held:
    """What is known of a checkpoint that is there.

    Attributes:
        path: Where it is.
        trial: Its trial's id.
        order: The higher, the newer; of equal ones, the path tells.
        iteration: After which iteration.
        value: Its value of the metric; None where it has no number.
        is_pinned: Whether it is pinned.
        nbytes: Its size; None where it is not known yet.
    """

    path: str
    trial: str
    order: float
    iteration: int = 0
    value: float | None = None
    is_pinned: bool = False
    nbytes: int | None = None


def age(one: Held) -> tuple[float, str]:
    """Return what is the higher, the newer a checkpoint is."""
    return one.order, one.path


@dataclass(frozen=True)
class Fate:
    """What becomes of a checkpoint.

    Attributes:
        held: The checkpoint.
        stays: Whether it is kept.
        roles: What speaks for it; all of that may be outweighed by the budget.
    """

    held: Held
    stays: bool
    roles: tuple[str, ...]


def doomed(
    policy: Retention,
    held: Iterable[Held],
    live: Collection[str] = (),
    in_use: Collection[str] = (),
) -> list[Held]:
    """Return the checkpoints that may go, the least valuable first; see `fates`."""
    decided = fates(policy, held, live, in_use)
    return [fate.held for fate in reversed(decided) if not fate.stays]


def fates(
    policy: Retention,
    held: Iterable[Held],
    live: Collection[str] = (),
    in_use: Collection[str] = (),
) -> list[Fate]:
    """Return what becomes of each checkpoint, the most valuable first.

    Args:
        policy: What is kept.
        held: All checkpoints that are there.
        live: The trials that are not finished.
        in_use: The paths of checkpoints that something else still needs.
    """
    by_trial: dict[str, list[Held]] = {}
    for one in sorted(held, key=age, reverse=True):
        by_trial.setdefault(one.trial, []).append(one)
    everything = [one for newest_first in by_trial.values() for one in newest_first]
    firm = {one.path: _firm_roles(one, in_use) for one in everything}
    for trial in by_trial.keys() & set(live):
        firm[by_trial[trial][0].path].append("newest of an unfinished trial")
    roles = {path: [*words] for path, words in firm.items()}
    for newest_first in by_trial.values():
        for one, role in _roles(policy, newest_first):
            roles[one.path].append(role)
    untouchable = {path for path, words in firm.items() if words}
    gone = {path for path, words in roles.items() if not words}
    gone |= _over_budget(policy, [one for one in everything if one.path not in gone], untouchable)
    return [
        Fate(one, one.path not in gone, tuple(roles[one.path]))
        for one in _best_first(policy, everything)
    ]


def _firm_roles(one: Held, in_use: Collection[str]) -> list[str]:
    """Return what no budget outweighs."""
    words = {"pinned": one.is_pinned, "needed to go on": one.path in in_use}
    return [word for word, holds in words.items() if holds]


def _roles(policy: Retention, newest_first: list[Held]) -> Iterator[tuple[Held, str]]:
    for one in newest_first[: policy.keep_last]:
        yield one, f"among the last {policy.keep_last}"
    for one in _best_first(policy, newest_first)[: policy.keep_best]:
        yield one, f"among the best {policy.keep_best}"
    for one in newest_first:
        if policy.keep_every and one.iteration % policy.keep_every == 0:
            yield one, f"one of every {policy.keep_every}"


def _over_budget(policy: Retention, kept: list[Held], untouchable: set[str]) -> set[str]:
    """Return the paths for which there is no room: from the first that does not fit on."""
    room = policy.budget_nbytes
    room -= sum(one.nbytes or 0 for one in kept if one.path in untouchable)
    others = [one for one in _best_first(policy, kept) if one.path not in untouchable]
    for position, one in enumerate(others):
        room -= one.nbytes or 0
        if room < 0:
            return {later.path for later in others[position:]}
    return set()


def _best_first(policy: Retention, held: Iterable[Held]) -> list[Held]:
    """Order by value, those without one last; of equal ones the newest first."""
    metric = policy.ranked_by

    def key(one: Held) -> tuple[bool, float]:
        """Return a checkpoint's place: the best first, those without a value last."""
        if metric is None or one.value is None:
            return True, 0.0
        return False, metric.cost(one.value)

    return sorted(sorted(held, key=age, reverse=True), key=key)


def _check_pins(pins: Any) -> None:
    if callable(pins) or isinstance(pins, range):  # which may be very long
        return
    is_text = isinstance(pins, str | bytes)
    if is_text or not isinstance(pins, Collection) or not all(map(is_whole, pins)):
        expected = ("iterations such as [7, 20]", "a function of a result")
        raise InvalidArgumentError("pinned", pins, expected)


def _nbytes(size: int | str | None) -> float:
    if size is None:
        return float("inf")
    found = _SIZE.fullmatch(str(size))
    if found is None or found[2].upper() not in _UNITS:
        expected = ("a number of bytes", "text such as '50 GB' or '512 MiB'", None)
        raise InvalidArgumentError("max_bytes", size, expected)
    return float(found[1]) * _UNITS[found[2].upper()]
