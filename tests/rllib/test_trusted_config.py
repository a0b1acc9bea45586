"""A checkpoint's own configuration, unpickled where the caller trusts it."""

import pickle
from types import SimpleNamespace

import pytest

pytest.importorskip("ray.rllib")

from ray.rllib.algorithms.ppo import PPOConfig

from tune_ckpt.errors import NotInCheckpointError
from tune_ckpt.rllib.restoring.rebuilt_config import unpickled_config
from tune_ckpt.tree.storage.store import open_store


def _part(folder, file, content):
    (folder / file).write_bytes(pickle.dumps(content))
    is_new = file.startswith("class_")
    names = {"ctor": file if is_new else None, "store": open_store(folder)}
    state_file = None if is_new else file
    return SimpleNamespace(folder=SimpleNamespace(**names), state_file=state_file, path=str(folder))


@pytest.mark.parametrize("given", ["args", "kwargs", "state"])
def test_it_is_found_wherever_rllib_writes_it(tmp_path, given):
    config = PPOConfig().training(lr=0.25)
    config.freeze()
    part = {
        "args": ("class_and_ctor_args.pkl", {"ctor_args_and_kwargs": ((config,), {})}),
        "kwargs": ("class_and_ctor_args.pkl", {"ctor_args_and_kwargs": ((), {"config": config})}),
        "state": ("algorithm_state.pkl", {"config": config}),
    }[given]
    found = unpickled_config(_part(tmp_path, *part))
    found.training(lr=0.5)  # a copy that can be changed
    assert (found.lr, config.lr) == (0.5, 0.25)


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("algorithm_state.pkl", {"config": {"lr": 0.1}}, "of type dict"),
        ("algorithm_state.pkl", {"worker": b""}, "not in a pickle"),
        ("algorithm_state.pkl", [1], "not in a pickle"),
        ("class_and_ctor_args.pkl", {"ctor_args_and_kwargs": ((), {})}, "not in a pickle"),
        ("algorithm_state.msgpck", {}, "not in a pickle"),
    ],
)
def test_where_there_is_none_the_error_says_what_can_be_done(tmp_path, file, content, told):
    with pytest.raises(NotInCheckpointError, match=f"{told}: without allow_pickle"):
        unpickled_config(_part(tmp_path, file, content))
