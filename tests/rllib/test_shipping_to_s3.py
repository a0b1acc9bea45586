"""Checkpoints on S3 become models and bundles there; what S3 refuses is our error."""

import numpy as np
import pytest

from tests.rllib.cases import one
from tests.s3 import denied
from tune_ckpt.errors import StorageError, TuneCkptError
from tune_ckpt.rllib import (
    convert_to_msgpack_checkpoint,
    export_bundle,
    export_model,
    get_checkpoint_info,
    load_bundle,
    load_weights,
    upgrade_checkpoint,
)
from tune_ckpt.tree.storage.store import is_plain_file, open_store

CASE = one("ray2.60.0-py3.11-new-ppo-single-meanstd")
FILES = ("metadata.json", "model.safetensors")


@pytest.fixture
def uploaded(s3, bucket):
    """The URI of a checkpoint on S3."""
    filesystem = s3.filesystem()
    for file in filter(lambda file: file.is_file(), CASE.path.rglob("*")):
        with filesystem.open_output_stream(f"{bucket}/c/{file.relative_to(CASE.path)}") as out:
            out.write(file.read_bytes())
    return s3.uri(f"{bucket}/c")


def test_a_bundle_is_written_to_s3_and_opened_there(s3, bucket, uploaded):
    saved = export_bundle(uploaded, s3.uri(f"{bucket}/bundle"))
    bundle = load_bundle(saved.path)
    assert bundle.act(CASE.observations).shape == (len(CASE.observations),)


def test_both_are_looked_up_in_a_filesystem_that_is_passed(s3, bucket, uploaded):
    filesystem = s3.filesystem()
    export_bundle(f"{bucket}/c", f"{bucket}/b", filesystem=filesystem)
    made = export_model(f"{bucket}/c", "safetensors", f"{bucket}/m", filesystem=filesystem)
    assert made.path == f"s3://{bucket}/m/model.safetensors"
    assert load_bundle(f"{bucket}/b", filesystem=filesystem).source["ray_version"] == "2.60.0"


def test_a_model_on_s3_is_the_one_on_the_disk(s3, bucket, uploaded, tmp_path):
    made = export_model(uploaded, "safetensors", s3.uri(f"{bucket}/m"))
    assert is_plain_file(made.path)
    export_model(CASE.path, "safetensors", tmp_path)
    found = open_store(s3.uri(f"{bucket}/m"))
    assert [entry.name for entry in found.list()] == sorted(FILES)
    model = FILES[1]
    np.testing.assert_equal(found.read_bytes(model), (tmp_path / model).read_bytes())


def test_checkpoints_are_upgraded_and_converted_on_s3(s3, bucket, uploaded):
    weights = load_weights(CASE.path)
    for number, write in enumerate([upgrade_checkpoint, convert_to_msgpack_checkpoint]):
        written = write(uploaded, s3.uri(f"{bucket}/{number}"))
        assert get_checkpoint_info(written)["type"] == "Algorithm"  # what is returned opens it
        np.testing.assert_equal(load_weights(written), weights)


def test_what_is_cut_off_while_it_is_written_to_s3_is_no_checkpoint(s3, bucket, uploaded):
    s3.trouble(denied, method="PUT POST", key="c2/algorithm_state", times=float("inf"))
    with pytest.raises(StorageError):
        upgrade_checkpoint(uploaded, s3.uri(f"{bucket}/c2"))
    with pytest.raises(TuneCkptError):
        get_checkpoint_info(s3.uri(f"{bucket}/c2"))


def test_what_s3_refuses_is_told(s3, bucket, uploaded):
    s3.trouble(denied, method="PUT POST", key="m/", times=float("inf"))
    with pytest.raises(StorageError):
        export_model(uploaded, "safetensors", s3.uri(f"{bucket}/m"))
    s3.trouble(denied, method="PUT POST", key="b/", times=float("inf"))
    with pytest.raises(StorageError):
        export_bundle(uploaded, s3.uri(f"{bucket}/b"))
