"""What makes an action of an observation, as plain data: a recipe, and what it is made from.

Recipes are made by families of algorithms, see `tune_ckpt.rllib.inference.families`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tune_ckpt.errors import NotInCheckpointError, listed
from tune_ckpt.rllib.inference.layers import Layers
from tune_ckpt.rllib.reading.spaces import Space
from tune_ckpt.rllib.reading.weights import Weights


@dataclass(frozen=True)
class Recipe:
    """How a network is put together from its weights.

    Attributes:
        family: The name of the family.
        trunk: The layers that see the observation.
        head: Those that come after, to the inputs of the actions' distribution (or to advantages).
        value: Where values are added to advantages: the layers to them.
        lstm: Between trunk and head, if there is one: how its weights' names begin.
        log_std: Weights that are the logarithms of standard deviations, for any observation.
        log_std_clip: Where logarithms of standard deviations are clipped.
        squashed: Whether a mean goes through tanh to be an action.
        support: The values that a distribution of values is over; nothing where there is none.
    """

    family: str
    trunk: Layers
    head: Layers
    value: Layers = ()
    lstm: str = ""
    log_std: str = ""
    log_std_clip: float | None = None
    squashed: bool = False
    support: tuple[float, ...] = ()

    @property
    def weights(self) -> list[str]:
        """How the names begin of all weights that are needed."""
        layers = (*self.trunk, *self.head, *self.value)
        named = [f"{layer.weights}." for layer in layers]
        return [*named, *filter(None, [self.lstm and f"{self.lstm}.", self.log_std])]


@dataclass(frozen=True)
class Known:
    """What is known of a policy or module.

    Attributes:
        path: The checkpoint.
        cls: The last name of its class.
        weights: Its weights.
        model: Its model's configuration.
        observation_space: Of what the network sees.
        action_space: Of the environment.
        config: The rest of its configuration.
    """

    path: str
    cls: str
    weights: Weights
    model: dict[str, Any]
    observation_space: Space
    action_space: Space
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def is_continuous(self) -> bool:
        """Whether actions are real numbers."""
        space = self.action_space
        return space["space"] == "box" and "float" in str(space["dtype"])

    @property
    def support(self) -> tuple[float, ...]:
        """The values that a distribution of values is over; nothing where there is none."""
        told = {**self.config, **self.model}
        n = int(told.get("num_atoms") or 1)
        low, high = float(told.get("v_min", -10.0)), float(told.get("v_max", 10.0))
        return () if n == 1 else tuple(low + i * (high - low) / (n - 1) for i in range(n))

    def check(self, what: str, is_fine: bool) -> None:
        """Check that a network can be told in a recipe.

        Raises:
            NotInCheckpointError: It cannot.
        """
        if not is_fine:
            reason = f"it is a {self.cls} with {what}; {_INSTEAD}"
            raise NotInCheckpointError(self.path, BUILDABLE, reason)

    def checked(self, recipe: Recipe, others: re.Pattern[str]) -> Recipe:
        """Return a recipe in which every weight has its place.

        Args:
            recipe: The recipe.
            others: How the names begin of weights that take no part in acting, such as critics'.

        Raises:
            NotInCheckpointError: There are more weights, so the network is another one.
        """
        used = tuple(recipe.weights)
        more = [n for n in self.weights if not n.startswith(used) and not others.match(n)]
        self.check("layers other than RLlib's own", bool(recipe.trunk or recipe.head))
        self.check(f"weights that RLlib's own networks have not: {listed(more, 4)}", not more)
        return recipe


BUILDABLE = "network that this package can build"  # what a checkpoint lacks whose network it is not
_INSTEAD = "tell how to build it by register_family, or see restore_policy and restore_module"

Make = Callable[[Known], Recipe]
