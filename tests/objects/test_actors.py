"""Ray actors as components: saved from the first healthy one, restored into every healthy one."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest

import tune_ckpt as tc
from tests.agents import Agent, Weights, trained
from tune_ckpt.errors import (
    ActorsFailedError,
    InvalidArgumentError,
    NoHealthyActorError,
    RestoreError,
    UnsupportedComponentError,
    UnsupportedStateError,
)
from tune_ckpt.objects.actors import actors_of

FORMATS = pytest.mark.parametrize("use_msgpack", [False, True], ids=["pickle", "msgpack"])
pytestmark = pytest.mark.slow  # the first one starts Ray


@pytest.fixture(scope="module")
def pool(ray_session):
    from tests import workers

    pool = workers.Pool()
    yield pool
    pool.close()


@pytest.fixture
def workers(pool):
    """The module of actors, and the pool from which a test takes them."""
    from tests import workers

    yield SimpleNamespace(**vars(workers), take=pool.take)
    pool.give_back()


def _trained_workers(workers, count=3, step=7):
    actors = workers.take(workers.AgentWorker, count, 500)
    for actor in actors:
        actor.take.remote(step)
    return actors


def _expected(step=7):
    agent = trained(step=step)
    return agent.step, agent.shape, agent.model.w.sum(), agent.model.head.w.tolist()


@FORMATS
def test_a_list_of_actors_is_one_component_restored_into_each(tmp_path, workers, use_msgpack):
    owner = workers.Owner(_trained_workers(workers))
    owner.save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    assert tc.verify(tmp_path / "c").ok
    fresh = workers.take(workers.AgentWorker, 2, 500)
    workers.Owner(fresh).restore_from_path(tmp_path / "c")
    assert workers.seen(fresh) == [_expected()] * 2


@FORMATS
def test_a_single_handle_is_a_component(tmp_path, workers, use_msgpack):
    (actor,) = _trained_workers(workers, 1)
    workers.Owner(actor).save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    (fresh,) = workers.take(workers.AgentWorker, 1, 500)
    workers.Owner(fresh).restore_from_path(tmp_path / "c")
    assert workers.seen([fresh]) == [_expected()]


@FORMATS
def test_what_an_actor_saved_is_what_its_object_would_have_saved(tmp_path, workers, use_msgpack):
    workers.Owner(_trained_workers(workers)).save_to_path(tmp_path / "a", use_msgpack=use_msgpack)
    local = workers.AgentWorker(500)
    local.take(7)
    workers.Owner(local).save_to_path(tmp_path / "b", use_msgpack=use_msgpack)
    assert tc.diff(tmp_path / "a", tmp_path / "b").equal
    (theirs, ours) = (next((tmp_path / name / "actors").glob("class_*")) for name in "ab")
    assert theirs.read_bytes() == ours.read_bytes()
    back = workers.AgentWorker.from_checkpoint(tmp_path / "a" / "actors")
    assert back.seen() == _expected()


def test_actors_take_part_in_saving_without_a_class(tmp_path, workers):
    actors = workers.take(workers.PlainWorker, 2, 5)
    tc.save({"workers": actors, "step": 3}, tmp_path / "c")
    fresh = workers.take(workers.PlainWorker, 2)
    assert tc.restore({"workers": fresh}, tmp_path / "c") == {"step": 3}
    assert workers.seen(fresh) == [5, 5]
    assert tc.load_state(tmp_path / "c", "workers")["value"].shape == (3000,)


def test_restored_actors_can_write_to_their_arrays(tmp_path, workers):
    owner = workers.Owner(_trained_workers(workers))
    owner.save_to_path(tmp_path / "c", use_msgpack=True)
    owner.restore_from_path(tmp_path / "c")
    import ray

    ray.get([actor.train.remote() for actor in owner.actors])
    assert tc.load_state(tmp_path / "c", "actors/model")["w"].flags.writeable


def test_a_part_of_the_actors_can_be_restored_alone(tmp_path, workers):
    trained(step=9).model.head.save_to_path(tmp_path / "head")
    owner = workers.Owner(_trained_workers(workers, step=7))
    owner.restore_from_path(tmp_path / "head", component="actors/model/head")
    step, shape, total, _ = _expected(7)
    assert workers.seen(owner.actors) == [(step, shape, total, [9, -9])] * 3


@FORMATS
def test_a_given_state_is_saved_instead_of_the_actors_own(tmp_path, workers, use_msgpack):
    owner = workers.Owner(workers.take(workers.PlainWorker, 1))
    state = {"step": 1, "actors": {"value": np.ones(2000)}}
    owner.save_to_path(tmp_path / "c", state=state, use_msgpack=use_msgpack)
    value = tc.load_state(tmp_path / "c", "actors")["value"]
    assert value.sum() == 2000
    assert value.flags.writeable


def test_a_save_in_the_background_has_the_actors_state_of_the_call(tmp_path, workers):
    owner = workers.Owner(_trained_workers(workers, 1))
    pending = owner.save_async(tmp_path / "c", use_msgpack=True)
    workers.kill(owner.actors[0])
    pending.result()
    fresh = workers.take(workers.AgentWorker, 1, 500)
    workers.Owner(fresh).restore_from_path(tmp_path / "c")
    assert workers.seen(fresh) == [_expected()]


# ---------------------------------------------------------------------------------- dead actors


@pytest.mark.parametrize("how", ["kill", "kill_process"])
def test_dead_actors_are_passed_over_and_named(tmp_path, workers, how, caplog):
    actors = _trained_workers(workers)
    getattr(workers, how)(actors[0])
    owner = workers.Owner(group := tc.ActorGroup(actors))
    with caplog.at_level(logging.WARNING, "tune_ckpt"):
        owner.save_to_path(tmp_path / "c", use_msgpack=True)
    assert [fault.path for fault in group.skipped] == [str(actors[0])]
    assert "dead" in group.skipped[0].reason
    assert str(actors[0]) in caplog.text

    getattr(workers, how)(actors[2])
    actors[1].take.remote(1)
    owner.restore_from_path(tmp_path / "c")
    assert workers.seen(actors[1:2]) == [_expected()]
    assert [fault.path for fault in group.skipped] == [str(actors[0]), str(actors[2])]


def test_without_a_healthy_actor_the_error_names_them_all(tmp_path, workers):
    actors = _trained_workers(workers, 2)
    owner = workers.Owner(actors)
    owner.save_to_path(tmp_path / "c")
    for actor in actors:
        workers.kill(actor)
    owner.step = 8
    for act in (owner.save_to_path, owner.restore_from_path):
        with pytest.raises(NoHealthyActorError, match=r"None of 2 actor\(s\) is alive") as caught:
            act(tmp_path / "c")
        assert [fault.path for fault in caught.value.faults] == list(map(str, actors))
    assert owner.step == 8
    assert tc.load_state(tmp_path / "c", "actors")["step"] == 7


def test_an_actor_that_refuses_its_state_is_named_and_the_others_are_as_they_were(
    tmp_path, workers
):
    actors = _trained_workers(workers)
    owner = workers.Owner(actors)
    owner.save_to_path(tmp_path / "c")
    actors[1].refuse.remote()
    for number, actor in enumerate(actors):
        actor.take.remote(number)
    with pytest.raises(ActorsFailedError, match=r"1 of 3 actor\(s\) failed") as caught:
        owner.restore_from_path(tmp_path / "c")
    assert caught.value.faults[0].path == str(actors[1])
    assert "'NoneType' object is not callable" in caught.value.faults[0].reason
    assert workers.seen([actors[0], actors[2]]) == [_expected(0), _expected(2)]
    with pytest.raises(ActorsFailedError):
        owner.restore_from_path(tmp_path / "c", strict="ignore")
    assert workers.seen([actors[0], actors[2]]) == [_expected()] * 2


# ---------------------------------------------------------------------- components that appear


@FORMATS
def test_components_that_appear_with_the_state_of_actors_are_restored(
    tmp_path, workers, use_msgpack
):
    saved = workers.take(workers.GrowingWorker, 1, ["a", "b"])
    workers.Owner(saved).save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    fresh = workers.take(workers.GrowingWorker, 2, ["a"])
    report = workers.Owner(fresh).restore_from_path(tmp_path / "c")
    assert report.loaded == (".", "actors", "actors/a", "actors/b")
    assert workers.seen(fresh) == [{"a": [1, 1], "b": [1, 1]}] * 2


def test_what_does_not_appear_in_actors_is_an_error_and_they_are_as_they_were(tmp_path, workers):
    saved = workers.take(workers.GrowingWorker, 1, ["a", "unknown"])
    workers.Owner(saved).save_to_path(tmp_path / "c")
    fresh = workers.take(workers.GrowingWorker, 2, ["z"])
    with pytest.raises(RestoreError, match="actors/unknown: unexpected"):
        workers.Owner(fresh).restore_from_path(tmp_path / "c", exclude="actors/z")
    assert workers.seen(fresh) == [{"z": [1, 1]}] * 2


# -------------------------------------------------------------------------------- what is refused


def test_a_checkpoint_that_does_not_fit_touches_no_actor(tmp_path, workers):
    tc.save({"actors": Weights()}, tmp_path / "c")
    actors = _trained_workers(workers)
    with pytest.raises(RestoreError, match=r"actors.*model"):
        workers.Owner(actors).restore_from_path(tmp_path / "c")
    assert workers.seen(actors) == [_expected()] * 3


def test_a_component_that_the_actors_lack_is_an_error_with_its_path(tmp_path, workers):
    workers.Owner(trained().model).save_to_path(tmp_path / "c")
    with pytest.raises(RestoreError, match="actors/head"):
        workers.Owner(workers.take(workers.HeadlessWorker, 1)).restore_from_path(tmp_path / "c")


def test_values_that_cannot_be_written_are_listed_with_the_path_of_the_actors(tmp_path, workers):
    owner = workers.Owner(workers.take(workers.PlainWorker, 1))
    state = {"step": open, "actors": {"value": (x for x in ())}}
    with pytest.raises(UnsupportedStateError):
        owner.save_to_path(tmp_path / "c", state=state)  # a generator cannot be sent
    state = {"step": [memoryview(b"")], "actors": {"value": [OSError()]}}
    with pytest.raises(UnsupportedStateError) as caught:
        owner.save_to_path(tmp_path / "c", state=state, use_msgpack=True)
    assert {fault.path for fault in caught.value.faults} == {"step/0", "actors/value/0"}
    assert not list(tmp_path.iterdir())


def test_actors_without_a_state_are_refused(tmp_path, workers):
    owner = workers.Owner(workers.take(workers.StatelessWorker, 1))
    with pytest.raises(UnsupportedComponentError, match="Stateless"):
        owner.save_to_path(tmp_path / "c")


def test_lists_of_other_things_are_plain_values(workers):
    (actor,) = workers.take(workers.PlainWorker, 1)
    assert actors_of([actor, actor]) is not None
    assert actors_of([actor, 1]) is None
    assert actors_of([]) is None
    assert actors_of(Agent()) is None
    with pytest.raises(InvalidArgumentError, match="actor handle"):
        tc.ActorGroup([actor, 1])


# ------------------------------------------------------------------------------------- RLlib's


@pytest.fixture
def managed(workers):
    manager = pytest.importorskip("ray.rllib.utils.actor_manager")

    def make(count, *args):
        return manager.FaultTolerantActorManager(workers.take(workers.PlainWorker, count, *args))

    return make


def test_rllibs_manager_is_a_component(tmp_path, workers, managed):
    workers.Owner(managed(3, 5)).save_to_path(tmp_path / "c", use_msgpack=True)
    fresh = managed(2)
    workers.Owner(fresh).restore_from_path(tmp_path / "c")
    assert workers.seen(fresh.actors().values()) == [5, 5]


def test_rllibs_manager_learns_which_of_its_actors_are_dead(tmp_path, workers, managed):
    manager = managed(3, 5)
    owner = workers.Owner(group := tc.ActorGroup(manager))
    owner.save_to_path(tmp_path / "c")
    workers.kill_process(manager.actors()[0])
    owner.restore_from_path(tmp_path / "c")
    assert manager.healthy_actor_ids() == [1, 2]
    assert [fault.path.rpartition(", ")[2] for fault in group.skipped] == ["number 0"]


def test_an_actor_that_its_manager_calls_unhealthy_is_not_called(tmp_path, workers, managed):
    manager = managed(2, 5)
    workers.Owner(manager).save_to_path(tmp_path / "c")
    fresh = managed(2)
    fresh.set_actor_state(0, healthy=False)
    workers.Owner(fresh).restore_from_path(tmp_path / "c")
    assert workers.seen(fresh.actors().values()) == [0, 5]


def test_rllibs_manager_without_actors_is_an_error(tmp_path, workers, managed):
    with pytest.raises(NoHealthyActorError, match="There is no actor"):
        workers.Owner(managed(0)).save_to_path(tmp_path / "c")


@pytest.mark.parametrize("name", ["RllibWorker", "TorchWorker"])
def test_actors_of_others_classes_are_components(tmp_path, workers, name):
    theirs = pytest.importorskip("tests.rllib_workers")
    (actor,) = workers.take(getattr(theirs, name), 1, 5)  # its process takes seconds to import
    owner = workers.Owner(actor)
    for use_msgpack in (False, True):
        owner.save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
        workers.begin(actor)
        assert workers.seen([actor]) == [(0, 1)]
        owner.restore_from_path(tmp_path / "c")
        assert workers.seen([actor]) == [(5, 6)]
