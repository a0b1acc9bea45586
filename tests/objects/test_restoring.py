"""Strict restores: what fits, what does not, and what is said of it."""

from collections import Counter, OrderedDict
from typing import NamedTuple

import numpy as np
import pytest
import torch

import tune_ckpt as tc
from tests.agents import Agent, Model, Weights, trained
from tests.objects.teams import Growing, Team, team, values, weights
from tune_ckpt.errors import Fault, InvalidArgumentError, RestoreError

FORMATS = pytest.mark.parametrize("use_msgpack", [False, True], ids=["pickle", "msgpack"])


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


@pytest.mark.parametrize(
    "restore",
    [
        lambda path, **options: Weights(1).restore_from_path(path, **options),
        lambda path, **options: tc.restore({"b": weights(0)}, path, **options),
        lambda path, **options: Team.from_checkpoint(path, **options),
    ],
    ids=["restore_from_path", "restore", "from_checkpoint"],
)
def test_the_warning_points_to_the_callers_line(tmp_path, restore):
    team(a=[1]).save_to_path(tmp_path / "c")
    with pytest.warns(tc.RestoreWarning) as caught:
        restore(tmp_path / "c", strict="warn")
    assert caught[0].filename == __file__


def test_what_fits_is_restored_without_a_word(tmp_path):
    team(a=[1], b=[2]).save_to_path(tmp_path / "c")
    target = team(b=[0], c=[0])
    report = target.restore_from_path(tmp_path / "c", strict="ignore")
    assert values(target) == {"b": [2], "c": [0]}
    assert not report.ok


@pytest.mark.parametrize("strict", [False, "warning", None, 1, np.True_])
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


class Pair(NamedTuple):
    first: object
    second: object


def test_containers_of_every_kind_are_the_same_on_another_device(tmp_path):
    named = OrderedDict(b=torch.ones(2))
    named.note = "mine"
    state = {"pair": Pair(torch.ones(1), 2), "named": named, "count": Counter(a=2), "set": {1}}
    tc.save_state(state, tmp_path / "c")
    found = tc.load_state(tmp_path / "c", device="meta")
    assert type(found["pair"]) is Pair
    assert found["pair"].first.is_meta
    assert found["named"]["b"].is_meta
    assert (type(found["named"]), found["named"].note) == (OrderedDict, "mine")
    assert (found["count"], found["set"]) == (Counter(a=2), {1})


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
