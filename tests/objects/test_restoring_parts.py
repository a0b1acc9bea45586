"""Restores of parts: which are chosen, what they are called, and what is read for them."""

import pytest

from tests.agents import Agent, Model, Weights, same_agents, trained
from tests.objects.teams import Team, team, values, weights
from tests.tree.stores import CountingStore
from tune_ckpt.errors import InvalidArgumentError, RestoreError
from tune_ckpt.objects import constructing
from tune_ckpt.objects.parts import read_parts
from tune_ckpt.objects.restoring import give_parts
from tune_ckpt.objects.wishes import Wishes

FORMATS = pytest.mark.parametrize("use_msgpack", [False, True], ids=["pickle", "msgpack"])


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
    report = give_parts(target, read_parts(store, target, chosen), chosen)
    assert report.loaded == ("policies/p3", "policies/p70")
    assert [int(member.w[-1]) for member in target.members["policies"].members.values()] == [3, 70]
    folders = [tmp_path / "c" / "policies" / name for name in ("p3", "p70")]
    theirs = sum(path.stat().st_size for folder in folders for path in folder.iterdir())
    above = sum(
        (tmp_path / "c" / folder / "metadata.json").stat().st_size for folder in (".", "policies")
    )
    assert theirs > 80_000
    assert store.nbytes <= 2 * above + theirs + 4096


def test_an_object_is_made_and_restored_with_every_component_opened_once(tmp_path, monkeypatch):
    trained().save_to_path(tmp_path / "c", use_msgpack=True)
    store = CountingStore(tmp_path / "c")
    monkeypatch.setattr(constructing, "open_store", lambda *_: store)
    assert same_agents(Agent.from_checkpoint(tmp_path / "c"), trained())
    assert store.opened.count("metadata.json") == 3
