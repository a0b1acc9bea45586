"""What the pickles in a folder would import if they were loaded; none of them is.

Three verdicts on each name. *Harmless*: plain data and arrays, which this package makes without
calling anything that a pickle names. *Dangerous*: what runs commands or code, or is code itself,
brought along by cloudpickle. *Unknown*: all other classes and functions; whether they do harm is
for those to say who know them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from tune_ckpt.errors import NotACheckpointError, TuneCkptError
from tune_ckpt.formats import pickle
from tune_ckpt.formats.io import read_range
from tune_ckpt.formats.pickle_torch import is_torch_file
from tune_ckpt.tree.inspection.found import Value, walk
from tune_ckpt.tree.inspection.looking import look
from tune_ckpt.tree.inspection.verdicts import WORST_FIRST, Named, Verdict, judged
from tune_ckpt.tree.notebook import as_html
from tune_ckpt.tree.progress import bytes_bar
from tune_ckpt.tree.storage.folder import Store
from tune_ckpt.tree.storage.store import open_parent, open_store


@dataclass(frozen=True)
class ScannedFile:
    """One file with pickles in it.

    Attributes:
        path: Its path below what was scanned.
        nbytes: Its size.
        names: What it would import.
        problem: Why it could not be looked through to its end; then nobody knows what else it
            would import.
    """

    path: str
    nbytes: int
    names: tuple[Named, ...]
    problem: str | None = None

    @property
    def verdict(self) -> Verdict:
        """The worst of what is known of it."""
        verdicts = {named.verdict for named in self.names}
        if self.problem is not None:
            verdicts.add("unknown")
        return next((v for v in WORST_FIRST if v in verdicts), "harmless")


@dataclass
class ScanReport:
    """What `scan` found.

    Attributes:
        path: What was scanned.
        files: The files with pickles in them, by path.
    """

    path: str
    files: list[ScannedFile] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing dangerous is named; what is unknown may still be."""
        return all(file.verdict != "dangerous" for file in self.files)

    def named(self, verdict: Verdict) -> dict[Named, list[str]]:
        """Return what has a verdict, and which files name it."""
        found: dict[Named, list[str]] = {}
        for file in self.files:
            for named in file.names:
                if named.verdict == verdict:
                    found.setdefault(named, []).append(file.path)
        return dict(sorted(found.items(), key=lambda item: item[0].name))

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values that JSON can express."""
        files = [{**asdict(file), "verdict": file.verdict} for file in self.files]
        return {"path": self.path, "ok": self.ok, "files": files}

    def _repr_html_(self) -> str:
        first, *lines = str(self).splitlines()
        return as_html(first, [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines])

    def __str__(self) -> str:
        lines = [f"{self.path}: {len(self.files)} file(s) with pickles"]
        for verdict in WORST_FIRST:
            for named, files in self.named(verdict).items():
                why = f" ({named.reason})" if named.reason else ""
                lines.append(f"  {verdict:<9} {named.name}{why}: {files[0]}{_more(files)}")
        lines += [f"  unknown   {f.path}: {f.problem}" for f in self.files if f.problem]
        return "\n".join(lines)


def _more(files: list[str]) -> str:
    return f" and {len(files) - 1} more" if len(files) > 1 else ""


def scan(
    path: Any,
    *,
    progress: bool = False,
    found: Callable[[ScannedFile], object] = lambda file: None,
    filesystem: Any = None,
) -> ScanReport:
    """List what the pickles in a file or folder would import, without importing any of it.

    Pickles are known by what is in files, not by their names; files of ``torch.save``, pickles
    inside pickles, and those that Tune keeps as hexadecimal text in its JSON are looked through as
    well. Of other files only the first bytes are read; these are read whole, one at a time.

    >>> scan("checkpoint").ok
    True

    Args:
        path: A file, a checkpoint, a sweep's folder, or any other folder: a local path, a URI, or
            a Ray Checkpoint.
        progress: Show a progress bar on stderr.
        found: Called with each file with pickles, as soon as it is looked through.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.

    Raises:
        NotACheckpointError: Nothing is there.
        StorageError: A file cannot be read.
    """
    files = _files(path, filesystem)
    report = ScanReport(open_store(path, filesystem).location)
    with bytes_bar(f"Scanning {report.path}", sum(f.nbytes for f in files), shown=progress) as done:
        for file in files:
            scanned = _scanned(file)
            if scanned is not None:
                report.files.append(scanned)
                found(scanned)
            done(file.nbytes)
    return report


@dataclass(frozen=True)
class _File:
    path: str
    nbytes: int
    store: Store
    name: str


def _files(path: Any, filesystem: Any) -> list[_File]:
    parent, name = open_parent(path, filesystem)
    entry = parent.stat(name) if name else None
    if entry is not None and not entry.is_dir:
        return [_File(name, entry.nbytes, parent, name)]
    store = open_store(path, filesystem)
    found = [*_below(store, "")]
    if not found:
        raise NotACheckpointError(store.location, "nothing is there")
    return found


def _below(store: Store, path: str) -> Iterator[_File]:
    for entry in store.list():
        inner = f"{path}{entry.name}"
        if not entry.is_dir:
            yield _File(inner, entry.nbytes, store, entry.name)
        elif not entry.is_link:  # a link may lead back up
            yield from _below(store.child(entry.name), f"{inner}/")


# ------------------------------------------------------------------------------- a single file

_PICKLE_NAMES = re.compile(r"\.(pkl|pickle|pt|pth|joblib|tune_metadata)$|^checkpoint-\d+$", re.I)
_HEXADECIMAL = re.compile(rb"(?<![0-9a-f])800[2-5](?:[0-9a-f]{2})+(?![0-9a-f])")
_HEAD_NBYTES = 64  # tell whether the rest is worth reading
_DEPTH = 4  # of pickles inside pickles


def _scanned(file: _File) -> ScannedFile | None:
    with file.store.open(file.name) as source:
        head = bytes(read_range(source, 0, min(_HEAD_NBYTES, source.nbytes)))
        if not _may_be_one(head, file.path):
            return None
        data = bytes(read_range(source, 0, source.nbytes))
    pickles = [data] if _is_pickle(data, file.path) else _in_text(data, file.path)
    if not pickles:
        return None
    names: dict[str, None] = {}
    problems = [_gather(each, file.path, names, _DEPTH) for each in pickles]
    problem = next((text for text in problems if text is not None), None)
    return ScannedFile(file.path, file.nbytes, tuple(map(judged, names)), problem)


def _may_be_one(head: bytes, path: str) -> bool:
    named = path.endswith(".json") or _PICKLE_NAMES.search(path.rpartition("/")[2])
    return bool(named) or _begins_like_one(head) or is_torch_file(head)


def _is_pickle(data: bytes, path: str) -> bool:
    if _begins_like_one(data):
        return True
    # The oldest protocols have no mark; and not every zip file is one of torch's.
    named = bool(_PICKLE_NAMES.search(path.rpartition("/")[2]))
    return named or (is_torch_file(data) and b"/data.pkl" in data[-(2**16) :])


def _begins_like_one(data: bytes) -> bool:
    return len(data) > 2 and data[0] == 0x80 and 2 <= data[1] <= 5


def _in_text(data: bytes, path: str) -> list[bytes]:
    if not path.endswith(".json"):
        return []
    return [bytes.fromhex(found.decode()) for found in _HEXADECIMAL.findall(data)]


def _gather(data: bytes, path: str, names: dict[str, None], depth: int) -> str | None:
    """Add what a pickle, and those inside it, would import; return why that is not all."""
    try:
        names.update(dict.fromkeys(pickle.list_globals(data, file=path)))
        inner = _inside(pickle.loads_inert(data, file=path))
    except TuneCkptError as error:
        return str(getattr(error, "reason", error))
    if inner and not depth:
        return "there are pickles inside pickles, too many to be looked through"
    problems = [_gather(each, path, names, depth - 1) for each in inner]
    return next((text for text in problems if text is not None), None)


def _inside(value: Any) -> list[bytes]:
    found = (each.value for _, _, each in walk(value, look, once=True) if isinstance(each, Value))
    return [each for each in found if isinstance(each, bytes) and _begins_like_one(each)]
