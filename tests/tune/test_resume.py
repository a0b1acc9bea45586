"""Resume: from every trial's newest valid checkpoint, wherever the sweep lies."""

import pickle
import shutil
from pathlib import Path

import pytest
import ray
from pyarrow import fs
from ray import tune

import tune_ckpt as tc
from tests.tune.resuming import (
    Climber,
    interrupted,
    new_tuner,
    reported,
    results_of,
    resumed,
    story,
)
from tune_ckpt.errors import (
    InvalidArgumentError,
    NotACheckpointError,
    PickleReadError,
    StorageError,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory, ray_session):
    """What an uninterrupted sweep does."""
    storage = tmp_path_factory.mktemp("whole")
    new_tuner(storage).fit()
    return story(storage / "run")


@pytest.fixture(scope="module")
def original(tmp_path_factory, ray_session):
    """A sweep that was interrupted in its second trial, to be copied."""
    return interrupted(tmp_path_factory.mktemp("original"), 6)


@pytest.fixture
def sweep(original, tmp_path):
    """A copy of the interrupted sweep: it was moved."""
    moved = tmp_path / tmp_path.name  # Ray's local copy goes by the name: one for each test
    shutil.copytree(original, moved)
    shutil.move(original, original.with_name("gone"))
    yield moved
    shutil.move(original.with_name("gone"), original)


def _trial(sweep, number):
    (folder,) = sweep.glob(f"*_0000{number}_*")
    return folder


def _damage(checkpoint):
    state = next(checkpoint.glob("state*.msgpack"))
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 1
    state.write_bytes(data)


def test_a_moved_sweep_goes_on_where_it_was(sweep, whole):
    tuner = resumed(sweep)
    assert [c.status for c in tuner.report.trials] == ["finished", "continues"]
    results = tuner.fit()
    assert story(sweep) == whole
    assert not results.errors
    assert all(Path(result.path).parent == sweep for result in results)
    assert reported(sweep)[_trial(sweep, 1).name] == [1, 2, 3, 4]


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(sweep, whole):
    of_finished, newest = (sorted(_trial(sweep, n).glob("checkpoint_*"))[-1] for n in (0, 1))
    asides = [path.parent / "set_aside" / path.name for path in (of_finished, newest)]
    _damage(of_finished)
    _damage(newest)
    (sweep / "unnoted" / "checkpoint_000000").mkdir(parents=True)
    tuner = resumed(sweep)
    assert [aside.is_dir() for aside in asides] == [True, True]
    assert not newest.exists()
    assert sorted(fault.path for fault in tuner.report.set_aside) == sorted(map(str, asides))
    assert "unnoted stays as it is" in str(tuner.report)
    finished, going = tuner.report.trials
    assert finished.status == "finished"
    assert (going.status, going.iteration) == ("continues", 1)
    results = tuner.fit()
    assert story(sweep) == whole
    assert reported(sweep)[_trial(sweep, 0).name] == [1, 2, 3, 4]
    assert reported(sweep)[_trial(sweep, 1).name] == [1, 2, 2, 3, 4]
    assert [aside.is_dir() for aside in asides] == [True, True]
    assert not newest.exists()  # its number is not given again
    (result,) = (r for r in results if r.path == str(of_finished.parent))
    assert Path(result.checkpoint.path).name == "checkpoint_000002"
    assert of_finished.name not in {Path(c.path).name for c, _ in result.best_checkpoints}


def test_an_incomplete_checkpoint_is_set_aside(sweep):
    newest = sorted(_trial(sweep, 1).glob("checkpoint_*"))[-1]
    (newest / "metadata.json").unlink()
    report = resumed(sweep).report
    assert report.trials[1].iteration == 1
    (fault,) = report.set_aside
    assert fault.path == str(newest.parent / "set_aside" / newest.name)
    unfinished = "it is unfinished: metadata.json, which is written last, is not there"
    assert fault.reason == unfinished  # once, without the path again


def test_without_a_valid_checkpoint_a_trial_begins_and_it_is_said(sweep, whole, capfd):
    for checkpoint in _trial(sweep, 1).glob("checkpoint_*"):
        _damage(checkpoint)
    tuner = resumed(sweep)
    assert tuner.report.trials[1].status == "starts"
    assert len(tuner.report.set_aside) == 2
    assert "begins from the start" in capfd.readouterr().err
    tuner.fit()
    assert story(sweep) == whole
    assert reported(sweep)[_trial(sweep, 1).name] == [1, 2, 3, 4]


