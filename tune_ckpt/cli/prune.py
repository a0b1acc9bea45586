"""``tune-ckpt prune``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tune_ckpt.cli import output
from tune_ckpt.cli.options import AsJson, Experiment, MaxOrMin, WrongUse, check_folder
from tune_ckpt.cli.watching import watched

if TYPE_CHECKING:
    from tune_ckpt.sweep.metrics import Metric
    from tune_ckpt.tune.fates import Fate
    from tune_ckpt.tune.outcomes import Outcome
    from tune_ckpt.tune.pruning_at_rest import Plan


_Last = Annotated[
    int | None, typer.Option(help="How many of each trial, the newest first; by default 1.", min=0)
]
_Best = Annotated[int, typer.Option(help="How many of each trial, the best first.", min=0)]
_Metric = Annotated[str | None, typer.Option(help="What is best, a/b for nested ones.")]
_Mode = Annotated[
    MaxOrMin | None, typer.Option(help="Whether more or less of it is better: with --metric.")
]
_Every = Annotated[int | None, typer.Option(help="Those after every so many iterations.", min=1)]
_Pins = Annotated[
    list[int] | None, typer.Option("--pin", help="An iteration that stays; repeatable.")
]
_Budget = Annotated[
    str | None, typer.Option(help="For the whole sweep, such as '50 GB'; the best stay.")
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
_AtRest = Annotated[
    bool, typer.Option("--at-rest", help="Nobody runs the sweep, though it seems to run.")
]


def prune(
    experiment: Experiment,
    keep_last: _Last = None,
    keep_best: _Best = 0,
    metric: _Metric = None,
    mode: _Mode = None,
    keep_every: _Every = None,
    pinned: _Pins = None,
    max_bytes: _Budget = None,
    dry_run: _DryRun = False,
    yes: _Yes = False,
    at_rest: _AtRest = False,
    as_json: AsJson = False,
) -> None:
    """Delete the checkpoints of a sweep that no rule keeps, with their conversions.

    Nobody may be running the sweep. The newest checkpoint of an unfinished trial always stays, and
    what PBT would go on from; before anything else of such a trial goes, it is verified.
    """
    from tune_ckpt.tune.pruning_at_rest import plan_pruning
    from tune_ckpt.tune.retention import Retention

    if keep_last is None and not (keep_best or keep_every or max_bytes):
        raise WrongUse("say what stays: --keep-last, --keep-best, --keep-every or --max-bytes")
    _check_metric(metric, mode, is_needed=keep_best > 0)
    _check_can_ask(sure=dry_run or yes, as_json=as_json)
    check_folder(experiment)
    policy = Retention(
        keep_last=1 if keep_last is None else keep_last,
        keep_best=keep_best,
        metric=metric,
        mode=(mode or MaxOrMin.MAX).value,
        keep_every=keep_every,
        pinned=tuple(pinned or ()),
        max_bytes=max_bytes,
    )
    with watched("Reading results"):
        plan = plan_pruning(experiment, policy)
    _check_at_rest(plan, experiment, sure=dry_run or at_rest)
    if not as_json:
        _say(plan, policy.ranked_by)
    outcomes = [] if dry_run else _delete(plan, yes)
    if as_json:
        output.say_json(_answer(experiment, plan, outcomes, dry_run))
    else:
        _say_outcomes(outcomes)
    raise typer.Exit(1 if any(outcome.status != "done" for outcome in outcomes) else 0)


def _check_metric(metric: str | None, mode: MaxOrMin | None, *, is_needed: bool) -> None:
    if is_needed and metric is None:
        raise WrongUse("--keep-best: give --metric as well, which says what is best")
    if metric is not None and mode is None:
        raise WrongUse(
            f"--metric {metric}: give --mode as well: min where the lowest is the best, as of a "
            "loss, or max; the others may be deleted"
        )


def _check_can_ask(*, sure: bool, as_json: bool) -> None:
    if not sure and (as_json or not (sys.stdin.isatty() and sys.stderr.isatty())):
        raise WrongUse("nobody can be asked here: give --yes to delete, --dry-run to look first")


def _check_at_rest(plan: Plan, experiment: str, *, sure: bool) -> None:
    if plan.doomed and plan.seems_to_run and not sure:
        raise WrongUse(
            f"{experiment}: the sweep seems to run: it is not finished, and wrote something "
            f"{plan.news_secs:.0f} s ago. Let CheckpointCallback(retention=...) do it there; if "
            "nobody runs it, give --at-rest"
        )


def _delete(plan: Plan, yes: bool) -> list[Outcome]:
    """Delete what is to go, unless the user does not want it."""
    if not plan.doomed:
        return []
    if not yes and not typer.confirm(f"Delete {len(plan.doomed)} checkpoints?", err=True):
        raise typer.Exit(1)
    return _carry_out(plan)


def _carry_out(plan: Plan) -> list[Outcome]:
    from tune_ckpt.cli import interrupts
    from tune_ckpt.tree.progress import steps_bar

    outcomes: list[Outcome] = []
    what, count = f"Deleting {len(plan.doomed)} checkpoints", len(plan.doomed)
    with steps_bar(what, count, shown=output.is_terminal()) as advance:
        deeds = plan.carry_out(advance)
        while len(outcomes) < count:
            with interrupts.held_back():
                outcomes.append(next(deeds))
    return outcomes


# ------------------------------------------------------------------------------- what is printed


def _say(plan: Plan, best: Metric | None) -> None:
    from tune_ckpt.tree.units import human

    rows = [
        (
            "stays" if fate.stays else "goes",
            *(plan.name(fate.held), fate.held.iteration or None, fate.held.value),
            human(fate.held.nbytes or 0),
            _because(fate),
        )
        for fate in plan.fates
    ]
    columns = ("", "checkpoint", "iteration", "value", "size", "because")
    output.say_table(columns, rows)
    output.remark_each("passed over", plan.notes)
    kept, freed = _nbytes(plan, stays=True), _nbytes(plan, stays=False)
    goes, stays = len(plan.doomed), len(plan.fates) - len(plan.doomed)
    output.remark(f"{goes} of {len(plan.fates)} go ({human(freed)}), {stays} stay ({human(kept)})")
    if best is not None:
        end = "highest" if best.mode == "max" else "lowest"
        output.remark(f"best is the {end} {best.name} (--mode {best.mode})")


def _because(fate: Fate) -> str:
    if fate.stays or not fate.roles:
        return ", ".join(fate.roles) or "no rule keeps it"
    return f"over the budget, though {', '.join(fate.roles)}"


def _nbytes(plan: Plan, *, stays: bool) -> int:
    return sum(fate.held.nbytes or 0 for fate in plan.fates if fate.stays is stays)


def _say_outcomes(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.status != "done":
            output.remark(str(outcome))
    deleted = sum(outcome.status == "done" for outcome in outcomes)
    if outcomes:
        output.remark(f"{deleted} of {len(outcomes)} deleted")


def _answer(experiment: str, plan: Plan, outcomes: list[Outcome], dry_run: bool) -> dict[str, Any]:
    ends = {outcome.checkpoint: outcome for outcome in outcomes}
    checkpoints = [
        {
            "path": plan.name(fate.held),
            "trial": fate.held.trial,
            "iteration": fate.held.iteration or None,
            "value": fate.held.value,
            "nbytes": fate.held.nbytes,
            "stays": fate.stays,
            "because": fate.roles,
            "status": (end := ends.get(fate.held.path)) and end.status,
            "detail": end and end.detail,
        }
        for fate in plan.fates
    ]
    return {
        "experiment": experiment,
        "dry_run": dry_run,
        "seems_to_run": plan.seems_to_run,
        "checkpoints": checkpoints,
        "kept_nbytes": _nbytes(plan, stays=True),
        "freed_nbytes": _nbytes(plan, stays=False),
        "passed_over": plan.notes,
    }
