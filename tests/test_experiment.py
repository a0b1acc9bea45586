"""The best checkpoint of a sweep: from its folder in every state, and from its results."""

from __future__ import annotations

import copy
import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ray import tune

import tune_ckpt as tc
from tests.conftest import CORPUS
from tests.tune.trainables import MsgpackWalker, Walker
from tune_ckpt.errors import (
    AmbiguousMetricError,
    InvalidArgumentError,
    NoCheckpointError,
    UnknownMetricError,
)
from tune_ckpt.formats import pickle

# ---------------------------------------------------------------------------- sweeps made by hand


def _function_trial(experiment, trial, results, *, checkpoints=True, config=None):
    """Write what Tune writes for a function: results that name their checkpoints."""
    folder = experiment / f"train_{trial}_0_lr=1_2026-01-01_00-00-00"
    folder.mkdir(parents=True)
    (folder / "params.json").write_text(json.dumps(config or {"lr": 1}))
    lines = []
    for number, metrics in enumerate(results):
        line = {"training_iteration": number + 1, "trial_id": trial, **metrics}
        if checkpoints:
            line["checkpoint_dir_name"] = f"checkpoint_{number:06}"
            _plain_checkpoint(folder / line["checkpoint_dir_name"], line)
        lines.append(json.dumps(line, default=float) + "\n")
    (folder / "result.json").write_text("".join(lines))
    return folder


def _plain_checkpoint(folder, content=None):
    folder.mkdir(parents=True)
    (folder / "weights.txt").write_text(json.dumps(content, default=float))


def _class_trial(experiment, trial, results):
    """Write what Tune writes for a class, and return its entry in the experiment state."""
    from ray.train import Checkpoint
    from ray.train._internal.checkpoint_manager import _CheckpointManager
    from ray.train._internal.session import _TrainingResult

    folder = _function_trial(experiment, trial, results, checkpoints=False)
    manager = _CheckpointManager(None)
    for number, metrics in enumerate(results):
        _plain_checkpoint(folder / f"checkpoint_{number:06}")
        where = Checkpoint(f"/where/it/was/{folder.name}/checkpoint_{number:06}")
        known = {"training_iteration": number + 1, "trial_id": trial, **metrics}
        manager.register_checkpoint(_TrainingResult(where, known))
    blob = {"_type": "CLOUDPICKLE_FALLBACK", "value": pickle.dumps(manager).hex()}
    trial = {"relative_logdir": folder.name, "status": "RUNNING"}
    return [json.dumps(trial), json.dumps({"checkpoint_manager": blob})]


def _write_state(experiment, *trials, time="2026-01-01_00-00-00"):
    path = experiment / f"experiment_state-{time}.json"
    path.write_text(json.dumps({"trial_data": trials, "runner_data": {}}))
    return path


def _names(records):
    return [(record.trial_id, record.iteration) for record in records]


A, B, C = "aaaaa_00000", "aaaaa_00001", "aaaaa_00002"

# ------------------------------------------------------------------------------------ what is best


@pytest.mark.parametrize(("mode", "expected"), [("max", (A, 2, 0.9)), ("min", (B, 2, 0.1))])
def test_the_best_is_a_checkpoint_not_a_trial(tmp_path, mode, expected):
    _function_trial(tmp_path, A, [{"acc": 0.1}, {"acc": 0.9}, {"acc": 0.2}])
    _function_trial(tmp_path, B, [{"acc": 0.5}, {"acc": 0.1}, {"acc": 0.6}], config={"lr": 2})
    best = tc.best_checkpoint(tmp_path, "acc", mode)
    if mode == "min":
        expected = (A, 1, 0.1)  # a tie: the earlier iteration
    assert (best.trial_id, best.iteration, best.value) == expected
    assert best.metrics["acc"] == best.value
    assert json.loads(Path(best.path, "weights.txt").read_text()) == best.metrics
    assert (best.metric, best.mode, best.filesystem) == ("acc", mode, None)
    assert best.config == {"lr": 1}


def test_the_ranking_goes_down_and_ties_are_settled(tmp_path):
    _function_trial(tmp_path, B, [{"acc": 0.5}, {"acc": 0.9}])
    _function_trial(tmp_path, A, [{"acc": 0.1}, {"acc": 0.9}, {"acc": 0.9}])
    ranked = tc.rank_checkpoints(str(tmp_path), "acc")
    assert _names(ranked) == [(A, 2), (B, 2), (A, 3), (B, 1), (A, 1)]
    followed = [record.runner_up for record in ranked]
    assert _names(followed[:-1]) == _names(ranked[1:])
    assert followed[-1] is None
    two = tc.rank_checkpoints(tmp_path, "acc", k=2)
    assert _names(two) == [(A, 2), (B, 2)]
    assert _names([two[1].runner_up]) == [(A, 3)]


