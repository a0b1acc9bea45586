"""One RLModule out of a checkpoint of any version that has some."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tune_ckpt.errors import ClassNotFoundError, Fault, NotInCheckpointError
from tune_ckpt.objects.classes import name_of_class
from tune_ckpt.objects.trust import Trust, check_resolved
from tune_ckpt.objects.wishes import Strict
from tune_ckpt.rllib.converting.modules import (
    ModuleInPolicy,
    has_former_encoder,
    has_module,
    newest_model_config,
    newest_weights,
)
from tune_ckpt.rllib.reading.finding import Part, find
from tune_ckpt.rllib.reading.generations import MODULE
from tune_ckpt.rllib.reading.member_kinds import Module
from tune_ckpt.rllib.reading.members import modules, only
from tune_ckpt.rllib.reading.plain import plain, stored_name
from tune_ckpt.rllib.reading.spaces import ACTIONS, OBSERVATIONS
from tune_ckpt.rllib.reading.weights import Weights
from tune_ckpt.rllib.restoring.accounting import Account
from tune_ckpt.rllib.restoring.gym_spaces import make_spaces
from tune_ckpt.rllib.restoring.rllib_classes import (
    check_installed,
    constructing,
    find_rllib_class,
    unpickled,
)

_ADVICE = "Pass what it lacks to restore_module by keyword, such as model_config={...}."


def restore_module(
    checkpoint: Any,
    module_id: str | None = None,
    *,
    filesystem: Any = None,
    allow_pickle: bool = False,
    trusted: str | Collection[str] = (),
    strict: Strict = True,
    **arguments: Any,
) -> Any:
    """Return one RLModule of a checkpoint, built anew from plain data, with its weights.

    Only this module's files are read, wherever they are, and none of them is unpickled: RLlib's
    class is found by its name, today's or an older one.

    >>> print(restore_module("new_checkpoint", "p0").restore_report)  # doctest: +ELLIPSIS
    Restored from ...

    Args:
        checkpoint: A checkpoint of version 1.2 or newer, of an Algorithm or any part of one down to
            the module, or of a policy that is a module inside (Ray 2.5 to 2.30): a local path, a
            URI, or a Ray Checkpoint.
        module_id: Which one; not needed where there is only one.
        filesystem: A ``pyarrow.fs.FileSystem`` in which the path is to be looked up.
        allow_pickle: Let the checkpoint's own pickles import and call what they name. Only for
            checkpoints whose writer you trust.
        trusted: Modules and packages whose classes and functions the checkpoint may name, besides
            RLlib's own.
        strict: True: weights that are missing, too many or of another shape are an error.
            ``"warn"`` and ``"ignore"``: what fits is restored.
        arguments: For the module's constructor, instead of those that are stored; with
            ``inference_only=True`` what only training needs is left out.

    Returns:
        The module; its attribute ``restore_report`` tells what was loaded.

    Raises:
        ComponentNotFoundError, NotInCheckpointError: There is no such module.
        ClassNotFoundError: Its class is neither RLlib's, imported, nor trusted.
        ConstructorError: RLlib does not build it.
        UntrustedTypesError: Its arguments name classes or functions that are not trusted.
        RestoreError: The weights do not fit.
        CorruptDataError, CorruptCheckpointError: It is damaged.
        MissingDependencyError: RLlib or torch is not installed.
    """
    check_installed()
    stored = _find_module(find(checkpoint, filesystem), module_id)
    trust = Trust.of(allow_pickle, trusted)
    account = Account(stored.part.path, strict)
    made = _unpickled(stored, trust, arguments) if allow_pickle else None
    if made is None:
        made = _built(stored, trust, arguments)
    found = newest_weights(stored)
    if made.inference_only:
        account.left_out += _not_for_inference(found, made)
        found = {name: array for name, array in found.items() if name in made.state_dict()}
    elif found.keys() - made.state_dict().keys() and hasattr(made, "make_target_networks"):
        made.make_target_networks()  # which is the Learner's task in RLlib
    weights = account.fit(stored.part.name, made.state_dict(), found)
    account.check()
    made.load_state_dict({**made.state_dict(), **_tensors(weights)})
    return account.close(made)


def _not_for_inference(found: Weights, made: Any) -> list[Fault]:
    names = [name for name in found if name not in made.state_dict()]
    reason = f"a module that is inference_only has none of {', '.join(names)}"
    return [Fault("", reason)] if names else []


def _find_module(part: Part, module_id: str | None) -> Module:
    """Return a module in a part of a checkpoint; nothing of the others is opened."""
    if has_module(part):
        return ModuleInPolicy(part)
    _, found = only(modules(part), module_id, "module_id")
    assert isinstance(found, Module)
    return found


def _built(stored: Module, trust: Trust, arguments: dict[str, Any]) -> Any:
    """Return a module as it was made, without its weights."""
    from ray.rllib.core.rl_module.rl_module import RLModule

    cls = find_rllib_class(_class_name(stored), RLModule, trust, stored.part.path)
    told = {**_arguments(stored, trust, {*arguments}), **arguments}
    with constructing(name_of_class(cls), stored.part.path, _ADVICE):
        return cls(**told)


def module_spec(stored: Module, trust: Trust, **arguments: Any) -> Any:
    """Return RLlib's RLModuleSpec with which a module is made as it was."""
    from ray.rllib.core.rl_module.rl_module import RLModule, RLModuleSpec

    cls = find_rllib_class(_class_name(stored), RLModule, trust, stored.part.path)
    told = _arguments(stored, trust, {"inference_only", *arguments})
    return RLModuleSpec(module_class=cls, **told, **arguments)


