"""The fields of ``metadata.json``, which names all that a component consists of, with digests.

RLlib's own fields stand beside what this package adds under the key ``tune_ckpt``. The file holds a
digest of itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import xxhash

from tune_ckpt.errors import CorruptDataError
from tune_ckpt.tree.layout import CTOR, FORMATS, ROLES, STATE, FileNames, Format
from tune_ckpt.tree.storage.naming import objection

# What a checkpoint says of those that it comes from: their content digests, and a trial.
RESTORED_FROM = "restored_from"
RESTORED_FROM_TRIAL = "restored_from_trial"
CONVERTED_FROM = "converted_from"
LINEAGE = (RESTORED_FROM, RESTORED_FROM_TRIAL, CONVERTED_FROM)

_LAYOUT = 1  # ours, for what stands under "tune_ckpt"
_DIGEST_KEY = "metadata_digest"
OWN_KEYS = {"tune_ckpt", _DIGEST_KEY}  # which no other library's metadata have
_NO_DIGEST = "0" * 32


@dataclass(frozen=True)
class FileRecord:
    """One file of a component.

    Attributes:
        name: Its name in the folder.
        nbytes: Its size.
        digest: XXH3-128 of a pickle's bytes; of a msgpack document's tree, which holds those of
            its blobs. Empty where nothing tells it: another library wrote the file.
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
            "layout": _LAYOUT,
            "class": self.cls,
            "format": self.format,
            "dialect": FORMATS[self.format].dialect,
            "digest": self.digest,
            "files": {role: asdict(file) for role, file in self.files.items()},
            "components": {name: asdict(record) for name, record in self.components.items()},
            **self.facts,
        }
        document = {**self.extra, "tune_ckpt": ours, _DIGEST_KEY: _NO_DIGEST}
        blank = json.dumps(document, indent=2).encode() + b"\n"
        return sealed(blank)

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
            raise CorruptDataError(file, f"it is not JSON ({error})") from error
        if not isinstance(document, dict) or not document.keys() & OWN_KEYS:
            return None
        ours, seal = document.pop("tune_ckpt", None), document.pop(_DIGEST_KEY, None)
        # An altered digest may be JSON's for a text that does not stand in the file like this.
        written = seal.encode(errors="replace") if type(seal) is str else b""
        blank = data.replace(written, _NO_DIGEST.encode()) if written else data
        if blank == data or xxhash.xxh3_128_hexdigest(blank) != seal:
            raise CorruptDataError(file, "it does not match its own digest")
        try:
            return cls._from_fields(ours, document)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = f"it says what no writer says ({error!r}); a newer tune_ckpt may have"
            raise CorruptDataError(file, reason) from error

    @classmethod
    def _from_fields(cls, ours: dict[str, Any], extra: dict[str, Any]) -> Metadata:
        if ours.pop("layout") != _LAYOUT or ours["format"] not in FORMATS:
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
        for name, record in self.components.items():
            names += [name, record.folder, record.metadata]  # a copy's folder is called ``name``
        for name in names:
            if objection(name) is not None:
                raise ValueError(f"{name!r} is outside of its folder")


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def sealed(blank: bytes) -> bytes:
    """Return a file's bytes with the digest of those in which it is still zeros; it stands last."""
    before, _, after = blank.rpartition(_NO_DIGEST.encode())
    return before + xxhash.xxh3_128_hexdigest(blank).encode() + after
