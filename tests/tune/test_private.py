"""What we use of Ray that Ray does not promise: each line here names what to look at again."""

import inspect

import ray
from packaging.version import Version
from ray.train._internal import session, storage
from ray.train.v2._internal.execution import context as train_context

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
