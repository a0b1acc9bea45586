"""A trial's ``result.json``: each line is read once, and by its bytes alone where that will do.

Parsing every result of a large sweep takes minutes, and most trials cannot hold its best checkpoint
anyway. Whatever number stands behind the metric's name in a file, at any depth, is at least as good
as the best of the metric's values there: that much a search of the bytes tells (`ResultLog.bound`).
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tune_ckpt.errors import StorageError
from tune_ckpt.sweep.metrics import Metric
from tune_ckpt.sweep.notes import Notes
from tune_ckpt.tree.storage.store import Store

RESULTS = "result.json"

Metrics = Mapping[str, Any]
Pairs = dict[str, Metrics]  # a checkpoint's name (or recorded path) -> the metrics of its moment
Found = TypeVar("Found")

Bound = tuple[float, float, str]
"""No checkpoint is better than this: cost, then iteration, then trial id, the lower the better."""
Moment = tuple[float, float]
"""A result's timestamp and iteration."""
UNKNOWN: Bound = (-math.inf, -1.0, "")
NOTHING: Bound = (math.inf, math.inf, "")


@dataclass(frozen=True)
class End:
    """How far results go.

    Attributes:
        moment: That of the last one, or an earlier one.
        checkpoint: The name of the last checkpoint that one of them names.
    """

    moment: Moment = (-math.inf, -math.inf)
    checkpoint: str = ""

    def after(self, lines: bytes) -> End:
        """Return the end of what is followed by more lines."""
        last = lines.rstrip().rpartition(b"\n")[2]
        found = [map(float, each.findall(last)) for each in (_TIMESTAMP, _ITERATION)]
        timestamp, iteration = (min(numbers, default=-1.0) for numbers in found)
        named = _CHECKPOINT.findall(lines)
        return End((timestamp, iteration), named[-1].decode() if named else self.checkpoint)


class ResultLog:
    """The results of one trial.

    Args:
        store: The trial's folder.
        trial_id: Its id as the folder's name tells it.
        notes: Gets the lines that cannot be read.
    """

    def __init__(self, store: Store, trial_id: str, notes: Notes) -> None:
        self._store = store
        self._trial_id = trial_id
        self._notes = notes
        self._kept: dict[object, tuple[int, Any]] = {}

    def bound(self, metric: Metric) -> tuple[Bound, End]:
        """Return a bound of the metric in all results, found without parsing, and their end."""
        leaf = metric.name.rpartition("/")[2]
        if json.dumps(leaf) != f'"{leaf}"':  # there are several ways to write it
            return UNKNOWN, End()

        def better(best: tuple[Bound, End] | None, lines: bytes) -> tuple[Bound, End]:
            """Return the better of the best so far and that of new lines."""
            before, end = best or (NOTHING, End())
            return min(before, bound_of(lines, metric, self._trial_id)), end.after(lines)

        return self._follow(metric, None, better) or (UNKNOWN, End())

    def pairs(self) -> Pairs:
        """Return what the results say of checkpoints; where one was written again, the last word.

        A function names the folder of its checkpoint, see `saved_with`; a Train run inside a trial
        gives a path, ``checkpoint_path``.
        """

        def more(pairs: Pairs, lines: bytes) -> Pairs:
            """Add the checkpoints that new lines name."""
            found = self._parsed(lines, b'"checkpoint_dir_name"', b'"checkpoint_path"')
            named = ((saved_with(r) or r.get("checkpoint_path"), r) for r in found)
            return pairs | {name: result for name, result in named if isinstance(name, str)}

        return self._follow("pairs", {}, more)

    def values(self, metric: Metric) -> list[float]:
        """Return the metric's values in order, those that are numbers."""

        def more(values: list[float], lines: bytes) -> list[float]:
            """Add the metric's values in new lines."""
            found = (metric.value(r, self._store.path(RESULTS)) for r in self._parsed(lines))
            return [*values, *(value for value in found if value is not None)]

        return self._follow(("values", metric), [], more)

    def end(self) -> End:
        """Return how far the results go."""
        return self._follow("end", End(), End.after)

    def results(self) -> Iterator[dict[str, Any]]:
        """Yield every result in order."""
        yield from self._parsed(self._read_from(0) or b"")

    def _follow(self, key: object, empty: Found, add: Callable[[Found, bytes], Found]) -> Found:
        """Return what ``add`` makes of all lines; what it made of earlier ones is kept."""
        end, found = self._kept.get(key, (0, empty))
        data = self._read_from(end)
        if data is None:  # it has become shorter: another file
            end, found, data = 0, empty, self._read_from(0) or b""
        whole = data.rfind(b"\n") + 1
        if whole:
            found = add(found, data[:whole])
            self._kept[key] = end + whole, found
        return add(found, data[whole:]) if data[whole:] else found

    def _read_from(self, start: int) -> bytes | None:
        try:
            with self._store.open(RESULTS) as source:
                if source.nbytes < start:
                    return None
                buffer = bytearray(source.nbytes - start)
                source.read_into(start, memoryview(buffer))
        except StorageError as error:  # deleted since it was listed, for one
            self._notes.unreadable(self._store.path(RESULTS), error.reason)
            return b""
        return bytes(buffer)

    def _parsed(self, lines: bytes, *mentioning: bytes) -> Iterator[dict[str, Any]]:
        for line in lines.split(b"\n"):
            if line.strip() and (not mentioning or any(word in line for word in mentioning)):
                try:
                    result = json.loads(line)
                except (ValueError, RecursionError) as error:
                    self._notes.unreadable(self._store.path(RESULTS), error)
                    continue
                if isinstance(result, dict):
                    yield result


