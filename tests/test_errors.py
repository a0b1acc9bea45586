"""What errors say."""

import pickle

from tune_ckpt.errors import CorruptCheckpointError, Fault, UnknownMetricError


def test_no_more_names_are_listed_than_somebody_reads():
    error = UnknownMetricError("x", tuple(f"metric{number}" for number in range(100)))
    assert "nearest first: metric0, metric1" in str(error)
    assert str(error).endswith("metric11, and 88 more.")
    assert len(error.available) == 100


def test_an_error_comes_whole_out_of_another_process():
    faults = (Fault("state.pkl", "its digest differs"), Fault("model/state.pkl", "it is missing"))
    error = CorruptCheckpointError("run/1", faults)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is CorruptCheckpointError
    assert (str(again), again.faults) == (str(error), faults)
