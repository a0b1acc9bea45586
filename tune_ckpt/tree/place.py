"""Where a tree is written that shall take another's place, and what is noted of it meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field

from tune_ckpt.tree.layout import FileNames, new_save
from tune_ckpt.tree.storage.folder import Store

Files = list[tuple[Store, str]]


@dataclass
class Place:
    """Where a tree is written; whoever gave it commits the tree when all is there.

    Attributes:
        store: The folder.
        save: The save's id.
        in_names: Whether the files' names have the id in them (see `FileNames.of_save`).
        written: The files written so far; whoever writes them lists them here.
        root: The name and bytes of the root's metadata: they are written last, as the commit.
    """

    store: Store
    save: str = field(default_factory=new_save)
    in_names: bool = False
    written: Files = field(default_factory=list)
    root: tuple[str, bytes] | None = None

    def names(self, names: FileNames) -> FileNames:
        """Return what a component's files are called here."""
        return names.of_save(self.save) if self.in_names else names
