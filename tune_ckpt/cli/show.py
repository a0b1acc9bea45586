"""``tune-ckpt show``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

import tune_ckpt as tc
from tune_ckpt.cli import output
from tune_ckpt.cli.options import AsJson, Checkpoint, Component, check_no_sweep, part_of
from tune_ckpt.cli.watching import watched

if TYPE_CHECKING:
    from tune_ckpt.tree.inspection.description import Description

_RLLIB = (
    "type",
    "checkpoint_version",
    "ray_version",
    "python_version",
    "class",
    "env",
    "framework",
)


def show(
    checkpoint: Checkpoint,
    arrays: Annotated[bool, typer.Option("--arrays", help="List the arrays as well.")] = False,
    component: Component = None,
    as_json: AsJson = False,
) -> None:
    """Show what is in a checkpoint: classes, formats, sizes, parameters, metrics, lineage.

    It may be one of RLlib's own, of any version. Nothing in it is imported or run.
    """
    check_no_sweep(checkpoint)
    with watched("Reading", [checkpoint]):  # pickles are read whole
        description = _description(checkpoint, component)
        rllib = _rllib(part_of(checkpoint, component), description)
    if as_json:
        output.say_json({"description": description and description.to_dict(), "rllib": rllib})
        return
    if description:
        output.say(_tree(description, arrays))
    for name, value in _told(rllib or {}):
        output.say(output.styled(f"{name:<20}{value}", ""))


def _description(checkpoint: str, component: str | None) -> Description | None:
    from tune_ckpt.errors import NotACheckpointError
    from tune_ckpt.tree.storage.store import is_plain_file

    if is_plain_file(checkpoint):
        return None  # RLlib's, perhaps
    try:
        return tc.describe(checkpoint, component=component)
    except NotACheckpointError:
        return None


def _rllib(path: str, description: Description | None) -> dict[str, Any] | None:
    from tune_ckpt.errors import NotACheckpointError

    if description and description.digest:
        return None  # it is ours
    try:
        return tc.get_checkpoint_info(path)
    except NotACheckpointError:
        if description is None:
            raise
        return None


def _told(rllib: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((key, str(rllib[key])) for key in _RLLIB if rllib.get(key))
    for key in ("policy_ids", "module_ids"):
        if rllib.get(key):
            yield key, ", ".join(sorted(map(str, rllib[key])))
    yield from _each("spaces", _spaces(rllib.get("spaces") or {}))
    if rllib.get("parameters"):
        counts = ", ".join(f"{name}={value}" for name, value in _pairs(rllib["parameters"]))
        yield "parameters", f"{counts}, without the optimizers"
    counters = rllib.get("counters") or {}
    yield from _each("counters", (f"{name}={value}" for name, value in counters.items()))


def _pairs(value: Any) -> Any:
    return value.items() if isinstance(value, dict) else [("in all", value)]


def _each(key: str, texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield a line for each text; the first has the key before it."""
    for number, text in enumerate(texts):
        yield "" if number else key, text


def _spaces(spaces: dict[str, Any]) -> Iterator[str]:
    """Yield what goes into each policy and what comes out of it, where that is known."""
    for name, own in ({"": spaces} if "action_space" in spaces else spaces).items():
        if own and all(own.values()):
            text = " -> ".join(map(_space, own.values()))
            yield f"{name}: {text}" if name else text


def _space(space: dict[str, Any]) -> str:
    told = (space[key] for key in ("n", "nvec", "shape", "dtype") if key in space)
    return " ".join(map(str, (space["space"], *told)))


# ------------------------------------------------------------------------------------ the tree


def _tree(description: Description, arrays: bool) -> Any:
    from rich.tree import Tree

    tree = Tree(_heading(description, whole=True), guide_style="dim")
    _grow(tree, description, arrays)
    return tree


def _grow(tree: Any, part: Description, arrays: bool, known: str = "") -> None:
    from tune_ckpt.tree.inspection.description import facts, saved

    for name, text in facts(part, known):
        tree.add(output.styled(f"{name:<8} {text}", "dim"))
    if part.arrays:
        tree.add(_table(part) if arrays else output.styled(_count(part), "green"))
    for child in part.components:
        _grow(tree.add(_heading(child)), child, arrays, saved(part))


def _heading(part: Description, *, whole: bool = False) -> Any:
    from tune_ckpt.tree.units import human

    size, count = part.nbytes, part.parameter_count
    if whole:
        size, count = part.total_nbytes, part.total_parameter_count
    text = output.styled(part.name, "bold")
    facts = (part.cls, part.format, human(size), f"{count:,} parameters" if count else "")
    return text.append("  ".join(["", *filter(None, facts)]), "cyan")


def _table(part: Description) -> Any:
    from rich.table import Table

    from tune_ckpt.tree.units import human

    table = Table.grid(*[""] * 3, padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.columns[0].overflow = "fold"
    for array in part.arrays:
        name = output.styled(array.path or "(root)", "green")
        kind = "" if array.kind == "array" else f"{array.kind} "
        table.add_row(name, f"{kind}{array.dtype}", str(array.shape), human(array.nbytes))
    return table


def _count(part: Description) -> str:
    from tune_ckpt.tree.units import human

    count = len(part.arrays)
    nbytes = human(sum(array.nbytes for array in part.arrays))
    return f"{count:,} array{'s' if count > 1 else ''}, {nbytes}"
