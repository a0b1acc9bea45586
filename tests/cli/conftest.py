"""A sweep made by hand, and the command run in this process."""

from __future__ import annotations

import json
import os
import re
import signal
from types import SimpleNamespace

import numpy as np
import pytest

import tune_ckpt as tc
from tests.agents import trained
from tests.sweep.folders import make_sweep
from tune_ckpt.cli import main


class Attack:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("true",)


def without_escapes(text):
    """Return what is seen of what a terminal is sent."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


@pytest.fixture
def sweep(tmp_path):
    return make_sweep(tmp_path / "sweep")


@pytest.fixture
def saved(tmp_path):
    trained().save_to_path(tmp_path / "c")
    return tmp_path / "c"


@pytest.fixture
def plain(tmp_path):
    """A checkpoint without a class of ours, as msgpack."""
    tc.save_state({"w": np.arange(6, dtype="f4").reshape(2, 3), "step": 1}, tmp_path / "p")
    return tmp_path / "p"


@pytest.fixture
def tk(capsys):
    """Run ``tune-ckpt``; ``tk(...).json`` is the answer of ``--json``."""

    def run(*arguments):
        capsys.readouterr()
        before = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as exited:
                main([*map(str, arguments)])
        finally:
            signal.signal(signal.SIGTERM, before)
        told = capsys.readouterr()
        answer = json.loads(told.out) if "--json" in arguments and told.out else None
        return SimpleNamespace(code=exited.value.code or 0, out=told.out, err=told.err, json=answer)

    return run


@pytest.fixture
def terminal(monkeypatch):
    """Let stdout be a terminal of so many columns."""

    def of(columns, *, color=False):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.delenv("NO_COLOR", raising=False)
        if not color:
            monkeypatch.setenv("NO_COLOR", "1")

    return of


@pytest.fixture
def nobody():
    """Be a user who may read none of the tests' folders."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    os.seteuid(65534)
    yield
    os.seteuid(0)
