"""Self-tests: what was computed at save is computed again after a restore."""

import random

import numpy as np
import pyarrow.fs
import pytest
import torch

import tune_ckpt as tc
from tests.agents import Weights
from tune_ckpt.errors import SelfTestError
from tune_ckpt.objects.selftests import differences

FORMATS = pytest.mark.parametrize("use_msgpack", [False, True], ids=["pickle", "msgpack"])


class Checked(Weights):
    """Its self-test can be made to compute something else, as another library would."""

    off_by = 0.0

    def __init__(self, size=3):
        super().__init__(size)
        self.w = np.arange(size) + 1.0

    def selftest(self):
        return {"sum": self.w.sum(), "all": [self.w * 2 + self.off_by, self.w > 0]}


class Loose(Checked):
    selftest_tolerance = 1e-3


def saved(tmp_path, cls=Checked, **options):
    value = cls()
    value.w = np.array([1.0, 5.0, 3.0])
    value.save_to_path(tmp_path / "c", **options)
    return tmp_path / "c"


@FORMATS
def test_the_same_results_pass(tmp_path, use_msgpack):
    path = saved(tmp_path, use_msgpack=use_msgpack)
    assert sorted(p.stem for p in path.iterdir()) == [
        "class_and_ctor_args",
        "metadata",
        "selftest",
        "state",
    ]
    assert Checked.from_checkpoint(path).w[1] == 5
    assert tc.verify(path).ok
    assert tc.load_state(path).keys() == {"w"}


@FORMATS
def test_other_results_are_an_error_with_the_numbers_and_taken_back(
    tmp_path, use_msgpack, monkeypatch
):
    path = saved(tmp_path, use_msgpack=use_msgpack)
    target = Checked()
    monkeypatch.setattr(Checked, "off_by", 1e-6)
    with pytest.raises(SelfTestError) as caught:
        target.restore_from_path(path)
    (fault,) = caught.value.faults
    assert fault.path == "selftest()/all/0"
    assert fault.reason == (
        "3 of 3 differ, first [0]: 2.000001 instead of 2.0, by up to 1e-06; the tolerance is 0"
    )
    assert target.w.tolist() == [1, 2, 3]


@pytest.mark.parametrize(("off_by", "passes"), [(1e-4, True), (9.9e-3, False), (np.nan, False)])
def test_the_class_states_how_much_is_allowed(tmp_path, monkeypatch, off_by, passes):
    path = saved(tmp_path, Loose)
    monkeypatch.setattr(Loose, "off_by", off_by)
    if passes:
        Loose().restore_from_path(path)
    else:
        with pytest.raises(SelfTestError, match=r"the tolerance is 0\.001"):
            Loose().restore_from_path(path)


def test_the_caller_states_how_much_is_allowed(tmp_path, monkeypatch):
    path = saved(tmp_path, Loose)
    monkeypatch.setattr(Loose, "off_by", 1e-2)
    Loose().restore_from_path(path, tolerance=0.1)
    tc.save({"x": Loose()}, tmp_path / "d")
    with pytest.raises(SelfTestError, match=r"x/selftest\(\)/all/0"):
        tc.restore({"x": Checked()}, tmp_path / "d", tolerance=0)


def test_a_tolerance_is_relative_for_large_numbers(tmp_path):
    big = Checked()
    big.w = np.array([1e9])
    big.save_to_path(tmp_path / "c")
    target = Checked()
    target.set_state = lambda state: setattr(target, "w", state["w"] + 1)
    target.restore_from_path(tmp_path / "c", tolerance=1e-6)
    with pytest.raises(SelfTestError):
        target.restore_from_path(tmp_path / "c", tolerance=1e-12)


def test_with_a_warning_the_state_is_kept(tmp_path, monkeypatch):
    path = saved(tmp_path)
    target = Checked()
    monkeypatch.setattr(Checked, "off_by", 0.5)
    with pytest.warns(tc.RestoreWarning, match=r"selftest\(\)/all/0: 3 of 3 differ"):
        target.restore_from_path(path, strict="warn")
    assert target.w[1] == 5
    assert not target.restore_from_path(path, strict="ignore").ok


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"sum": 9.0}, "it returns sum, and returned sum, all"),
        ({"sum": np.ones(2), "all": [1, 2]}, r"it is float64 \(2,\), and was float64 \(\)"),
        ({"sum": np.float32(9), "all": [1, 2]}, r"it is float32 \(\), and was float64 \(\)"),
    ],
)
def test_results_of_another_shape_are_an_error(tmp_path, monkeypatch, result, reason):
    path = saved(tmp_path)
    monkeypatch.setattr(Checked, "selftest", lambda self: result)
    with pytest.raises(SelfTestError, match=reason):
        Checked().restore_from_path(path)


def test_a_self_test_that_raises_is_an_error_too(tmp_path, monkeypatch):
    path = saved(tmp_path)
    target = Checked()
    monkeypatch.setattr(Checked, "selftest", lambda self: 1 / 0)
    with pytest.raises(SelfTestError, match=r"selftest\(\): it raised ZeroDivisionError"):
        target.restore_from_path(path)
    assert target.w.tolist() == [1, 2, 3]


@pytest.mark.parametrize("tolerance", [0, 0.5])
@pytest.mark.parametrize(
    ("then", "now", "equal"),
    [
        (np.nan, np.nan, True),
        (np.inf, np.inf, True),
        (np.inf, 5.0, False),
        (np.inf, -np.inf, False),
        (5.0, np.inf, False),
        (np.nan, 5.0, False),
        (np.datetime64("NaT", "s"), np.datetime64("NaT", "s"), True),
        (np.datetime64("NaT", "s"), np.datetime64(1, "s"), False),
        (5.0, np.nan, False),
        (1 + 2j, 1 + 2j, True),
        (1 + 2j, 1 - 2j, False),
        (True, False, False),
        ("a", "b", False),
    ],
)
def test_single_numbers(then, now, equal, tolerance):
    value = Checked()
    value.selftest = lambda: now
    faults = list(differences(value, np.array(then), tolerance))
    assert (not faults) == equal