def test_one_trial_is_treated_like_many(tmp_path):
    _function_trial(tmp_path, A, [{"acc": 0.1}])
    assert tc.best_checkpoint(tmp_path, "acc").runner_up is None
    with pytest.raises(UnknownMetricError):
        tc.best_checkpoint(tmp_path, "nonsense")


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("bad", [math.nan, None, "0.9", [0.9], {"x": 1}])
def test_what_is_no_number_never_wins(tmp_path, bad, mode):
    _function_trial(tmp_path, A, [{"acc": bad}, {"acc": 0.5}, {}])
    best = tc.best_checkpoint(tmp_path, "acc", mode)
    assert best.iteration == 2
    assert best.passed_over == (
        f"trial {A}, iteration 1 (checkpoint_000000): acc is {bad!r}",
        f"trial {A}, iteration 3 (checkpoint_000002): acc is None",
    )


def test_infinity_is_a_number(tmp_path):
    _function_trial(tmp_path, A, [{"acc": -math.inf}, {"acc": 0.5}, {"acc": math.inf}])
    assert _names(tc.rank_checkpoints(tmp_path, "acc")) == [(A, 3), (A, 2), (A, 1)]


def test_only_nan_is_an_error_that_says_so(tmp_path):
    _function_trial(tmp_path, A, [{"acc": math.nan}])
    with pytest.raises(NoCheckpointError, match="acc is nan"):
        tc.best_checkpoint(tmp_path, "acc")


def test_truth_values_count_as_in_tune(tmp_path):
    _function_trial(tmp_path, A, [{"solved": False}, {"solved": True}])
    assert tc.best_checkpoint(tmp_path, "solved").value == 1.0


@pytest.mark.parametrize("result", [{"eval": {"acc": 1}}, {"eval/acc": 1}])
def test_nested_and_literal_names(tmp_path, result):
    _function_trial(tmp_path, A, [result])
    assert tc.best_checkpoint(tmp_path, "eval/acc").value == 1


def test_an_ambiguous_name_is_an_error_that_says_where(tmp_path):
    _function_trial(tmp_path, A, [{"eval/acc": 1, "eval": {"acc": 2}}])
    with pytest.raises(AmbiguousMetricError, match=f"trial {A}, iteration 1"):
        tc.best_checkpoint(tmp_path, "eval/acc")


def test_an_unknown_metric_lists_the_nearest_first(tmp_path):
    _function_trial(tmp_path, A, [{"eval": {"accuracy": 1}, "loss": 2, "note": "x"}])
    with pytest.raises(UnknownMetricError) as unknown:
        tc.best_checkpoint(tmp_path, "acuracy")
    assert unknown.value.available[0] == "eval/accuracy"
    assert set(unknown.value.available) == {"eval/accuracy", "loss", "training_iteration"}


def test_a_metric_that_only_results_without_a_checkpoint_have_is_known(tmp_path):
    _function_trial(tmp_path, A, [{"loss": 1}])
    _function_trial(tmp_path, B, [{"acc": 1}], checkpoints=False)
    with pytest.raises(NoCheckpointError, match=f"trial {A}.*: acc is None"):
        tc.best_checkpoint(tmp_path, "acc")


def test_a_sweep_without_checkpoints_is_an_error_that_says_so(tmp_path):
    _function_trial(tmp_path, A, [{"acc": 1}], checkpoints=False)
    with pytest.raises(NoCheckpointError, match=f"trial {A} has no checkpoint"):
        tc.best_checkpoint(tmp_path, "acc")


@pytest.mark.parametrize("folder", ["empty", "absent"])
def test_a_folder_without_trials_is_an_error_that_says_so(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoCheckpointError, match=f"{folder}.*\n.*nothing is there"):
        tc.best_checkpoint(tmp_path / folder, "acc")


@pytest.mark.parametrize(
    ("arguments", "options"),
    [((None, "acc"), {}), (("x", "acc", "best"), {}), (("x", ""), {}), (("x", "acc"), {"k": 0})],
)
def test_impossible_arguments(arguments, options):
    with pytest.raises(InvalidArgumentError):
        tc.rank_checkpoints(*arguments, **options)


# ----------------------------------------------------------------------- checkpoints that are gone


