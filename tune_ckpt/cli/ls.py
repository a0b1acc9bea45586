"""``tune-ckpt ls``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tune_ckpt.cli import output
from tune_ckpt.cli.options import (
    AsJson,
    Experiment,
    Mode,
    Scope,
    Where,
    WrongUse,
    how_to_verify,
)
from tune_ckpt.cli.ranked import end_of, opened, ranked, remark_end
from tune_ckpt.cli.watching import watched

if TYPE_CHECKING:
    from tune_ckpt.sweep.candidate import Candidate
    from tune_ckpt.sweep.candidates import OpenSweep
    from tune_ckpt.sweep.record_table import CheckpointTable
    from tune_ckpt.sweep.records import CheckpointRecord

_WIDE = 120  # columns from which on the configs are shown as well
_NARROW = 60  # and from which on the trials' ids, which the paths tell too
_METRICS = 20  # that are offered
_CONFIG = 60  # characters of one


def ls(
    experiment: Experiment,
    metric: Annotated[str | None, typer.Option(help="Rank by it, a/b for nested ones.")] = None,
    mode: Mode = None,
    scope: Scope = None,
    where: Where = None,
    k: Annotated[
        int | None, typer.Option("--k", "-k", help="How many; by default all.", min=1)
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every byte of what is ranked.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List a sweep's checkpoints: those of all trials, from the best down."""
    if metric is None:
        _check_unranked(experiment, {"--mode": mode, "--scope": scope, "--where": where}, verify)
    sweep = opened(experiment)
    if metric is None:
        answer = _unranked(experiment, sweep, k)
    else:
        end = end_of(mode)
        found = ranked(sweep, metric, end, k=k, scope=scope, where=where, verify=verify)
        answer = _ranked(experiment, found)
    if as_json:
        output.say_json(answer)
        return
    _say(answer, sweep)
    if metric is not None:
        remark_end(metric, mode)
    if metric is not None and not verify:
        output.remark("Nothing was verified: a damaged one may be among them; --verify tells.")


def _check_unranked(experiment: str, choosing: dict[str, Any], verify: bool) -> None:
    """Refuse what only a ranking can do."""
    given = [option for option, typed in choosing.items() if typed]
    if given:
        raise WrongUse(f"nothing is ranked for {' and '.join(given)} to choose: give --metric, too")
    if verify:
        how = how_to_verify(experiment)
        raise WrongUse(f"--verify checks what is ranked: give --metric, too, or use {how}")


def _ranked(experiment: str, records: CheckpointTable) -> dict[str, Any]:
    rows = [
        {
            "rank": rank,
            "value": record.value,
            "score": record.score,
            "trial_id": record.trial_id,
            "iteration": record.iteration,
            "config": record.config,
            "path": record.path,
            "converted": record.converted,
        }
        for rank, record in enumerate(records, 1)
    ]
    return _answer(experiment, rows, by=records[-1], passed_over=records[-1].passed_over)


def _unranked(experiment: str, sweep: OpenSweep, k: int | None) -> dict[str, Any]:
    from tune_ckpt.sweep.metrics import names
    from tune_ckpt.sweep.reasons import Reasons

    with watched("Reading results"):
        folders = sweep.look()
        candidates = [one for folder in folders for one in sweep.candidates(folder)]
    rows = [row for candidate in candidates for row in _row(sweep, candidate)]
    if not rows:
        raise Reasons(sweep, ()).failure(folders)
    metrics = sorted({name for candidate in candidates for name in names(candidate.metrics)})
    rows.sort(key=lambda row: (row["trial_id"], row["iteration"] or 0))
    return _answer(experiment, rows[:k], metrics=metrics, passed_over=sweep.notes.lines)


def _row(sweep: OpenSweep, candidate: Candidate) -> Iterator[dict[str, Any]]:
    for path in sweep.homes(candidate)[:1]:  # none where it was deleted
        yield {
            "rank": None,
            "value": None,
            "score": None,
            "trial_id": candidate.trial_id,
            "iteration": candidate.iteration,
            "config": sweep.config(candidate),
            "path": path,
            "converted": sweep.converted(candidate),
        }


def _answer(
    experiment: str,
    rows: list[dict[str, Any]],
    *,
    by: CheckpointRecord | None = None,
    metrics: Any = (),
    passed_over: Any = (),
) -> dict[str, Any]:
    return {
        "experiment": experiment,
        "metric": by and by.metric,
        "mode": by and by.mode,
        "scope": by and by.scope,
        "checkpoints": rows,
        "metrics": metrics,
        "passed_over": passed_over,
    }


def _say(answer: dict[str, Any], sweep: OpenSweep) -> None:
    from tune_ckpt.sweep.configs import config_text, shortened, telling_keys

    metric, scope, terminal = answer["metric"], answer["scope"], output.console()
    is_wide = terminal.width >= _WIDE
    keys = telling_keys(sweep.configs()) if is_wide else []  # of all trials, whatever is listed
    short = _below(answer["experiment"]) if terminal.is_terminal else str
    columns: list[tuple[Any, bool, Callable[[dict[str, Any]], Any]]] = [
        ("#", metric is not None, lambda row: row["rank"]),
        (metric, metric is not None, lambda row: row["value"]),
        (scope, scope is not None, lambda row: row["score"]),
        ("trial", terminal.width >= _NARROW, lambda row: row["trial_id"]),
        ("iteration", True, lambda row: row["iteration"]),
        (
            "config",
            is_wide,
            lambda row: shortened(config_text(row["config"], keys), _CONFIG),
        ),
        ("checkpoint", True, lambda row: short(row["path"])),
    ]
    shown = [(title, cell) for title, fits, cell in columns if fits]
    rows = [[cell(row) for _, cell in shown] for row in answer["checkpoints"]]
    output.say_table([title for title, _ in shown], rows)
    output.remark_each("passed over", answer["passed_over"])
    if metric is None and terminal.is_terminal:
        more = ", ..." if len(answer["metrics"]) > _METRICS else ""
        output.remark(f"Rank them with --metric: {', '.join(answer['metrics'][:_METRICS])}{more}")


def _below(experiment: str) -> Callable[[str], str]:
    """Return what shortens a path by the sweep's own."""
    from tune_ckpt.tree.storage.store import address_of

    base = address_of(experiment).rstrip("/")
    return lambda path: path.removeprefix(f"{base}/")
