"""The report of `tune_ckpt.tree.inspection.diff`: what differs between two checkpoints."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tune_ckpt.tree.inspection.found import UNTOLD, ArrayFacts
from tune_ckpt.tree.notebook import as_html

_SHOWN = 100  # of arrays and of values each

Change = Literal["added", "removed", "changed"]


@dataclass(frozen=True)
class ArrayDifference:
    """One array that differs.

    Attributes:
        path: Where it stands: the component and the place in its state.
        before: What is known of it in the first checkpoint; None where it is not there.
        after: The same for the second.
        max_abs: The largest absolute difference of two elements; None where it was not asked for,
            or the shapes differ, or the elements are no numbers. Infinite where one is NaN.
        max_rel: The largest difference of two elements relative to the larger of both.
    """

    path: str
    before: ArrayFacts | None
    after: ArrayFacts | None
    max_abs: float | None = None
    max_rel: float | None = None

    @property
    def change(self) -> Change:
        """Whether it was added, removed or changed."""
        return change_of(self.before, self.after)

    def __str__(self) -> str:
        before, after = shown_array(self.before), shown_array(self.after)
        # Where only one of them tells its kind, that is no difference to look at.
        same = before == after or before.endswith(f" {after}") or after.endswith(f" {before}")
        text = max(before, after, key=len) if same else " -> ".join(filter(None, (before, after)))
        if self.max_abs is not None:
            text += f", by at most {self.max_abs:.3g} ({self.max_rel:.3g} relative)"
        return f"{self.path or '(root)'}: {text}"


@dataclass(frozen=True)
class ValueDifference:
    """One other value that differs.

    Attributes:
        path: Where it stands: the component and the place in its state.
        change: Whether it was added, removed or changed.
        before: The value in the first checkpoint; of a container, its type.
        after: The same for the second.
    """

    path: str
    change: Change
    before: Any = None
    after: Any = None

    def __str__(self) -> str:
        sides = {
            "added": [self.after],
            "removed": [self.before],
            "changed": [self.before, self.after],
        }
        shown = [*map(_shown_value, sides[self.change])]
        if len(shown) > 1 and shown[0] == shown[1]:
            return f"{self.path or '(root)'}: {shown[0]} in both, as far as it is shown"
        return f"{self.path or '(root)'}: {' -> '.join(shown)}"


@dataclass
class Difference:
    """What `diff` found.

    Attributes:
        first: The first checkpoint.
        second: The second.
        components_added: Components of the second that the first has not, with all below them.
        components_removed: Components of the first that the second has not.
        arrays: The arrays that differ.
        values: The other values that differ.
    """

    first: str
    second: str
    components_added: list[str] = field(default_factory=list)
    components_removed: list[str] = field(default_factory=list)
    arrays: list[ArrayDifference] = field(default_factory=list)
    values: list[ValueDifference] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not (self.components_added or self.components_removed or self.arrays or self.values)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values that JSON can express; other values, and infinity, as text."""
        return {
            "first": self.first,
            "second": self.second,
            "equal": self.equal,
            "components_added": self.components_added,
            "components_removed": self.components_removed,
            "arrays": [
                {
                    "path": item.path,
                    "change": item.change,
                    "before": _array_dict(item.before),
                    "after": _array_dict(item.after),
                    "max_abs": _json_number(item.max_abs),
                    "max_rel": _json_number(item.max_rel),
                }
                for item in self.arrays
            ],
            "values": [
                {
                    "path": item.path,
                    "change": item.change,
                    "before": None if item.change == "added" else _shown_value(item.before),
                    "after": None if item.change == "removed" else _shown_value(item.after),
                }
                for item in self.values
            ],
        }

    def __str__(self) -> str:
        lines = [f"- {self.first}", f"+ {self.second}"]
        lines += [f"  removed component {name}" for name in self.components_removed]
        lines += [f"  added component   {name}" for name in self.components_added]
        if self.values and len(lines) == 2 and not self.arrays:
            lines.append("  no array differs, only other values do")
        for word, items in (("array", self.arrays), ("value", self.values)):
            lines += _lines(word, items)
        return "\n".join(lines if not self.equal else [*lines, "  equal"])

    def _repr_html_(self) -> str:
        rows = [("removed component", name) for name in self.components_removed]
        rows += [("added component", name) for name in self.components_added]
        rows += [(f"{item.change} array", str(item)) for item in self.arrays[:_SHOWN]]
        rows += [(f"{item.change} value", str(item)) for item in self.values[:_SHOWN]]
        more = len(self.arrays[_SHOWN:]) + len(self.values[_SHOWN:])
        rows += [("", f"... and {more:,} more")] if more else []
        verdict = "equal" if self.equal else "different"
        return as_html(f"{self.first} and {self.second}: {verdict}", rows)


def change_of(before: Any, after: Any) -> Change:
    """Return what became of something that is None where it is not there."""
    return "added" if before is None else "removed" if after is None else "changed"


def shown_array(facts: ArrayFacts | None) -> str:
    """Return an array's facts as text, as far as they are known."""
    if facts is None:
        return ""
    kind = "" if facts.kind == UNTOLD else f"{facts.kind} "
    return f"{kind}{facts.dtype} {facts.shape}"


def _shown_value(value: Any) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:  # an int of too many digits
        return type(value).__name__


def _json_number(number: float | None) -> float | str | None:
    return number if number is None or math.isfinite(number) else str(number)


def _array_dict(facts: ArrayFacts | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    return {"kind": facts.kind, "dtype": facts.dtype, "shape": list(facts.shape)}


def _lines(
    word: str, items: Sequence[ArrayDifference] | Sequence[ValueDifference]
) -> Iterator[str]:
    for item in items[:_SHOWN]:
        yield f"  {item.change:<7} {word} {item}"
    if len(items) > _SHOWN:
        yield f"  ... and {len(items) - _SHOWN:,} more {word}s"