@pytest.mark.parametrize("cut", [100, -1])
def test_without_a_whole_experiment_state_the_trials_are_made_again(sweep, cut):
    (state,) = sweep.glob("experiment_state-*.json")
    state.write_bytes(state.read_bytes()[:cut])
    report = resumed(sweep).report
    assert {c.status for c in report.trials} == {"continues", "finished"}
    assert "made again from their folders" in str(report)


def test_trials_that_were_made_again_go_on_where_they_were(sweep, whole):
    (state,) = sweep.glob("experiment_state-*.json")
    state.unlink()
    tuner = resumed(sweep)
    assert "made again from their folders" in str(tuner.report)
    tuner.fit()
    assert story(sweep) == whole


def test_the_newest_whole_experiment_state_is_used(sweep):
    (state,) = sweep.glob("experiment_state-*.json")
    torn = sweep / "experiment_state-2999-01-01_00-00-00.json"
    torn.write_bytes(state.read_bytes()[:1000])
    (callbacks,) = sweep.glob("basic-variant-state-*.json")
    shutil.copy(callbacks, sweep / "basic-variant-state-2999-01-01_00-00-00.json")
    tuner = resumed(sweep)
    assert sorted(Path(f.path).name[:24] for f in tuner.report.set_aside) == [
        "basic-variant-state-2999",
        "experiment_state-2999-01",
    ]
    assert [c.status for c in tuner.report.trials] == ["finished", "continues"]


def test_what_was_saved_after_tunes_last_note_is_not_lost(tmp_path, ray_session, whole):
    # The default: a note every ten seconds, so here only the very first.
    path = interrupted(tmp_path, 6, noted=False)
    tuner = resumed(path)
    tuner.fit()
    assert [c.status for c in tuner.report.trials] == ["finished", "continues"]
    assert tuner.report.trials[1].iteration == 2
    assert story(path) == whole


def test_finished_trials_are_extended(tmp_path, ray_session):
    new_tuner(tmp_path, stop=2).fit()
    tuner = resumed(tmp_path / "run", extend={"training_iteration": 4})
    assert [c.iteration for c in tuner.report.trials] == [2, 2]
    tuner.fit()
    assert all(rows == [1, 2, 3, 4] for rows in reported(tmp_path / "run").values())
    again = resumed(tmp_path / "run", extend={"training_iteration": 4})
    assert [c.status for c in again.report.trials] == ["finished", "finished"]
    with pytest.raises(InvalidArgumentError, match="of 4 or more"):
        resumed(tmp_path / "run", extend={"training_iteration": 3})


def test_errored_trials_are_retried_only_when_asked(tmp_path, ray_session):
    space = {"rate": 1.0, "marker": str(tmp_path / "mended")}
    results = new_tuner(tmp_path, cls=Failing, space=space).fit()
    assert results.errors
    left = resumed(tmp_path / "run", Failing)
    assert [c.status for c in left.report.trials] == ["errored"]
    (tmp_path / "mended").touch()
    tuner = resumed(tmp_path / "run", Failing, resume_errored=True)
    assert (tuner.report.trials[0].status, tuner.report.trials[0].iteration) == ("continues", 2)
    assert not tuner.fit().errors
    assert list(reported(tmp_path / "run").values()) == [[1, 2, 3, 4]]


class Failing(Climber):
    """Fails at its third iteration until it is mended."""

    def step(self):
        if self.iteration == 2 and not Path(self.config["marker"]).exists():
            raise RuntimeError("planned")
        return super().step()


def test_resources_and_concurrency_can_be_changed(sweep):
    class Telling(Climber):
        def step(self):
            cpus = ray.get_runtime_context().get_assigned_resources()["CPU"]
            return {**super().step(), "cpus": cpus}

    Telling.__name__ = "Climber"
    tuner = tc.resume(sweep, Telling, resources={"cpu": 1}, max_concurrent=1)
    for callback in tuner._local_tuner.get_run_config().callbacks:
        callback.after = 10**9
    assert not tuner.fit().errors
    assert results_of(_trial(sweep, 1))[4]["cpus"] == 1
    searcher = max(sweep.glob("basic-variant-state-*.json"))
    assert pickle.loads(searcher.read_bytes())["max_concurrent"] == 1


