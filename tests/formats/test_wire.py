"""Whatever part of msgpack does it, the same bytes are written and read."""

from __future__ import annotations

import subprocess
import sys

_WITHOUT_C = """
import sys
sys.modules["msgpack._cmsgpack"] = sys.modules["torch"] = sys.modules["jax"] = None
from tests.formats import fuzz_msgpack
from tests.formats.comparing import assert_same
from tests.formats.golden_values import VALUES
from tests.formats.make_golden import path_of
from tune_ckpt.formats import msgpack, wire
assert wire.Packer.__module__ == wire.Unpacker.__module__ == "msgpack.fallback"
for name, make in VALUES.items():
    data = path_of(name).read_bytes()
    assert msgpack.dumps(make()) == data, name
    if name != "reference":
        assert_same(make(), msgpack.loads(data))
deep = 1
for _ in range(600):
    deep = [deep]
assert msgpack.loads(msgpack.dumps([deep, bytearray(b"")])) == [deep, bytearray(b"")]
print(sum(fuzz_msgpack.run(500, 20, seed=3).values()))
"""


def test_without_its_c_part_msgpack_does_the_same():
    run = subprocess.run(
        [sys.executable, "-c", _WITHOUT_C], capture_output=True, text=True, check=False
    )
    assert run.stdout == "500\n", run.stderr
