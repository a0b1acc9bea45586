"""Bytes that were written once stay readable, and today's writer writes the very same."""

from __future__ import annotations

import pytest

from tests.formats.comparing import assert_same
from tests.formats.golden_values import VALUES, rows_here
from tests.formats.make_golden import FOLDER, path_of
from tune_ckpt.formats import msgpack


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
    names = {row.name for row in rows_here()} | {"native"}
    assert names <= VALUES.keys()
    assert {path.name for path in FOLDER.iterdir()} >= {path_of(name).name for name in names}
