"""What scripts rely on: the keys of each command's ``--json``, and its exit codes."""

import json
import pickle
import shutil

import numpy as np
import pytest

import tune_ckpt as tc
from tests.agents import Secretive, trained
from tests.cli.conftest import Attack
from tests.conftest import REPO
from tests.sweep.folders import make_sweep
from tune_ckpt.cli import output

BEST = ["--metric", "eval/acc"]
KEYS = {
    "ls": ["experiment", "metric", "mode", "scope", "checkpoints", "metrics", "passed_over"],
    "best": [
        *("path", "metric", "mode", "value", "scope", "score", "trial_id", "iteration"),
        *("config", "metrics", "converted", "runner_up", "better_but_gone", "passed_over"),
        *("exported", "not_carried"),
    ],
    "show": ["description", "rllib"],
    "diff": [
        *("first", "second", "equal", "components_added", "components_removed"),
        *("arrays", "values"),
    ],
    "verify": ["path", "faults", "warnings", "unverified", "nbytes", "ok"],
    "convert": ["src", "dst", "error", "not_carried"],
    "upgrade": ["src", "dst", "notes"],
    "scan": ["path", "ok", "files"],
    "weights": ["path", "nbytes", "arrays"],
    "prune": [
        *("experiment", "dry_run", "seems_to_run", "checkpoints", "kept_nbytes"),
        *("freed_nbytes", "passed_over"),
    ],
    "clean": ["path", "deleted"],
    "plot": ["path", "trials", "checkpoints", "deleted", "best", "passed_over"],
}
ERROR = ["error", "message", "exit_code"]

# What is typed, the exit code, and whether an answer is printed rather than an error.
TABLE = [
    (["ls", "{sweep}"], 0, True),
    (["ls", "{sweep}", *BEST], 0, True),
    (["ls", "{gone}"], 1, False),
    (["ls", "{none}"], 2, False),
    (["ls"], 2, False),
    (["ls", "{sweep}", "--verify"], 2, False),
    (["best", "{sweep}", *BEST], 0, True),
    (["best", "{gone}", *BEST], 1, False),
    (["best", "{sweep}", *BEST, "-o", ""], 2, False),
    (["best", "{sweep}", "--metric", "eval/accuracy"], 2, False),
    (["show", "{saved}"], 0, True),
    (["show", "nosuch://bucket/c"], 1, False),
    (["show", "{saved}", "--component", "modle"], 2, False),
    (["show", "{damaged}"], 3, False),
    (["diff", "{saved}", "{saved}"], 0, True),
    (["diff", "{saved}", "{other}"], 1, True),
    (["diff", "{saved}", "{none}"], 2, False),
    (["diff", "{saved}", "{damaged}"], 3, False),
    (["verify", "{saved}"], 0, True),
    (["verify", "nosuch://bucket/c"], 1, True),
    (["verify", "{none}"], 2, True),
    (["verify", "{saved}", "{damaged}", "{none}"], 3, True),
    (["convert", "{saved}", "{new}"], 0, True),
    (["convert", "{secret}", "{new}"], 1, False),
    (["convert", "{none}"], 2, False),
    (["convert", "{sweep}", "{new}", "--to", "pickle", "--dialect", "rllib"], 2, False),
    (["convert", "{damaged}"], 3, False),
    (["upgrade", "{old}", "{new}"], 0, True),
    (["upgrade", "{old}", "{saved}"], 1, False),
    (["upgrade", "{old}", "{new}", "--config", "lr"], 2, False),
    (["upgrade", "{plain}", "{new}"], 2, False),
    (["upgrade", "{truncated}", "{new}"], 3, False),
    (["scan", "{saved}"], 0, True),
    (["scan", "{attack}"], 1, True),
    (["scan", "{none}"], 2, False),
    (["weights", "{saved}", "-o", "{new}.npz"], 0, True),
    (["weights", "{plain}", "-o", "{new}.npz"], 1, False),
    (["weights", "{saved}", "-o", "{new}.h5"], 2, False),
    (["weights", "{damaged}", "-o", "{new}.npz"], 3, False),
    (["prune", "{sweep}", "--keep-last", "1", "--dry-run"], 0, True),
    (["prune", "{sweep}", "--keep-last", "1", "--yes"], 2, False),
    (["prune", "{none}", "--keep-last", "1", "--yes"], 2, False),
    (["clean", "{sweep}"], 0, True),
    (["clean", "{none}"], 2, False),
    (["clean", "{sweep}", "--older-than-secs", "-1"], 2, False),
    (["plot", "{sweep}", *BEST, "-o", "{new}.svg"], 0, True),
    (["plot", "{sweep}", *BEST, "-o", "{saved}/state.pkl/x.svg"], 1, False),
    (["plot", "{sweep}", *BEST, "-o", "{new}.pdf"], 2, False),
    (["resume", "{none}", "a:B"], 2, False),
    (["resume", "{sweep}", "a"], 2, False),
    (["ls", "{attack}"], 2, False),
    (["diff", "{saved}", "{attack}"], 2, False),
    (["demo", "--nonsense"], 2, False),
    (["nonsense"], 2, False),
]


@pytest.fixture
def places(sweep, saved, tmp_path):
    gone = make_sweep(tmp_path / "gone", deleted=[f"checkpoint_{n:06}" for n in range(3)])
    for name in ("damaged", "other"):
        trained(step=8).save_to_path(tmp_path / name)
    (tmp_path / "damaged" / "model" / "state.pkl").write_bytes(b"")
    (tmp_path / "damaged" / "state.pkl").write_bytes(b"")
    Secretive().save_to_path(tmp_path / "secret")
    tc.save_state({"step": 1}, tmp_path / "plain")
    (tmp_path / "attack").write_bytes(pickle.dumps(Attack()))
    made = {name: tmp_path / name for name in ("damaged", "other", "secret", "plain", "attack")}
    old = REPO / "tests/data/rllib/ray2.3.1-py3.8-old-ppo-single_policy/checkpoint"
    shutil.copytree(old, tmp_path / "truncated")
    (tmp_path / "truncated" / "policy_state.pkl").write_bytes(b"")
    made |= {"old": old, "truncated": tmp_path / "truncated"}
    new, none = tmp_path / "new", tmp_path / "none"
    return {"sweep": sweep, "saved": saved, "gone": gone, "new": new, "none": none, **made}


@pytest.mark.parametrize(("typed", "code", "answered"), TABLE, ids=lambda value: str(value))
def test_json_and_exit_code(tk, places, typed, code, answered):
    answer = tk(*(word.format(**places) for word in typed), "--json")
    found = answer.json[0] if isinstance(answer.json, list) else answer.json
    if answered:
        assert list(found) == KEYS[typed[0]]
    else:
        assert list(found) == ERROR
        assert found["exit_code"] == code
        assert answer.err == f"tune-ckpt: {found['message']}\n"
    assert answer.code == code


def test_json_of_what_json_cannot_express(capsys):
    numbers = {1: np.float32(0.5), "nan": float("nan"), "zero-d": np.array(2)}
    output.say_json({**numbers, "s": {"b", "a"}, "t": (1, print)})
    told = json.loads(capsys.readouterr().out)
    assert told == {"1": 0.5, "nan": "nan", "zero-d": 2, "s": ["a", "b"], "t": [1, str(print)]}
