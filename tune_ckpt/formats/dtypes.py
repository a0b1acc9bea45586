"""NumPy dtypes as the text or nested lists that stand for them in a document.

A plain dtype is NumPy's own text with its byte order (``<f8``, ``|S3``, ``<M8[ns]``), one of
ml_dtypes' its name (``bfloat16``). The others are lists that begin with their kind.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_ckpt.errors import MissingDependencyError
from tune_ckpt.formats.extensions import Refused, expect

Field = tuple[str, np.dtype[Any], int, Any]  # name, dtype, offset, title or None

# Long doubles differ between processors: their text ends with the bits of their mantissa.
_PLAIN = re.compile(r"([<>|](?:[biufcSUV]\d{1,9}|[mM]8(?:\[\d*[a-zA-Z]+\])?))(?:/(\d+))?")
_LONG_BITS = np.finfo(np.longdouble).nmant
_DOUBLE_BITS, _X87_BITS, _X87_NBYTES = 52, 63, 10

# ------------------------------------------------------------------------------------- writing


def encode_dtype(dtype: np.dtype[Any]) -> str | list[Any]:
    """Return a dtype as text, or as nested lists where it is structured.

    Raises:
        Refused: It holds Python objects, or is of a kind that is not known here.
    """
    if dtype.metadata:
        raise Refused("its dtype carries metadata, which would be lost")
    if dtype.kind == "O":
        return "O"
    if dtype.kind == "T":
        return _encode_string(dtype)
    if dtype.hasobject:
        raise Refused(f"its dtype {dtype} holds Python objects")
    if dtype.subdtype:
        base, shape = dtype.subdtype
        return ["subarray", encode_dtype(base), list(shape)]
    return _encode_plain(dtype) if dtype.names is None else _encode_struct(dtype)


def _encode_plain(dtype: np.dtype[Any]) -> str:
    text = dtype.str
    if dtype.type.__module__.partition(".")[0] == "ml_dtypes":
        text = dtype.name
    elif dtype.char in "gG" and _LONG_BITS != _DOUBLE_BITS:
        text = f"{text}/{_LONG_BITS}"
    if decode_dtype(text) != dtype:
        raise Refused(f"its dtype {dtype!r} is not known")
    return text


def _encode_struct(dtype: np.dtype[Any]) -> list[Any]:
    kind = {np.void: "struct", np.record: "record"}.get(dtype.type)
    if kind is None:
        raise Refused(f"its dtype {dtype!r} has fields upon another type")
    fields = [_encode_field(name, *dtype.fields[name]) for name in dtype.names]  # type: ignore[index,union-attr]  # a struct has both
    return [kind, dtype.itemsize, dtype.isalignedstruct, fields]


def _encode_field(name: str, dtype: Any, offset: int, title: Any = None) -> list[Any]:
    if not (title is None or type(title) is str):
        raise Refused(f"a field of its dtype has the title {title!r}, which is not text")
    return [name, encode_dtype(dtype), offset, title]


def _encode_string(dtype: Any) -> list[Any]:
    missing = getattr(dtype, "na_object", "")
    if not (missing is None or type(missing) in (str, float)):
        raise Refused(f"its dtype {dtype!r} has a missing value of an unknown kind")
    return ["string", bool(dtype.coerce), *([missing] if hasattr(dtype, "na_object") else [])]


def unused_bytes(dtype: np.dtype[Any]) -> npt.NDArray[np.bool_] | None:
    """Return which bytes of an element mean nothing (they hold garbage), or None if all are used.

    They are written as zeros: equal arrays must give equal bytes.
    """
    if dtype.names is None and dtype.char not in "gG":
        return None
    unused = ~_used_bytes(dtype)
    return unused if unused.any() else None


def _used_bytes(dtype: np.dtype[Any]) -> npt.NDArray[np.bool_]:
    used = np.zeros(dtype.itemsize, np.bool_)
    if dtype.subdtype:
        base, shape = dtype.subdtype
        return np.tile(_used_bytes(base), math.prod(shape))
    if dtype.names is None:
        halves = used.reshape(2 if dtype.kind == "c" else 1, -1)
        halves[:, : _X87_NBYTES if dtype.char in "gG" and _LONG_BITS == _X87_BITS else None] = True
        return used
    for name in dtype.names:
        field, offset = dtype.fields[name][:2]  # type: ignore[index]  # what has names has fields
        used[offset : offset + field.itemsize] |= _used_bytes(field)
    return used


# ------------------------------------------------------------------------------------- reading


def decode_dtype(code: Any) -> np.dtype[Any]:
    """Return the dtype that `encode_dtype` wrote as ``code``.

    Raises:
        MissingDependencyError: It is one of ml_dtypes', which is not installed, or too old.
        ValueError, TypeError: It is not such a code.
    """
    if type(code) is str:
        return _decode_plain(code)
    kind, *parts = expect(list, code)
    return _DECODERS[kind](*parts)


@lru_cache(256)
def _decode_plain(code: str) -> np.dtype[Any]:
    if code == "O":
        return np.dtype(object)
    plain = _PLAIN.fullmatch(code)
    if plain is None:
        return _decode_ml(code)
    text, bits = plain.groups()
    if bits is not None and int(bits) != _LONG_BITS:
        raise ValueError(f"long doubles of {bits} bits do not exist on this processor")
    dtype = np.dtype(text)
    if dtype.str != text:
        raise ValueError(f"{text!r} is not how this dtype is written")
    return dtype


def _decode_ml(name: str) -> np.dtype[Any]:
    if not re.fullmatch(r"[a-z]{3,8}\d[a-z0-9_]{0,16}", name):
        raise ValueError("no such dtype")
    try:
        ml_dtypes = importlib.import_module("ml_dtypes")
    except ImportError as error:
        raise MissingDependencyError("ml_dtypes", f"An array of dtype {name}") from error
    kind = vars(ml_dtypes).get(name)
    if kind is None:
        raise MissingDependencyError(newer(ml_dtypes), f"An array of dtype {name}")
    if not (isinstance(kind, type) and issubclass(kind, np.generic)):
        raise ValueError(f"{name!r} is not a dtype")
    return np.dtype(kind)


def newer(package: ModuleType) -> str:
    """Return, as pip takes it, a newer version of a package than this one."""
    return f"{package.__name__}>{package.__version__.partition('+')[0]}"


def _decode_struct(itemsize: Any, aligned: Any, fields: Any) -> np.dtype[Any]:
    parts = [
        (
            expect(str, name),
            _decode_part(code),
            expect(int, offset),
            title if title is None else expect(str, title),
        )
        for name, code, offset, title in fields
    ]
    return struct_dtype(parts, expect(int, itemsize), aligned=expect(bool, aligned))


def struct_dtype(fields: Sequence[Field], itemsize: int, *, aligned: bool) -> np.dtype[Any]:
    """Return a structured dtype, all of whose fields lie within its elements.

    Raises:
        ValueError, TypeError: They do not.
    """
    for _, dtype, offset, _ in fields:
        if not isinstance(dtype, np.dtype):  # NumPy makes dtypes of almost anything
            raise TypeError("a field whose dtype is not one")
        # NumPy's own check overflows, and then it reads beyond the element.
        if not 0 <= offset <= offset + dtype.itemsize <= itemsize < 2**31:
            raise ValueError(f"a field at {offset} in an element of {itemsize} bytes")
    names, dtypes, offsets, titles = zip(*fields, strict=True) if fields else ((), (), (), ())
    spec: Any = {"names": names, "formats": dtypes, "offsets": offsets, "itemsize": itemsize}
    if any(title is not None for title in titles):
        spec["titles"] = titles
    struct: np.dtype[Any] = np.dtype(spec, align=aligned)
    return struct


def _decode_part(code: Any) -> np.dtype[Any]:
    dtype = decode_dtype(code)
    if dtype.hasobject:
        raise ValueError("a structured dtype that holds objects")
    return dtype


def _decode_subarray(base: Any, shape: Any) -> np.dtype[Any]:
    sizes = tuple(expect(int, size) for size in expect(list, shape))
    return np.dtype((_decode_part(base), sizes))


def _decode_record(*parts: Any) -> np.dtype[Any]:
    return np.dtype((np.record, _decode_struct(*parts)))


def _decode_string(coerce: Any, *missing: Any) -> np.dtype[Any]:
    if not hasattr(np, "dtypes") or not hasattr(np.dtypes, "StringDType"):
        raise MissingDependencyError("numpy>=2", "An array of variable-length strings")
    if any(type(value) not in (type(None), str, float) for value in missing):
        raise ValueError("a missing value that is neither None, text nor a number")
    given = {"na_object": missing[0]} if missing else {}
    return np.dtypes.StringDType(coerce=expect(bool, coerce), **given)


_DECODERS: dict[str, Callable[..., np.dtype[Any]]] = {
    "struct": _decode_struct,
    "record": _decode_record,
    "subarray": _decode_subarray,
    "string": _decode_string,
}
