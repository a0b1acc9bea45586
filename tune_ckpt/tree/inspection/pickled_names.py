"""What the pickles in one file would import, wherever in it they stand; nothing is imported."""

from __future__ import annotations

import io
import re
import zipfile
from contextlib import suppress
from typing import Any

from tune_ckpt.errors import TuneCkptError
from tune_ckpt.formats import pickle
from tune_ckpt.formats.io import Source, read_range
from tune_ckpt.formats.pickle_opcodes import read_opcodes
from tune_ckpt.formats.pickle_scan import scan
from tune_ckpt.formats.pickle_torch import is_torch_file
from tune_ckpt.tree.inspection.found import Value, walk
from tune_ckpt.tree.inspection.looking import look

_PICKLE_NAMES = re.compile(r"\.(pkl|pickle|pt|pth|joblib|tune_metadata)$|^checkpoint-\d+$", re.I)
_HEXADECIMAL = re.compile(rb"(?<![0-9a-f])800[2-5](?:[0-9a-f]{2})+(?![0-9a-f])")
_HEAD_NBYTES = 64  # tell whether the rest is worth reading
_DEPTH = 4  # of pickles inside pickles


def pickled_names(source: Source, path: str) -> tuple[list[str], str | None] | None:
    """Return the names, and why these may not be all; None where there is no pickle in the file.

    Args:
        source: The file.
        path: Its path, whose name may tell that it is one.

    Raises:
        StorageError: It cannot be read.
    """
    head = bytes(read_range(source, 0, min(_HEAD_NBYTES, source.nbytes)))
    if not _may_be_one(head, path):
        return None
    data = bytes(read_range(source, 0, source.nbytes))
    pickles = _in_zip(data) if _is_pickle(data, path) else _in_text(data, path)
    if not pickles:
        return None
    names: dict[str, None] = {}
    problems = [_gather(each, path, names, _DEPTH) for each in pickles]
    if not names and path.endswith(".json"):
        return None  # digests that begin as pickles do, or plain values
    return [*names], next((text for text in problems if text is not None), None)


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


def _in_zip(data: bytes) -> list[bytes]:
    """Return the files of torch.save in an archive of other files, as torch.export writes it."""
    # What is wrong with an archive is told when it is read as one of torch's.
    with suppress(Exception), zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        if not any(name.partition("/")[2] == "data.pkl" for name in names):
            inner = {name: archive.read(name) for name in names}
            return [each for name, each in inner.items() if _is_pickle(each, name)]
    return [data]


def _in_text(data: bytes, path: str) -> list[bytes]:
    if not path.endswith(".json"):
        return []
    return [bytes.fromhex(found.decode()) for found in _HEXADECIMAL.findall(data)]


def _gather(data: bytes, path: str, names: dict[str, None], depth: int) -> str | None:
    """Add what a pickle, and those inside it, would import; return why that is not all."""
    problem = None
    try:
        names.update(dict.fromkeys(pickle.list_globals(data, file=path)))
        inner = [*_inside(pickle.loads_inert(data, file=path)), *_behind(data)]
    except TuneCkptError as error:  # Python's unpickler would run it as far as it can be parsed
        problem = str(getattr(error, "reason", error))
        before = read_opcodes(data)
        names.update(dict.fromkeys(before.names))
        inner = [each for each in before.blobs if _begins_like_one(each)]
    if inner and not depth:
        return "there are pickles inside pickles, too many to be looked through"
    problems = [problem, *(_gather(each, path, names, depth - 1) for each in inner)]
    return next((text for text in problems if text is not None), None)


def _inside(value: Any) -> list[bytes]:
    found = (each.value for _, _, each in walk(value, look, once=True) if isinstance(each, Value))
    return [each for each in found if isinstance(each, bytes) and _begins_like_one(each)]


def _behind(data: bytes) -> list[bytes]:
    """Return the pickle that follows another in the same file; torch's own do not count."""
    rest = b"" if is_torch_file(data) else data[scan(data).end :]
    return [rest] if _begins_like_one(rest) else []
