"""What we use of Ray that Ray does not promise: each line here names what to look at again."""

import inspect
from collections import defaultdict
from types import SimpleNamespace

import pytest
import ray
from packaging.version import Version
from pyarrow.fs import LocalFileSystem
from ray import tune
from ray.train._internal import session, storage
from ray.train._internal.checkpoint_manager import _CheckpointManager
from ray.train.v2._internal.execution import context as train_context
from ray.tune import Trainable, Tuner, schedulers
from ray.tune.callback import CallbackList
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.impl import placeholder
from ray.tune.impl.tuner_internal import TunerInternal
from ray.tune.search import BasicVariantGenerator, SearchGenerator

from tests.tune.resuming import new_tuner
from tests.tune.trainables import Walker
from tune_ckpt.tune import private


def test_outside_of_training_there_is_no_session():
    assert not private.in_tune_function()
    assert not private.in_train_worker()


def test_tune_counts_checkpoints_in_its_storage_context():
    fields = inspect.signature(storage.StorageContext).parameters
    assert {"trial_dir_name", "current_checkpoint_index"} <= fields.keys()
    assert storage.StorageContext._make_checkpoint_dir_name(3) == "checkpoint_000003"
    assert hasattr(storage.StorageContext, "trial_fs_path")


def test_tune_has_one_session_a_process_and_workers_of_train_v2_another():
    assert session.get_session() is None
    assert train_context._train_context is None


def test_the_upload_is_ours_from_the_ray_on_that_has_the_argument():
    # 2.48 has it not; whoever finds that it is gone from a newer one has to write _report_copied's
    # second copy off, or find Ray's new way.
    assert private.takes_upload_function() == (Version(ray.__version__) >= Version("2.51"))


def test_an_actor_finds_itself(ray_session):
    assert ray_session.get(_Actor.remote()._iteration_to_report.remote()) == 8


@ray.remote(num_cpus=0)
class _Actor:
    _iteration = 7

    def _iteration_to_report(self):
        return private.iteration_to_report()


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (TuneController, "_scheduler_alg _search_alg _trials _pending_trials_list _callbacks"),
        (CallbackList, "_callbacks"),
        (_CheckpointManager, "_checkpoint_results _latest_checkpoint_result"),
        (Trainable, "_iteration _time_total _timesteps_total _episodes_total _last_result"),
        (TunerInternal, "_tune_config"),
        (BasicVariantGenerator, "_live_trials _iterators max_concurrent"),
        (SearchGenerator, "_counter _experiment searcher"),
        (schedulers.ASHAScheduler, "_brackets"),
        (schedulers.ResourceChangingScheduler, "_base_scheduler"),
        (schedulers.PopulationBasedTraining, "_trial_state _time_attr _burn_in_period _synch"),
        (schedulers.PopulationBasedTraining, "_perturbation_interval _next_perturbation_sync"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_attributes_are_set_where_we_know_them(owner, names):
    source = inspect.getsource(owner)
    assert [name for name in names.split() if f"self.{name}" not in source] == []


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (TuneController, "_set_trial_status _wrapped update_max_pending_trials resumed"),
        (Trial, "from_json_state get_json_state restore_run_metadata invalidate_json_state"),
        (Trial, "set_storage set_config"),
        (TunerInternal, "get_run_config _get_tune_run_arguments converted_trainable"),
        (schedulers.PopulationBasedTraining, "_save_trial_state"),
        (session._FutureTrainingResult, "resolve"),
        (storage, "get_fs_and_path"),
        (train_context.TrainContext, "get_synchronization_actor"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_methods_are_where_we_know_them(owner, names):
    assert [name for name in names.split() if not hasattr(owner, name)] == []


def test_a_tuner_is_made_of_one_private_object():
    assert "_tuner_internal" in inspect.signature(Tuner).parameters
    assert "self._local_tuner" in inspect.getsource(Tuner)


def test_a_checkpoint_sets_nothing_but_counters():
    walker = Walker({"seed": 1})
    private.set_counters(walker, {"iteration": 7, "_storage": "elsewhere", "storage": "elsewhere"})
    assert private.counters(walker)["iteration"] == walker.iteration == 7
    assert walker._storage is None


def test_tune_keeps_a_checkpoint_where_we_expect_it(tmp_path, ray_session):
    place = private.storage(str(tmp_path), "run", "trial", None)
    walker = Walker({"seed": 1}, storage=place)
    path, _ = private.next_checkpoint_of(walker)
    assert walker.save().checkpoint.path == path
    assert private.next_checkpoint_of(walker)[0] != path


def test_trials_that_are_still_to_be_made_lie_where_the_sweep_is_now_and_stop_later(tmp_path):
    grid = {"rate": tune.grid_search([1.0, 2.0])}
    search = private.begun_search(new_tuner(tmp_path / "before"), grid)
    search.next_trial()  # then all of the grid's variants are made
    moved = private.storage(str(tmp_path / "after"), "run", None, LocalFileSystem())
    controller = SimpleNamespace(_search_alg=search, _storage=moved)
    private.make_trials_here(controller)
    private.extend_stop(controller, {"training_iteration": 9})
    trial = search.next_trial()
    assert trial.storage.experiment_fs_path == str(tmp_path / "after/run")
    assert trial.stopping_criterion == {"training_iteration": 9}


def test_a_trial_keeps_its_config_but_for_references_when_ray_has_its_space_again():
    trial = Trial("T", stub=True, config={"drawn": 0.5, "nested": {"kept": [1, 2.5]}, "ref": 0})
    trial._Trial__unresolved_config = {
        "drawn": ["__fn_ph", "a"],
        "nested": {"kept": [1, ["__fn_ph", "c"]]},
        "ref": ["__ref_ph", "b"],
    }
    former = {**trial.config, "changed": 1}
    resolvers = defaultdict(list)
    resolvers["drawn",].append(placeholder._FunctionResolver("a", tune.sample_from(lambda _: 9)))
    resolvers["ref",].append(placeholder._RefResolver("b", "the object"))
    trial.resolve_config_placeholders(resolvers)
    assert trial.config["drawn"] == 9
    private.keep_config(trial, former)
    assert trial.config == {**former, "ref": "the object"}
