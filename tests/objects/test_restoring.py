"""Strict restores, and restores of parts: what fits, what does not, and what is touched."""

import numpy as np
import pytest
import torch

import tune_ckpt as tc
from tests.agents import Agent, Model, Weights, same_agents, trained
from tests.tree.stores import CountingStore
from tune_ckpt.errors import (
    Fault,
    InvalidArgumentError,
    RestoreError,
    StateRefusedError,
)
from tune_ckpt.objects.restoring import restore_into
from tune_ckpt.objects.wishes import Wishes

FORMATS = pytest.mark.parametrize("use_msgpack", [False, True], ids=["pickle", "msgpack"])


class Team(Weights):
    """A node with as many subcomponents as wished, by name."""

    def __init__(self, **members):
        super().__init__(1)
        self.members = members

    def get_checkpointable_components(self):
        return list(self.members.items())

    def get_ctor_args_and_kwargs(self):
        return (), {}


def weights(*numbers):
    leaf = Weights(len(numbers))
    leaf.w = np.array(numbers, dtype=float)
    return leaf


def team(**members):
    made = Team(**{name: weights(*numbers) for name, numbers in members.items()})
    made.w = np.array([9.0])
    return made


def values(owner):
    return {name: member.w.tolist() for name, member in owner.members.items()}


# ------------------------------------------------------------------------------------ the report


@FORMATS
def test_the_report_tells_what_was_loaded(tmp_path, use_msgpack):
    trained().save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    report = Agent(500).restore_from_path(tmp_path / "c")
    assert report == tc.RestoreReport(str(tmp_path / "c"), (".", "model", "model/head"))
    assert report.ok


def test_all_that_does_not_fit_is_raised_at_once_and_nothing_touched(tmp_path):
    saved = Team(a=weights(1), net=torch.nn.Linear(2, 3), extra=Model())
    saved.save_to_path(tmp_path / "c")
    target = Team(a=weights(0), net=torch.nn.Linear(4, 3, bias=False).double(), b=Model())
    before = target.members["net"].weight.clone()
    with pytest.raises(RestoreError) as caught:
        target.restore_from_path(tmp_path / "c")
    report = caught.value.report
    assert report.loaded == ()
    assert report.missing == ("b",)
    assert report.unexpected == ("extra", "net/bias")
    assert report.mismatched == (
        Fault(
            "net/weight",
            "shape (3, 2) in the checkpoint, (3, 4) in the object; "
            "dtype float32 in the checkpoint, float64 in the object",
        ),
    )
    assert values(Team(a=target.members["a"])) == {"a": [0]}
    assert torch.equal(target.members["net"].weight, before)


def test_what_fits_is_restored_with_a_warning(tmp_path):
    team(a=[1], b=[2]).save_to_path(tmp_path / "c")
    target = team(b=[0], c=[0])
    with pytest.warns(tc.RestoreWarning, match="a: unexpected") as caught:
        report = target.restore_from_path(tmp_path / "c", strict="warn")
    assert values(target) == {"b": [2], "c": [0]}
    assert (report.loaded, report.missing, report.unexpected) == ((".", "b"), ("c",), ("a",))
    assert caught[0].message.args == (report,)
    assert caught[0].filename == __file__


def test_what_fits_is_restored_without_a_word(tmp_path):
    team(a=[1], b=[2]).save_to_path(tmp_path / "c")
    target = team(b=[0], c=[0])
    report = target.restore_from_path(tmp_path / "c", strict="ignore")
    assert values(target) == {"b": [2], "c": [0]}
    assert not report.ok


@pytest.mark.parametrize("strict", [False, "warning", None])
def test_an_unknown_strictness_is_refused(tmp_path, strict):
    team().save_to_path(tmp_path / "c")
    with pytest.raises(InvalidArgumentError, match="True, warn, ignore"):
        team().restore_from_path(tmp_path / "c", strict=strict)


def test_only_the_uppermost_of_what_is_missing_is_listed(tmp_path):
    Team().save_to_path(tmp_path / "c")
    with pytest.raises(RestoreError) as caught:
        Team(a=Model()).restore_from_path(tmp_path / "c")
    assert caught.value.report.missing == ("a",)


def test_arrays_that_fit_are_loaded_where_others_do_not(tmp_path):
    saved, target = torch.nn.Linear(2, 3), torch.nn.Linear(4, 3)
    tc.save({"net": saved}, tmp_path / "c")
    report = tc.restore({"net": target}, tmp_path / "c", strict="ignore").report
    assert torch.equal(target.bias, saved.bias)
    assert [fault.path for fault in report.mismatched] == ["net/weight"]