class Owner(Weights):
    """Its self-test needs its part's state, and draws random numbers."""

    def __init__(self):
        super().__init__(1)
        self.part = Checked()

    def selftest(self):
        random.random(), torch.rand(1)
        return self.part.w

    def get_checkpointable_components(self):
        return [("part", self.part)]

    def get_ctor_args_and_kwargs(self):
        return (), {}


def test_the_self_test_of_a_component_that_is_not_whole_is_left_out(tmp_path):
    owner = Owner()
    owner.part.w = np.array([7.0])
    owner.save_to_path(tmp_path / "c")
    assert Owner().restore_from_path(tmp_path / "c").ok
    target = Owner()
    assert target.restore_from_path(tmp_path / "c", exclude=["part"]).loaded == (".",)
    assert target.restore_from_path(tmp_path / "c", components=["part"]).loaded == ("part",)


def test_self_tests_disturb_no_random_numbers(tmp_path):
    def draw():
        return random.random(), torch.rand(1).item()

    random.seed(1), torch.manual_seed(1)
    expected = draw()
    random.seed(1), torch.manual_seed(1)
    Owner().save_to_path(tmp_path / "c")
    Owner().restore_from_path(tmp_path / "c")
    assert draw() == expected


def test_a_given_state_has_no_results(tmp_path):
    Checked().save_to_path(tmp_path / "c", state={"w": np.zeros(3)})
    assert not (tmp_path / "c" / "selftest.pkl").exists()
    assert Checked().restore_from_path(tmp_path / "c").ok


def test_a_torch_module_may_have_one(tmp_path):
    class Net(torch.nn.Linear):
        def selftest(self):
            return self(torch.ones(1, 3))

    tc.save({"net": Net(3, 2)}, tmp_path / "c")
    target = Net(3, 2)
    assert tc.restore({"net": target}, tmp_path / "c").report.ok
    target.selftest = lambda: target(torch.zeros(1, 3))
    with pytest.raises(SelfTestError, match=r"net/selftest\(\): 2 of 2 differ"):
        tc.restore({"net": target}, tmp_path / "c")


def test_numbers_that_numpy_lacks_are_widened(tmp_path):
    class Net(torch.nn.Linear):
        def selftest(self):
            return self(torch.ones(1, 3, dtype=torch.bfloat16))

    tc.save({"net": Net(3, 2).bfloat16()}, tmp_path / "c")
    assert tc.restore({"net": Net(3, 2).bfloat16()}, tmp_path / "c").report.ok


@pytest.mark.parametrize(("tolerance", "passes"), [(0.1, True), (0, False)])
def test_a_tolerance_is_for_the_numbers_of_jax_too(tolerance, passes):
    dtype = pytest.importorskip("ml_dtypes").bfloat16
    value = Checked()
    value.selftest = lambda: np.array([1.01, np.nan], dtype)
    faults = list(differences(value, np.array([1, np.nan], dtype), tolerance))
    assert [*map(str, faults)] == ([] if passes else [FAULT])


FAULT = (
    "selftest(): 1 of 2 differ, first [0]: 1.0078125 instead of 1.0, by up to 0.0078125; "
    "the tolerance is 0"
)


def test_results_are_converted_with_the_checkpoint(tmp_path, monkeypatch):
    path = tc.convert_to_msgpack_checkpoint(saved(tmp_path), tmp_path / "m")
    assert Checked.from_checkpoint(path).w[1] == 5
    monkeypatch.setattr(Checked, "off_by", 1.0)
    with pytest.raises(SelfTestError):
        Checked().restore_from_path(path)


def test_results_follow_the_checkpoint_wherever_it_goes(tmp_path, monkeypatch):
    elsewhere = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())
    for number in (4.0, 5.0):  # the second save over the first has its id in the files' names
        value = Checked()
        value.w = np.array([number])
        value.save_to_path("c", filesystem=elsewhere, use_msgpack=True)
    tc.archive(tmp_path / "c", tmp_path / "c.zip")
    for path in (tmp_path / "c", tmp_path / "c.zip"):
        monkeypatch.setattr(Checked, "off_by", 0.0)
        assert Checked.from_checkpoint(path).w.tolist() == [5]
        assert tc.verify(path).ok
        monkeypatch.setattr(Checked, "off_by", 1.0)
        with pytest.raises(SelfTestError):
            Checked.from_checkpoint(path)


@pytest.mark.parametrize("formats", [(False, True), (True, True)], ids=["mixed", "msgpack"])
def test_a_difference_of_results_is_told_by_diff(tmp_path, monkeypatch, formats):
    tc.save({"part": Checked()}, tmp_path / "a", format="pickle" if formats[0] else "msgpack")
    assert tc.diff(tmp_path / "a", tmp_path / "a").equal
    monkeypatch.setattr(Checked, "off_by", 0.5)
    tc.save({"part": Checked()}, tmp_path / "b", format="msgpack")
    found = tc.diff(tmp_path / "a", tmp_path / "b", values=True)
    (changed,) = found.arrays
    assert (changed.path, changed.max_abs) == ("part/selftest/all/0", 0.5)
    assert not found.values
    tc.save({"part": Weights(3)}, tmp_path / "c")
    removed = [one.path for one in tc.diff(tmp_path / "b", tmp_path / "c").arrays]
    assert "part/selftest/sum" in removed
