"""What `resume` refuses before it has touched anything."""

import json
import pickle
import shutil

import pytest
from ray import tune

import tune_ckpt as tc
from tests.tune.test_plain import KILLED, T
from tune_ckpt.errors import InvalidArgumentError, NotACheckpointError, StorageError

# Its trials stop after 5 iterations, and had reached 5, 3 and none.


@pytest.fixture
def sweep(tmp_path):
    return shutil.copytree(KILLED, tmp_path / "run")


@pytest.fixture
def endless(sweep):
    """It, where no file tells any more where trials stop."""
    return _tear(sweep)


def _tear(sweep):
    for file in sweep.glob("experiment_state-*.json"):
        file.write_text("{")
    return sweep


def _files(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and "marker" not in path.name)
    return {path: path.read_bytes() for path in files}


def _refusal(sweep, *, trainable=T, portable=True, **options):
    """Return why a resume is refused; it leaves all files as they were."""
    before = _files(sweep)
    with pytest.raises(InvalidArgumentError) as caught:
        tc.resume(sweep, trainable, portable=portable, **options)
    assert _files(sweep) == before
    return str(caught.value)


@pytest.mark.parametrize("limit", [4, 2])
def test_a_limit_below_the_present_one_would_end_trials(sweep, limit):
    told = _refusal(sweep, extend={"training_iteration": limit})
    assert "training_iteration of 5 or more: trials stop there now" in told


@pytest.mark.parametrize("limit", [5, 7])
def test_the_present_limit_and_what_is_above_it_are_taken(sweep, limit):
    report = tc.resume(sweep, T, portable=True, extend={"training_iteration": limit}).report
    ended = "finished" if limit == 5 else "continues"
    assert [trial.status for trial in report.trials] == [ended, "continues", "starts"]


def test_a_limit_that_was_extended_is_the_present_one(sweep):
    tc.resume(sweep, T, portable=True, extend={"training_iteration": 9})
    assert "of 9 or more" in _refusal(sweep, extend={"training_iteration": 6})


@pytest.mark.parametrize("portable", [True, False])
def test_what_had_finished_goes_on_where_the_experiment_state_is_torn_too(endless, portable):
    stop = tune.RunConfig(stop={"training_iteration": 5})
    if not portable:  # the Tuner's pickle tells then where trials stopped
        tc.resume(endless, T, portable=True, run_config=stop)
        _tear(endless)
    given = {"portable": True, "run_config": stop} if portable else {}
    report = tc.resume(endless, T, extend={"training_iteration": 7}, **given).report
    # Not finished; from the start, as nothing tells any more of which iteration checkpoints are.
    assert [trial.status for trial in report.trials] == ["starts", "starts"]


def test_why_a_trial_that_has_no_criterion_is_not_extended_is_told(endless):
    report = tc.resume(endless, T, portable=True, extend={"training_iteration": 7}).report
    (finished,) = [trial for trial in report.trials if trial.status == "finished"]
    assert "nothing tells that it ended by a stop criterion" in finished.detail


def test_a_name_that_no_result_has_is_refused_with_the_nearest(sweep):
    told = _refusal(sweep, extend={"training_iterations": 50})
    assert "nearest to 'training_iterations' first: training_iteration, " in told


def test_of_trials_without_results_the_checkpoints_tell_which_metrics_there_are(sweep):
    for file in sweep.glob("*/result.json"):
        file.unlink()
    (trial,) = sweep.glob("T_*_00000_*")
    of_ours = {"trial": {"iteration": 1}, "metrics": {"val": {"mse": 0.2}}}
    (trial / "checkpoint_000000" / "metadata.json").write_text(json.dumps(of_ours))
    told = _refusal(sweep, extend={"training_iterations": 50})
    assert "nearest to 'training_iterations' first: training_iteration, val/mse" in told
    assert "val/mse of 0.2 or more: every trial" in _refusal(sweep, extend={"val/mse": 0.01})


@pytest.mark.parametrize(("total", "refused"), [(4, True), (3, False), (float("inf"), True)])
def test_new_trials_of_a_space_that_tune_has_not_saved_are_refused(sweep, total, refused):
    (state,) = sweep.glob("basic-variant-state-*.json")
    function = {"config": {"rate": ("__fn_ph", "fcca4086")}}
    state.write_bytes(pickle.dumps({"_total_samples": total, "_iterators": [function]}))
    if refused:
        told = _refusal(sweep, portable=False)
        assert "the functions (tune.sample_from) and objects of the search space" in told
        assert "tune_ckpt.resume(path, trainable, param_space=...)" in told
    given = {"param_space": {"rate": 1}} if refused else {}
    with pytest.raises(NotACheckpointError, match=r"it has no tuner\.pkl"):  # it comes that far
        tc.resume(sweep, T, **given)