# ----------------------------------------------------------------------- failures on the way


class Growing(Team):
    """Its state says which subcomponents it has; it may refuse some."""

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"w": self.w, "names": list(self.members)}

    def set_state(self, state):
        super().set_state(state)
        known = [name for name in state["names"] if name != "unknown"]
        self.members = {name: self.members.get(name, weights(0)) for name in known}


def growing(**members):
    return Growing(**{name: weights(*numbers) for name, numbers in members.items()})


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


def test_without_strictness_it_is_told_what_had_its_state(tmp_path):
    team(a=[1], b=[2]).save_to_path(tmp_path / "c")
    with pytest.raises(StateRefusedError, match="no more as they were: a") as seen:
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


# ------------------------------------------------------------------------------------- parts


def test_chosen_components_are_restored_and_the_rest_left_alone(tmp_path):
    trained().save_to_path(tmp_path / "c")
    agent = Agent(500)
    report = agent.restore_from_path(tmp_path / "c", components=["model/head"])
    assert report.loaded == ("model/head",)
    assert agent.model.head.w.tolist() == [7, -7]
    assert not agent.model.w.any()
    assert agent.step == 0


def test_a_component_brings_what_is_below_it(tmp_path):
    trained().save_to_path(tmp_path / "c")
    agent = Agent(500)
    assert agent.restore_from_path(tmp_path / "c", components="model").loaded == (
        "model",
        "model/head",
    )
    assert agent.step == 0


def test_a_point_is_the_objects_own_state(tmp_path):
    trained().save_to_path(tmp_path / "c")
    agent = Agent(500)
    assert agent.restore_from_path(tmp_path / "c", components=["."]).loaded == (".",)
    assert agent.step == 7
    assert not agent.model.w.any()


@pytest.mark.parametrize(
    ("components", "exclude", "restored"),
    [
        (["p*"], None, {"p1", "p2"}),
        (["p*"], ["p2"], {"p1"}),
        (None, ["p?"], {"q"}),
        ("q", ["q"], set()),
        (["[pq]1", "q"], (), {"p1", "q"}),
    ],
)
def test_patterns_choose(tmp_path, components, exclude, restored):
    team(p1=[1], p2=[1], q=[1]).save_to_path(tmp_path / "c")
    target = team(p1=[0], p2=[0], q=[0])
    target.restore_from_path(tmp_path / "c", components=components, exclude=exclude)
    assert {name for name, numbers in values(target).items() if numbers == [1]} == restored


def test_what_is_not_asked_for_need_not_fit(tmp_path):
    team(a=[1], only_there=[1]).save_to_path(tmp_path / "c")
    target = team(a=[0], only_here=[0])
    assert target.restore_from_path(tmp_path / "c", components=["a"]).ok
    assert target.restore_from_path(tmp_path / "c", exclude=["only_*"]).ok


def test_a_pattern_that_nothing_has_is_missing(tmp_path):
    team(a=[1]).save_to_path(tmp_path / "c")
    with pytest.raises(RestoreError, match="polices/x: missing"):
        team(a=[0]).restore_from_path(tmp_path / "c", components=["a", "polices/x"])


def test_components_change_their_names(tmp_path):
    team(main=[1], other=[2]).save_to_path(tmp_path / "c")
    target = team(opponent=[0], other=[0])
    target.restore_from_path(tmp_path / "c", rename={"main": "opponent"})
    assert values(target) == {"opponent": [1], "other": [2]}


def test_components_swap_their_names(tmp_path):
    team(a=[1], b=[2]).save_to_path(tmp_path / "c")
    target = team(a=[0], b=[0])
    target.restore_from_path(tmp_path / "c", rename={"a": "b", "b": "a"})
    assert values(target) == {"a": [2], "b": [1]}


def test_a_component_moves_to_another_level_with_all_below_it(tmp_path):
    trained().save_to_path(tmp_path / "c")
    target = Team(brain=Model(500))
    target.restore_from_path(tmp_path / "c", components="model", rename={"model": "brain"})
    assert target.members["brain"].head.w.tolist() == [7, -7]
    lone = Team(head=Weights(2))
    lone.restore_from_path(tmp_path / "c", components="model/head", rename={"model/head": "head"})
    assert values(lone) == {"head": [7, -7]}


def test_what_was_renamed_is_missing_under_its_old_name(tmp_path):
    team(main=[1]).save_to_path(tmp_path / "c")
    with pytest.raises(RestoreError) as caught:
        team(main=[0], opponent=[0]).restore_from_path(tmp_path / "c", rename={"main": "opponent"})
    assert caught.value.report.missing == ("main",)


