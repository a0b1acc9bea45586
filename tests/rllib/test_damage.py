"""Damaged checkpoints end in errors of this package, with the path of what is damaged."""

import random
import shutil
from contextlib import suppress

import pytest

from tests.rllib.cases import every_committed_case, one
from tune_ckpt.errors import CorruptCheckpointError, CorruptDataError, TuneCkptError
from tune_ckpt.rllib import (
    get_checkpoint_info,
    load_config,
    load_counters,
    load_spaces,
    load_weights,
)

READERS = (get_checkpoint_info, load_weights, load_counters, load_spaces, load_config)


@every_committed_case
@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_a_state_that_is_cut_short_is_named(tmp_path, case, share):
    shutil.copytree(case.path, tmp_path / "c")
    file = tmp_path / "c" / case.file.relative_to(case.path)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CorruptDataError) as raised:
        get_checkpoint_info(tmp_path / "c")
    assert raised.value.file == str(file)


def _cut(data, rng):
    return data[: rng.randrange(len(data))]


def _flipped(data, rng):
    damaged = bytearray(data)
    for _ in range(rng.choice([1, 3, 20])):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return bytes(damaged)


def _shifted(data, rng):
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.randrange(1, 50) :]


@every_committed_case
@pytest.mark.parametrize("damage", [_cut, _flipped, _shifted])
def test_damage_anywhere_is_never_another_librarys_error(tmp_path, case, damage):
    shutil.copytree(case.path, tmp_path / "c")
    rng = random.Random(f"{case.name} {damage.__name__}")
    for file in sorted(path for path in (tmp_path / "c").rglob("*") if path.is_file()):
        data = file.read_bytes()
        if not data:
            continue
        file.write_bytes(damage(data, rng))
        for read in READERS:
            for path in (tmp_path / "c", file):
                with suppress(TuneCkptError):
                    read(path)
        file.write_bytes(data)


@every_committed_case
def test_a_missing_file_is_never_another_librarys_error(tmp_path, case):
    shutil.copytree(case.path, tmp_path / "c")
    for file in sorted(path for path in (tmp_path / "c").rglob("*") if path.is_file()):
        data = file.read_bytes()
        file.unlink()
        for read in READERS:
            with suppress(TuneCkptError):
                read(tmp_path / "c")
        file.write_bytes(data)


def test_a_missing_policy_state_is_named(tmp_path):
    shutil.copytree(one("ray2.10.0").path, tmp_path / "c")
    (tmp_path / "c" / "policies" / "pol2" / "policy_state.pkl").unlink()
    with pytest.raises(CorruptCheckpointError, match=r"policies/pol2 is damaged:(.|\n)*missing"):
        load_weights(tmp_path / "c")
    assert load_weights(tmp_path / "c", "pol1")


def test_damage_elsewhere_does_not_keep_the_weights_from_being_read(tmp_path):
    shutil.copytree(one("ray2.60.0-py3.13").path, tmp_path / "c")
    for file in (tmp_path / "c" / "env_runner").rglob("*.*"):
        file.write_bytes(b"\x80\x04damaged")
    (tmp_path / "c" / "algorithm_state.msgpack").write_bytes(b"\xc1")
    assert load_weights(tmp_path / "c").keys() == {"p0", "p1"}
