"""URIs where paths can stand."""

import tune_ckpt as tc
from tests.sweep.folders import make_sweep
from tune_ckpt.cli import output


def test_a_sweep_on_s3_from_listing_to_export(tk, tmp_path, s3, bucket, monkeypatch):
    uri = s3.upload(make_sweep(tmp_path / "sweep", use_msgpack=True), f"{bucket}/sweep")
    rows = tk("ls", uri, "--metric", "eval/acc", "--json").json["checkpoints"]
    assert [row["value"] for row in rows] == [0.9, 0.8, 0.7, 0.6]
    best = tk("best", uri, "--metric", "eval/acc").out.strip()
    assert tk("verify", best).code == 0
    assert "tests.agents:Agent" in tk("show", best).out
    assert tk("diff", best, rows[2]["path"]).code == 1
    assert tk("scan", uri).code == 0
    with monkeypatch.context() as watched:  # so that sizes are looked up
        watched.setattr(output, "is_terminal", lambda: True)
        assert tk("weights", best, "--component", "model", "-o", tmp_path / "w.npz").code == 0
    picture = s3.uri(f"{bucket}/sweep.svg")
    assert tk("plot", uri, "--metric", "eval/acc", "-o", picture).code == 0
    copy = tk("convert", best, s3.uri(f"{bucket}/copy")).out.strip()
    assert tk("verify", copy).code == 0  # what is printed opens it
    converted = tk("convert", uri, s3.uri(f"{bucket}/all"), "--jobs", 1).out.splitlines()
    assert tk("verify", *converted).code == 0
    exported = tk("best", uri, "--metric", "eval/acc", "-o", s3.uri(f"{bucket}/e"), "--json").json
    assert tk("verify", exported["exported"]).code == 0


def test_a_whole_bucket_is_looked_up_like_any_folder(tk, s3, bucket):
    (answer,) = tk("ls", s3.uri(bucket)).err.splitlines()
    assert "nothing is there" in answer
    tc.save_state({"step": 1}, s3.uri(f"{bucket}/c"))
    assert "The folders in it: c" in tk("ls", s3.uri(f"{bucket}/")).err