def _class_name(stored: Module) -> str:
    if not stored.cls:
        raise NotInCheckpointError(stored.part.path, "class of a module", "nothing names it")
    return stored.cls


def _arguments(stored: Module, trust: Trust, given: set[str]) -> dict[str, Any]:
    path = stored.part.path
    told = dict(zip((OBSERVATIONS, ACTIONS), make_spaces(stored), strict=True))
    spec = {name: value for name, value in stored.spec.items() if name not in _REPLACED}
    spec = plain({**spec, "model_config": newest_model_config(stored)}, path)
    catalog = spec.pop("catalog_class", None) or spec.pop("catalog_class_path", None)
    rest = trust.resolved({key: item for key, item in spec.items() if key not in given}, path)
    check_resolved(rest, path)
    if catalog is not None and "catalog_class" not in given:
        rest["catalog_class"] = _catalog(stored, stored_name(catalog), trust)
    return {**told, **rest}


def _catalog(stored: Module, name: str, trust: Trust) -> Any:
    """Return a catalog; None, for the module's default, where Ray has that one no more."""
    from ray.rllib.core.models.catalog import Catalog

    if has_former_encoder(stored):
        from tune_ckpt.rllib.former import FormerSACCatalog

        return FormerSACCatalog
    try:
        return find_rllib_class(name, Catalog, trust, stored.part.path)
    except ClassNotFoundError:
        if name.startswith("ray.rllib."):
            return None
        raise


# Those of 1.2, which are there twice, and those that are made otherwise.
_REPLACED = {
    *("module_class", "module_config", "model_config_dict", "load_state_path"),
    *(OBSERVATIONS, ACTIONS),
}


def _unpickled(stored: Module, trust: Trust, arguments: dict[str, Any]) -> Any:
    """Return what the checkpoint's own pickle constructs; None where it has none."""
    store, name = stored.part.folder.store, stored.part.folder.ctor
    if stored.part.type != MODULE or name is None or not name.endswith(".pkl"):
        return None
    ctor: Any = unpickled(store.read_bytes(name), store.path(name))
    with constructing(stored.part.folder.cls, stored.part.path, _ADVICE):
        args, kwargs = ctor["ctor_args_and_kwargs"]
        return ctor["class"](*args, **{**kwargs, **arguments})


def _tensors(weights: dict[str, Any]) -> dict[str, Any]:
    import torch

    return {name: torch.as_tensor(array) for name, array in weights.items()}
