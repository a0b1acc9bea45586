"""Damage anywhere in a policy or module is an error of this package's, whatever is asked."""

import random
import shutil

import pytest

from tests.rllib.cases import COMMITTED
from tune_ckpt.errors import TuneCkptError
from tune_ckpt.rllib import (
    export_bundle,
    export_model,
    migrate_to_rl_module,
    restore_module,
    restore_policy,
)

KNOWN = [case for case in COMMITTED if "multi" not in case.name and "synth" not in case.name]


def _damaged(case, folder, number):
    shutil.copytree(case.path, folder)
    chance = random.Random(f"{case.name} {number}")
    files = sorted(file for file in folder.rglob("*state*") if file.is_file())
    file = chance.choice(files)
    data = bytearray(file.read_bytes())
    if number % 3 == 0:
        data = data[: chance.randrange(len(data) + 1)]
    for _ in range(min(3, len(data))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


def _exported(path):
    return export_model(path, "safetensors", path.parent / "model")


OLD, NEW = (restore_policy, migrate_to_rl_module, _exported), (restore_module, _exported)


@pytest.mark.slow
@pytest.mark.parametrize("case", KNOWN, ids=lambda case: case.name)
def test_a_damaged_checkpoint_is_restored_or_an_error_of_ours(tmp_path, case):
    functions = OLD if "-old-" in case.name else NEW
    refused = 0
    for number in range(12):
        _damaged(case, tmp_path / f"{number}", number)
        try:
            functions[number % len(functions)](tmp_path / f"{number}")
        except TuneCkptError:
            refused += 1
    assert refused


@pytest.mark.parametrize("case", KNOWN, ids=lambda case: case.name)
def test_a_damaged_checkpoint_is_a_bundle_or_an_error_of_ours(tmp_path, case):
    refused = 0
    for number in range(12):
        _damaged(case, tmp_path / f"{number}", number)
        try:
            export_bundle(tmp_path / f"{number}", tmp_path / "b")
        except TuneCkptError:
            refused += 1
    assert refused
