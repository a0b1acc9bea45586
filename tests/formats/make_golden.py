"""Writes the golden files: what today's writer makes of each row's value.

Run it only for a new row, or with a new format version:  python -m tests.formats.make_golden
It keeps the files that are there: they are what older versions wrote, and must stay readable.
"""

from __future__ import annotations

from pathlib import Path

from tests.formats.golden_values import VALUES
from tune_ckpt.formats import msgpack

FOLDER = Path(__file__).parent / "golden"


def path_of(name: str) -> Path:
    return FOLDER / f"{name.replace(' ', '_')}.msgpack"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, make in VALUES.items():
        if not path_of(name).exists():
            path_of(name).write_bytes(msgpack.dumps(make()))
            print(f"wrote {path_of(name).name}")


if __name__ == "__main__":
    main()
