"""Names that bite: they come back or are refused, and nothing leads out of a checkpoint."""

import json
import os
import shutil
import unicodedata

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tune_ckpt as tc
from tests.agents import Agent, Weights, trained
from tune_ckpt.errors import CorruptDataError, InvalidNameError, NotACheckpointError, StorageError
from tune_ckpt.tree import writing
from tune_ckpt.tree.layout import FileNames, check_names, new_save, role_of


class Named(Weights):
    """Subcomponents of any name."""

    def __init__(self, names=()):
        super().__init__(1)
        self.parts = {name: Weights(1) for name in names}

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {}  # a key of it could be a component's name

    def set_state(self, state):
        assert state == {}

    def get_ctor_args_and_kwargs(self):
        return (list(self.parts),), {}

    def get_checkpointable_components(self):
        return list(self.parts.items())


GOOD = [
    "with space",
    "ünïcödé",
    "日本語",
    "🦆",
    "a.b.c",
    "50%",
    "%2e%2e",
    "a%20b",
    "-rf",
    "~",
    "$HOME",
    "#1",
    "a=1,b=[2]&c;d",
    "state",
    "metadata",
    "state.0123abcd",
    "x" * 200,
    "ü" * 100,
    "console",
]
BAD = {
    "": "empty",
    ".": "dot",
    "..": "dot",
    ".hidden": "dot",
    "ends.": "dot",
    " a": "space",
    "a\u00a0": "space",
    "a/b": "holds one of",
    "/etc": "holds one of",
    "..\\up": "dot",
    "a\\b": "holds one of",
    "C:": "holds one of",
    "what?": "holds one of",
    "a\nb": "control",
    "a\0b": "control",
    "\ud800": "Unicode",
    "x" * 201: "200 bytes",
    "ü" * 101: "200 bytes",
    "con": "Windows",
    "Com1.txt": "Windows",
    "state.msgpack": "cannot tell it from",
    "METADATA.JSON": "cannot tell it from",
    "class_and_ctor_args.pkl": "cannot tell it from",
}


def _save_and_check(names, path, filesystem=None):
    agent = Named(names)
    for step in (1.0, 2.0):
        for number, part in enumerate(agent.parts.values()):
            part.w = np.array([number + step])
        agent.save_to_path(path, filesystem=filesystem, use_msgpack=True)
    found = Named.from_checkpoint(path, filesystem)
    assert list(found.parts) == list(agent.parts)
    for name, part in agent.parts.items():
        assert found.parts[name].w == part.w
        assert tc.load_state(path, name, filesystem=filesystem)["w"] == part.w
    assert not tc.verify(path, filesystem=filesystem).warnings


def test_unusual_names_come_back_from_disk(tmp_path):
    _save_and_check(GOOD, tmp_path / "c")


def test_unusual_names_come_back_from_s3(s3, bucket):
    _save_and_check(GOOD, f"{bucket}/c", s3.filesystem())


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_an_impossible_name_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(InvalidNameError, match=BAD[name]):
        Named([name]).save_to_path(tmp_path / "c")
    assert not (tmp_path / "c").exists()


NFC, NFD = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    "pair", [("a", "A"), (NFC, NFD), ("straße", "STRASSE"), (NFC, NFD.upper())]
)
def test_names_that_some_disk_takes_for_one_are_refused(tmp_path, pair):
    with pytest.raises(InvalidNameError, match="cannot tell it from the component"):
        Named(pair).save_to_path(tmp_path / "c")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=80), max_size=4, unique=True))
def test_any_names_come_back_or_are_refused(tmp_path, names):
    shutil.rmtree(tmp_path / "c", ignore_errors=True)
    try:
        _save_and_check(names, tmp_path / "c")
    except InvalidNameError:
        assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("STATE_FILE_NAME", "../state"),
        ("STATE_FILE_NAME", "/tmp/state"),
        ("STATE_FILE_NAME", "class_and_ctor_args"),
        ("CLASS_AND_CTOR_ARGS_FILE_NAME", "a/b.pkl"),
        ("METADATA_FILE_NAME", "../metadata.json"),
        ("METADATA_FILE_NAME", "state.pkl"),
        ("METADATA_FILE_NAME", "metadata"),
    ],
)
def test_impossible_file_names_of_a_class_are_refused(tmp_path, attribute, name):
    cls = type("Odd", (Agent,), {attribute: name})
    with pytest.raises(InvalidNameError):
        cls().save_to_path(tmp_path / "folder" / "c")
    assert not list(tmp_path.iterdir())