def test_a_checkpoint_that_is_gone_is_passed_over_with_the_reason(tmp_path):
    folder = _function_trial(tmp_path, A, [{"acc": 0.9}, {"acc": 0.8}, {"acc": 0.7}])
    shutil.rmtree(folder / "checkpoint_000000")
    (folder / "checkpoint_000001/weights.txt").unlink()  # an empty folder is none either
    best = tc.best_checkpoint(tmp_path, "acc")
    assert best.value == 0.7
    assert best.passed_over == (
        f"trial {A}, iteration 1 (checkpoint_000000) has acc 0.9, but its checkpoint was deleted",
        f"trial {A}, iteration 2 (checkpoint_000001) has acc 0.8, but its checkpoint was deleted",
    )


def test_all_gone_is_an_error_that_says_so(tmp_path):
    folder = _function_trial(tmp_path, A, [{"acc": 0.9}])
    shutil.rmtree(folder / "checkpoint_000000")
    with pytest.raises(NoCheckpointError, match=r"acc 0\.9, but its checkpoint was deleted"):
        tc.best_checkpoint(tmp_path, "acc")


def _own_checkpoint(folder, metrics, iteration, trial=A):
    tc.save_state({"w": np.ones(3)}, folder)
    _edit(folder, metrics=metrics, trial={"id": trial, "iteration": iteration})


def _edit(folder, **fields):
    from tune_ckpt.tree.metadata import Metadata

    path = folder / "metadata.json"
    metadata = Metadata.from_json(path.read_bytes(), str(path))
    metadata.extra.update(fields)
    path.write_bytes(metadata.to_json())


def test_a_damaged_checkpoint_is_passed_over_unless_verification_is_off(tmp_path):
    folder = tmp_path / f"train_{A}_0"
    for number in range(2):
        _own_checkpoint(folder / f"checkpoint_{number:06}", {"acc": 0.5 + number}, number + 1)
    state = next((folder / "checkpoint_000001").glob("state.*"))
    data = bytearray(state.read_bytes())
    data[-1] ^= 1
    state.write_bytes(data)
    best = tc.best_checkpoint(tmp_path, "acc")
    assert (best.value, best.runner_up) == (0.5, None)
    assert "its checkpoint is damaged: state" in best.passed_over[0]
    assert tc.best_checkpoint(tmp_path, "acc", verify=False).value == 1.5
    assert _names(tc.rank_checkpoints(tmp_path, "acc")) == [(A, 1)]


def test_only_what_is_returned_is_verified(tmp_path, monkeypatch):
    _function_trial(tmp_path, A, [{"acc": number} for number in range(9)])
    seen = []
    verify = tc.verify
    monkeypatch.setattr(
        "tune_ckpt.sweep.ranking.verify_checkpoint",
        lambda path, **options: seen.append(path) or verify(path, **options),
    )
    tc.rank_checkpoints(tmp_path, "acc", k=2)
    assert [path[-6:] for path in seen] == ["000008", "000007"]


# ---------------------------------------------------------------------- which metrics are whose


def test_own_metadata_wins(tmp_path):
    folder = _function_trial(tmp_path, A, [{"acc": 0.9, "more": 1}, {"acc": 0.8, "more": 2}])
    shutil.rmtree(folder / "checkpoint_000000")
    # Written again after a crash: the checkpoint is now of iteration 5.
    _own_checkpoint(folder / "checkpoint_000000", {"acc": 0.1, "training_iteration": 5}, 5)
    shutil.rmtree(folder / "checkpoint_000001")
    _own_checkpoint(folder / "checkpoint_000001", {"acc": 0.7, "training_iteration": 2}, 2)
    first, second = tc.rank_checkpoints(tmp_path, "acc")
    assert (first.value, first.iteration, first.metrics["more"]) == (0.7, 2, 2)
    assert (second.value, second.iteration, second.metrics.get("more")) == (0.1, 5, None)


def test_own_metadata_is_enough(tmp_path):
    _own_checkpoint(tmp_path / "any_name" / "checkpoint_000003", {"acc": 0.5}, 4, trial="t1")
    best = tc.best_checkpoint(tmp_path, "acc")
    assert (best.trial_id, best.iteration, best.config) == ("t1", 4, {})


def test_metrics_of_a_class_come_from_the_experiment_state(tmp_path):
    first = _class_trial(tmp_path, A, [{"acc": np.float32(0.5)}, {"acc": np.float32(0.75)}])
    second = _class_trial(tmp_path, B, [{"acc": math.nan}, {"acc": 0.625}])
    _write_state(tmp_path, first, second)
    best = tc.best_checkpoint(tmp_path, "acc")
    assert (best.trial_id, best.iteration, best.value) == (A, 2, 0.75)
    assert _names([best.runner_up]) == [(B, 2)]


