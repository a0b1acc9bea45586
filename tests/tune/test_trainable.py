"""The mixin: a Trainable's checkpoints through the tree, inside Tune and outside."""

import json
import os
import signal
from pathlib import Path

import pytest
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem
from ray import tune
from ray.train._internal import storage

import tune_ckpt as tc
from tests.tune.sweeps import checkpoints, rows
from tests.tune.trainables import MsgpackWalker, Walker
from tune_ckpt.errors import UnsupportedComponentError
from tune_ckpt.objects.classes import name_of_class, same_class
from tune_ckpt.tune import private


def _uninterrupted(steps):
    walker = Walker({"seed": 5})
    return [walker.train()["walk"]["at"] for _ in range(steps)]


@pytest.mark.parametrize("cls", [Walker, MsgpackWalker], ids=["pickle", "msgpack"])
def test_outside_tune_a_checkpoint_continues_at_the_next_iteration(tmp_path, ray_session, cls):
    walker = cls({"seed": 5})
    for _ in range(3):
        walker.train()
    walker.save_to_path(tmp_path / "c", use_msgpack=cls is MsgpackWalker)
    again = cls.from_checkpoint(tmp_path / "c")
    assert again.config == {"seed": 5}
    result = again.train()
    assert result["training_iteration"] == 4
    assert result["time_total_s"] > walker._time_total
    assert [*walker.path, result["walk"]["at"]] == _uninterrupted(4)


def test_in_a_sweep_each_checkpoint_is_a_verified_tree_with_its_metrics(tmp_path, ray_session):
    run_config = tune.RunConfig(
        name="run",
        storage_path=str(tmp_path),
        verbose=0,
        stop={"training_iteration": 4},
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
    )
    results = tune.Tuner(MsgpackWalker, param_space={"seed": 5}, run_config=run_config).fit()
    paths = checkpoints(results[0])
    assert len(paths) == 4
    for iteration, path in enumerate(paths, start=1):
        assert tc.verify(path).ok
        metadata = json.loads((path / "metadata.json").read_text())
        assert metadata["trial"]["iteration"] == iteration
        assert metadata["metrics"]["walk"]["at"] == _uninterrupted(iteration)[-1]
        assert metadata["tune_ckpt"]["format"] == "msgpack"
        again = MsgpackWalker.from_checkpoint(path)
        assert again.train()["training_iteration"] == iteration + 1


class Preempted(Walker):
    """Gets SIGTERM once, in its third iteration."""

    just_in_time = True

    def step(self):
        result = super().step()
        marker = Path(self.config["marker"])
        if len(self.path) == 3 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGTERM)
        return result


def test_sigterm_saves_after_the_iteration_and_the_trial_goes_on_from_there(tmp_path, ray_session):
    results = tune.Tuner(
        Preempted,
        param_space={"seed": 5, "marker": str(tmp_path / "terminated")},
        run_config=tune.RunConfig(
            name="run",
            storage_path=str(tmp_path),
            verbose=0,
            stop={"training_iteration": 5},
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    ).fit()
    assert results[0].error is None
    reported = rows(Path(results[0].path) / "result.json")
    assert [row["walk"]["at"] for row in reported] == _uninterrupted(5)
    first = checkpoints(results[0])[0]  # another one is made at the end
    assert json.loads((first / "metadata.json").read_text())["trial"]["iteration"] == 3


def test_the_wrong_order_of_bases_is_told(ray_session):
    with pytest.raises(TypeError, match="before"):

        class Wrong(tune.Trainable, tc.CheckpointableMixin):
            pass


@pytest.mark.parametrize("base", [tc.CheckpointableTrainable, tc.AlgorithmMixin])
def test_a_format_that_there_is_not_is_told_where_the_class_is_defined(base):
    with pytest.raises(TypeError, match="checkpoint_format must be 'pickle' or 'msgpack', not"):
        type("Misspelled", (base,), {"checkpoint_format": "msgpck"})


def test_who_replaces_our_methods_is_warned_once(caplog):
    class Own(Walker):
        def save_checkpoint(self, checkpoint_dir):
            pass

    class Derived(Own):
        pass

    (record,) = caplog.records
    assert "Own has its own save_checkpoint. " in record.getMessage()
    assert "get_state()" in record.getMessage()


class Forgetful(Walker):
    """Its get_state lacks the return."""

    def get_state(self, components=None, *, not_components=None, **kwargs):
        pass


def test_a_state_that_is_not_returned_is_told(tmp_path, ray_session):
    with pytest.raises(UnsupportedComponentError, match=r"Forgetful.*get_state\(\) returned None"):
        Forgetful({}).save_to_path(tmp_path / "c")
    assert not [*tmp_path.iterdir()]


def _in_trial(parent, filesystem=None):
    place = private.storage(str(parent), "run", "trial", filesystem)
    walker = Walker({"seed": 5}, storage=place)
    walker.train()
    return walker


def test_in_a_trial_a_checkpoint_is_written_once_and_where_it_stays(
    tmp_path, ray_session, monkeypatch
):
    copied = []

    def count(source, *args, **options):
        copied.extend(os.listdir(source))

    monkeypatch.setattr(storage, "_pyarrow_fs_copy_files", count)
    walker = _in_trial(tmp_path)
    saved = walker.save()
    assert copied == []
    assert tc.verify(saved.checkpoint.path).ok
    again = Walker({"seed": 1})
    again.restore(saved)
    assert again.train()["walk"]["at"] == _uninterrupted(2)[1]


def test_in_a_trial_on_another_filesystem_too(tmp_path, ray_session):
    filesystem = SubTreeFileSystem(str(tmp_path), LocalFileSystem())
    saved = _in_trial("runs", filesystem).save()
    assert tc.verify(tmp_path / saved.checkpoint.path).ok
    again = Walker({"seed": 1})
    again.restore(saved)
    assert again.train()["walk"]["at"] == _uninterrupted(2)[1]


def test_a_checkpoint_that_is_written_again_keeps_nothing_of_the_old_one(tmp_path, ray_session):
    walker = _in_trial(tmp_path)
    path, _ = private.next_checkpoint_of(walker)
    MsgpackWalker({"seed": 1}).save_to_path(path, use_msgpack=True)
    saved = walker.save()
    assert saved.checkpoint.path == path
    assert not list(Path(path).rglob("*.msgpack"))


def test_who_names_a_folder_gets_it_there(tmp_path, ray_session):
    walker = _in_trial(tmp_path)
    walker.save(str(tmp_path / "here"))
    assert tc.verify(tmp_path / "here").ok


def test_what_tune_derives_from_a_class_is_that_class_in_a_checkpoint(tmp_path):
    derived = tune.with_resources(MsgpackWalker, {"cpu": 2})
    derived().save(str(tmp_path / "c"))
    assert tc.describe(tmp_path / "c").cls == "tests.tune.trainables:MsgpackWalker"
    assert type(MsgpackWalker.from_checkpoint(tmp_path / "c")) is MsgpackWalker
    # What was written in a trial's actor before that.
    assert same_class(name_of_class(MsgpackWalker), "ray.tune.trainable.util:MsgpackWalker")
