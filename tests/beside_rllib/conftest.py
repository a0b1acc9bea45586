"""Fixtures: the classes over both base classes."""

import os
import sys

import pytest

from tests.beside_rllib.nodes import NODE


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """The same class twice, over RLlib's base class and over ours."""
    folder = tmp_path_factory.mktemp("nodes")
    bases = {"Theirs": "checkpoints.Checkpointable", "Ours": "tune_ckpt.Checkpointable"}
    text = ["from ray.rllib.utils import checkpoints", "import tune_ckpt"]
    text += [NODE.format(name=name, base=base) for name, base in bases.items()]
    (folder / "nodes_of_both.py").write_text("\n".join(text))
    sys.path.insert(0, str(folder))
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    import nodes_of_both

    yield nodes_of_both
    sys.path.remove(str(folder))
    del sys.modules["nodes_of_both"]


@pytest.fixture
def theirs(nodes):
    return nodes.Theirs


@pytest.fixture
def ours(nodes):
    return nodes.Ours
