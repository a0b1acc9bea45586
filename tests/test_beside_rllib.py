"""RLlib's behavior beside ours, one test for each way in which we differ on purpose."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgpack
import numpy as np
import pyarrow.fs
import pytest

import tune_ckpt as tc
from tests.conftest import REPO
from tests.rllib.cases import CASES
from tests.test_other_pythons import bare_environment, find_interpreter
from tune_ckpt import rllib
from tune_ckpt.errors import (
    ClassNotFoundError,
    CorruptDataError,
    RestoreError,
    UnsupportedStateError,
    UntrustedPickleError,
)
from tune_ckpt.objects import classes

pytestmark = pytest.mark.slow  # RLlib takes seconds to import

NODE = """
class {name}({base}):
    def __init__(self, *parts, start=0):
        self.parts, self.value, self.fails = list(parts), start, False

    def get_state(self, components=None, *, not_components=None, **kwargs):
        if self.fails:
            raise RuntimeError("stopped")
        state = {{"value": self.value}} if components is None else {{}}
        for name, part in self.get_checkpointable_components():
            if self._check_component(name, components, not_components):
                state[name] = part.get_state(
                    components=self._get_subcomponents(name, components),
                    not_components=self._get_subcomponents(name, not_components),
                )
        return state

    def set_state(self, state):
        self.value = state["value"]

    def get_ctor_args_and_kwargs(self):
        return (), {{}}

    def get_checkpointable_components(self):
        return [(f"part{{n}}", part) for n, part in enumerate(self.parts)]
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """The same class twice, over RLlib's base class and over ours."""
    folder = tmp_path_factory.mktemp("nodes")
    bases = {"Theirs": "checkpoints.Checkpointable", "Ours": "tune_ckpt.Checkpointable"}
    text = ["from ray.rllib.utils import checkpoints", "import tune_ckpt"]
    text += [NODE.format(name=name, base=base) for name, base in bases.items()]
    (folder / "nodes_of_both.py").write_text("\n".join(text))
    sys.path.insert(0, str(folder))
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    import nodes_of_both

    yield nodes_of_both
    sys.path.remove(str(folder))
    del sys.modules["nodes_of_both"]


@pytest.fixture(autouse=True)
def _unpatched():
    """RLlib patches msgpack for the whole process: other tests shall not see it."""
    before = dict(vars(msgpack))
    yield
    vars(msgpack).update(before)


@pytest.fixture
def theirs(nodes):
    return nodes.Theirs


@pytest.fixture
def ours(nodes):
    return nodes.Ours


def node(cls, value, *parts):
    made = cls(*parts)
    made.value = value
    return made


def saved(made, path, **options):
    made.save_to_path(path, **options)
    return path


def restored(cls, path, *parts, **options):
    made = cls(*parts)
    made.restore_from_path(path, **options)
    return made


# --------------------------------------------------------------------------- where both agree


@pytest.mark.parametrize("name", ["Theirs", "Ours"])
@pytest.mark.parametrize("use_msgpack", [False, True])
def test_a_tree_of_three_levels(nodes, tmp_path, name, use_msgpack):
    cls = getattr(nodes, name)
    tree = node(cls, 1, node(cls, 2, node(cls, 3)), node(cls, 4))
    saved(tree, tmp_path / "c", use_msgpack=use_msgpack)
    found = restored(cls, tmp_path / "c", cls(cls()), cls())
    assert found.value == 1
    assert [part.value for part in found.parts] == [2, 4]
    assert found.parts[0].parts[0].value == 3


@pytest.mark.parametrize("name", ["Theirs", "Ours"])
def test_component_restores_what_lies_two_levels_below(nodes, tmp_path, name):
    cls = getattr(nodes, name)
    saved(node(cls, 3), tmp_path / "c")
    found = restored(cls, tmp_path / "c", cls(cls()), component="part0/part0")
    assert (found.value, found.parts[0].value, found.parts[0].parts[0].value) == (0, 0, 3)


