"""Checkpoints of a sweep as a table: for the prompt, a notebook, and pandas."""

from __future__ import annotations

import html
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from tune_ckpt.errors import MissingDependencyError
from tune_ckpt.sweep.configs import config_text, cut, flat, telling_keys
from tune_ckpt.sweep.records import CheckpointRecord
from tune_ckpt.tree.units import human

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


class CheckpointTable(Sequence[CheckpointRecord]):
    """Records from the best down.

    It is a sequence of `CheckpointRecord`; printed, it is a table, as at the end of a notebook's
    cell.

    Args:
        records: The records.
        title: What they are.
        passed_over: What was not considered, or was better but is not usable: one line each.
    """

    def __init__(
        self,
        records: Sequence[CheckpointRecord],
        title: str = "",
        passed_over: tuple[str, ...] = (),
    ) -> None:
        self._records = tuple(records)
        self.title = title
        self.passed_over = passed_over

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> CheckpointRecord: ...

    @overload
    def __getitem__(self, index: slice) -> CheckpointTable: ...

    def __getitem__(self, index: int | slice) -> CheckpointRecord | CheckpointTable:
        found = self._records[index]
        if isinstance(found, CheckpointRecord):
            return found
        return CheckpointTable(found, self.title, self.passed_over)

    def explain(self) -> str:
        """Return why the first is the first, and why others were passed over.

        See `CheckpointRecord.explain`; what was passed over after the first is told too.
        """
        if not self._records:
            return "no checkpoint"
        first = self._records[0].explain().split("\n")
        rest = [f"  - {line}" for line in self.passed_over]
        return "\n".join([*first, *(line for line in rest if line not in first)])

    def to_pandas(self) -> pd.DataFrame:
        """Return a ``DataFrame`` of one row a checkpoint; the config's entries are ``config/...``.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingDependencyError("pandas", "A DataFrame") from error
        return pd.DataFrame([_row(record) for record in self._records])

    def __rich__(self) -> Table:
        """Return it as a table of rich's."""
        from rich.table import Table
        from rich.text import Text  # in plain strings, rich takes brackets for markup

        rows = self._shown()
        table = Table(title=Text(self.title) if self.title else None)
        for name in rows[0] if rows else ():
            table.add_column(Text(name))
        for row in rows:
            table.add_row(*map(Text, row.values()))
        return table

    def __repr__(self) -> str:
        # The table itself asks the storage for sizes: a debugger shall not.
        return f"<CheckpointTable of {len(self)}: {self.title}>"

    def __str__(self) -> str:
        try:
            from rich.console import Console
        except ImportError:  # not needed where checkpoints are only read
            return "\n".join([self.title, *_aligned(self._shown())])
        stream = io.StringIO()
        Console(file=stream, width=10**4).print(self)
        return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())

    def _repr_html_(self) -> str:
        rows = self._shown()
        head = _html_row("th", rows[0] if rows else ())
        body = "".join(_html_row("td", row.values()) for row in rows)
        caption = f"<caption>{html.escape(self.title)}</caption>" if self.title else ""
        return f"<table>{caption}<thead>{head}</thead><tbody>{body}</tbody></table>"

    def _shown(self) -> list[dict[str, str]]:
        keys = telling_keys([record.config for record in self._records])
        return [_shown(record, keys) for record in self._records]


def _aligned(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return rows as lines of text, below their columns' names."""
    lines = [[*row] for row in rows[:1]] + [[*row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


def _html_row(kind: str, texts: Iterable[str]) -> str:
    style = 'style="text-align:left"'  # notebooks put numbers and paths alike on the right
    return f"<tr>{''.join(f'<{kind} {style}>{html.escape(t)}</{kind}>' for t in texts)}</tr>"


def _row(record: CheckpointRecord) -> dict[str, Any]:
    return {
        "trial": record.trial_id,
        "iteration": record.iteration,
        **record.values,
        **({"score": record.score} if record.scope else {}),
        **{f"config/{name}": value for name, value in flat(record.config).items()},
        "nbytes": record.nbytes,
        "format": record.format or "other",
        "verified": record.verified,
        "path": record.path,
    }


def _shown(record: CheckpointRecord, keys: Sequence[str]) -> dict[str, str]:
    values = {name: f"{value:.6g}" for name, value in record.values.items()}
    return {
        "trial": record.trial_id,
        "iteration": "" if record.iteration is None else str(record.iteration),
        **values,
        **({record.scope: f"{record.score:.6g}"} if record.scope else {}),
        "config": cut(config_text(record.config, keys), 60),
        "size": human(record.nbytes),
        "format": record.format or "other",
        "verified": "yes" if record.verified else "no",
        "path": record.path,
    }
