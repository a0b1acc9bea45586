"""Ray actors as components: a handle, a list of handles, or RLlib's `FaultTolerantActorManager`.

The actors of a group are copies of one another: their component is saved from the first that is
alive, and restored into every one. Whatever is done to an actor's object is done by a function that
is sent to it, and bytes travel through Ray's object store: nodes need not share a disk. Dead actors
are passed over; the log and `ActorGroup.skipped` name them.

Ray is never imported here: whoever has an actor has it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tune_ckpt.errors import (
    ActorsFailedError,
    Fault,
    InvalidArgumentError,
    NoHealthyActorError,
    TuneCkptError,
)

_log = logging.getLogger(__name__)
_LONGEST_REASON = 200
# What Ray raises where an actor, its process or its node is gone.
_DEADLY = ("RayActorError", "NodeDiedError", "WorkerCrashedError", "ObjectLostError")


@dataclass
class ActorGroup:
    """Actors that are copies of one another, as one component.

    Handles, lists of them and RLlib's managers are taken as components as they are; make a group of
    them to learn from `skipped` which actors were passed over.

    Attributes:
        actors: A handle, a list of handles, or a `FaultTolerantActorManager`.
        part: Which subcomponent of the actors' objects is meant, ``/`` between levels; empty for
            the objects themselves.
        skipped: The actors that were dead when they were called last, each with the reason.
    """

    actors: Any
    part: str = ""
    skipped: list[Fault] = field(default_factory=list, compare=False)

    def __post_init__(self) -> None:
        """Check that these are actors, before anything is made of them.

        Raises:
            InvalidArgumentError: They are not.
        """
        if not _are_actors(self.actors) and self.actors != []:
            kinds = "an actor handle", "a list of them", "a FaultTolerantActorManager"
            raise InvalidArgumentError("actors", self.actors, kinds)

    def child(self, name: str) -> ActorGroup:
        """Return the subcomponent ``name`` of this one, in the same actors."""
        return ActorGroup(self.actors, f"{self.part}/{name}".lstrip("/"), self.skipped)

    def first(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return what ``function`` makes of the first healthy actor's object, run in that actor.

        Args:
            function: Takes the object, then ``part``, then the arguments.
            args: Further arguments.

        Raises:
            NoHealthyActorError: All of them are dead.
        """
        outcome, skipped = self._first(function, *args)
        self._note(skipped)
        return outcome.value()

    def names(self, function: Callable[..., Any]) -> dict[str, ActorGroup]:
        """Return the subcomponents by name; ``function`` lists the names of an object's own."""
        outcome, _ = self._first(function)
        return {name: self.child(name) for name in outcome.value()}

    def _first(self, function: Callable[..., Any], *args: Any) -> tuple[Done | Failed, list[Fault]]:
        skipped: list[Fault] = []
        for member in _members(self.actors):
            outcome = member.outcome_of(member.call(function, self.part, *args))
            if not isinstance(outcome, Dead):
                return outcome, skipped
            skipped.append(outcome.fault)
        raise self._nobody(skipped)

    def each(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """Return what ``function`` makes of every healthy actor's object, run in the actors.

        Args:
            function: Takes the object, then ``part``, then the arguments.
            args: Further arguments; they are brought to each node once.

        Raises:
            NoHealthyActorError: All of them are dead.
            ActorsFailedError: The function failed in some; the others have done their part.
        """
        shared = [_ray().put(arg) for arg in args]
        calls = [(one, one.call(function, self.part, *shared)) for one in _members(self.actors)]
        outcomes = [member.outcome_of(call) for member, call in calls]
        alive = [outcome for outcome in outcomes if not isinstance(outcome, Dead)]
        skipped = [outcome.fault for outcome in outcomes if isinstance(outcome, Dead)]
        if not alive:
            raise self._nobody(skipped)
        self._note(skipped)
        failed = [outcome for outcome in alive if isinstance(outcome, Failed)]
        if failed:
            faults = tuple(outcome.fault for outcome in failed)
            raise ActorsFailedError(len(alive), faults) from failed[0].error
        return [outcome.value() for outcome in alive]

    def _note(self, skipped: Sequence[Fault]) -> None:
        for fault in skipped:
            _log.warning("This actor is passed over, for it is dead: %s", fault)
        self.skipped[:] = skipped

    def _nobody(self, skipped: list[Fault]) -> NoHealthyActorError:
        self.skipped[:] = skipped
        return NoHealthyActorError(tuple(skipped))


def actors_of(value: Any) -> ActorGroup | None:
    """Return the group of actors that an object is, or None where it is something else."""
    if isinstance(value, ActorGroup):
        return value
    return ActorGroup(value) if _are_actors(value) else None


def _are_actors(value: Any) -> bool:
    is_list = isinstance(value, list | tuple) and len(value) > 0
    return _is_manager(value) or _is_handle(value) or (is_list and all(map(_is_handle, value)))


# ------------------------------------------------------------------------ what became of a call


@dataclass(frozen=True)
class Done:
    """The function came back."""

    result: Any

    def value(self) -> Any:
        """Return what it returned."""
        return self.result


@dataclass(frozen=True)
class Failed:
    """The function raised an error; the actor is alive."""

    fault: Fault
    error: BaseException

    def value(self) -> Any:
        """Raise what it raised."""
        raise self.error


@dataclass(frozen=True)
class Dead:
    """The actor is dead, or cannot be reached."""

    fault: Fault


# ------------------------------------------------------------------------------ kinds of groups


@dataclass(frozen=True)
class _Member:
    handle: Any
    manager: Any = None
    number: int | None = None

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Send a function; return Ray's reference to what comes back, None to a dead actor."""
        if self.manager and not self.manager.is_actor_healthy(self.number):
            return None
        return self.handle.__ray_call__.remote(function, *args)  # every actor has this method

    def outcome_of(self, call: Any) -> Done | Failed | Dead:
        """Return what became of a call."""
        if call is None:
            return Dead(Fault(self._name, "its manager has marked it as unhealthy"))
        ray = _ray()
        try:
            return Done(ray.get(call))
        except ray.exceptions.RayTaskError as error:
            # An error of ours comes as itself, with its facts; others keep the actor's traceback.
            own = error.cause if isinstance(error.cause, TuneCkptError) else error
            reason = f"{type(error.cause).__name__}: {error.cause}"
            return Failed(Fault(self._name, reason[:_LONGEST_REASON]), own)
        except tuple(getattr(ray.exceptions, name) for name in _DEADLY) as error:
            if self.manager:
                self.manager.set_actor_state(self.number, healthy=False)
            # Ray's message begins with a table of ids; what happened stands last.
            return Dead(Fault(self._name, str(error).splitlines()[-1][:_LONGEST_REASON]))

    @property
    def _name(self) -> str:
        return str(self.handle) if self.number is None else f"{self.handle}, number {self.number}"


def _members(actors: Any) -> Iterator[_Member]:
    if _is_manager(actors):
        handles = actors.actors()
        for number in actors.actor_ids():
            yield _Member(handles[number], actors, number)
    else:
        for handle in [actors] if _is_handle(actors) else actors:
            yield _Member(handle)


def _is_handle(value: Any) -> bool:
    return _is_named(value, "ray.actor", "ActorHandle")


def _is_manager(value: Any) -> bool:
    return _is_named(value, "ray.rllib.utils.actor_manager", "FaultTolerantActorManager")


def _is_named(value: Any, module: str, name: str) -> bool:
    kinds = type(value).__mro__
    return any(kind.__name__ == name and kind.__module__ == module for kind in kinds)


def _ray() -> Any:
    return sys.modules["ray"]
