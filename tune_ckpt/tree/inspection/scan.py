"""What the pickles in a folder would import if they were loaded; none of them is.

Three verdicts on each name. *Harmless*: plain data and arrays, which this package makes without
calling anything that a pickle names. *Dangerous*: what runs commands or code, or is code itself,
brought along by cloudpickle. *Unknown*: all other classes and functions; whether they do harm is
for those to say who know them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from tune_ckpt.errors import CorruptDataError, ForeignArchiveError, NotACheckpointError
from tune_ckpt.tree.inspection.pickled_names import pickled_names
from tune_ckpt.tree.inspection.verdicts import WORST_FIRST, Judged, Verdict, judged
from tune_ckpt.tree.notebook import as_html
from tune_ckpt.tree.progress import bytes_bar
from tune_ckpt.tree.storage.folder import Store
from tune_ckpt.tree.storage.store import open_parent, open_store
from tune_ckpt.tree.storage.zip_store import SUFFIX, ZipStore


@dataclass(frozen=True)
class ScannedFile:
    """One file with pickles in it.

    Attributes:
        path: Its path below what was scanned.
        nbytes: Its size.
        names: What it would import.
        problem: Why it could not be looked through to its end; then nobody knows what else it
            would import: Python's unpickler runs a damaged pickle up to the damage.
    """

    path: str
    nbytes: int
    names: tuple[Judged, ...]
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
        """Whether all was looked through and nothing dangerous is named; unknown names may be."""
        return all(file.verdict != "dangerous" and file.problem is None for file in self.files)

    def named(self, verdict: Verdict) -> dict[Judged, list[str]]:
        """Return what has a verdict, and which files name it."""
        found: dict[Judged, list[str]] = {}
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
    found: Callable[[ScannedFile], object] | None = None,
    filesystem: Any = None,
) -> ScanReport:
    """List what the pickles in a file or folder would import, without importing any of it.

    Pickles are known by what is in files, not by their names; files of ``torch.save``, pickles
    inside pickles, those in single-file checkpoints, and those that Tune keeps as hexadecimal text
    in its JSON are looked through as well. Of other files only the first bytes are read; these are
    read whole, one at a time.

    >>> scan("checkpoint").ok
    True

    Args:
        path: A file, a checkpoint, a sweep's folder, or any other folder: a local path, a URI, or
            a Ray Checkpoint.
        progress: Show a progress bar on stderr.
        found: Called with each file with pickles, as soon as it is looked through.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.

    Returns:
        The files with pickles in them, with a verdict on each name.

    Raises:
        NotACheckpointError: Nothing is there.
        StorageError: A file cannot be read.
    """
    store = open_store(path, filesystem)
    files = _files(store, path, filesystem)
    report = ScanReport(store.location)
    with bytes_bar(f"Scanning {report.path}", sum(f.nbytes for f in files), shown=progress) as done:
        for file in files:
            scanned = _scanned(file)
            if scanned is not None:
                report.files.append(scanned)
                if found is not None:
                    found(scanned)
            done(file.nbytes)
    return report


@dataclass(frozen=True)
class _File:
    path: str
    nbytes: int
    store: Store
    name: str


def _files(store: Store, path: Any, filesystem: Any) -> list[_File]:
    parent, name = open_parent(path, filesystem)
    entry = parent.stat(name) if name else None
    if entry is not None and not entry.is_dir:
        return _in_archive(parent, name, "") or [_File(name, entry.nbytes, parent, name)]
    found = [*_below(store, "")]
    if not found:
        raise NotACheckpointError(store.location, "nothing is there")
    return found


def _below(store: Store, path: str) -> Iterator[_File]:
    for entry in store.list():
        inner = f"{path}{entry.name}"
        if not entry.is_dir:
            file = _File(inner, entry.nbytes, store, entry.name)
            yield from _in_archive(store, entry.name, f"{inner}/") or [file]
        elif not entry.is_link:  # a link may lead back up
            yield from _below(store.child(entry.name), f"{inner}/")


def _in_archive(folder: Store, name: str, path: str) -> list[_File]:
    """Return the files in a single-file checkpoint; none of any other file."""
    if not name.lower().endswith(SUFFIX):
        return []
    try:
        return [*_below(ZipStore.open_file(folder, name), path)]
    except (CorruptDataError, ForeignArchiveError):
        return []  # another tool's, or damaged: nothing in it would be loaded


def _scanned(file: _File) -> ScannedFile | None:
    with file.store.open(file.name) as source:
        found = pickled_names(source, file.path)
    if found is None:
        return None
    names, problem = found
    return ScannedFile(file.path, file.nbytes, tuple(map(judged, names)), problem)
