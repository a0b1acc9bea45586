"""What ``module:Name``, typed at the prompt, means."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Iterable
from typing import Any

from tune_ckpt.cli.options import WrongUse


def load(name: str) -> Any:
    """Return the class or function ``module:Name``; the working folder's modules count too.

    Raises:
        WrongUse: There is no such module, it cannot be imported, or it has nothing of that name
            that can be called.
    """
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise WrongUse(f"{name}: give the trainable as module:Name, such as train:MyTrainable")
    if module_name.endswith(".py"):
        module = module_name[: -len(".py")].strip("./").replace("/", ".")
        raise WrongUse(f"{name}: give a module's name, not a file's: {module}:{path}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    found = _imported(name, module_name)
    for part in path.split("."):
        if not hasattr(found, part):
            where = getattr(found, "__name__", found)
            raise WrongUse(f"{name}: there is no {part!r} in {where}{_nearest(part, _code(found))}")
        found = getattr(found, part)
    if not callable(found):
        nearest = _nearest(path, _code(sys.modules[module_name]))
        raise WrongUse(f"{name} is no class or function, but a {type(found).__name__}{nearest}")
    return found


def _imported(name: str, module_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and error.name != module_name.partition(".")[0]:
            raise WrongUse(f"{name}: {module_name} cannot be imported here: {error}") from error
        folder = os.getcwd()
        words = (found.name for found in pkgutil.iter_modules([folder]))
        there = f"there is no module {module_name!r}, neither installed nor in {folder}"
        raise WrongUse(f"{name}: {there}{_nearest(module_name, words)}") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise WrongUse(f"{name}: importing {module_name} failed with {reason}") from error


def _code(owner: Any) -> list[str]:
    """Return the names of the classes and functions that something has."""
    names = (name for name in dir(owner) if not name.startswith("_"))
    return [name for name in names if callable(inspect.getattr_static(owner, name, None))]


def _nearest(wanted: str, words: Iterable[str]) -> str:
    from tune_ckpt.sweep.metrics import nearest_first

    nearest = nearest_first(wanted, words)[:5]
    return f". There are, nearest first: {', '.join(nearest)}" if nearest else ""
