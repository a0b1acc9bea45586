"""Real checkpoints by many versions of RLlib, with what their own Ray says of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import CORPUS

DATA = Path(__file__).parents[1] / "data" / "rllib"


@dataclass(frozen=True)
class Case:
    """One checkpoint."""

    folder: Path

    @property
    def name(self):
        return self.folder.name

    @property
    def path(self):
        return self.folder / "checkpoint"

    @cached_property
    def expected(self):
        return json.loads((self.folder / "expected.json").read_text())

    @property
    def info(self):
        """What `get_checkpoint_info` of the Ray that wrote it says; modules make that fail."""
        told = self.expected["get_checkpoint_info"]
        if "__error__" in told:
            told = {key: self.expected[key] for key in ("type", "format", "ray_version")}
        return {key: self._value(value) for key, value in told.items()}

    def _value(self, value):
        if value == "None":
            return None
        return value.replace("<CKPT>", str(self.path)) if isinstance(value, str) else value

    @property
    def observations(self):
        """Observations of its environment."""
        return np.load(self.folder / "obs.npy")

    @property
    def outputs(self):
        """What its models made of them."""
        return np.load(self.folder / "expected_outputs.npz")

    @property
    def stored_weights(self):
        """The weights that its own Ray had."""
        return dict(np.load(self.folder / "weights.npz"))

    @property
    def file(self):
        """Its main state file."""
        names = ("checkpoint-*", "algorithm_state*", "policy_state*", "module_state*")
        return next(file for name in names for file in self.path.glob(name))


def _cases():
    committed = [Case(folder) for folder in sorted(DATA.iterdir())]
    names = {case.name for case in committed}
    found = [Case(folder) for folder in sorted(CORPUS.glob("*")) if folder.name not in names]
    return [*committed, *(case for case in found if _is_of_rllib(case))]


def _is_of_rllib(case):
    return (case.folder / "expected.json").exists() and "weights" in case.expected


# Of other algorithms, with the weights that their own Ray had, and no outputs.
ALGORITHMS = [Case(folder) for folder in sorted((DATA.parent / "rllib_algorithms").iterdir())]

CASES = _cases()
COMMITTED = [case for case in CASES if case.folder.parent == DATA]

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_committed_case = pytest.mark.parametrize("case", COMMITTED, ids=lambda case: case.name)


def one(start):
    """Return the committed case whose name begins like this."""
    return next(case for case in COMMITTED if case.name.startswith(start))
