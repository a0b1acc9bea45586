"""What a component's folder holds: the names of its files and the fields of its metadata.

This is the one place that knows file names. The layout is RLlib's Checkpointable layout, version
2.1; what this package adds stands in ``metadata.json`` under the key ``tune_ckpt``::

    metadata.json                 written last: its presence is the commit
    class_and_ctor_args.msgpack   or .pkl
    state.msgpack                 or .pkl
    selftest.msgpack              or .pkl; only where the object has a selftest()
    <subcomponent>/ ...

Where no folder can be exchanged for another in one step (object stores, mount points), a save over
an older checkpoint must not write over its files: a reader would find parts of both. There the
save's id stands in the names of its files, like ``state.1f00ba42.msgpack``; only the root's
``metadata.json`` keeps its name, and its replacement is the commit. Readers take every name from
the metadata above it, so they need not know which save a name is of.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tune_ckpt.errors import InvalidArgumentError, InvalidNameError
from tune_ckpt.formats.file_format import FileFormat
from tune_ckpt.formats.msgpack_files import MSGPACK
from tune_ckpt.formats.pickle_files import PICKLE
from tune_ckpt.tree.storage.naming import check_side_by_side

CHECKPOINT_VERSION = "2.1"  # RLlib's number for this layout

Format = Literal["pickle", "msgpack"]
FORMATS: dict[Format, FileFormat] = {"pickle": PICKLE, "msgpack": MSGPACK}

STATE = "state"  # a component's files, by what they hold
CTOR = "class_and_ctor_args"
SELFTEST = "selftest"
ROLES = (STATE, CTOR, SELFTEST)


@dataclass(frozen=True)
class FileNames:
    """A component's file names, as RLlib's class attributes give them.

    Attributes:
        metadata: The metadata file.
        ctor: The file of class and constructor arguments; its suffix follows the format.
        state: The state file, without a suffix.
        selftest: The file of what the object's self-test returned, without a suffix.
    """

    metadata: str = "metadata.json"
    ctor: str = "class_and_ctor_args.pkl"
    state: str = "state"
    selftest: str = "selftest"

    def file(self, role: str, format: Format) -> str:
        """Return the name of the file that holds ``role`` (one of `ROLES`)."""
        stems = {STATE: self.state, CTOR: self.ctor.removesuffix(".pkl"), SELFTEST: self.selftest}
        return stems[role] + FORMATS[format].suffix

    def all(self) -> set[str]:
        """Return every name that a component's files have, whatever their format."""
        return {self.metadata} | {self.file(r, f) for r in ROLES for f in FORMATS}

    def of_save(self, save: str) -> FileNames:
        """Return the names with a save's id in them, which no other save's files have."""
        stem, _, suffix = self.metadata.rpartition(".")
        ctor = self.ctor.removesuffix(".pkl")
        names = (f"{stem}.{save}.{suffix}", f"{ctor}.{save}.pkl")
        return FileNames(*names, f"{self.state}.{save}", f"{self.selftest}.{save}")

    def without(self, save: str) -> FileNames:
        """Return the names without a save's id."""
        names = (self.metadata, self.ctor, self.state, self.selftest)
        return FileNames(*(name.replace(f".{save}", "") for name in names))


def new_save() -> str:
    """Return an id for a save, which no other has."""
    return uuid.uuid4().hex[:8]


def role_of(name: str) -> str | None:
    """Return what the names of one file have in common in all saves and formats.

    It is None for what is none of our files.
    """
    found = _FILE.fullmatch(name)
    if found is None:
        return None
    return found["stem"] + (".json" if found["suffix"] == ".json" else "")


def has_name_of_ours(name: str) -> bool:
    """Say whether a file is named like a file of ours, whatever its save and format."""
    return role_of(name) in _OURS


_SUFFIX = "|".join(re.escape(suffix) for suffix in (".json", *(f.suffix for f in FORMATS.values())))
_FILE = re.compile(rf"(?P<stem>.+?)(\.[0-9a-f]{{8}})?(?P<suffix>{_SUFFIX})", re.DOTALL)
_OURS = {role_of(name) for name in FileNames().all()}

KNOWN_METADATA = ("metadata.json", "rllib_checkpoint.json")

# What RLlib's own checkpoints have: in any generation, in the order in which it looks for them.
RLLIB_METADATA = (*KNOWN_METADATA, "learner_state.json", "rl_module_metadata.json")
RLLIB_MSGPACK = ".msgpck"  # in some of its versions
RLLIB_SUFFIXES = (".msgpack", RLLIB_MSGPACK, ".pkl", ".pt")
RLLIB_FIELDS = {STATE: "state_file", CTOR: "class_and_ctor_args_file"}
RLLIB_MARKS = {*RLLIB_FIELDS.values(), "checkpoint_version", "ray_version"}  # metadata have one
RLLIB_STATES = {"Algorithm": "algorithm_state.pkl", "Policy": "policy_state.pkl"}  # by default
RLLIB_ONE_FILE = re.compile(r"checkpoint-(\d+)")  # all there is, of Ray up to 2.0


def check_format(format: str) -> None:
    """Check that there is such a format.

    Raises:
        InvalidArgumentError: There is none.
    """
    if format not in [*FORMATS]:  # it may be of any type
        raise InvalidArgumentError("format", format, tuple(FORMATS))


def format_of(name: str) -> Format:
    """Return a file's format by its name; RLlib's pickles have any name."""
    if name.endswith(RLLIB_MSGPACK):
        return "msgpack"
    return next((f for f, row in FORMATS.items() if name.endswith(row.suffix)), "pickle")


def check_names(components: Iterable[str], files: FileNames) -> None:
    """Check that subcomponents' folders can stand beside a component's files, on any system.

    Raises:
        InvalidNameError: One cannot.
    """
    check_side_by_side(
        [(files.metadata, "the metadata file")]
        + [(files.file(r, f), f"a {r} file") for r in ROLES for f in FORMATS]
        + [(name, f"the component {name!r}") for name in components]
    )
    if not files.metadata.endswith(".json"):
        raise InvalidNameError(files.metadata, "readers look for metadata in files named *.json")
