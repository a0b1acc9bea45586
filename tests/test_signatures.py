"""In all public functions the same thing has the same name, default and place."""

import inspect
import subprocess
import sys

import pytest

import tune_ckpt as tc
from tune_ckpt import rllib

# RLlib's own signatures, which these functions keep.
RLLIBS = {"get_checkpoint_info", "try_import_msgpack"}
# The order of what is given by name; what is not in it is a function's own, and comes before.
ORDER = ["filesystem", "allow_pickle", "trusted", "strict"]
DEFAULTS = {
    "filesystem": {None},
    "allow_pickle": {False, None},  # None: only in a trial, of its own checkpoint
    "trusted": {()},
    "strict": {True},
    "mode": {"max", None},  # None: as a ResultGrid's TuneConfig says, else "max"
    "metric": {None, inspect.Parameter.empty},
    "config": {None},
    "device": {None},
    "format": {"msgpack", inspect.Parameter.empty},
    "base": {None},
    "durable": {False},
    "verify": {True, False},  # True before a checkpoint is handed out, False while a sweep runs
    "drain_timeout_secs": {600.0},
}
# Other words for what is called otherwise here.
FOREIGN = {
    *("fs", "source", "sweep", "file", "folder", "dir", "directory"),
    *("overwrite", "unsafe", "timeout"),
}


def _public():
    yield pytest.param(tc.Sweep.open, id="tune_ckpt.Sweep.open")
    for module in (tc, rllib):
        for name in sorted(set(module.__all__) - {"__version__"} - RLLIBS):
            made = getattr(module, name)
            if inspect.isfunction(made) or name.endswith("Callback"):
                yield pytest.param(made, id=f"{module.__name__}.{name}")


@pytest.fixture(params=_public())
def function(request):
    return request.param


def _parameters(function):
    return inspect.signature(function).parameters


def test_the_same_name_has_the_same_default(function):
    for name, parameter in _parameters(function).items():
        assert parameter.default in DEFAULTS.get(name, [parameter.default]), name


def test_no_other_word_is_used_for_the_same_thing(function):
    assert not FOREIGN & {*_parameters(function)}


def test_what_is_given_by_name_comes_in_the_same_order(function):
    names = [
        name
        for name, parameter in _parameters(function).items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    shared = [name for name in ORDER if name in names]
    assert names[len(names) - len(shared) :] == shared


def test_each_argument_is_explained_in_order(function):
    told = inspect.getdoc(function).partition("Args:\n")[2].splitlines()
    explained = [line.split(":")[0].strip() for line in told if line.startswith("    ")]
    wanted = [*_parameters(function)]
    assert [name for name in explained if name in wanted] == wanted


def test_public_modules_need_no_import_of_their_own():
    use = "tune_ckpt.rllib.load_weights; tune_ckpt.errors.TuneCkptError"
    code = f"import sys, tune_ckpt; {use}; assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_is_mistyped_has_a_nearest_one():
    with pytest.raises(AttributeError) as caught:
        tc.best_chekpoint  # noqa: B018  # it is the access that raises
    assert (caught.value.name, caught.value.obj) == ("best_chekpoint", tc)
