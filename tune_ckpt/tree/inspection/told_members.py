"""Policies and modules of which a component's state tells, though no metadata list them.

Only what is certain: an optimizer of a module's is there as long as the module is, and the workers'
policies are all saved, unless the configuration says that only those in training are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tune_ckpt.errors import CorruptDataError
from tune_ckpt.formats.pickle import Opaque
from tune_ckpt.tree.inspection.foreign import ForeignComponent

_MODULES = "rl_module"
_OPTIMIZER = "_default_optimizer"  # how the names end of those that RLlib makes by itself


def check_members(opened: ForeignComponent, state: Any) -> None:
    """Check that the policies and modules of which a component's state tells are there.

    Args:
        opened: The component.
        state: Its state, read inertly.

    Raises:
        CorruptDataError: One is missing.
    """
    told = [*_policies(opened, state), *_modules(opened, state)] if isinstance(state, dict) else []
    lost = [path for path in told if not _is_there(opened, path)]
    if lost:
        others = f"; so are {', '.join(lost[1:])}" if lost[1:] else ""
        reason = f"it is missing, though the state beside it tells of it{others}"
        raise CorruptDataError(opened.store.path(lost[0]), reason)


def _is_there(opened: ForeignComponent, path: str) -> bool:
    folder, name = path.split("/", 1)
    return bool(opened.store.child(folder).child(name).names())


def _policies(opened: ForeignComponent, state: dict[Any, Any]) -> Iterator[str]:
    worker, config = state.get("worker"), state.get("config")
    ids = worker.get("policy_ids") if isinstance(worker, dict) else None
    settings = config.state if isinstance(config, Opaque) else config
    if opened.policy_ids or not (isinstance(ids, list | set) and isinstance(settings, dict)):
        return  # the metadata list them, or nothing does
    if settings.get("checkpoint_trainable_policies_only", False) is False:
        yield from sorted(f"policies/{name}" for name in ids)


def _modules(opened: ForeignComponent, state: dict[Any, Any]) -> Iterator[str]:
    optimizers = state.get("optimizer")
    if not isinstance(optimizers, dict) or not any(opened.store.child(_MODULES).names().values()):
        return  # that there is no folder of any is told already
    ids = {_module_of(str(name), told) for name, told in optimizers.items()}
    # Of all modules together, RLlib calls it __all_modules__.
    yield from sorted(f"{_MODULES}/{name}" for name in ids if name and not name.startswith("__"))


def _module_of(name: str, optimizer: Any) -> str:
    told = optimizer.get("module_id") if isinstance(optimizer, dict) else None
    by_name = name.removesuffix(_OPTIMIZER) if name.endswith(_OPTIMIZER) else ""
    return told if isinstance(told, str) else by_name  # Ray 2.41 added the id
