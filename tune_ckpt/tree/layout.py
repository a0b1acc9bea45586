"""What a component's folder holds: the names of its files and the fields of its metadata.

This is the one place that knows file names. The layout is RLlib's Checkpointable layout, version
2.1; what this package adds stands in ``metadata.json`` under the key ``tune_ckpt``::

    metadata.json                 written last: its presence is the commit
    class_and_ctor_args.msgpack   or .pkl
    state.msgpack                 or .pkl
    <subcomponent>/ ...
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import xxhash

from tune_ckpt.errors import CorruptDataError, InvalidNameError

CHECKPOINT_VERSION = "2.1"  # RLlib's number for this layout
LAYOUT = 1  # ours, for what stands under "tune_ckpt"

Format = Literal["pickle", "msgpack"]
SUFFIXES: dict[Format, str] = {"pickle": ".pkl", "msgpack": ".msgpack"}
STATE = "state"  # the two files of a component, by what they hold
CTOR = "class_and_ctor_args"

_DIGEST_KEY = "metadata_digest"
_NO_DIGEST = "0" * 32


@dataclass(frozen=True)
class FileNames:
    """A component's file names, as RLlib's class attributes give them.

    Attributes:
        metadata: The metadata file.
        ctor: The file of class and constructor arguments; its suffix follows the format.
        state: The state file, without a suffix.
    """

    metadata: str = "metadata.json"
    ctor: str = "class_and_ctor_args.pkl"
    state: str = "state"

    def file(self, role: str, format: Format) -> str:
        """Return the name of the file that holds ``role`` (`STATE` or `CTOR`)."""
        stem = self.state if role == STATE else self.ctor.removesuffix(".pkl")
        return stem + SUFFIXES[format]


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
        files: By role (`STATE`, `CTOR`).
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
        if not isinstance(self.cls, str) or self.files.keys() - {CTOR} != {STATE}:
            raise ValueError("its class or state is not named")
        for file in self.files.values():
            if type(file.nbytes) is not int or file.nbytes < 0 or type(file.digest) is not str:
                raise ValueError(f"{file.name!r} has no size or digest")
        names = [file.name for file in self.files.values()]
        for record in self.components.values():
            names += [record.folder, record.metadata]
        for name in names:
            if _objection(name) is not None:
                raise ValueError(f"{name!r} is outside of its folder")


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _sealed(blank: bytes) -> bytes:
    # The digest is of the bytes in which it is still zeros: any changed byte shows.
    return blank.replace(_NO_DIGEST.encode(), xxhash.xxh3_128_hexdigest(blank).encode())


def check_names(names: Iterable[str], files: FileNames) -> None:
    """Check that component names can be folders beside a component's files, on any system.

    Raises:
        InvalidNameError: One cannot.
    """
    taken = {files.metadata.lower(): "the metadata file"}
    for role in (STATE, CTOR):
        for format in SUFFIXES:
            taken[files.file(role, format).lower()] = "a file of the component"
    for name in names:
        reason = _objection(name)
        if reason is None and name.lower() in taken:
            reason = f"it cannot be told from {taken[name.lower()]} on every disk"
        if reason:
            raise InvalidNameError(str(name), reason)
        taken[name.lower()] = f"the component {name!r}"


def _objection(name: object) -> str | None:
    if not isinstance(name, str):
        return "it is not text"
    if not name or name.startswith(".") or name != name.strip():
        return "it is empty, or begins with a dot or a space, or ends with a space"
    if any(character in '/\\:*?"<>|' or ord(character) < 32 for character in name):
        return 'it holds one of / \\ : * ? " < > | or a control character'
    if len(name.encode("utf-8", "replace")) > 200:
        return "it is longer than 200 bytes"
    return None