def test_the_last_checkpoint_counts_though_tune_does_not_list_it_among_the_best(tmp_path):
    from ray.train import Checkpoint, CheckpointConfig
    from ray.train._internal.checkpoint_manager import _CheckpointManager
    from ray.train._internal.session import _TrainingResult

    folder = _function_trial(tmp_path, A, [{}], checkpoints=False)
    manager = _CheckpointManager(CheckpointConfig(num_to_keep=1, checkpoint_score_attribute="acc"))
    for number, acc in enumerate([0.9, 0.2]):
        path = folder / f"checkpoint_{number:06}"
        _plain_checkpoint(path)
        result = _TrainingResult(Checkpoint(str(path)), {"acc": acc, "loss": 1 - acc})
        manager.register_checkpoint(result)
    blob = {"checkpoint_manager": pickle.dumps(manager).hex()}
    _write_state(tmp_path, [json.dumps({"relative_logdir": folder.name}), json.dumps(blob)])
    assert [r.value for r in tc.rank_checkpoints(tmp_path, "loss")] == pytest.approx([0.8, 0.1])


def test_what_a_trial_took_over_from_another_is_not_its_own(tmp_path):
    from ray.train import Checkpoint
    from ray.train._internal.checkpoint_manager import _CheckpointManager
    from ray.train._internal.session import _TrainingResult

    donor = _class_trial(tmp_path, A, [{"acc": 0.5}])
    folder = _function_trial(tmp_path, B, [{"acc": 0.1}], checkpoints=False)
    manager = _CheckpointManager(None)
    taken = Checkpoint(
        str(tmp_path / json.loads(donor[0])["relative_logdir"] / "checkpoint_000000")
    )
    manager._latest_checkpoint_result = _TrainingResult(taken, {"acc": 0.7})
    entry = [
        json.dumps({"relative_logdir": folder.name}),
        json.dumps({"checkpoint_manager": pickle.dumps(manager).hex()}),
    ]
    _write_state(tmp_path, donor, entry)
    assert [(r.trial_id, r.value) for r in tc.rank_checkpoints(tmp_path, "acc")] == [(A, 0.5)]


def test_the_config_is_that_of_the_moment(tmp_path):
    results = [{"acc": 0.9, "config": {"lr": 1}}, {"acc": 0.5, "config": {"lr": 8}}]
    _function_trial(tmp_path, A, results, config={"lr": 8})
    assert tc.best_checkpoint(tmp_path, "acc").config == {"lr": 1}


def test_a_config_with_code_in_it_comes_as_tune_wrote_it_down(tmp_path):
    state = _class_trial(tmp_path, A, [{"acc": 0.9, "config": {"lr": 1, "f": "text"}}])
    manager = json.loads(state[1])["checkpoint_manager"]["value"]
    blob = pickle.loads(bytes.fromhex(manager), file="x")
    blob._checkpoint_results[0].metrics["config"]["f"] = lambda x: x
    state[1] = json.dumps({"checkpoint_manager": pickle.dumps(blob).hex()})
    _write_state(tmp_path, state)
    best = tc.best_checkpoint(tmp_path, "acc")
    assert best.config == {"lr": 1}
    assert isinstance(best.metrics["config"]["f"], pickle.Opaque)


def test_a_train_run_inside_a_trial(tmp_path):
    experiment = tmp_path / "here" / "sweep"
    folder = _function_trial(experiment, A, [{}, {}], checkpoints=False)
    where = tmp_path / "there"
    lines = [
        {"acc": 0.9, "checkpoint_path": "/gone/sweep/run/checkpoint_1", "training_iteration": 1},
        {"acc": 0.8, "checkpoint_path": "/old/run/checkpoint_2", "training_iteration": 2},
        {"acc": 0.7, "checkpoint_path": f"{where}/checkpoint_3", "training_iteration": 3},
        {"acc": 0.6, "checkpoint_path": "/gone/for/good", "training_iteration": 4},
    ]
    (folder / "result.json").write_text("\n".join(map(json.dumps, lines)))
    homes = [experiment / "run/checkpoint_1", tmp_path / "here/run/checkpoint_2"]
    homes.append(where / "checkpoint_3")
    for home in homes:
        _plain_checkpoint(home)
    ranked = tc.rank_checkpoints(experiment, "acc")
    assert [record.path for record in ranked] == list(map(str, homes))
    assert ranked[0].trial_id == A