def test_a_rename_of_what_is_not_there_is_missing(tmp_path):
    team(a=[1]).save_to_path(tmp_path / "c")
    with pytest.raises(RestoreError, match="ghost: missing"):
        team(a=[1]).restore_from_path(tmp_path / "c", rename={"ghost": "a2"})


@pytest.mark.parametrize("rename", [{"a": "c", "b": "c/"}, {"a": "."}, {".": "c"}, {"a": ""}])
def test_two_components_cannot_get_one_name_nor_one_the_roots(tmp_path, rename):
    team(a=[1], b=[2]).save_to_path(tmp_path / "c")
    with pytest.raises(InvalidArgumentError, match="rename"):
        team(c=[0]).restore_from_path(tmp_path / "c", rename=rename)


def test_restoring_a_part_into_a_component_takes_the_same_options(tmp_path):
    trained().model.save_to_path(tmp_path / "model")
    agent = Agent(500)
    agent.restore_from_path(tmp_path / "model", component="model", exclude=["head"])
    assert agent.model.w[1] == 8
    assert not agent.model.head.w.any()


def test_from_checkpoint_takes_the_same_options(tmp_path):
    trained().save_to_path(tmp_path / "c")
    agent = Agent.from_checkpoint(tmp_path / "c", exclude=["model/head"])
    assert agent.step == 7
    assert not agent.model.head.w.any()
    assert not same_agents(agent, trained())


class Policies(Team):
    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"w": self.w}


@FORMATS
@pytest.mark.parametrize("strict", [True, "ignore"])
def test_two_policies_of_a_hundred_are_restored_by_reading_only_theirs(
    tmp_path, use_msgpack, strict
):
    every = {f"p{number}": weights(*[number] * 5000) for number in range(100)}
    saved = Team(policies=Policies(**every))
    saved.save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    target = Team(policies=Policies(p3=weights(0), p70=weights(0)))
    store = CountingStore(tmp_path / "c")
    chosen = Wishes.of(strict=strict, components=["policies/p3", "policies/p70"])
    report = restore_into(target, store, chosen)
    assert report.loaded == ("policies/p3", "policies/p70")
    assert [int(member.w[-1]) for member in target.members["policies"].members.values()] == [3, 70]
    folders = [tmp_path / "c" / "policies" / name for name in ("p3", "p70")]
    theirs = sum(path.stat().st_size for folder in folders for path in folder.iterdir())
    above = sum(
        (tmp_path / "c" / folder / "metadata.json").stat().st_size for folder in (".", "policies")
    )
    assert theirs > 80_000
    assert store.nbytes <= 2 * above + theirs + 4096


# ------------------------------------------------------------------------------- other options


def test_tensors_go_to_the_device_that_is_asked_for(tmp_path):
    given = {"plain": torch.ones(2), "in": [{"deep": (torch.ones(3),)}], "array": np.ones(2)}
    tc.save({"state": given, "net": torch.nn.Linear(2, 2)}, tmp_path / "c")
    net = torch.nn.Linear(2, 2, device="meta")
    state = tc.restore({"net": net}, tmp_path / "c", device="meta")["state"]
    assert state["plain"].device.type == state["in"][0]["deep"][0].device.type == "meta"
    assert state["array"].tolist() == [1, 1]


def test_a_tensor_under_two_names_stays_one_on_another_device(tmp_path):
    shared = torch.ones(2)
    tc.save_state({"a": shared, "b": [shared]}, tmp_path / "c")
    state = tc.load_state(tmp_path / "c", device="meta")
    assert state["a"] is state["b"][0]
    assert state["a"].is_meta


class Empty(Growing):
    """It can tell its state only when it has one."""

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"w": self.w, "names": list(self.members), "depth": self.depth}

    def set_state(self, state):
        super().set_state(state)
        self.depth = state["depth"]


def test_an_object_that_has_no_state_yet_gets_one_with_its_components(tmp_path):
    saved = Empty(a=weights(1))
    saved.depth = 3
    saved.save_to_path(tmp_path / "c")
    target = Empty()
    target.restore_from_path(tmp_path / "c")
    assert (target.depth, values(target)) == (3, {"a": [1]})


class Adapted(Weights):
    """A Checkpointable with methods that adapters look for has its own idea of a state."""

    def state_dict(self):
        raise AssertionError

    load_state_dict = state_dict


class AdaptedToo(Adapted):
    pass


def test_adapters_leave_checkpointables_alone(tmp_path):
    Adapted(2).save_to_path(tmp_path / "c")
    assert AdaptedToo(2).restore_from_path(tmp_path / "c").ok
