"""What of a checkpoint fits RLlib's objects: compared first, and told in a report."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tune_ckpt.errors import Fault, RestoreError, RestoreReport, RestoreWarning
from tune_ckpt.objects.wishes import Strict, check_strict

# Buffers that follow from the configuration: Ray before 2.31 did not store them.
_CONSTANTS = ("log_std_clip_param_const",)
_ADVICE = (
    "Pass the configuration with which it was trained (config=, or a module's model_config=), or "
    "take what fits with strict='warn'."
)


@dataclass
class Account:
    """Gathers what fits and what does not, over several policies or modules.

    Attributes:
        path: The checkpoint.
        strict: As for `tune_ckpt.restore`.
        loaded: Parts that are restored.
        missing: What only the objects have.
        unexpected: What only the checkpoint has.
        mismatched: What both have, but otherwise.
        left_out: What was not taken on purpose.
    """

    path: str
    strict: Strict = True
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[Fault] = field(default_factory=list)
    left_out: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Check how the restore is wished."""
        check_strict(self.strict)

    def fit(self, name: str, mine: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
        """Compare weights by their names, and return those that can be given.

        Args:
            name: The policy or module, for the report.
            mine: The object's own weights.
            stored: The checkpoint's.
        """
        from tune_ckpt.objects.adapters.torch_objects import fit_arrays

        fit = fit_arrays(mine, stored)
        missing = (part for part in fit.missing if not part.endswith(_CONSTANTS))
        self.missing += _below(name, missing)
        self.unexpected += _below(name, fit.unexpected)
        faults = (Fault(f"{name}/{fault.path}", fault.reason) for fault in fit.mismatched)
        self.mismatched += faults
        self.loaded.append(name)
        return {part: value for part, value in fit.state.items() if part in mine}

    def check(self) -> None:
        """Check that all fits; to be called before an object is touched.

        Raises:
            RestoreError: It does not, and the account is strict.
        """
        report = self.report()
        if self.strict is True and not report.ok:
            raise RestoreError(replace(report, loaded=()), _ADVICE)

    def close(self, value: Any) -> Any:
        """Return the restored object, with the report in its attribute ``restore_report``.

        It warns of what did not fit, where that is wished.
        """
        report = self.report()
        if self.strict == "warn" and not report.ok:
            warnings.warn(RestoreWarning(report), stacklevel=3)
        value.restore_report = report
        return value

    def report(self) -> RestoreReport:
        """Return the report."""
        return RestoreReport(
            self.path,
            tuple(self.loaded),
            tuple(self.missing),
            tuple(self.unexpected),
            tuple(self.mismatched),
            tuple(self.left_out),
        )


def _below(name: str, parts: Iterable[str]) -> list[str]:
    return [f"{name}/{part}" for part in parts]
