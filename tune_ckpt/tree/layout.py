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

import json
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import xxhash

from tune_ckpt.errors import CorruptDataError, InvalidNameError
from tune_ckpt.tree.storage.naming import check_side_by_side, objection

CHECKPOINT_VERSION = "2.1"  # RLlib's number for this layout
LAYOUT = 1  # ours, for what stands under "tune_ckpt"

Format = Literal["pickle", "msgpack"]
SUFFIXES: dict[Format, str] = {"pickle": ".pkl", "msgpack": ".msgpack"}
STATE = "state"  # a component's files, by what they hold
CTOR = "class_and_ctor_args"
SELFTEST = "selftest"
ROLES = (STATE, CTOR, SELFTEST)

_DIGEST_KEY = "metadata_digest"
_NO_DIGEST = "0" * 32


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
        return stems[role] + SUFFIXES[format]

    def all(self) -> set[str]:
        """Return every name that a component's files have, whatever their format."""
        return {self.metadata} | {self.file(r, f) for r in ROLES for f in SUFFIXES}

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


_FILE = re.compile(r"(?P<stem>.+?)(\.[0-9a-f]{8})?(?P<suffix>\.json|\.msgpack|\.pkl)", re.DOTALL)
KNOWN_METADATA = ("metadata.json", "rllib_checkpoint.json")

# What RLlib's own checkpoints have: in any generation, in the order in which it looks for them.
RLLIB_METADATA = (*KNOWN_METADATA, "learner_state.json", "rl_module_metadata.json")
RLLIB_SUFFIXES = (".msgpack", ".msgpck", ".pkl", ".pt")
RLLIB_FIELDS = {STATE: "state_file", CTOR: "class_and_ctor_args_file"}


def is_msgpack(name: str) -> bool:
    """Say whether a file's name is that of msgpack; RLlib has two suffixes for it."""
    return name.endswith((".msgpack", ".msgpck"))


@dataclass(frozen=True)
class FileRecord:
    """One file of a component.

    Attributes:
        name: Its name in the folder.
        nbytes: Its size.
        digest: XXH3-128 of a pickle's bytes; of a msgpack document's tree, which holds those of
            its blobs.
    """

    name: str
    nbytes: int
    digest: str


@dataclass(frozen=True)
class ComponentRecord:
    """One subcomponent.

    Attributes:
        folder: Its folder's name.
        metadata: Its metadata file's name.
        digest: Its content digest.
    """

    folder: str
    metadata: str
    digest: str


@dataclass
class Metadata:
    """What ``metadata.json`` says.

    Attributes:
        cls: The component's class, ``module:QualName``.
        format: How its files are written.
        files: By role (one of `ROLES`).
        components: By name, in order.
        facts: When, where and by what it was written; no part of the content.
        extra: What the object's own ``get_metadata()`` gave, and a sweep's metrics and trial.
    """

    cls: str
    format: Format
    files: dict[str, FileRecord] = field(default_factory=dict)
    components: dict[str, ComponentRecord] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The content digest: the same state has the same one on every machine."""
        content = {
            "format": self.format,
            "files": {role: file.digest for role, file in self.files.items()},
            "components": {name: record.digest for name, record in self.components.items()},
        }
        return xxhash.xxh3_128_hexdigest(_canonical(content))

    def names(self, metadata_file: str) -> FileNames:
        """Return the names of the component's files as its class has them, without a save's id."""
        state = self.files[STATE].name.rpartition(".")[0]
        names = FileNames(metadata_file, state=state)
        if CTOR in self.files:
            ctor = self.files[CTOR].name.rpartition(".")[0] + ".pkl"
            names = FileNames(metadata_file, ctor, state)
        return names.without(self.facts["save"]) if "save" in self.facts else names

    def to_json(self) -> bytes:
        """Return the file's bytes, which hold their own digest."""
        ours = {
            "layout": LAYOUT,
            "class": self.cls,
            "format": self.format,
            "dialect": "typed" if self.format == "msgpack" else None,
            "digest": self.digest,
            "files": {role: asdict(file) for role, file in self.files.items()},
            "components": {name: asdict(record) for name, record in self.components.items()},
            **self.facts,
        }
        document = {**self.extra, "tune_ckpt": ours, _DIGEST_KEY: _NO_DIGEST}
        blank = json.dumps(document, indent=2).encode() + b"\n"
        return _sealed(blank)

    @classmethod
    def from_json(cls, data: bytes, file: str) -> Metadata | None:
        """Return what a metadata file says, or None where another library wrote it.

        Args:
            data: The file's bytes.
            file: Its path, for messages.

        Raises:
            CorruptDataError: It is not what was written.
        """
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise CorruptDataError(file, f"it is no JSON ({error})") from error
        if not isinstance(document, dict) or not document.keys() & {"tune_ckpt", _DIGEST_KEY}:
            return None
        ours, seal = document.pop("tune_ckpt", None), document.pop(_DIGEST_KEY, None)
        if (
            type(seal) is not str
            or _sealed(data.replace(seal.encode(), _NO_DIGEST.encode())) != data
        ):
            raise CorruptDataError(file, "it does not match its own digest")
        try:
            return cls._from_fields(ours, document)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = f"it says what no writer says ({error!r}); a newer tune_ckpt may have"
            raise CorruptDataError(file, reason) from error

    @classmethod
    def _from_fields(cls, ours: dict[str, Any], extra: dict[str, Any]) -> Metadata:
        if ours.pop("layout") != LAYOUT or ours["format"] not in SUFFIXES:
            raise ValueError("its layout is not known here")
        ours.pop("digest")  # computed again from what it covers
        ours.pop("dialect")
        metadata = cls(
            cls=ours.pop("class"),
            format=ours.pop("format"),
            files={role: FileRecord(**file) for role, file in ours.pop("files").items()},
            components={k: ComponentRecord(**v) for k, v in ours.pop("components").items()},
            facts=ours,
            extra=extra,
        )
        metadata._check()
        return metadata

    def _check(self) -> None:
        """Check that all is there, and that no name leads outside of the component's folder."""
        if not isinstance(self.cls, str) or not {STATE} <= self.files.keys() <= {*ROLES}:
            raise ValueError("its class or state is not named")
        for file in self.files.values():
            if type(file.nbytes) is not int or file.nbytes < 0 or type(file.digest) is not str:
                raise ValueError(f"{file.name!r} has no size or digest")
        names = [file.name for file in self.files.values()]
        for record in self.components.values():
            names += [record.folder, record.metadata]
        for name in names:
            if objection(name) is not None:
                raise ValueError(f"{name!r} is outside of its folder")


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _sealed(blank: bytes) -> bytes:
    # The digest is of the bytes in which it is still zeros: any changed byte shows.
    return blank.replace(_NO_DIGEST.encode(), xxhash.xxh3_128_hexdigest(blank).encode())


def check_names(components: Iterable[str], files: FileNames) -> None:
    """Check that subcomponents' folders can stand beside a component's files, on any system.

    Raises:
        InvalidNameError: One cannot.
    """
    check_side_by_side(
        [(files.metadata, "the metadata file")]
        + [(files.file(r, f), f"a {r} file") for r in ROLES for f in SUFFIXES]
        + [(name, f"the component {name!r}") for name in components]
    )
    if not files.metadata.endswith(".json"):
        raise InvalidNameError(files.metadata, "readers look for metadata in files named *.json")
