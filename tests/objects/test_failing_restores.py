"""Restores that fail midway: all is as it was before."""

import pytest
import torch

import tune_ckpt as tc
from tests.agents import Weights
from tests.objects.teams import Growing, Team, growing, team, values, weights
from tune_ckpt.errors import RestoreError, StateRefusedError

FORMATS = pytest.mark.parametrize("use_msgpack", [False, True], ids=["pickle", "msgpack"])


def test_what_turns_out_not_to_fit_on_the_way_is_taken_back(tmp_path):
    growing(a=[1], b=[2], unknown=[3]).save_to_path(tmp_path / "c")
    target = growing(a=[7])
    with pytest.raises(RestoreError, match="unknown: unexpected"):
        target.restore_from_path(tmp_path / "c")
    assert values(target) == {"a": [7]}


def test_components_that_are_made_anew_with_the_state_are_restored_again(tmp_path):
    class Renewing(Growing):
        def set_state(self, state):
            self.members = {name: weights(0) for name in state["names"]}

    growing(a=[1]).save_to_path(tmp_path / "c")
    target = Renewing(a=weights(0))
    target.restore_from_path(tmp_path / "c")
    assert values(target) == {"a": [1]}


def test_whatever_stops_a_restore_on_the_way_the_former_state_is_back(tmp_path):
    class Stopping(Growing):
        def set_state(self, state):
            super().set_state(state)
            if "b" in state["names"]:
                raise KeyboardInterrupt

    growing(a=[1], b=[2]).save_to_path(tmp_path / "c")
    target = Stopping(a=weights(7))
    with pytest.raises(KeyboardInterrupt):
        target.restore_from_path(tmp_path / "c")
    assert values(target) == {"a": [7]}
    dropped = Stopping(a=weights(7), z=weights(8))
    with pytest.raises(KeyboardInterrupt):
        dropped.restore_from_path(tmp_path / "c", exclude="z")
    assert values(dropped) == {"a": [7], "z": [8]}


class Refusing(Weights):
    def set_state(self, state):
        raise KeyError("moment")


def test_a_state_that_its_object_refuses_is_named_and_the_others_are_as_they_were(tmp_path):
    team(a=[1], b=[2]).save_to_path(tmp_path / "c")
    target = Team(a=weights(0), b=Refusing())
    with pytest.raises(StateRefusedError, match=r"b refused .*KeyError: 'moment'") as seen:
        target.restore_from_path(tmp_path / "c")
    assert seen.value.restored == ()
    assert isinstance(seen.value.__cause__, KeyError)
    assert target.members["a"].w.tolist() == [0]


class Mute(Weights):
    """It cannot tell its state."""

    def get_state(self, components=None, *, not_components=None, **kwargs):
        raise AttributeError("not yet")


def test_what_could_not_be_kept_is_told_once_it_is_changed(tmp_path):
    team(a=[1], b=[2], c=[3]).save_to_path(tmp_path / "c")
    target = Team(a=Mute(), b=Refusing(), c=Mute())
    with pytest.raises(StateRefusedError, match="no longer as they were: a") as seen:
        target.restore_from_path(tmp_path / "c")
    assert seen.value.restored == ("a",)


class Broken(Team):
    """It refuses its state, and then no longer knows what it consists of."""

    def set_state(self, state):
        self.members = None
        raise KeyError("moment")


def test_what_cannot_be_found_any_more_is_told_with_the_error_that_was_first(tmp_path):
    team(a=[1], b=[2]).save_to_path(tmp_path / "c")
    with pytest.raises(StateRefusedError, match=r"^The object refused .*KeyError") as seen:
        Broken(a=weights(0), b=weights(0)).restore_from_path(tmp_path / "c")
    assert seen.value.restored == ("a", "b")


def test_without_strictness_it_is_told_what_had_its_state(tmp_path):
    team(a=[1], b=[2]).save_to_path(tmp_path / "c")
    with pytest.raises(StateRefusedError, match="no longer as they were: a") as seen:
        Team(a=weights(0), b=Refusing()).restore_from_path(tmp_path / "c", strict="ignore")
    assert seen.value.restored == ("a",)


class Filling(Weights):
    """It takes states into the memory that it has."""

    def set_state(self, state):
        self.w[:] = state["w"]


def trainer(*, seed, last):
    """A tree of many kinds, whose last component may refuse its state."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1 + seed)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1 + seed)
    for _ in range(2 + seed):
        net(torch.rand(4, 2)).sum().backward()
        optimizer.step()
        schedule.step()
    filling = Filling(2)
    filling.w += seed
    learning = Team(net=net, optimizer=optimizer, schedule=schedule)
    return Team(rng=tc.RngState(), learning=learning, filling=filling, last=last)


@FORMATS
def test_whatever_kind_of_component_was_restored_before_an_error_is_as_it_was(
    tmp_path, use_msgpack
):
    trainer(seed=1, last=weights(1)).save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    target = trainer(seed=2, last=Refusing(1))
    tc.save({"all": target}, tmp_path / "before")
    with pytest.raises(StateRefusedError, match="last refused"):
        target.restore_from_path(tmp_path / "c")
    tc.save({"all": target}, tmp_path / "after")
    assert tc.diff(tmp_path / "before", tmp_path / "after").equal


def test_only_what_is_restored_is_kept_meanwhile(tmp_path):
    class Counting(Weights):
        asked = 0

        def get_state(self, components=None, *, not_components=None, **kwargs):
            Counting.asked += 1
            return super().get_state()

    target = Team(a=Counting(1), b=Counting(1))
    target.save_to_path(tmp_path / "c")
    asked = Counting.asked
    target.restore_from_path(tmp_path / "c", components=["b"])
    assert Counting.asked == asked + 1
    Counting.from_checkpoint(tmp_path / "c" / "b")  # nobody has that object if it fails
    assert Counting.asked == asked + 1