def saved_with(result: Metrics) -> str | None:
    """Return the name of the checkpoint that was saved with a result, as functions tell it.

    In a class's results Ray 2.7 names the one that was due after the result *before*; they do not
    ask for it themselves.
    """
    name = result.get("checkpoint_dir_name") if result.get("should_checkpoint") else None
    return name if isinstance(name, str) else None


def each_saved_with(results: Iterable[Metrics]) -> Pairs:
    """Return the checkpoints that a class's results name, where each names one.

    Then it was saved after every result, so that Ray 2.7 has named the right one.
    """
    named = [(result.get("checkpoint_dir_name"), result) for result in results]
    return {str(name): result for name, result in named} if all(n for n, _ in named) else {}


def bound_of(lines: bytes, metric: Metric, trial_id: str) -> Bound:
    """Return a bound of the metric in JSON objects, one a line; `UNKNOWN` where they are broken."""
    if not _is_whole(lines):
        return UNKNOWN
    found = [*_behind(metric.name.rpartition("/")[2]).finditer(lines)]
    values = [value for match in found if (value := _number(match[1])) is not None]
    if len(values) < len(found):
        return UNKNOWN
    costs = [(metric.cost(v), m.start()) for v, m in zip(values, found, strict=True) if v == v]
    if not costs:
        return NOTHING
    best = min(costs)[0]
    return min((best, *_moment(lines, place, trial_id)) for cost, place in costs if cost == best)


@functools.lru_cache(maxsize=64)
def _behind(leaf: str) -> re.Pattern[bytes]:
    # It begins with plain text, which is found many times as fast as an alternative would be; then
    # it looks back, since that may be the end of another name.
    text = re.escape(leaf.encode())
    return re.compile(text + rb'(?<=["/]' + text + rb')":\s*([^,}\]\s]+)')


_BROKEN = re.compile(rb"\n(?:(?<!\}\n)|(?!\{))")


def _is_whole(lines: bytes) -> bool:
    body = lines.removesuffix(b"\n")
    return body.startswith(b"{") and body.endswith(b"}") and not _BROKEN.search(body)


_WORDS = {b"true": 1.0, b"false": 0.0, b"null": math.nan}


def _number(token: bytes) -> float | None:
    """Return a JSON value as a float, NaN where it is no number, None where it is no JSON."""
    if token[:1] in b'"[{':
        return math.nan
    try:
        return float(token)
    except ValueError:
        return _WORDS.get(token)


_TIMESTAMP = re.compile(rb'"timestamp":\s*(\d+)')
_CHECKPOINT = re.compile(rb'"checkpoint_dir_name":\s*"(checkpoint_[^"\\]*)"')
_ITERATION = re.compile(rb'"training_iteration":\s*(-?\d+)')
_TRIAL_ID = re.compile(rb'"trial_id":\s*"([^"\\]*)"')


def _moment(lines: bytes, place: int, trial_id: str) -> tuple[float, str]:
    """Return the lowest iteration and trial id that the line at ``place`` can be of."""
    start, end = lines.rfind(b"\n", 0, place) + 1, lines.find(b"\n", place)
    line = lines[start:] if end < 0 else lines[start:end]
    iterations = [float(number) for number in _ITERATION.findall(line)]
    ids = [found.decode(errors="replace") for found in _TRIAL_ID.findall(line)]
    return min(iterations, default=-1.0), min([trial_id, *ids])