@pytest.mark.parametrize("name", ["Theirs", "Ours"])
def test_arguments_of_get_state(nodes, name):
    cls = getattr(nodes, name)
    tree = node(cls, 1, node(cls, 2, node(cls, 3)), node(cls, 4))
    assert tree.get_state(components="part0/part0") == {"part0": {"part0": {"value": 3}}}
    assert tree.get_state(not_components=["part0"]) == {"value": 1, "part1": {"value": 4}}
    assert tree._check_component("a", ["a/b"], None)
    assert not tree._check_component("a", None, "a")
    assert tree._get_subcomponents("a", ["a/b", "a/c/d", "x"]) == ["b", "c/d"]
    assert tree._get_subcomponents("a", ["a"]) is None


@pytest.mark.parametrize("name", ["Theirs", "Ours"])
def test_keywords_replace_arguments_of_the_constructor(nodes, tmp_path, name):
    cls = getattr(nodes, name)

    class Made(cls):
        def get_ctor_args_and_kwargs(self):
            return (), {"start": 5}

        def set_state(self, state):
            pass

    vars(nodes)["Made"] = Made
    Made.__module__, Made.__qualname__ = "nodes_of_both", "Made"
    saved(Made(), tmp_path / "c")
    assert Made.from_checkpoint(tmp_path / "c").value == 5
    assert cls.from_checkpoint(tmp_path / "c", start=6, later_versions_option=1).value == 6


@pytest.mark.parametrize("name", ["Theirs", "Ours"])
def test_a_given_state_is_saved_with_the_components_that_it_has(nodes, tmp_path, name):
    cls = getattr(nodes, name)
    state = {"value": 8, "part1": {"value": 9}}
    saved(node(cls, 1, cls(), cls()), tmp_path / "c", state=state)
    folders = sorted(path.name for path in (tmp_path / "c").iterdir() if path.is_dir())
    assert folders == ["part1"]


@pytest.mark.parametrize("use_msgpack", [False, True])
def test_what_rllib_saved_opens_when_the_base_class_is_replaced(nodes, tmp_path, use_msgpack):
    theirs, ours = nodes.Theirs, nodes.Ours
    tree = node(theirs, {"w": np.ones(3)}, node(theirs, 2, node(theirs, 3)), node(theirs, 4))
    saved(tree, tmp_path / "c", use_msgpack=use_msgpack)
    (tmp_path / "c" / "plots").mkdir()
    found = ours(ours(ours()), ours())
    report = found.restore_from_path(tmp_path / "c", exclude="part1")
    assert report.loaded == (".", "part0", "part0/part0")
    assert found.value["w"].flags.writeable
    assert (found.parts[0].parts[0].value, found.parts[1].value) == (3, 0)
    found.restore_from_path(tmp_path / "c" / "part1", component="part1")
    assert found.parts[1].value == 4
    with pytest.raises(RestoreError, match="part0/part0: unexpected"):
        ours(ours(), ours()).restore_from_path(tmp_path / "c", strict=True)


@pytest.mark.parametrize("use_msgpack", [False, True])
def test_ours_in_what_rllib_saved_opens_too(nodes, tmp_path, use_msgpack):
    tree = node(nodes.Theirs, 1, node(nodes.Ours, {"pair": (1, 2)}, node(nodes.Ours, 3)))
    saved(tree, tmp_path / "c", use_msgpack=use_msgpack)
    found = restored(nodes.Ours, tmp_path / "c", nodes.Ours(nodes.Ours()))
    assert found.value == 1
    assert found.parts[0].value == {"pair": (1, 2)}
    assert found.parts[0].parts[0].value == 3
    (tmp_path / "c" / "part0" / "part0" / "metadata.json").unlink()
    with pytest.raises(CorruptDataError, match="missing"):
        restored(nodes.Ours, tmp_path / "c", nodes.Ours(nodes.Ours()))


@pytest.mark.parametrize("use_msgpack", [False, True])
def test_its_class_and_arguments_are_found_under_the_new_base_class(nodes, tmp_path, use_msgpack):
    tree = nodes.Theirs(start=5)
    tree.get_ctor_args_and_kwargs = lambda: ((), {"start": 5})
    saved(tree, tmp_path / "c", state={"value": 6}, use_msgpack=use_msgpack)
    with pytest.raises(ClassNotFoundError, match="nodes_of_both:Theirs"):
        nodes.Ours.from_checkpoint(tmp_path / "c")
    tc.register_renamed("nodes_of_both:Theirs", "nodes_of_both:Ours")
    try:
        assert nodes.Ours.from_checkpoint(tmp_path / "c").value == 6
    finally:
        classes._RENAMED.clear()


