"""From which checkpoints a sweep goes on: damaged ones are set aside, whoever made them."""

import json
import pickle
import re

import numpy as np
import pytest
import torch

import tune_ckpt as tc
from tune_ckpt.tune.resuming.soundness import Soundness, faults


@pytest.fixture
def foreign(tmp_path):
    """A checkpoint that the user's own code wrote."""
    folder = tmp_path / "checkpoint_000001"
    (folder / "optimizer").mkdir(parents=True)
    (folder / "step.json").write_text(json.dumps({"step": 3}))
    (folder / "config.pkl").write_bytes(pickle.dumps({"lr": 0.1}))
    torch.save({"w": torch.ones(300)}, folder / "model.pt")
    torch.save({"w": torch.ones(300)}, folder / "old.pth", _use_new_zipfile_serialization=False)
    torch.save({"w": torch.ones(300)}, folder / "torch.pkl")
    np.savez(folder / "optimizer" / "m.npz", m=np.ones(300))
    (folder / "notes.txt").write_text("of no known kind")
    (folder / "latest").symlink_to("step.json")
    return folder


def test_a_whole_checkpoint_of_others_has_no_faults(foreign):
    assert faults(str(foreign)) == []


def _altered(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("step.json", lambda data: data[:-1], "delimiter"),
        ("config.pkl", lambda data: data[:-1], "parsed|ends"),
        ("model.pt", lambda data: data[:-20], "not a zip file"),
        ("model.pt", _altered, "does not match its checksum"),
        ("torch.pkl", _altered, "does not match its checksum"),
        ("old.pth", lambda data: b"", "empty"),
        ("optimizer/m.npz", _altered, "does not match its checksum"),
    ],
)
def test_a_damaged_file_of_others_is_named(foreign, name, damage, reason):
    file = foreign / name
    file.write_bytes(damage(file.read_bytes()))
    (fault,) = faults(str(foreign))
    assert fault.path == name
    assert re.search(reason, fault.reason)


def test_a_link_that_leads_nowhere_is_named(foreign):
    (foreign / "model.pt").unlink()
    (foreign / "model.pt").symlink_to("gone.pt")
    (fault,) = faults(str(foreign))
    assert str(fault) == "model.pt: it is a link that leads nowhere"


def test_what_is_damaged_is_set_aside_and_what_is_gone_is_not_valid(tmp_path):
    names = ("checkpoint_000001", "checkpoint_000002", "checkpoint_000003")
    whole, damaged, gone = (str(tmp_path / name) for name in names)
    for path in (whole, damaged):
        tc.save_state({"step": 3}, path)
    (tmp_path / "checkpoint_000002" / "state.msgpack").write_bytes(b"")
    soundness = Soundness(None)
    assert [soundness.is_valid(path) for path in (whole, damaged, gone)] == [True, False, False]
    assert soundness.moved == {damaged, gone}
    (fault,) = soundness.faults
    assert "state.msgpack" in fault.reason
    assert (tmp_path / fault.path / "state.msgpack").exists()
    assert not (tmp_path / "checkpoint_000002").exists()
    soundness.is_valid(damaged)
    assert len(soundness.faults) == 1  # nothing is looked at twice
