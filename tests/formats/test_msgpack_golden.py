"""Bytes that were written once stay readable, and today's writer writes the very same."""

from __future__ import annotations

import importlib.util

import pytest

from tests.formats.comparing import assert_same
from tests.formats.golden_values import VALUES
from tests.formats.make_golden import FOLDER, path_of
from tune_ckpt.formats import msgpack
from tune_ckpt.formats.extensions import ROWS, row_with
from tune_ckpt.formats.unpacking import SHARED_ROW


@pytest.mark.parametrize("name", VALUES)
def test_the_writer_writes_the_golden_bytes(name):
    assert msgpack.dumps(VALUES[name]()) == path_of(name).read_bytes()


@pytest.mark.parametrize("name", VALUES)
def test_the_golden_bytes_are_read(name):
    loaded = msgpack.loads(path_of(name).read_bytes())
    expected = VALUES[name]()
    if name == "reference":
        assert [reference.resolve(trusted=expected) for reference in loaded] == expected
    else:
        assert_same(expected, loaded)


def test_every_row_has_a_golden_file():
    absent = set()  # their rows may be in the table by what another test has read
    for backend, code in {"torch": 60, "jax": 80}.items():
        if importlib.util.find_spec(backend):
            row_with(code)
        else:
            absent |= {*range(code, code + 10)}
    rows = [row for row in (*ROWS.values(), SHARED_ROW) if row.code not in absent]
    names = {row.name for row in rows} | {"native"}
    assert names <= VALUES.keys()
    assert {path.name for path in FOLDER.iterdir()} >= {path_of(name).name for name in names}
