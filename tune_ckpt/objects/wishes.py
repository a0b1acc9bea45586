"""How the caller wants an object to be restored."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.objects.selection import Patterns, Selection
from tune_ckpt.objects.trust import Trust

Strict = Literal[True, "warn", "ignore"]
_LENIENT = ("warn", "ignore")


def check_strict(strict: object) -> None:
    """Check the argument of that name.

    Raises:
        InvalidArgumentError: It has a value that it cannot have.
    """
    if strict is not True and strict not in _LENIENT:  # an equal 1 would be taken for neither
        raise InvalidArgumentError("strict", strict, (True, *_LENIENT))


@dataclass(frozen=True)
class Wishes:
    """How an object is to be restored; `tune_ckpt.Checkpointable.restore_from_path` tells more."""

    selection: Selection = field(default_factory=Selection)
    trust: Trust = field(default_factory=Trust)
    strict: Strict = True
    device: Any = None
    tolerance: float | None = None

    @classmethod
    def of(
        cls,
        *,
        strict: Strict = True,
        components: Patterns | None = None,
        exclude: Patterns | None = None,
        rename: Mapping[str, str] | None = None,
        device: Any = None,
        tolerance: float | None = None,
        allow_pickle: bool = False,
        trusted: str | Collection[str] = (),
        **later: Any,
    ) -> Wishes:
        """Return what the arguments of a restore mean; unknown ones are for later versions.

        Raises:
            InvalidArgumentError: One has a value that it cannot have.
        """
        check_strict(strict)
        selection = Selection.of(components, exclude, rename)
        return cls(selection, Trust.of(allow_pickle, trusted), strict, device, tolerance)