def test_conversions_beside_are_told_and_stand_in_for_what_is_gone(tmp_path):
    folder = _function_trial(tmp_path, A, [{"acc": 0.9}, {"acc": 0.8}])
    for number in range(2):
        copied = folder / f"msgpack/checkpoint_{number:06}"
        _own_checkpoint(copied, {"acc": 0.9 - number / 10}, number + 1)
    shutil.rmtree(folder / "checkpoint_000000")
    gone, there = tc.rank_checkpoints(tmp_path, "acc")
    assert gone.path == gone.converted == str(folder / "msgpack/checkpoint_000000")
    assert there.path == str(folder / "checkpoint_000001")
    assert there.converted == str(folder / "msgpack/checkpoint_000001")


# --------------------------------------------------------------------- running, killed and moved


def test_a_moved_sweep(tmp_path):
    state = _class_trial(tmp_path / "old", A, [{"acc": 0.5}])
    _write_state(tmp_path / "old", state)
    (tmp_path / "old").rename(tmp_path / "new")
    best = tc.best_checkpoint(tmp_path / "new", "acc")
    assert Path(best.path).is_relative_to(tmp_path / "new")


def test_a_relative_path_and_a_file_uri(tmp_path, monkeypatch):
    folder = _function_trial(tmp_path / "sweep", A, [{"acc": 0.5}])
    monkeypatch.chdir(tmp_path)
    for source in ("sweep", Path("sweep"), "sweep/", f"file://{tmp_path}/sweep"):
        assert tc.best_checkpoint(source, "acc").path == str(folder / "checkpoint_000000")


def test_another_filesystem(tmp_path):
    from pyarrow import fs

    folder = _function_trial(tmp_path / "sweep", A, [{"acc": 0.5}])
    _own_checkpoint(folder / "checkpoint_000001", {"acc": 0.7}, 2)
    filesystem = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    best = tc.best_checkpoint("sweep", "acc", filesystem=filesystem)
    assert best.path == f"sweep/{folder.name}/checkpoint_000001"
    assert best.filesystem is filesystem
    assert tc.verify(best).ok
    np.testing.assert_array_equal(best.load()["w"], np.ones(3))
    assert tc.verify(best.export(tmp_path / "out")).ok
    assert best.checkpoint.path == best.path


def test_the_options_of_a_uri_stay_at_its_end():
    from tune_ckpt.sweep.candidates import Sweep
    from tune_ckpt.tree.storage.store import open_store

    sweep = Sweep(open_store("/nowhere"), "s3://bucket/sweep?region=eu")
    assert sweep.path("trial", "c") == "s3://bucket/sweep/trial/c?region=eu"


def test_lines_cut_short_or_broken_are_survived_and_told(tmp_path):
    folder = _function_trial(tmp_path, A, [{"acc": 0.5}, {"acc": 0.9}, {"acc": 0.7}])
    lines = (folder / "result.json").read_bytes().splitlines(keepends=True)
    (folder / "result.json").write_bytes(lines[0] + b"{\xff" + lines[1] + lines[2][:-3])
    best = tc.best_checkpoint(tmp_path, "acc")
    assert best.value == 0.5
    told = "\n".join(best.passed_over)
    assert told.count("result.json cannot be read") == 2
    assert "the metrics of checkpoint_000001 are recorded nowhere" in told


def test_every_cut_of_the_results_gives_what_is_whole(tmp_path):
    folder = _function_trial(tmp_path, A, [{"acc": 0.5}, {"acc": 0.9}])
    data = (folder / "result.json").read_bytes()
    ends = [end for end, byte in enumerate(data) if byte == ord("\n")]
    for cut in range(ends[0], len(data)):
        (folder / "result.json").write_bytes(data[:cut])
        assert tc.best_checkpoint(tmp_path, "acc").value == (0.9 if cut >= ends[1] else 0.5)


@pytest.mark.parametrize("content", [b"", b'{"trial_data": [["{', b"[]", b"null", b"\xff"])
def test_a_damaged_newest_state_falls_back_to_the_older(tmp_path, content):
    _write_state(tmp_path, _class_trial(tmp_path, A, [{"acc": 0.5}]))
    newest = tmp_path / "experiment_state-2026-01-02_00-00-00.json"
    newest.write_bytes(content)
    assert tc.best_checkpoint(tmp_path, "acc").value == 0.5


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "{",
        ["{}", "{}"],
        ["[]", "{}"],
        [json.dumps({"checkpoint_manager": "zz"}), "{}"],
        [json.dumps({"checkpoint_manager": "80"}), "{}"],
        [json.dumps({"checkpoint_manager": 3}), "{}"],
        [json.dumps({"checkpoint_manager": {"value": None}}), "{}"],
    ],
)
def test_a_damaged_trial_in_the_state_leaves_the_others(tmp_path, entry):
    good = _class_trial(tmp_path, A, [{"acc": 0.5}])
    _write_state(tmp_path, entry, good)
    best = tc.best_checkpoint(tmp_path, "acc")
    assert best.value == 0.5
    assert "experiment_state-2026-01-01_00-00-00.json cannot be read" in best.passed_over[0]