def test_what_is_no_sweep_is_told(tmp_path, sweep):
    with pytest.raises(NotACheckpointError, match="there is nothing"):
        tc.resume(tmp_path / "nowhere", Climber)
    with pytest.raises(
        InvalidArgumentError, match=r"'Climber'.*\(class Climber\(Failing\): pass\)"
    ):
        tc.resume(sweep, Failing)
    (sweep / "tuner.pkl").write_bytes((sweep / "tuner.pkl").read_bytes()[:-20])
    with pytest.raises(PickleReadError, match="portable=True"):
        tc.resume(sweep, Climber)


def test_a_foreign_checkpoint_that_breaks_off_is_set_aside(tmp_path, ray_session):
    path = interrupted(tmp_path, 3, cls=Plain, space={"rate": 1.0})
    (trial,) = path.glob("Plain_*")
    newest = sorted(trial.glob("checkpoint_*"))[-1]
    file = newest / "_dict_checkpoint.pkl"
    file.write_bytes(file.read_bytes()[:-3])
    tuner = resumed(path, Plain)
    assert [Path(f.path).name for f in tuner.report.set_aside] == [newest.name]
    tuner.fit()
    assert sorted(results_of(trial)) == [1, 2, 3, 4]


class Plain(tune.Trainable):
    """Saves a dict, as Tune has always let it."""

    def setup(self, config):
        self.height = 0.0

    def step(self):
        self.height += self.config["rate"]
        return {"height": self.height}

    def save_checkpoint(self, checkpoint_dir):
        return {"height": self.height}

    def load_checkpoint(self, checkpoint):
        self.height = checkpoint["height"]

    def reset_config(self, new_config):
        self.height = 0.0
        return True


def test_a_sweep_that_was_copied_to_s3_goes_on_there(sweep, whole, s3, bucket):
    filesystem = s3.filesystem()
    newest = sorted(_trial(sweep, 1).glob("checkpoint_*"))[-1]
    _damage(newest)
    fs.copy_files(str(sweep), f"{bucket}/there", destination_filesystem=filesystem)
    # Only looked at by its URI: the trials' processes have no credentials in their environment.
    uri = tc.resume(s3.uri(f"{bucket}/there"), Climber)
    (aside,) = uri.report.set_aside
    assert f"{bucket}/there/{newest.parent.name}/set_aside/{newest.name}" in aside.path
    goes_on_at = uri.report.trials[1].checkpoint
    assert tc.describe(goes_on_at).nbytes  # the same URI opens it
    tuner = resumed(f"{bucket}/there", filesystem=filesystem)
    assert [c.iteration for c in tuner.report.trials] == [None, 1]
    assert not tuner.fit().errors
    back = sweep.with_name("back")
    fs.copy_files(f"{bucket}/there", str(back), source_filesystem=filesystem)
    assert story(back) == whole
    assert tc.verify(aside.path.removeprefix("s3://"), filesystem=filesystem).faults


def test_a_state_from_the_future_does_not_hide_the_resumed_one(sweep, whole):
    (state,) = sweep.glob("experiment_state-*.json")
    state.rename(sweep / "experiment_state-2999-01-01_00-00-00.json")
    tuner = resumed(sweep)
    assert "its clock was ahead" in str(tuner.report)
    tuner.fit()
    assert story(sweep) == whole


def test_rays_own_failure_to_resume_is_an_error_not_a_new_sweep(sweep):
    tuner = resumed(sweep)
    (state,) = sorted(sweep.glob("experiment_state-*.json"))[-1:]
    state.write_text("{")
    before = sorted(sweep.rglob("checkpoint_*"))
    with pytest.raises(PickleReadError, match="Ray could not resume"):
        tuner.fit()
    assert sorted(sweep.rglob("checkpoint_*")) == before


def test_what_ray_would_stumble_over_is_told_before_anything_is_touched(sweep):
    (sweep / ".validate_storage_marker").unlink()
    (sweep / ".validate_storage_marker").mkdir()
    before = sorted(sweep.rglob("*"))
    for portable in (False, True):
        with pytest.raises(StorageError, match="validate_storage_marker"):
            tc.resume(sweep, Climber, portable=portable)
    assert sorted(sweep.rglob("*")) == before


def test_an_argument_that_ray_refuses_leaves_the_pickles_where_they_were(sweep):
    before = {file.name: file.read_bytes() for file in sweep.iterdir() if file.is_file()}
    with pytest.raises(Exception, match="space"):
        tc.resume(sweep, Climber, portable=True, param_space=[1])
    assert {file.name: file.read_bytes() for file in sweep.iterdir() if file.is_file()} == before
