"""What errors say."""

from tune_ckpt.errors import UnknownMetricError


def test_no_more_names_are_listed_than_somebody_reads():
    error = UnknownMetricError("x", tuple(f"metric{number}" for number in range(100)))
    assert "nearest first: metric0, metric1" in str(error)
    assert str(error).endswith("metric11, and 88 more.")
    assert len(error.available) == 100