def test_no_state_and_no_metadata_is_an_error_that_says_so(tmp_path):
    _class_trial(tmp_path, A, [{"acc": 0.5}])
    with pytest.raises(NoCheckpointError, match="checkpoint_000000 are recorded nowhere"):
        tc.best_checkpoint(tmp_path, "acc")


def test_checkpoints_newer_than_the_state_are_told(tmp_path):
    state = _class_trial(tmp_path, A, [{"acc": 0.5}, {"acc": 0.6}])
    _write_state(tmp_path, state)
    folder = tmp_path / json.loads(state[0])["relative_logdir"]
    _plain_checkpoint(folder / "checkpoint_000002")
    best = tc.best_checkpoint(tmp_path, "acc")
    assert best.value == 0.6
    assert "the metrics of checkpoint_000002 are recorded nowhere" in best.passed_over[0]


def test_nothing_in_a_folder_is_unpickled(tmp_path):
    state = _class_trial(tmp_path, A, [{"acc": 0.5}])
    marker = tmp_path / "marker"
    evil = b"cbuiltins\nexec\n(V" + f"open({str(marker)!r}, 'w')".encode() + b"\ntR."
    bad = [json.dumps({"checkpoint_manager": evil.hex()}), "{}"]
    _write_state(tmp_path, bad, state)
    assert tc.best_checkpoint(tmp_path, "acc").value == 0.5
    assert not marker.exists()


def test_other_folders_and_files_in_a_sweep_do_no_harm(tmp_path):
    folder = _function_trial(tmp_path, A, [{"acc": 0.5}])
    (tmp_path / "driver_artifacts").mkdir()
    (tmp_path / "checkpoint_x").write_text("a file")
    (folder / "checkpoint_note").write_text("a file")
    (folder / "checkpoint_000000" / "metadata.json").write_text('{"metrics": [], "trial": 1}')
    assert tc.best_checkpoint(tmp_path, "acc").value == 0.5


class _Grid(list):
    """Anything like a ResultGrid."""

    filesystem = None

    def __init__(self, folder, results):
        super().__init__(results)
        self.experiment_path = str(folder)


def test_results_know_more_than_a_folder_that_was_not_written_yet(tmp_path):
    folder = _function_trial(tmp_path, A, [{}], checkpoints=False)
    checkpoints = [SimpleNamespace(path=str(folder / f"checkpoint_{n:06}")) for n in range(2)]
    for checkpoint in checkpoints:
        _plain_checkpoint(Path(checkpoint.path))
    taken = SimpleNamespace(path="/elsewhere/another_trial/checkpoint_000000")
    pairs = [(checkpoint, {"acc": number}) for number, checkpoint in enumerate(checkpoints)]
    grid = _Grid(
        tmp_path,
        [
            SimpleNamespace(path=str(folder), best_checkpoints=[*pairs, (taken, {"acc": 9})]),
            SimpleNamespace(path=None, best_checkpoints=[]),  # never started
            SimpleNamespace(path=str(tmp_path / "gone"), best_checkpoints=None),
        ],
    )
    ranked = tc.rank_checkpoints(grid, "acc")
    assert [record.value for record in ranked] == [1, 0]
    assert [record.trial_id for record in ranked] == [A, A]


# ------------------------------------------------------------------------------- real experiments

TUNE_CASES = ["ray2.3.1-py3.8-tune-class", "ray2.60.0-py3.11-tune-class"]


@pytest.mark.parametrize("case", TUNE_CASES)
def test_a_real_sweep_of_a_class_agrees_with_the_ray_that_ran_it(corpus, case):
    expected = json.loads((corpus / case / "expected.json").read_text())
    found = {}
    for mode in ("max", "min"):
        for record in tc.rank_checkpoints(corpus / case / "checkpoint/numpy_exp", "loss", mode):
            found[record.path] = record.trial_id, record.iteration, record.value
            assert json.loads(Path(record.path, "state.json").read_text())
            assert record.config["kind"] in ("ok", "raise", "nan", "inf")
    truth = {
        str(corpus / case / checkpoint["path"]): (
            trial["trial_id"],
            checkpoint["training_iteration"],
            float(checkpoint["loss"]),
        )
        for trial in expected["trials"]
        for checkpoint in trial["checkpoints"]
        if checkpoint["loss"] != "nan"
    }
    assert found == truth


