"""Function trainables: the same two calls, one write, and what stands in the metadata."""

import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from ray import tune

import tune_ckpt as tc
from tests.agents import Weights
from tests.tune.sweeps import checkpoints, rows
from tests.tune.trainables import side_by_side
from tune_ckpt.errors import NoSessionError
from tune_ckpt.tune.sigterm import notice


def walk(config):
    """A random walk: every step depends on all before it."""
    event, options = CASES[config["case"]]
    weights, rng = Weights(3), np.random.default_rng(5)
    start = tc.restore({"weights": weights, "rng": rng})
    rng = start.get("rng", rng)
    for step in range(start.get("step", 0), 4):
        weights.w = weights.w + rng.normal(size=3)
        event(config, step)
        tc.report(
            {"walk": {"at": float(weights.w.sum())}},
            {"weights": weights, "rng": rng, "step": step + 1},
            **{name: value(step) if callable(value) else value for name, value in options.items()},
        )


def _count_copies(config, step):
    """Have Ray tell how many files it copies."""
    from ray.train._internal import storage

    copy = storage._pyarrow_fs_copy_files

    def counting(source, destination, **options):
        copied = sum(len(files) for _, _, files in os.walk(source))
        with open(_marker(config), "a") as log:
            log.write(f"{copied}\n")
        return copy(source, destination, **options)

    if step == 0:
        storage._pyarrow_fs_copy_files = counting


def _marker(config):
    return Path(config["folder"], config["case"])


def _is_first_time(config):
    first = not _marker(config).exists()
    _marker(config).touch()
    return first


def _kill(config, step):
    if step == 2 and _is_first_time(config):
        os.kill(os.getpid(), signal.SIGKILL)


def _terminate(config, step):
    if step == 2 and _is_first_time(config):
        os.kill(os.getpid(), signal.SIGTERM)
        assert notice.came.wait(30)  # the main thread looks for signals now and then


def _terminate_and_wait(config, step):
    if step == 2 and _is_first_time(config):
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait()  # the end comes in the main thread


def _is_first(step):
    return step == 0


# What happens within a trial, once, and the options of its reports.
CASES = {
    "undisturbed": (_count_copies, {}),
    "killed": (_kill, {}),
    "killed, pickle": (_kill, {"format": "pickle"}),
    "terminated": (_terminate, {"save": _is_first, "just_in_time": True}),
    "terminated without notice": (_terminate_and_wait, {"save": _is_first}),
    "Ray Train's option": (lambda config, step: None, {"validation": True}),
}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, ray_session):
    """The result of each case, each in processes of its own; a trial that fails goes on once."""
    folder = tmp_path_factory.mktemp("cases")
    results = tune.Tuner(
        walk,
        param_space={"folder": str(folder), "case": tune.grid_search([*CASES])},
        tune_config=tune.TuneConfig(reuse_actors=False),
        run_config=tune.RunConfig(
            name="run",
            storage_path=str(folder),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    ).fit()
    return {result.config["case"]: result for result in results}


WALK = np.random.default_rng(5).normal(size=(4, 3)).cumsum(axis=0).sum(axis=1).tolist()


def _at(result):
    return [row["walk"]["at"] for row in _rows(result)]


def _rows(result):
    return rows(Path(result.path) / "result.json")


def _metadata(path):
    return json.loads((path / "metadata.json").read_text())


def test_each_report_is_a_verified_tree_with_its_metrics(sweep):
    result = sweep["undisturbed"]
    assert result.error is None
    paths = checkpoints(result)
    assert [path.name for path in paths] == [f"checkpoint_{n:06d}" for n in range(4)]
    for iteration, path in enumerate(paths, start=1):
        assert tc.verify(path).ok
        assert _metadata(path)["trial"]["iteration"] == iteration
        assert _metadata(path)["trial"]["id"] == result.metrics["trial_id"]
        assert _metadata(path)["metrics"]["walk"]["at"] == pytest.approx(WALK[iteration - 1])
    assert result.checkpoint.path == str(paths[-1])
    assert len(result.best_checkpoints) == 4


def test_a_checkpoint_is_written_once(sweep):
    assert _marker(sweep["undisturbed"].config).read_text().split() == ["0"] * 4


@pytest.mark.parametrize("case", ["killed", "killed, pickle", "terminated"])
def test_a_trial_that_was_ended_goes_on_bit_by_bit(sweep, case):
    assert _marker(sweep[case].config).exists()
    assert sweep[case].error is None
    assert _at(sweep[case]) == _at(sweep["undisturbed"])


def test_after_a_kill_iterations_and_lineage_go_on(sweep):
    paths = checkpoints(sweep["killed"])
    assert [_metadata(path)["trial"]["iteration"] for path in paths] == [1, 2, 3, 4]
    assert tc.describe(paths[1]).lineage == {}
    assert tc.describe(paths[2]).lineage == {"restored_from": tc.describe(paths[1]).digest}


def test_the_best_of_a_sweep_of_functions_is_found(sweep):
    best = tc.best_checkpoint(Path(sweep["killed"].path).parent, "walk/at", "min")
    assert best.value == min(_at(sweep["killed"]))


def _saved_steps(result):
    return [tc.load_state(checkpoint)["step"] for checkpoint, _ in result.best_checkpoints]


def test_sigterm_saves_at_the_next_report(sweep):
    assert _saved_steps(sweep["terminated"]) == [1, 3]  # the other one just in time


def test_without_the_option_sigterm_ends_a_trial_at_once(sweep):
    result = sweep["terminated without notice"]
    assert _saved_steps(result) == [1]
    assert len(_rows(result)) > 4  # some steps were done again


def test_pickle_is_trusted_within_a_sweep(sweep):
    paths = checkpoints(sweep["killed, pickle"])
    assert tc.describe(paths[2]).lineage == {"restored_from": tc.describe(paths[1]).digest}
    assert (paths[2] / "state.pkl").exists()


def test_options_that_only_ray_train_has_are_refused_in_tune(sweep):
    assert "validation" in str(sweep["Ray Train's option"].error)


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
        side_by_side(config["meet"], tune.get_context().get_trial_id(), step)
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
