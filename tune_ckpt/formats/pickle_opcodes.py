"""What a damaged pickle names before the fault; Python's unpickler runs it up to there.

No stack is kept, so a pickle that hides its names from this walk can: it is for telling what is
seen in a pickle that is refused anyway.
"""

from __future__ import annotations

import pickletools
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Opcodes:
    """What the opcodes before the fault hold.

    Attributes:
        names: The globals that they name, as ``module:name``.
        blobs: Their bytes, in which other pickles may be.
    """

    names: list[str] = field(default_factory=list)
    blobs: list[bytes] = field(default_factory=list)


def read_opcodes(data: bytes) -> Opcodes:
    """Return what a pickle names up to its fault, or its end; nothing is made or imported.

    Args:
        data: The bytes that hold it.
    """
    found, texts, memo = Opcodes(), ["", ""], _Memo()
    with suppress(ValueError):  # the fault
        for opcode, argument, _ in pickletools.genops(data):
            memo.note(opcode.name, argument, texts)
            if opcode.name in ("GLOBAL", "INST"):
                found.names.append(str(argument).replace(" ", ":", 1))
            elif opcode.name == "STACK_GLOBAL":
                found.names.append(":".join(texts[-2:]))
            elif isinstance(argument, str):
                texts.append(argument)
            elif isinstance(argument, bytes | bytearray):
                found.blobs.append(bytes(argument))
    return found


class _Memo(dict[int, str]):
    """The texts that a pickle has stored, by their numbers."""

    def note(self, opcode: str, argument: Any, texts: list[str]) -> None:
        """Store the last text, or push one that was stored."""
        if opcode == "MEMOIZE":
            self[len(self)] = texts[-1]
        elif opcode.endswith("PUT"):
            self[argument] = texts[-1]
        elif opcode.endswith("GET"):
            texts.append(self.get(argument, ""))