@pytest.mark.parametrize("case", TUNE_CASES)
@pytest.mark.parametrize("metric", ["nested/b/c", "np_metric", "ünïcode/metric"])
def test_every_kind_of_metric_of_a_real_sweep_is_found(corpus, case, metric):
    best = tc.best_checkpoint(corpus / case / "checkpoint/numpy_exp", metric)
    assert best.value > 1


@pytest.mark.parametrize("case", ["ray2.40.0-py3.10-tune-ppo", "ray2.60.0-py3.11-tune-ppo"])
def test_a_real_sweep_of_rllib(corpus, case):
    expected = json.loads((corpus / case / "expected.json").read_text())
    metric = "env_runners/episode_return_mean"
    ranked = tc.rank_checkpoints(corpus / case / "checkpoint/ppo_exp", metric)
    found = {record.path: (record.trial_id, record.iteration) for record in ranked}
    assert found == {
        str(corpus / case / trial["checkpoint"]): (trial["trial_id"], 2)
        for trial in expected["trials"]
    }
    assert {r.config["lr"] for r in ranked} == {trial["lr"] for trial in expected["trials"]}


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of real checkpoints")
def test_a_real_sweep_cut_short_and_moved(tmp_path):
    source = CORPUS / "ray2.60.0-py3.11-tune-class/checkpoint/numpy_exp"
    moved = tmp_path / "moved"
    shutil.copytree(source, moved, copy_function=shutil.copyfile)
    for path in [moved, *moved.rglob("*")]:
        path.chmod(0o755)
    state = next(moved.glob("experiment_state-*"))
    data = state.read_bytes()
    assert tc.best_checkpoint(moved, "loss").value == 139.0
    for cut in range(0, len(data), len(data) // 7):
        state.write_bytes(data[:cut])
        with pytest.raises(NoCheckpointError, match="recorded nowhere"):
            tc.best_checkpoint(moved, "loss")


# ------------------------------------------------------------------------------------- live sweeps

SCORES = {
    "a": [0.1, 0.9, 0.2],
    "b": [math.nan, 0.5, 0.9],
    "c": [0.3, -1.0, 0.4],
}


class Plain(tune.Trainable):
    """A Trainable that knows nothing of this package."""

    def setup(self, config):
        self.scores = SCORES[config["name"]]

    def step(self):
        return {"eval": {"score": np.float32(self.scores[self.iteration])}}

    def save_checkpoint(self, checkpoint_dir):
        Path(checkpoint_dir, "at.txt").write_text(str(self.iteration))

    def load_checkpoint(self, checkpoint):
        pass


def _report(config):
    import tempfile

    for score in SCORES[config["name"]]:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "score.txt").write_text(str(score))
            checkpoint = tune.Checkpoint.from_directory(folder)
            tune.report({"eval": {"score": score}}, checkpoint=checkpoint)
    if config["name"] == "a":
        raise RuntimeError("a trial that fails counts too")


@pytest.fixture(scope="module", params=["class", "function", "ours"])
def live(request, ray_session, tmp_path_factory):
    """A sweep that has just ended, and its folder."""
    trainable = {"class": Plain, "function": _report, "ours": Walker}[request.param]
    scores = {name: dict(enumerate(values)) for name, values in SCORES.items()}
    space = {"name": tune.grid_search(list(SCORES))}
    if request.param == "ours":
        space = {"scores": tune.grid_search(list(scores.values()))}
    run = tune.RunConfig(
        name="run",
        storage_path=str(tmp_path_factory.mktemp(request.param)),
        stop={"training_iteration": 3},
        verbose=0,
        checkpoint_config=tune.CheckpointConfig(
            checkpoint_frequency=0 if request.param == "function" else 1
        ),
    )
    metric = "score" if request.param == "ours" else "eval/score"
    return tune.Tuner(trainable, param_space=space, run_config=run).fit(), metric


def _facts(records):
    return [(r.path, r.trial_id, r.iteration, r.value, r.config) for r in records]


