"""The examples' YAML files, read into dataclasses; every fault in a file is told with its place.

A dataclass is the schema: its fields are the keys, their types the values'. So a file that can be
read is one that the example can use.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

CONFIGS = Path(__file__).parents[1] / "configs"
T = TypeVar("T")

_NAMES = {int: "a whole number", float: "a number", str: "text"}


@dataclass
class SettingsError(argparse.ArgumentTypeError):
    """A settings file is not what the example reads.

    Attributes:
        path: The file.
        faults: One line for each fault.
    """

    path: str
    faults: list[str]

    def __str__(self) -> str:
        return "\n  - ".join([f"{self.path} cannot be used:", *self.faults])


def command(description: str | None, schema: type, default: str) -> argparse.ArgumentParser:
    """Return what parses an example's command: its ``--config`` becomes ``settings``.

    Args:
        description: What the example does: the first line is shown by ``--help``.
        schema: A dataclass: what its settings are.
        default: The name of the file in ``configs/`` that is read where the command names none.
    """
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument(
        "--config",
        dest="settings",
        metavar="FILE",
        type=lambda path: read(schema, path),
        default=str(CONFIGS / default),
        help=f"its settings, by default configs/{default}",
    )
    return parser


def read(schema: type[T], path: str | Path) -> T:
    """Return a file's settings.

    Args:
        schema: A dataclass; its fields may be dataclasses, lists, and int, float or str.
        path: The YAML file.

    Raises:
        SettingsError: There is no such file, it is not YAML, keys are unknown or missing, or values
            are of another type: all of that at once.
    """
    try:
        loaded = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(str(path), [f"it cannot be read: {error}"]) from error
    except yaml.YAMLError as error:
        raise SettingsError(str(path), [f"it is not YAML: {error}"]) from error
    if faults := list(_faults(schema, loaded, "")):
        raise SettingsError(str(path), faults)
    return _made(schema, loaded)


def _faults(kind: Any, value: Any, place: str) -> Iterator[str]:
    if is_dataclass(kind):
        yield from _faults_of_record(kind, value, place)
    elif get_origin(kind) is list:
        yield from _faults_of_list(get_args(kind)[0], value, place)
    elif not _fits(kind, value):
        yield f"{place}: it must be {_NAMES[kind]}, and is {_told(value)}"


def _faults_of_record(schema: Any, value: Any, place: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{place or 'the file'}: it must be keys with values, and is {_told(value)}"
        return
    kinds = get_type_hints(schema)
    for key in value:
        if key not in kinds:
            near = difflib.get_close_matches(str(key), kinds, n=2, cutoff=0.6)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(kinds)}"
            yield f"{_under(place, key)}: there is no such setting; {hint}"
    for key, kind in kinds.items():
        if key in value:
            yield from _faults(kind, value[key], _under(place, key))
        else:
            yield f"{_under(place, key)}: it is missing"


def _faults_of_list(kind: Any, value: Any, place: str) -> Iterator[str]:
    if not isinstance(value, list) or not value:
        yield f"{place}: it must be a list with something in it, and is {_told(value)}"
        return
    for number, item in enumerate(value):
        yield from _faults(kind, item, f"{place}[{number}]")


def _fits(kind: type, value: Any) -> bool:
    if isinstance(value, bool):  # which Python takes for a number
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def _told(value: Any) -> str:
    if isinstance(value, str):
        hint = " (YAML wants 1.0e-3)" if _is_number(value) else ""
        return f"the text {value!r}{hint}"
    return "nothing" if value is None else repr(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _under(place: str, key: Any) -> str:
    return f"{place}.{key}" if place else str(key)


def _made(kind: Any, value: Any) -> Any:
    if is_dataclass(kind):
        kinds = get_type_hints(kind)
        return kind(**{key: _made(kinds[key], item) for key, item in value.items()})
    if get_origin(kind) is list:
        return [_made(get_args(kind)[0], item) for item in value]
    return kind(value)
