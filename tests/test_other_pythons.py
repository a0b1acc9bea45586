"""Every Python opens what another one saved, with nothing but msgpack, numpy and xxhash."""

import sys

import pytest

import tune_ckpt as tc
from tests.conftest import CORPUS
from tests.interpreters import bare_environment, find_interpreter, run_script
from tests.portable_values import values
from tests.rllib.cases import CASES, COMMITTED, DATA

# Each takes seconds to be installed: by day the one that is furthest from this one.
FURTHEST, *OTHERS = sorted(
    (f"3.{minor}" for minor in range(10, 14) if minor != sys.version_info.minor),
    key=lambda version: -abs(int(version[2:]) - sys.version_info.minor),
)


@pytest.fixture(
    scope="module",
    params=[FURTHEST, *(pytest.param(version, marks=pytest.mark.nightly) for version in OTHERS)],
)
def python(request, tmp_path_factory):
    """A Python in an environment with these three packages alone."""
    interpreter = find_interpreter(request.param)
    if interpreter is None:
        pytest.skip(f"there is no Python {request.param} here")
    return bare_environment(interpreter, tmp_path_factory.mktemp("python") / "venv")


@pytest.mark.slow
def test_a_state_is_equal_in_another_python_without_ray(tmp_path, python):
    tc.save_state(values(), tmp_path / "c")
    run = run_script(python, "portable_values.py", tmp_path / "c", tmp_path / "there")
    assert (run.stdout, run.stderr) == ("equal\n", "")
    assert tc.describe(tmp_path / "there").digest == tc.describe(tmp_path / "c").digest


@pytest.mark.slow
def test_every_python_reads_every_case_of_rllibs(python):
    roots = [DATA, CORPUS] if CORPUS.is_dir() else [DATA]
    of_corpus = [case for case in CASES if (CORPUS / case.name).is_dir()]
    run = run_script(python, "rllib/read_all.py", *roots)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) == len(COMMITTED) + len(of_corpus)


def test_the_state_is_equal_in_this_python(tmp_path):
    tc.save_state(values(), tmp_path / "c")
    run = run_script(sys.executable, "portable_values.py", tmp_path / "c")
    assert run.stdout == "equal\n", run.stderr