@pytest.mark.parametrize("mode", ["max", "min"])
def test_results_and_their_folder_agree(live, mode):
    results, metric = live
    in_memory = tc.rank_checkpoints(results, metric, mode)
    in_folder = tc.rank_checkpoints(results.experiment_path, metric, mode)
    assert _facts(in_memory) == _facts(in_folder)
    values = [pytest.approx(x) for scores in SCORES.values() for x in scores if not math.isnan(x)]
    assert sorted(record.value for record in in_memory) == sorted(values, key=lambda a: a.expected)
    best = in_memory[0]
    assert best.value == pytest.approx(0.9 if mode == "max" else -1.0)
    assert best.iteration == 2
    assert best.checkpoint.to_directory()


def test_whatever_ray_gives_leads_to_the_same(live):
    results, metric = live
    best = tc.best_checkpoint(results, metric)
    analysis = tune.ExperimentAnalysis(results.experiment_path)
    assert tc.best_checkpoint(analysis, metric).path == best.path
    trials = {result.metrics["trial_id"]: result for result in results}
    for source in (trials[best.trial_id], trials[best.trial_id].path):
        assert tc.best_checkpoint(source, metric).path == best.path
    for trial_id, result in trials.items():
        assert {r.trial_id for r in tc.rank_checkpoints(result, metric)} == {trial_id}


def test_results_whose_checkpoints_were_deleted(live, tmp_path):
    results, metric = live
    best = tc.best_checkpoint(results, metric)
    kept = tmp_path / "kept"
    shutil.move(best.path, kept)
    try:
        for source in (results, results.experiment_path):
            second = tc.best_checkpoint(source, metric)
            assert second.path == best.runner_up.path
    finally:
        shutil.move(kept, best.path)


def test_results_whose_folder_is_gone(live, tmp_path):
    results, metric = live
    shutil.move(results.experiment_path, tmp_path / "elsewhere")
    try:
        with pytest.raises(NoCheckpointError):
            tc.best_checkpoint(results, metric)
        moved = tc.best_checkpoint(tmp_path / "elsewhere", metric)
        assert moved.iteration == 2
    finally:
        shutil.move(tmp_path / "elsewhere", results.experiment_path)


@pytest.mark.parametrize("cls", [Walker, MsgpackWalker], ids=["pickle", "msgpack"])
def test_the_best_is_restored_loaded_and_exported(ray_session, tmp_path, cls):
    run = tune.RunConfig(
        name="run",
        storage_path=str(tmp_path),
        stop={"training_iteration": 4},
        verbose=0,
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
    )
    results = tune.Tuner(cls, param_space={"seed": 7}, run_config=run).fit()
    best = tc.best_checkpoint(results, "walk/at")
    for walker in (best.restore(), best.restore(cls)):
        assert type(walker) is cls
        assert walker.path[-1] == best.value
        assert walker.iteration == best.iteration
    weights = best.load("weights")
    assert weights["w"].sum() == pytest.approx(best.value)
    exported = best.export(tmp_path / "served")
    assert tc.verify(exported).ok
    np.testing.assert_array_equal(tc.load_state(exported, "weights")["w"], weights["w"])


def test_a_record_is_short_and_copies(tmp_path):
    _function_trial(tmp_path, A, [{"acc": 0.5}, {"acc": 0.4}])
    best = tc.best_checkpoint(tmp_path, "acc")
    assert "runner_up" not in repr(best)
    assert copy.copy(best).value == best.value
    with pytest.raises(AttributeError):
        best.value = 1


# ----------------------------------------------------------------------------------- other Rays

OTHER_RAYS = sorted((Path(__file__).parent / "data/tune").glob("ray*"))


@pytest.mark.parametrize("folder", OTHER_RAYS, ids=lambda folder: folder.name)
def test_sweeps_of_other_rays(folder):
    ranked = tc.rank_checkpoints(folder, "eval/score")
    facts = [(record.config["name"], record.iteration, record.value) for record in ranked]
    assert facts == [("a", 2, 0.9), ("b", 3, 0.8), ("b", 2, 0.5), ("a", 3, 0.2), ("a", 1, 0.1)]
    assert "eval/score is nan" in ranked.explain()
    assert Path(ranked[0].path, "x").is_file()


def test_a_run_of_ray_train():
    ranked = tc.rank_checkpoints(Path(__file__).parent / "data/tune/train2.60.0-run", "eval/score")
    assert [record.value for record in ranked] == [0.9, 0.5, 0.2]
    assert [record.iteration for record in ranked] == [2, 1, 4]
    assert [Path(r.path, "x").read_text() for r in ranked] == ["0.9", "0.5", "0.2"]
    assert "eval/score is None" in ranked.explain()  # it was NaN
