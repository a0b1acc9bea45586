"""Subcomponents whose save_to_path or restore_from_path is their own."""

from pathlib import Path

import numpy as np
import pytest

import tune_ckpt as tc
from tests.agents import Model, Weights
from tune_ckpt.errors import CorruptDataError, InvalidNameError, StateRefusedError

FORMATS = pytest.mark.parametrize("use_msgpack", [False, True], ids=["pickle", "msgpack"])


class Noting(Model):
    """It keeps files beside its state, and something of its own happens before and after."""

    note = ""

    def save_to_path(self, path=None, **kwargs):
        path = super().save_to_path(path, **kwargs)
        (Path(path) / "notes").mkdir()
        (Path(path) / "notes" / "a.txt").write_text(self.note)
        return path

    def restore_from_path(self, path, **kwargs):
        self.w = None
        super().restore_from_path(path, **kwargs)
        self.total = self.w.sum()
        self.note = (Path(path) / "notes" / "a.txt").read_text()


class Owner(Weights):
    def __init__(self, part=None):
        super().__init__(2)
        self.part = part

    def get_checkpointable_components(self):
        return [("part", self.part)]


def noting(note="hello"):
    made = Noting(2)
    made.note, made.w, made.head.w = note, np.array([1.0, 2.0]), np.array([3.0, 4.0])
    return made


def check(part):
    assert (part.note, part.total, part.head.w.tolist()) == ("hello", 3, [3, 4])


@FORMATS
def test_it_is_called_and_its_files_come_back(tmp_path, use_msgpack):
    Owner(noting()).save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    target = Owner(Noting(2))
    report = target.restore_from_path(tmp_path / "c")
    check(target.part)
    assert report.loaded == (".", "part", "part/head")
    assert tc.verify(tmp_path / "c").ok


def test_without_a_class_and_in_the_background_too(tmp_path):
    parts = {"deep": {"part": (saved := noting())}}
    pending = tc.save_async(parts, tmp_path / "c")
    saved.note = "later"
    pending.result()
    target = Noting(2)
    tc.restore({"deep": {"part": target}}, tmp_path / "c")
    check(target)


def test_its_files_go_where_the_checkpoint_goes(tmp_path):
    tc.save({"part": noting()}, tmp_path / "c", format="pickle")
    tc.archive(tmp_path / "c", tmp_path / "c.zip")
    tc.convert_to_msgpack_checkpoint(tmp_path / "c", tmp_path / "m")
    for path in (tmp_path / "c.zip", tmp_path / "m"):
        target = Noting(2)
        tc.restore({"part": target}, path)
        check(target)


def test_a_part_alone(tmp_path):
    Owner(noting()).save_to_path(tmp_path / "c")
    target = Owner(Noting(2))
    target.restore_from_path(tmp_path / "c" / "part", component="part")
    check(target.part)
    other = Owner(Noting(2))
    other.restore_from_path(tmp_path / "c", components=["part/head"])
    assert (other.part.note, other.part.head.w.tolist()) == ("", [3, 4])


@FORMATS
def test_an_object_is_made_of_a_part_alone(tmp_path, use_msgpack):
    Owner(noting()).save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    for restore in (Noting.from_checkpoint, tc.restore_object):
        check(restore(tmp_path / "c" / "part", size=2))


def test_with_another_class_its_files_are_passed_over(tmp_path):
    Owner(noting()).save_to_path(tmp_path / "c")
    target = Owner(Model(2))
    assert target.restore_from_path(tmp_path / "c").ok


class Alone(Weights):
    """It does everything itself."""

    def save_to_path(self, path, **kwargs):
        (Path(path) / "w.txt").write_text(str(self.w[0]))

    def restore_from_path(self, path, **kwargs):
        self.w = np.array([float((Path(path) / "w.txt").read_text())])


def test_one_that_never_calls_the_inherited_methods(tmp_path):
    saved, target = Alone(1), Alone(1)
    saved.w[0] = 5
    Owner(saved).save_to_path(tmp_path / "c")
    assert Owner(target).restore_from_path(tmp_path / "c").loaded == (".", "part")
    assert target.w[0] == 5


class Failing(Noting):
    def restore_from_path(self, path, **kwargs):
        super().restore_from_path(path, **kwargs)
        raise OSError("no more")


def test_an_error_of_its_own_names_it_and_all_is_as_it_was(tmp_path):
    Owner(noting()).save_to_path(tmp_path / "c")
    target = Owner(Failing(2))
    with pytest.raises(StateRefusedError, match=r"part refused .*no more"):
        target.restore_from_path(tmp_path / "c")
    assert target.part.head.w.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("files", "reason"),
    [({"../../evil.txt": b"x"}, "leads out"), ({"a": 1}, "no files"), ([b"x"], "no files")],
)
def test_forged_files_are_refused(tmp_path, files, reason):
    forged = Named(files_of_its_own=Whole(files))
    Owner(forged).save_to_path(tmp_path / "c", use_msgpack=True)
    with pytest.raises(CorruptDataError, match=reason):
        Owner(Lenient(2)).restore_from_path(tmp_path / "c", strict="ignore")
    assert not list(tmp_path.rglob("evil.txt"))


class Whole(Weights):
    def __init__(self, state):
        super().__init__()
        self.state = state

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return self.state


class Named(Weights):
    def __init__(self, **parts):
        super().__init__(2)
        self.parts = parts

    def get_checkpointable_components(self):
        return list(self.parts.items())


class Lenient(Weights):
    def restore_from_path(self, path, **kwargs):
        super().restore_from_path(path, **kwargs)


def test_the_name_for_its_files_is_taken(tmp_path):
    class Both(Named, Noting):
        __init__ = Named.__init__

    with pytest.raises(InvalidNameError, match="files_of_its_own"):
        Owner(Both(files_of_its_own=Weights())).save_to_path(tmp_path / "c")
