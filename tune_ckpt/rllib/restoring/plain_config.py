"""What of a stored configuration may be given to RLlib without trust: plain data, and no names.

RLlib imports what some texts in a configuration name (``"callbacks": "package.module.Class"``), and
Gymnasium the module in an environment's (``"package:Walker-v2"``), so such texts are code too, for
whoever did not write them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tune_ckpt.errors import Fault, NotInCheckpointError
from tune_ckpt.formats.parts import label
from tune_ckpt.formats.pickle import Opaque
from tune_ckpt.formats.references import Reference
from tune_ckpt.objects.trust import Trust
from tune_ckpt.rllib.converting.portable import NOT_SERIALIZABLE
from tune_ckpt.rllib.reading.plain import fields, last_name, plain, with_colon
from tune_ckpt.rllib.reading.spaces import is_space, space_of
from tune_ckpt.rllib.restoring.gym_spaces import make_space

_IMPORT_NAME = re.compile(r"[A-Za-z_]\w*([.:][A-Za-z_]\w*)+")
# Of an environment, what is before a dot or a colon is imported. RLlib itself knows this package.
_ENVIRONMENT, _KNOWN_ENVIRONMENTS = "env", "ale_py:ALE/"
_RLLIB = "ray.rllib."
_NOTHING = object()


def plain_config(config: Any, trust: Trust) -> tuple[dict[str, Any], list[Fault]]:
    """Return the plain entries of a configuration, with its spaces, and what was left out.

    Args:
        config: A configuration's entries, as they were read inertly.
        trust: Whose classes and functions are taken with their names.
    """
    lost: list[Fault] = []
    made = {key: _plain(item, trust, (key,), lost) for key, item in config.items()}
    return {key: item for key, item in made.items() if item is not _NOTHING}, lost


def _plain(value: Any, trust: Trust, steps: tuple[Any, ...], lost: list[Fault]) -> Any:
    if isinstance(value, Opaque):
        value = _of_record(value, "/".join(map(label, steps)))
    name = _name(value, steps[-1])
    if name is not None and trust.covers(name):
        if isinstance(value, str) and not _IMPORT_NAME.fullmatch(value):
            return value  # an environment's name, which only Gymnasium understands
        return trust.resolved(Reference(with_colon(name)), "/".join(map(label, steps)))
    if name is not None and name.startswith(_RLLIB) and steps[-1] == "type":
        return last_name(name)  # a short name, which RLlib looks up among its own
    if name is not None or isinstance(value, Opaque):
        lost.append(Fault("/".join(map(label, steps)), f"{name or value} was left out"))
        return _NOTHING
    if isinstance(value, dict):
        return dict(_parts(value.items(), trust, steps, lost))
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(v for _, v in _parts(enumerate(value), trust, steps, lost))
    return value


def _of_record(value: Opaque, path: str) -> Any:
    """Return a space, a name or plain data; any other object, which no dict replaces, as it is."""
    if is_space(value):
        try:
            return make_space(space_of(value, path) or {}, path)
        except NotInCheckpointError:  # of a kind that RLlib's models do not take
            return value
    if value.pairs:
        return fields(value)
    made = plain(value, path)
    return value if isinstance(made, dict) else made


def _parts(
    items: Any, trust: Trust, steps: tuple[Any, ...], lost: list[Fault]
) -> Iterator[tuple[Any, Any]]:
    for key, item in items:
        made = _plain(item, trust, (*steps, key), lost)
        if made is not _NOTHING:
            yield key, made


def _name(value: Any, key: Any) -> str | None:
    if isinstance(value, Reference):
        return value.name
    if not isinstance(value, str):
        return None
    if value == NOT_SERIALIZABLE or _IMPORT_NAME.fullmatch(value):
        return value
    is_environment = key == _ENVIRONMENT and not value.startswith(_KNOWN_ENVIRONMENTS)
    return value if is_environment and re.search("[.:]", value) else None
