"""What errors say."""

import pickle

import numpy as np
import pytest

import tune_ckpt as tc
from tune_ckpt.errors import (
    CorruptCheckpointError,
    CorruptDataError,
    Fault,
    RestoreReport,
    UnknownMetricError,
    UnsupportedStateError,
)


def test_no_more_names_are_listed_than_somebody_reads():
    error = UnknownMetricError("x", tuple(f"metric{number}" for number in range(100)))
    assert "nearest first: metric0, metric1" in str(error)
    assert str(error).endswith("metric11, and 88 more.")
    assert len(error.available) == 100


def test_what_cannot_be_saved_by_name_is_told_so(tmp_path):
    with pytest.raises(UnsupportedStateError, match=r"helper: .*\n.*or of what is saved by name"):
        tc.save({"helper": lambda: 0, "weights": np.zeros(2)}, tmp_path / "c")


def test_an_error_comes_whole_out_of_another_process():
    faults = (Fault("state.pkl", "its digest differs"), Fault("model/state.pkl", "it is missing"))
    error = CorruptCheckpointError("run/1", faults)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is CorruptCheckpointError
    assert (str(again), again.faults) == (str(error), faults)


def test_a_librarys_full_stop_is_not_followed_by_another():
    error = CorruptDataError("c/state", "it cannot be read: No more data to unpack.", 3)
    assert str(error).startswith("c/state, byte 3: it cannot be read: No more data to unpack. The ")


def test_a_report_tells_what_did_not_fit_and_what_was_left_out():
    left_out, missing = (Fault("config", "it is code"),), ("head",)
    assert str(RestoreReport("c", ("a",))) == "Restored from c: a."
    told = str(RestoreReport("c", ("a",), left_out=left_out))
    assert told == "Restored from c: a. Left out:\n  - config: it is code"
    told = str(RestoreReport("c", ("a",), missing, left_out=left_out))
    assert told.partition("head: ")[2].endswith("have it\nLeft out:\n  - config: it is code")
