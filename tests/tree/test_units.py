"""Sizes as people write them."""

import pytest

from tune_ckpt.tree.units import human


@pytest.mark.parametrize(
    ("nbytes", "told"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (2**20 - 1, "1.0 MiB"),
        (1536 * 2**10, "1.5 MiB"),
        (50 * 10**9, "46.6 GiB"),
        (3 * 2**40, "3.0 TiB"),
        (5000 * 2**40, "5000.0 TiB"),
    ],
)
def test_a_size_has_the_largest_unit_that_leaves_a_whole_number(nbytes, told):
    assert human(nbytes) == told
