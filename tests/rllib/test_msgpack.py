"""msgpack as RLlib's `try_import_msgpack` returns it, but without patching anything."""

import io
import subprocess
import sys

import msgpack
import msgpack_numpy
import numpy as np
import pytest

from tune_ckpt.errors import CorruptDataError, UnsupportedStateError, UntrustedPickleError
from tune_ckpt.rllib import try_import_msgpack

STATE = {"w": np.arange(6, dtype="f4").reshape(2, 3), 7: [1, None, "x"], "n": np.float64(0.5)}


def test_msgpack_itself_is_left_alone():
    before = dict(vars(msgpack))
    ours = try_import_msgpack(error=True)
    assert ours is not msgpack
    ours.loads(ours.dumps(STATE))
    assert dict(vars(msgpack)) == before


def test_files_are_those_of_rllib():
    ours, file = try_import_msgpack(), io.BytesIO()
    ours.dump(STATE, file)
    theirs = msgpack.packb(STATE, default=msgpack_numpy.encode)
    np.testing.assert_equal(ours.load(io.BytesIO(theirs), strict_map_key=False), STATE)
    read = msgpack.unpackb(file.getvalue(), object_hook=msgpack_numpy.decode, strict_map_key=False)
    np.testing.assert_equal(read, STATE)
    np.testing.assert_equal(ours.unpackb(ours.packb(STATE), raw=False), STATE)


def test_what_cannot_be_read_or_written_is_an_error_of_ours():
    ours = try_import_msgpack()
    with pytest.raises(UnsupportedStateError, match="f: "):
        ours.dumps({"f": print})
    with pytest.raises(CorruptDataError):
        ours.loads(b"\xc1")
    objects = msgpack.packb(np.array([print]), default=msgpack_numpy.encode)
    with pytest.raises(UntrustedPickleError, match="print"):
        ours.loads(objects)


def test_a_patch_of_rllibs_is_undone_with_a_warning_and_ray_sends_arrays_again():
    code = """
        import msgpack, msgpack_numpy, warnings
        import numpy as np
        from ray._raylet import MessagePackSerializer
        from tune_ckpt.rllib import try_import_msgpack

        def how_ray_sends_an_array():
            apart = []
            MessagePackSerializer.dumps(np.arange(3), lambda value: apart.append(value) or b"")
            return "as what it is" if type(apart[0]) is np.ndarray else "as a dict"

        before = msgpack.ExtType
        assert how_ray_sends_an_array() == "as what it is"
        msgpack_numpy.patch()  # as RLlib does when it saves
        assert how_ray_sends_an_array() == "as a dict"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try_import_msgpack()
            try_import_msgpack()
        (warning,) = caught
        assert "msgpack was patched" in str(warning.message), warning
        assert msgpack.packb.__module__ == "msgpack" and msgpack.ExtType is before
        assert how_ray_sends_an_array() == "as what it is"
    """
    _run(code)


def _run(code):
    lines = "\n".join(line[8:] for line in code.splitlines())
    run = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