@pytest.mark.parametrize("config", [tune.TuneConfig(num_samples=9), tune.RunConfig(stop={"a": 1})])
def test_a_config_that_would_be_passed_over_is_refused(sweep, config):
    name = "tune_config" if isinstance(config, tune.TuneConfig) else "run_config"
    told = _refusal(sweep, portable=False, **{name: config})
    assert told.startswith(f"{name}=")
    assert "the sweep's own is used; it may be: None, with portable=True, another" in told


@pytest.mark.parametrize("trainable", [None, 3, object()])
def test_what_nobody_can_train_is_no_trainable(sweep, trainable):
    assert "a class or function" in _refusal(sweep, trainable=trainable, portable=False)


def test_a_new_name_below_what_all_have_reached_is_refused(sweep):
    assert "or more: every trial" in _refusal(sweep, extend={"time_total_s": -1})
    extended = {"time_total_s": 1e6, "training_iteration": 7}
    report = tc.resume(sweep, T, portable=True, extend=extended).report
    assert [trial.status for trial in report.trials] == ["continues", "continues", "starts"]


@pytest.mark.parametrize("extend", [40, [("training_iteration", 40)], {"": 1}, {"a": "b"}, {1: 2}])
def test_what_is_no_dict_of_numbers_is_refused(sweep, extend):
    assert '{"training_iteration": 50}' in _refusal(sweep, extend=extend)


@pytest.mark.parametrize("config", [None, tune.RunConfig()])
def test_trials_that_would_never_stop_are_not_resumed(endless, config):
    assert "no file tells that: give run_config=" in _refusal(endless, run_config=config)


@pytest.mark.parametrize(
    "told",
    [
        {"run_config": tune.RunConfig(stop={"training_iteration": 5})},
        {"run_config": tune.RunConfig(stop={})},
        {"extend": {"training_iteration": 5}},
    ],
)
def test_who_tells_where_they_stop_resumes_them(endless, told):
    tc.resume(endless, T, portable=True, **told)
    (state,) = endless.glob("experiment_state-*.json")
    expected = told.get("extend", getattr(told.get("run_config"), "stop", None))
    for facts, _ in json.loads(state.read_text())["trial_data"]:
        assert json.loads(facts)["stopping_criterion"] == expected


def test_that_trials_would_save_no_more_is_told(endless):
    stop = {"training_iteration": 7}
    notes = tc.resume(endless, T, portable=True, run_config=tune.RunConfig(stop=stop)).report.notes
    assert any("checkpoint_config=tune.CheckpointConfig(" in note for note in notes)
    saving = tune.CheckpointConfig(checkpoint_frequency=1)
    config = tune.RunConfig(stop=stop, checkpoint_config=saving)
    notes = tc.resume(endless, T, portable=True, run_config=config).report.notes
    assert not any("CheckpointConfig" in note for note in notes)


@pytest.mark.slow  # RLlib is imported, which registers names
def test_a_name_that_nobody_registered_is_no_trainable(sweep):
    with pytest.raises(InvalidArgumentError, match="register_trainable"):
        tc.resume(sweep, "Nobody", portable=True)


def test_results_in_memory_are_no_path_and_it_is_told_where_theirs_is():
    with pytest.raises(InvalidArgumentError, match=r"such as results\.experiment_path"):
        tc.resume(object(), T)


def test_what_is_no_sweep_is_told_with_where_one_is(sweep):
    (trial,) = sweep.glob("T_*_00000_*")
    for folder, told in [
        (sweep / "none", "is not a sweep's folder: there is nothing"),
        (sweep.parent, f"give the sweep's own folder, such as {sweep}"),
        (trial, f"it is a single trial's; give the sweep's own folder, {sweep}"),
        (trial / "checkpoint_000000", "no trial's folder is in it"),
    ]:
        with pytest.raises(NotACheckpointError) as caught:
            tc.resume(folder, T)
        assert told in str(caught.value)


def test_a_uri_that_nothing_opens_is_told_as_all_else_is():
    with pytest.raises(StorageError, match="Cannot open nosuch://bucket/sweep: Unrecognized"):
        tc.resume("nosuch://bucket/sweep", T)


def test_trials_of_which_no_file_tells_are_named(endless):
    empty = "T_c1445_00002_2_a=2_2026-11-21_14-56-39"
    (endless / empty).mkdir()
    notes = tc.resume(endless, T, portable=True, extend={"training_iteration": 5}).report.notes
    assert f"no file tells of 1 trial(s), whose folders stay as they are: {empty}" in notes
