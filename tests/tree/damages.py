"""What may befall a file, and at which of its bytes: the tests of verification do it."""

import random

from hypothesis import settings


def offsets(nbytes):
    """Return a third of a file's bytes, at each run others; all of them in a thorough run."""
    stride = 1 if settings.get_current_profile_name() == "thorough" else 3
    return range(random.randrange(stride), nbytes, stride)


def delete(file):
    file.unlink()


def cut(file):
    file.write_bytes(file.read_bytes()[:-1])


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)
