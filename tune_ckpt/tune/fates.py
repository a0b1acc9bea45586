"""What becomes of each checkpoint of a sweep: decided from what is known of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from tune_ckpt.tune.retention import Retention


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