@given(st.from_regex(r"[a-z]{1,9}(\.[a-z]{1,9})?", fullmatch=True))
def test_a_saves_names_have_the_role_of_the_plain_ones(stem):
    save = new_save()
    names = FileNames(f"{stem}-m.json", f"{stem}-c.pkl", f"{stem}-s")
    check_names([], names.of_save(save))
    assert names.of_save(save).without(save) == names
    assert {role_of(name) for name in names.of_save(save).all()} == {
        role_of(name) for name in names.all()
    }
    assert not names.of_save(save).all() & names.all()


def test_a_very_long_name_of_the_checkpoint_itself_is_replaced_too(tmp_path):
    for step in (1, 2):
        trained(step).save_to_path(tmp_path / ("x" * 250))
        assert Agent.from_checkpoint(tmp_path / ("x" * 250)).step == step


# ------------------------------------------------------------------------------------------ links


@pytest.fixture(params=["pickle", "msgpack"])
def saved(request, tmp_path):
    path = tmp_path / "c"
    trained(1).save_to_path(path, use_msgpack=request.param == "msgpack")
    return path


@pytest.fixture
def outside(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "outside")
    return tmp_path / "outside"


def _link(path, target):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    path.symlink_to(target)


PARTS = ["state", "class_and_ctor_args", "metadata.json", "model", "model/head", "model/state"]


def _part(folder, name):
    found = folder / name
    return found if found.exists() else next(found.parent.glob(found.name + ".*"))


@pytest.mark.parametrize("part", PARTS)
def test_a_link_that_leads_outside_is_not_followed(saved, outside, part):
    file = _part(saved, part)
    _link(file, _part(outside, part))  # the very same bytes
    with pytest.raises(CorruptDataError, match="leads out of the checkpoint"):
        tc.load_state(saved)
    assert "leads out" in str(tc.verify(saved))


@pytest.mark.parametrize("part", PARTS)
def test_a_link_that_stays_inside_is_followed(saved, part):
    file = _part(saved, part)
    inside = saved / f"moved-{file.name}"
    file.rename(inside)
    file.symlink_to(inside)
    assert Agent.from_checkpoint(saved).step == 1


def test_the_checkpoint_itself_may_be_a_link(saved, tmp_path):
    (tmp_path / "latest").symlink_to(saved)
    assert Agent.from_checkpoint(tmp_path / "latest").step == 1
    trained(2).save_to_path(tmp_path / "latest")
    assert (tmp_path / "latest").is_symlink()
    assert Agent.from_checkpoint(saved).step == 2


@pytest.mark.parametrize("can_stage", [True, False])
@pytest.mark.parametrize("part", PARTS)
def test_replacing_removes_links_and_not_what_they_lead_to(
    saved, outside, part, can_stage, monkeypatch
):
    if not can_stage:
        monkeypatch.setattr(writing, "can_stage", lambda store: False)
    before = {p: p.read_bytes() for p in outside.rglob("*") if p.is_file()}
    _link(_part(saved, part), _part(outside, part))
    trained(2).save_to_path(saved)
    assert Agent.from_checkpoint(saved).step == 2
    assert {p: p.read_bytes() for p in outside.rglob("*") if p.is_file()} == before


def test_links_to_nothing_and_in_circles_are_damage(saved):
    file = _part(saved, "model/state")
    for target in ("nowhere", file.name):
        _link(file, target)
        with pytest.raises((CorruptDataError, StorageError), match="state"):
            tc.load_state(saved)
        assert not tc.verify(saved).ok
    (saved / "loose").symlink_to("nowhere")
    trained(3).save_to_path(saved)
    assert Agent.from_checkpoint(saved).step == 3


def test_a_metadata_file_that_leads_outside_is_no_way_in(tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps({"password": 1}))
    (tmp_path / "c").mkdir()
    os.symlink(secret, tmp_path / "c" / "metadata.json")
    with pytest.raises((CorruptDataError, NotACheckpointError)) as caught:
        tc.load_state(tmp_path / "c")
    assert "password" not in str(caught.value)
