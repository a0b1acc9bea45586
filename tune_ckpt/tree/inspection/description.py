"""The report of `tune_ckpt.tree.inspection.describe`: what is in a checkpoint, also as text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tune_ckpt.tree.inspection.found import ArrayFacts
from tune_ckpt.tree.notebook import as_html
from tune_ckpt.tree.tune_metrics import OF_TUNE
from tune_ckpt.tree.units import human

_SHOWN_ARRAYS, _SHOWN_METRICS = 20, 12
_UNFOLDED = 6  # components; of more a notebook shows the names at first


@dataclass(frozen=True)
class Description:
    """One component of a checkpoint, and those below it.

    Attributes:
        name: Its name; the whole path for the one that was asked for.
        cls: Its class, ``module:QualName``, or RLlib's word for its type; empty where nothing
            tells.
        format: ``msgpack`` or ``pickle``; empty where it has no state.
        digest: Its content digest; None where RLlib wrote it, which keeps none.
        files: Its files' sizes by name.
        arrays: Its state's arrays and tensors, in order; one that stands in several places once.
        metrics: What a sweep reported with it.
        trial: The trial of the sweep that saved it.
        lineage: Content digests of the checkpoints that it comes from: ``restored_from``,
            ``converted_from``; and ``restored_from_trial``, the trial that saved the former.
        versions: Of ``Python``, ``Ray``, ``tune_ckpt`` and the ``layout``, as far as known.
        created: When it was saved (ISO 8601), as far as known.
        components: Its subcomponents.
    """

    name: str
    cls: str
    format: str
    digest: str | None
    files: dict[str, int]
    arrays: tuple[ArrayFacts, ...]
    metrics: dict[str, Any]
    trial: Any
    lineage: dict[str, Any]
    versions: dict[str, str]
    created: str | None
    components: tuple[Description, ...]

    @property
    def parameter_count(self) -> int:
        """How many numbers its floating-point and complex arrays and tensors have together.

        Of any precision, and whatever they are for: an optimizer's moments count as a model's
        weights do. Those of its subcomponents and its constructor's arguments are not counted.
        """
        return sum(math.prod(a.shape) for a in self.arrays if _INEXACT.match(a.dtype))

    @property
    def nbytes(self) -> int:
        """The size of its files, its subcomponents' apart."""
        return sum(self.files.values())

    @property
    def total_parameter_count(self) -> int:
        """The `parameter_count` of it and of all components below."""
        return sum(part.parameter_count for part in self.walk())

    @property
    def total_nbytes(self) -> int:
        """The size of all its files, its subcomponents' too."""
        return sum(part.nbytes for part in self.walk())

    def walk(self) -> Iterator[Description]:
        """Yield it and all components below, in order."""
        yield self
        for component in self.components:
            yield from component.walk()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values that JSON can express."""
        return {
            "name": self.name,
            "class": self.cls,
            "format": self.format,
            "digest": self.digest,
            "nbytes": self.nbytes,
            "total_nbytes": self.total_nbytes,
            "parameter_count": self.parameter_count,
            "total_parameter_count": self.total_parameter_count,
            "files": self.files,
            "arrays": [{**asdict(array), "shape": list(array.shape)} for array in self.arrays],
            "metrics": self.metrics,
            "trial": self.trial,
            "lineage": self.lineage,
            "versions": self.versions,
            "created": self.created,
            "components": [component.to_dict() for component in self.components],
        }

    def __str__(self) -> str:
        return "\n".join(_lines(self, None))

    def _repr_html_(self) -> str:
        return _html(self, "")


_INEXACT = re.compile(r"[<>]?(f|c|bf)")  # float32, complex64, bfloat16, >f4


# ------------------------------------------------------------------------------------- as text


def _lines(part: Description, above: Description | None) -> Iterator[str]:
    size = human(part.nbytes if above else part.total_nbytes)
    count = part.parameter_count if above else part.total_parameter_count
    heading = (part.cls, part.format, size, f"{count:,} parameters" if count else "")
    yield "  ".join((part.name, *filter(None, heading)))
    for name, text in facts(part, saved(above) if above else ""):
        yield f"  {name:<9}{text}"
    yield from (f"  {line}" for line in _array_lines(part.arrays))
    for component in part.components:
        yield from (f"  {line}" for line in _lines(component, part))


def _html(part: Description, known: str, *, unfolded: bool = True) -> str:
    rows = [*facts(part, known), *(("", line) for line in _array_lines(part.arrays))]
    few = len(part.components) <= _UNFOLDED
    below = (_html(component, saved(part), unfolded=few) for component in part.components)
    name = "  ".join(filter(None, (part.name, part.cls, part.format)))
    return as_html(name, rows, below, unfolded=unfolded)


def facts(part: Description, known: str = "") -> Iterator[tuple[str, str]]:
    """Yield what is known of a component itself, as names and text.

    Args:
        part: The component.
        known: What has been told of when and by what it was saved; that is not told again.
    """
    found = {
        "digest": part.digest,
        "saved": saved(part) if saved(part) != known else "",
        "trial": _pairs(part.trial) if isinstance(part.trial, dict) else part.trial,
        "metrics": _pairs(_users_first(part.metrics)),
        "lineage": _pairs(part.lineage),
        "files": ", ".join(f"{name} ({human(size)})" for name, size in part.files.items()),
    }
    yield from ((name, str(text)) for name, text in found.items() if text)


def saved(part: Description) -> str:
    """Return when and by what it was saved."""
    versions = ", ".join(f"{word} {version}" for word, version in part.versions.items())
    return " by ".join(filter(None, (part.created, versions)))


def _users_first(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return metrics with nested ones as ``a/b``, and Tune's own at the end."""
    flat: dict[str, Any] = {}
    waiting = [*reversed(metrics.items())]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{name}/{key}", item) for key, item in reversed(value.items())]
        else:
            flat[name] = value
    return dict(sorted(flat.items(), key=lambda item: item[0].partition("/")[0] in OF_TUNE))


def _pairs(items: dict[str, Any]) -> str:
    plain = {key: value for key, value in items.items() if isinstance(value, str | int | float)}
    shown = [f"{key}={value}" for key, value in plain.items()][:_SHOWN_METRICS]
    more = len(items) - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more else "")


def _array_lines(arrays: Sequence[ArrayFacts]) -> list[str]:
    """Return aligned lines for arrays; of very many only the first and a count."""
    shown = arrays if len(arrays) <= _SHOWN_ARRAYS + 1 else arrays[:_SHOWN_ARRAYS]
    rows = [
        (array.path or "(root)", array.kind, array.dtype, str(array.shape), human(array.nbytes))
        for array in shown
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join((*map(str.ljust, row[:-1], widths), row[-1].rjust(widths[-1]))) for row in rows
    ]
    rest = arrays[len(shown) :]
    if rest:
        lines.append(f"... and {len(rest):,} more arrays, {human(sum(a.nbytes for a in rest))}")
    return lines
