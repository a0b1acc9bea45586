"""Which family of algorithms a policy or RLModule belongs to, by its class: who makes its recipe.

`register_family` adds one: a function from what is known of a policy to its recipe.
"""

from __future__ import annotations

from tune_ckpt.errors import NotInCheckpointError
from tune_ckpt.rllib.inference.recipes import BUILDABLE, Known, Make, Recipe
from tune_ckpt.rllib.inference.recipes_new import NEW_FAMILIES
from tune_ckpt.rllib.inference.recipes_old import OLD_FAMILIES

_FAMILIES: dict[str, Make] = {**OLD_FAMILIES, **NEW_FAMILIES}


def register_family(make: Make, *classes: str) -> None:
    """Tell how recipes are made for policies or RLModules of some classes.

    Args:
        make: From what is known of one to its recipe.
        classes: The last names of the classes.
    """
    _FAMILIES.update(dict.fromkeys(classes, make))


def make_recipe(known: Known) -> Recipe:
    """Return the recipe of a policy or module.

    Raises:
        NotInCheckpointError: Its class belongs to no family, or its network is not a built-in one.
    """
    make = _FAMILIES.get(known.cls)
    if make is None:
        reason = (
            f"{known.cls or 'its class, which nothing names,'} is in none of the families "
            f"{', '.join(sorted(_FAMILIES))}; tell how to build it by register_family, "
            "or see restore_policy and restore_module"
        )
        raise NotInCheckpointError(known.path, BUILDABLE, reason)
    return make(known)
