"""Small checkpoints in RLlib's own layout, without our part of the metadata."""

from __future__ import annotations

import json

import cloudpickle
import msgpack
import msgpack_numpy
import numpy as np

FACTS = {"ray_version": "2.60.0", "ray_commit": "abc", "checkpoint_version": "2.1"}


class Env:
    """A class that a checkpoint names."""


def write_component(folder, state, *, use_msgpack=False, metadata="metadata.json"):
    """Write one component's folder as RLlib 2.60 does."""
    folder.mkdir(parents=True)
    fields = {"class_and_ctor_args_file": "class_and_ctor_args.pkl", "state_file": "state"}
    (folder / metadata).write_text(json.dumps({**fields, **FACTS}))
    ctor = {"class": Env, "ctor_args_and_kwargs": ((4,), {"name": "x"})}
    (folder / "class_and_ctor_args.pkl").write_bytes(cloudpickle.dumps(ctor))
    if use_msgpack:
        data = msgpack.packb(state, default=msgpack_numpy.encode)
        (folder / "state.msgpack").write_bytes(data)
    else:
        (folder / "state.pkl").write_bytes(cloudpickle.dumps(state))


def write_tree(root, *, use_msgpack=False):
    """Write a tree of three components, as an Algorithm of RLlib is one."""
    state = {"training_iteration": 3}
    write_component(root, state, use_msgpack=use_msgpack, metadata="rllib_checkpoint.json")
    weights = {"w": np.arange(6.0).reshape(2, 3), "steps": np.arange(4)}
    write_component(root / "learner", weights, use_msgpack=use_msgpack)
    write_component(root / "learner" / "module", {"b": np.ones(5, "f4")}, use_msgpack=use_msgpack)
    return root
