"""``tune-ckpt verify``."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

import tune_ckpt as tc
from tune_ckpt.cli import output
from tune_ckpt.cli.options import AsJson, WrongUse, check_folder, how_to_verify, is_sweep

if TYPE_CHECKING:
    from tune_ckpt.tree.inspection.verification import Report

_STYLES = {"fault": "red", "warning": "yellow"}


def verify(
    paths: Annotated[list[str], typer.Argument(help="Checkpoints: paths or URIs.")],
    as_json: AsJson = False,
) -> None:
    """Check every byte of checkpoints; exit with 3 if one is damaged."""
    for path in paths:
        _check_no_sweep(path)
    reports, codes = [], []
    for path in paths:
        report, code = _report(path)
        reports.append(report)
        codes.append(code)
        if not as_json:
            _say(report)
    if as_json:
        output.say_json([report.to_dict() for report in reports])
    raise typer.Exit(max(codes))


def _check_no_sweep(path: str) -> None:
    with suppress(tc.TuneCkptError):  # its report tells
        if is_sweep(path):
            how = how_to_verify(path)
            raise WrongUse(f"{path} is a whole sweep's folder. To verify its checkpoints: {how}")


def _check_no_sweeps_in(path: str) -> None:
    """Refuse the folder above sweeps: what is in it was not looked at."""
    from tune_ckpt.sweep.paths import below
    from tune_ckpt.tree.storage.store import open_store

    folders = (entry.name for entry in open_store(path).list() if entry.is_dir)
    sweep = next((name for name in folders if is_sweep(below(path, name))), None)
    if sweep is not None:
        how = how_to_verify(below(path, sweep))
        raise WrongUse(f"it is the folder of sweeps, such as {sweep}. To verify that one's: {how}")


def _report(path: str) -> tuple[Report, int]:
    from tune_ckpt.cli import failing
    from tune_ckpt.errors import Fault
    from tune_ckpt.tree.inspection.verification import Report

    try:
        check_folder(path)
        report = tc.verify(path, progress=output.is_terminal())
        if report.unverified:
            _check_no_sweeps_in(path)
    except (tc.TuneCkptError, WrongUse) as error:  # the other paths get their reports as well
        told = failing.message(error).removeprefix(f"{path}: ")  # which the report begins with
        return Report(path, [Fault("", told)]), failing.exit_code(error)
    return report, 0 if report.ok else failing.DAMAGED


def _say(report: Report) -> None:
    first, *rest = str(report).splitlines()
    output.say(output.styled(first, "green" if report.ok else "bold red"))
    for line in rest:
        output.say(output.styled(line, _STYLES.get(line.strip().partition(" ")[0], "")))
