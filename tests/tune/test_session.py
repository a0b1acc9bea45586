"""Function trainables: the same two calls, one write, and what stands in the metadata."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from ray import tune

import tune_ckpt as tc
from tests.agents import Weights
from tune_ckpt.errors import NoSessionError
from tune_ckpt.tune.sigterm import notice


def walk(config):
    """A random walk: every step depends on all before it."""
    weights, rng = Weights(3), np.random.default_rng(5)
    start = tc.restore({"weights": weights, "rng": rng})
    rng = start.get("rng", rng)
    for step in range(start.get("step", 0), config["steps"]):
        weights.w = weights.w + rng.normal(size=3)
        config.get("event", _nothing)(config, step)
        tc.report(
            {"walk": {"at": float(weights.w.sum())}},
            {"weights": weights, "rng": rng, "step": step + 1},
            **config.get("options", {}),
        )


def _nothing(config, step):
    pass


def _run(tmp_path, function=walk, failures=0, **config):
    return tune.Tuner(
        function,
        param_space={"steps": 4, **config},
        run_config=tune.RunConfig(
            name="run",
            storage_path=str(tmp_path),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=failures),
        ),
    ).fit()


def _uninterrupted(steps):
    rng, at = np.random.default_rng(5), np.zeros(3)
    found = []
    for _ in range(steps):
        at = at + rng.normal(size=3)
        found.append(float(at.sum()))
    return found


def _rows(result):
    lines = (Path(result.path) / "result.json").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_each_report_is_a_verified_tree_with_its_metrics(tmp_path, ray_session):
    result = _run(tmp_path)[0]
    assert result.error is None
    paths = sorted(Path(result.path).glob("checkpoint_*"))
    assert [path.name for path in paths] == [f"checkpoint_{n:06d}" for n in range(4)]
    for iteration, path in enumerate(paths, start=1):
        assert tc.verify(path).ok
        metadata = json.loads((path / "metadata.json").read_text())
        assert metadata["trial"]["iteration"] == iteration
        assert metadata["trial"]["id"] == result.metrics["trial_id"]
        assert metadata["metrics"]["walk"]["at"] == _uninterrupted(iteration)[-1]
    assert result.checkpoint.path == str(paths[-1])
    assert len(result.best_checkpoints) == 4


def _once(config):
    """A step of training that may happen once only in the whole sweep."""
    marker = Path(config["marker"])
    first = not marker.exists()
    marker.touch()
    return first


def _kill(config, step):
    if step == 2 and _once(config):
        os.kill(os.getpid(), signal.SIGKILL)


def test_after_a_kill_a_trial_goes_on_bit_by_bit(tmp_path, ray_session):
    marker = str(tmp_path / "killed")
    result = _run(tmp_path, failures=1, event=_kill, marker=marker)[0]
    assert Path(marker).exists()
    assert [row["walk"]["at"] for row in _rows(result)] == _uninterrupted(4)
    paths = sorted(Path(result.path).glob("checkpoint_*"))
    iterations = [
        json.loads((p / "metadata.json").read_text())["trial"]["iteration"] for p in paths
    ]
    assert iterations == [1, 2, 3, 4]
    assert tc.describe(paths[1]).lineage == {}
    assert tc.describe(paths[2]).lineage == {"restored_from": tc.describe(paths[1]).digest}
    best = tc.best_checkpoint(tmp_path / "run", "walk/at", "min")
    assert best.value == min(_uninterrupted(4))


def _terminate(config, step):
    config["options"] = {"save": step == 0, "just_in_time": True}
    if step == 2 and _once(config):
        os.kill(os.getpid(), signal.SIGTERM)
        assert notice.came.wait(30)  # the main thread looks for signals now and then


def test_sigterm_saves_at_the_next_report_and_the_trial_goes_on_from_there(tmp_path, ray_session):
    marker = str(tmp_path / "terminated")
    result = _run(tmp_path, failures=1, event=_terminate, marker=marker)[0]
    assert result.error is None
    assert [row["walk"]["at"] for row in _rows(result)] == _uninterrupted(4)
    steps = [tc.load_state(c)["step"] for c, _ in result.best_checkpoints]
    assert steps == [1, 3]  # the first of its own accord, the other one just in time


def test_without_the_option_sigterm_ends_a_trial_at_once(tmp_path, ray_session):
    marker = str(tmp_path / "terminated")
    result = _run(tmp_path, failures=1, event=_terminate_early, marker=marker)[0]
    steps = [tc.load_state(c)["step"] for c, _ in result.best_checkpoints]
    assert steps == [1]
    assert len(_rows(result)) > 4  # some steps were done again


def _terminate_early(config, step):
    config["options"] = {"save": step == 0}
    if step == 2 and _once(config):
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait()  # the end comes in the main thread


def _count_copies(config, step):
    """Have Ray tell how many files it copies."""
    from ray.train._internal import storage

    copy = storage._pyarrow_fs_copy_files

    def counting(source, destination, **options):
        copied = sum(len(files) for _, _, files in os.walk(source))
        with open(config["marker"], "a") as log:
            log.write(f"{copied}\n")
        return copy(source, destination, **options)

    if step == 0:
        storage._pyarrow_fs_copy_files = counting


def test_a_checkpoint_is_written_once(tmp_path, ray_session):
    log = tmp_path / "copied"
    result = _run(tmp_path, event=_count_copies, marker=str(log))[0]
    assert log.read_text().split() == ["0"] * 4
    assert tc.verify(result.checkpoint).ok


def test_pickle_is_trusted_within_a_sweep(tmp_path, ray_session):
    marker = str(tmp_path / "killed")
    options = {"format": "pickle"}
    result = _run(tmp_path, failures=1, event=_kill, marker=marker, options=options)[0]
    assert [row["walk"]["at"] for row in _rows(result)] == _uninterrupted(4)
    assert (Path(result.checkpoint.path) / "state.pkl").exists()


def _refused(config, step):
    config["options"] = {"validation": True}


def test_options_that_only_ray_train_has_are_refused_in_tune(tmp_path, ray_session):
    result = _run(tmp_path, event=_refused)[0]
    assert "validation" in str(result.error)


def test_outside_of_a_training_function_it_is_said_what_to_do(ray_session):
    with pytest.raises(NoSessionError, match=r"tc\.save"):
        tc.report({"a": 1})
    with pytest.raises(NoSessionError, match=r"tc\.restore"):
        tc.restore({})


def test_restore_with_a_path_needs_no_session(tmp_path):
    tc.save({"weights": Weights(3), "step": 2}, tmp_path / "c")
    assert tc.restore({"weights": Weights(3)}, tmp_path / "c")["step"] == 2


def _exploited(config):
    """Report a score that tells the better trial; both go on side by side."""
    found = tc.restore({})
    for step in range(found.get("step", 0), 8):
        Path(config["meet"], f"{tune.get_context().get_trial_id()}-{step}").touch()
        while len(list(Path(config["meet"]).glob(f"*-{step}"))) < 2:
            time.sleep(0.01)
        score = found.get("score", 0.0) + config["rate"]
        found = {"score": score, "step": step + 1}
        tc.report({"score": score}, found)


@pytest.mark.slow
def test_population_based_training_restores_another_trials_checkpoint(tmp_path, ray_session):
    scheduler = tune.schedulers.PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"rate": [1.0, 2.0]},
        quantile_fraction=0.5,
        metric="score",
        mode="max",
    )
    (tmp_path / "meet").mkdir()
    results = tune.Tuner(
        _exploited,
        param_space={"meet": str(tmp_path / "meet"), "rate": tune.grid_search([1.0, 2.0])},
        tune_config=tune.TuneConfig(scheduler=scheduler, reuse_actors=True),
        run_config=tune.RunConfig(name="run", storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert not results.errors
    poor, rich = (sorted(Path(result.path).glob("checkpoint_*")) for result in results)
    donors = {tc.describe(path).digest for path in rich}
    assert {tc.describe(path).lineage.get("restored_from") for path in poor} & donors
    assert min(result.metrics["score"] for result in results) > 8.0  # eight steps alone make 8.0
