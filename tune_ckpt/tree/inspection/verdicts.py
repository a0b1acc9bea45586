"""What to think of a name that a pickle would import: harmless, unknown or dangerous."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tune_ckpt.formats.pickle_build import Tables
from tune_ckpt.formats.pickle_harmless import CALLS
from tune_ckpt.formats.pickle_nodes import canonical
from tune_ckpt.formats.pickle_tensors import VALUES_WITH_TORCH
from tune_ckpt.formats.pickle_torch import calls_for_arrays

Verdict = Literal["harmless", "unknown", "dangerous"]
WORST_FIRST: tuple[Verdict, ...] = ("dangerous", "unknown", "harmless")

_HARMLESS = Tables(VALUES_WITH_TORCH, {**CALLS, **calls_for_arrays("", {}), "torch:device": str})
# The raw bytes of tensors; and the reader's own hook, which brings nothing of the pickle's.
_INERT = re.compile(r"torch(\.storage)?:\w+Storage|pickle:persistent_load")

# Modules, with all below them, and single names; by why.
_MODULES = {
    "runs commands": "os posix nt subprocess pty multiprocessing asyncio popen2 commands",
    "runs any code": "runpy code codeop timeit bdb pdb cProfile profile doctest importlib "
    "pkgutil imp site pip setuptools torch.hub torch.utils.cpp_extension",
    "reaches the system": "shutil socket ctypes _ctypes sys signal urllib "
    "http ftplib smtplib requests httpx webbrowser",
    "loads a pickle": "pickle _pickle dill joblib marshal shelve",
    "is code itself": "cloudpickle ray.cloudpickle",
}
_NAMES = {
    "runs any code": "builtins:eval builtins:exec builtins:compile builtins:__import__ "
    "builtins:breakpoint builtins:input",
    "reaches the system": "builtins:open io:open io:FileIO _io:open",
    "leads anywhere": "builtins:getattr builtins:setattr builtins:delattr builtins:vars "
    "builtins:globals builtins:locals builtins:map operator:attrgetter operator:methodcaller "
    "_operator:attrgetter _operator:methodcaller functools:partial functools:reduce",
    "loads a pickle": "torch:load torch.serialization:load torch.jit:load numpy:load",
    "is code itself": "types:CodeType types:FunctionType "
    "types:LambdaType builtins:code builtins:function",
}


def _by_key(table: dict[str, str]) -> dict[str, str]:
    return {key: reason for reason, keys in table.items() for key in keys.split()}


_DANGEROUS = _by_key(_MODULES) | _by_key(_NAMES)


@dataclass(frozen=True)
class Judged:
    """Something that a pickle names, with a verdict.

    Attributes:
        name: ``module:name``.
        verdict: What to think of it.
        reason: Why it is dangerous; else empty.
    """

    name: str
    verdict: Verdict
    reason: str = ""


def judged(name: str) -> Judged:
    """Return the verdict on a name (``module:name``) that a pickle would import."""
    if _HARMLESS.know(name) or _INERT.fullmatch(name):
        return Judged(name, "harmless")
    reason = next((_DANGEROUS[key] for key in _keys(name) if key in _DANGEROUS), None)
    return Judged(name, "dangerous", reason) if reason else Judged(name, "unknown")


def _keys(name: str) -> Iterator[str]:
    module, _, qualname = canonical(*name.split(":", 1)).partition(":")
    steps = qualname.split(".")
    yield f"{module}:{steps[0]}"
    parts = module.split(".")
    yield from (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    # A dotted name leads through attributes, and those of a module may be other modules.
    for place, step in enumerate(steps[:-1]):
        yield step
        yield f"{step}:{steps[place + 1]}"