def test_a_half_written_tree_of_rllibs_is_an_error(nodes, tmp_path):
    saved(node(nodes.Theirs, 1, node(nodes.Theirs, 2)), tmp_path / "c")
    (tmp_path / "c" / "part0" / "state.pkl").unlink()
    target = nodes.Ours(nodes.Ours())
    with pytest.raises(CorruptDataError, match="part0/state: it is missing"):
        target.restore_from_path(tmp_path / "c")
    assert target.value == 0


# ------------------------------------------------------------------------- where we differ


class Payload:
    """A pickle that runs code."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_reading_msgpack_runs_code_there_and_never_here(theirs, ours, tmp_path):
    fields = {b"nd": True, b"type": "O", b"kind": b"O", b"shape": (1,)}
    evil = {**fields, b"data": pickle.dumps(Payload(tmp_path / "ran"))}
    for cls in (theirs, ours):
        saved(cls(), tmp_path / cls.__name__, use_msgpack=True)
        (tmp_path / cls.__name__ / "state.msgpack").write_bytes(msgpack.packb({"value": evil}))
    with pytest.raises(CorruptDataError):
        restored(ours, tmp_path / "Ours")
    assert not (tmp_path / "ran").exists()
    restored(theirs, tmp_path / "Theirs")
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(("name", "patched"), [("Theirs", True), ("Ours", False)])
def test_saving_patches_msgpack_there_and_not_here(nodes, tmp_path, name, patched):
    code = (
        "import sys, msgpack; before = msgpack.packb\n"
        f"sys.path.insert(0, {str(Path(nodes.__file__).parent)!r}); import nodes_of_both as nodes\n"
        f"nodes.{name}().save_to_path({str(tmp_path / 'c')!r}, use_msgpack=True)\n"
        f"assert (msgpack.packb is not before) == {patched}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path.cwd())


def test_msgpack_keeps_types_here(theirs, ours, tmp_path):
    value = {"pair": (1, 2), "scalar": np.float32(1.5)}
    found = restored(theirs, saved(node(theirs, value), tmp_path / "t", use_msgpack=True)).value
    assert found == {"pair": [1, 2], "scalar": 1.5}
    found = restored(ours, saved(node(ours, value), tmp_path / "o", use_msgpack=True)).value
    assert found == value
    assert type(found["scalar"]) is np.float32


@pytest.mark.parametrize(
    ("value", "error"),
    [({1, 2}, TypeError), (np.random.PCG64(0).state, OverflowError), (2**70, OverflowError)],
)
def test_what_msgpack_lacks_works_here(theirs, ours, tmp_path, value, error):
    with pytest.raises(error):
        saved(node(theirs, value), tmp_path / "t", use_msgpack=True)
    found = restored(ours, saved(node(ours, value), tmp_path / "o", use_msgpack=True)).value
    assert found == value


def test_what_cannot_be_written_is_refused_with_its_path_and_nothing_is_left(
    theirs, ours, tmp_path
):
    with pytest.raises(TypeError, match=r"^can not serialize"):
        saved(node(theirs, 1, node(theirs, [open])), tmp_path / "t", use_msgpack=True)
    assert (tmp_path / "t" / "metadata.json").exists()
    with pytest.raises(UnsupportedStateError, match="part0/value/0"):
        saved(node(ours, 1, node(ours, [lambda: 0])), tmp_path / "o", use_msgpack=True)
    assert not (tmp_path / "o").exists()


def test_arrays_are_read_only_there_and_writable_here(theirs, ours, tmp_path):
    found = [
        restored(cls, saved(node(cls, np.ones(3)), tmp_path / cls.__name__, use_msgpack=True))
        for cls in (theirs, ours)
    ]
    assert [part.value.flags.writeable for part in found] == [False, True]


def test_a_class_that_is_gone_becomes_its_base_there_and_an_error_here(nodes, tmp_path):
    for name in ("Theirs", "Ours"):
        base = getattr(nodes, name)
        gone = type("Gone", (base,), {"__module__": "nodes_of_both", "__qualname__": "Gone"})
        nodes.Gone = gone
        saved(gone(), tmp_path / name)
        del nodes.Gone
    assert type(nodes.Theirs.from_checkpoint(tmp_path / "Theirs")) is nodes.Theirs
    gone.__qualname__ = "SomethingElse"
    with pytest.raises(ClassNotFoundError, match="nodes_of_both:Gone"):
        nodes.Ours.from_checkpoint(tmp_path / "Ours")


def test_a_component_that_was_not_saved_is_passed_over_there_and_an_error_here(
    theirs, ours, tmp_path
):
    for cls in (theirs, ours):
        saved(node(cls, 1), tmp_path / cls.__name__)
    assert restored(theirs, tmp_path / "Theirs", theirs()).value == 1
    with pytest.raises(RestoreError, match="part0: missing"):
        restored(ours, tmp_path / "Ours", ours())


def test_a_component_whose_folder_is_gone_is_passed_over_there_and_an_error_here(
    theirs, ours, tmp_path
):
    for cls in (theirs, ours):
        path = saved(node(cls, 1, node(cls, 2)), tmp_path / cls.__name__)
        (path / "part0").rename(tmp_path / f"elsewhere {cls.__name__}")
    assert restored(theirs, tmp_path / "Theirs", theirs()).parts[0].value == 0
    with pytest.raises(CorruptDataError, match=r"part0.*missing"):
        restored(ours, tmp_path / "Ours", ours())


def test_msgpack_is_restored_from_any_filesystem_here(theirs, ours, tmp_path):
    elsewhere = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())
    for cls in (theirs, ours):
        saved(node(cls, 5), cls.__name__, filesystem=elsewhere, use_msgpack=True)
    with pytest.raises(FileNotFoundError):
        restored(theirs, "Theirs", filesystem=elsewhere)
    assert restored(ours, "Ours", filesystem=elsewhere).value == 5


def test_a_given_empty_state_is_not_replaced_here(theirs, ours, tmp_path):
    saved(node(theirs, 5), tmp_path / "t", state={})
    assert pickle.loads((tmp_path / "t" / "state.pkl").read_bytes()) == {"value": 5}
    assert tc.load_state(saved(node(ours, 5), tmp_path / "o", state={})) == {}


def test_a_given_state_is_not_changed_here(theirs, ours, tmp_path):
    left = []
    for cls in (theirs, ours):
        state = {"value": 1, "part0": {"value": 2}}
        saved(node(cls, 0, cls()), tmp_path / cls.__name__, state=state)
        left.append(sorted(state))
    assert left == [["value"], ["part0", "value"]]


def test_a_save_that_stops_leaves_a_mixture_there_and_the_former_checkpoint_here(
    theirs, ours, tmp_path
):
    found = []
    for cls in (theirs, ours):
        path = saved(node(cls, 1, node(cls, 1), node(cls, 1)), tmp_path / cls.__name__)
        again = node(cls, 2, node(cls, 2), node(cls, 2))
        again.parts[1].fails = True
        with pytest.raises(RuntimeError, match="stopped"):
            again.save_to_path(path)
        tree = restored(cls, path, cls(), cls())
        found.append([tree.value, *(part.value for part in tree.parts)])
    assert found == [[1, 2, 1], [1, 1, 1]]


def test_a_stale_state_of_the_other_format_wins_there_and_is_gone_here(theirs, ours, tmp_path):
    found = []
    for cls in (theirs, ours):
        saved(node(cls, "old"), tmp_path / cls.__name__, use_msgpack=True)
        saved(node(cls, "new"), tmp_path / cls.__name__, use_msgpack=False)
        found.append(restored(cls, tmp_path / cls.__name__).value)
    assert found == ["old", "new"]


def test_a_component_is_converted_from_its_files_here(theirs, ours, tmp_path):
    from ray.rllib.utils.checkpoints import convert_to_msgpack_checkpoint

    for cls in (theirs, ours):
        saved(node(cls, 5, node(cls, 6)), tmp_path / cls.__name__)
    with pytest.raises(ValueError, match="does not seem to be"):
        convert_to_msgpack_checkpoint(str(tmp_path / "Theirs"), str(tmp_path / "t"))
    tc.convert_to_msgpack_checkpoint(tmp_path / "Ours", tmp_path / "o")
    assert restored(ours, tmp_path / "o", ours()).parts[0].value == 6


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("ray2.60.0-py3.11-new-ppo-single-meanstd", RuntimeError, "not supported anymore"),
        ("ray2.60.0-py3.11-old-ppo-single", TypeError, "can not serialize 'ABCMeta'"),
    ],
)
@pytest.mark.usefixtures("ray_session")  # RLlib builds the Algorithm
def test_an_algorithm_cannot_be_converted_there_and_is_here(tmp_path, name, error, message):
    from ray.rllib.utils import checkpoints

    cases = {case.name: case for case in CASES}
    if name not in cases:
        pytest.skip("the corpus of real checkpoints is not beside this checkout")
    path = cases[name].path
    (tmp_path / "theirs").mkdir()
    with pytest.raises(error, match=message):
        checkpoints.convert_to_msgpack_checkpoint(str(path), str(tmp_path / "theirs"))
    rllib.convert_to_msgpack_checkpoint(path, tmp_path / "ours")
    np.testing.assert_equal(rllib.load_weights(tmp_path / "ours"), rllib.load_weights(path))
    assert checkpoints.get_checkpoint_info(str(tmp_path / "ours"))["format"] == "msgpack"


def test_code_in_a_pickle_is_loaded_there_and_only_when_asked_here(theirs, ours, tmp_path):
    for cls in (theirs, ours):
        saved(node(cls, lambda: 42), tmp_path / cls.__name__)
    assert restored(theirs, tmp_path / "Theirs").value() == 42
    with pytest.raises(UntrustedPickleError):
        restored(ours, tmp_path / "Ours")
    assert restored(ours, tmp_path / "Ours", allow_pickle=True).value() == 42


@pytest.fixture(scope="module")
def other_python(tmp_path_factory):
    """Python 3.13, with what we need to read, and that part of Ray that made RLlib's pickles."""
    interpreter = find_interpreter("3.13")
    if interpreter is None or sys.version_info[:2] == (3, 13):
        pytest.skip("there is no other Python here")
    folder = tmp_path_factory.mktemp("python")
    python = bare_environment(interpreter, folder / "venv")
    import ray.cloudpickle

    shutil.copytree(Path(ray.cloudpickle.__file__).parent, folder / "lib" / "ray" / "cloudpickle")
    paths = os.pathsep.join(map(str, (REPO, folder / "lib")))
    return lambda code, *args: subprocess.run(
        [python, "-c", code, *map(str, args)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )


THEIR_READING = """
import pickle, sys
state = pickle.load(open(sys.argv[1] + "/state.pkl", "rb"))  # as RLlib does
print("loaded", flush=True)
state["value"]["code"](3)
"""
OUR_READING = """
import sys
import tune_ckpt as tc
try:
    tc.load_state(sys.argv[1])
except tc.TuneCkptError as error:
    print(error)
print([array.path for array in tc.describe(sys.argv[1]).arrays])
"""


def test_code_of_another_python_kills_it_there_and_is_not_loaded_here(
    theirs, ours, other_python, tmp_path
):
    def code(number):
        return [one for one in range(number) if one]

    for cls in (theirs, ours):
        value = {"code": code, "w": np.ones(3)}
        saved(node(cls, value), tmp_path / cls.__name__)
    there = other_python(THEIR_READING, tmp_path / "Theirs")
    assert (there.stdout, there.returncode) == ("loaded\n", -signal.SIGSEGV)
    here = other_python(OUR_READING, tmp_path / "Ours")
    assert here.returncode == 0, here.stderr
    assert "cloudpickle:_make_function" in here.stdout
    assert here.stdout.endswith("['value/w']\n")
