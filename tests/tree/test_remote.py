"""Every filesystem: S3 by its real protocol, fsspec, subtrees, URIs and Ray's Checkpoints."""

import os
import subprocess
import sys
import threading

import fsspec
import numpy as np
import pytest
from pyarrow import fs

import tune_ckpt as tc
from tests.agents import Agent, same_agents, trained
from tune_ckpt.errors import NotACheckpointError, StorageError
from tune_ckpt.tree.storage.store import ArrowStore, LocalStore, open_store

FORMATS = pytest.mark.parametrize("use_msgpack", [False, True], ids=["pickle", "msgpack"])


@pytest.fixture(params=["s3", "s3 subtree", "subtree", "fsspec wrapped", "fsspec"])
def filesystem(request, tmp_path):
    """One filesystem of each kind, with a folder ``bucket`` in it."""
    kind = request.param
    if kind.startswith("s3"):
        server = request.getfixturevalue("s3")
        server.filesystem().create_dir("bucket")
        whole = server.filesystem()
        return whole if kind == "s3" else fs.SubTreeFileSystem("bucket", whole)
    if kind == "subtree":
        return fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    memory = fsspec.filesystem("memory", skip_instance_cache=True)
    memory.store.clear()  # fsspec shares it among all instances
    memory.pseudo_dirs[:] = [""]
    return memory if kind == "fsspec" else fs.PyFileSystem(fs.FSSpecHandler(memory))


def test_what_is_returned_opens_the_checkpoint_again(s3, bucket, tmp_path):
    def uri(name):
        return s3.uri(f"{bucket}/{name}")

    trained().save_to_path(uri("pickled"))
    made = [
        tc.save_state({"step": 7}, uri("state")).path,
        tc.save({"step": 7}, uri("parts")).path,
        tc.save_async({"step": 7}, uri("behind")).result().path,
        trained().save_to_path(uri("object")),
        tc.convert_to_msgpack_checkpoint(uri("pickled"), uri("msgpack")),
        tc.convert_checkpoint(uri("msgpack"), uri("again"), to="pickle"),
        tc.convert_checkpoint(uri("again")),
        tc.convert_checkpoint(uri("again")),
        tc.archive(uri("state"), uri("state.zip")),
        tc.extract(uri("state.zip"), uri("extracted")),
    ]
    assert [tc.load_state(path)["step"] for path in made] == [7] * len(made)
    local = tc.save_state({}, f"file://{tmp_path}/c").path
    assert local == str(tmp_path / "c")


@FORMATS
def test_a_tree_comes_back_from_any_filesystem(filesystem, use_msgpack):
    path = f"bucket/{use_msgpack}"
    for step in (1, 2):
        agent = trained(step, size=5000)
        agent.save_to_path(path, filesystem=filesystem, use_msgpack=use_msgpack)
        assert same_agents(Agent.from_checkpoint(path, filesystem), agent)
        assert tc.load_state(path, "model/head", filesystem=filesystem)["w"][0] == step
        report = tc.verify(path, filesystem=filesystem)
        assert report.ok
        assert not report.warnings
        assert not report.unverified


def test_a_tree_in_the_other_format_leaves_nothing_of_the_first(filesystem):
    trained(1).save_to_path("bucket/f", filesystem=filesystem, use_msgpack=True)
    trained(2).save_to_path("bucket/f", filesystem=filesystem)
    assert Agent.from_checkpoint("bucket/f", filesystem).step == 2
    assert not tc.verify("bucket/f", filesystem=filesystem).warnings
    names = [entry.name for entry in open_store("bucket/f", filesystem).list()]
    assert not [name for name in names if name.endswith(".msgpack")]


@pytest.mark.parametrize("in_place", [True, False])
def test_conversion_on_any_filesystem(filesystem, in_place):
    trained(1).save_to_path("bucket/p", filesystem=filesystem)
    trained(2).save_to_path("bucket/p", filesystem=filesystem)
    target = None if in_place else "bucket/m"
    tc.convert_to_msgpack_checkpoint("bucket/p", target, filesystem=filesystem)
    target = target or "bucket/p"
    assert same_agents(Agent.from_checkpoint(target, filesystem), trained(2))
    assert not tc.verify(target, filesystem=filesystem).warnings


def test_converted_names_carry_one_save_only(filesystem):
    for _ in range(3):
        trained().save_to_path("bucket/n", filesystem=filesystem)
        tc.convert_to_msgpack_checkpoint("bucket/n", filesystem=filesystem)
    names = [entry.name for entry in open_store("bucket/n", filesystem).child("model").list()]
    assert [name.count(".") for name in names if name != "head"] == [2, 2, 2]


def test_a_subcomponents_folder_is_a_checkpoint_of_its_own(filesystem):
    for step in (1, 2):
        trained(step).save_to_path("bucket/s", filesystem=filesystem)
        agent = Agent(500)
        agent.restore_from_path("bucket/s/model", component="model", filesystem=filesystem)
        assert agent.model.w[0] == step


def test_objects_and_values_come_back(filesystem):
    tc.save({"model": trained().model, "step": 3}, "bucket/o", filesystem=filesystem)
    model = Agent(500).model
    assert tc.restore({"model": model, "step": 0}, "bucket/o", filesystem=filesystem) == {"step": 3}
    assert model.w[0] == 7


def test_nothing_there_is_an_error_of_ours(filesystem):
    with pytest.raises(NotACheckpointError, match="nothing is there"):
        tc.load_state("bucket/none", filesystem=filesystem)


# ------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize("path", ["c", "c/", "a b/50%", "a%20b", "ünïcödé", "x=1,y=[2]"])
def test_a_uri_names_the_same_folder_as_path_and_filesystem(s3, bucket, path):
    trained().save_to_path(s3.uri(f"{bucket}/{path}"))
    found = Agent.from_checkpoint(f"{bucket}/{path}", s3.filesystem())
    assert same_agents(found, trained())
    assert tc.verify(s3.uri(f"{bucket}/{path}")).ok


@pytest.mark.parametrize("kind", ["ray.tune", "ray.train"])
def test_rays_checkpoints_on_s3_are_paths(s3, bucket, kind):
    module = pytest.importorskip(kind)
    trained().save_to_path(f"{bucket}/c", filesystem=s3.filesystem())
    for checkpoint in (
        module.Checkpoint(f"{bucket}/c", s3.filesystem()),
        module.Checkpoint(s3.uri(f"{bucket}/c")),
    ):
        assert tc.load_state(checkpoint)["step"] == 7
        assert Agent.from_checkpoint(checkpoint).step == 7


@pytest.mark.parametrize("path", ["c", "c/", "with space", "50%", "a%20b", "#1"])
def test_a_file_uri_is_a_local_path(tmp_path, path):
    store = open_store((tmp_path / path).as_uri())
    assert isinstance(store, LocalStore)
    assert store.root == tmp_path / path


@pytest.mark.parametrize("kind", [fs.LocalFileSystem, fsspec.filesystem("file").__class__])
def test_a_local_filesystem_is_the_local_disk(tmp_path, kind):
    assert isinstance(open_store(tmp_path, kind()), LocalStore)


def test_gs_uris_are_parsed():
    store = open_store("gs://anonymous@bucket/a%20b/c/")  # no server is asked: there is none
    assert isinstance(store, ArrowStore)
    assert (store.filesystem.type_name, store.root) == ("gcs", "bucket/a b/c")


def test_a_uri_that_is_none_is_an_error_that_names_it():
    with pytest.raises(StorageError, match="s3://bucket/a b"):
        open_store("s3://bucket/a b")


def test_an_fsspec_uri_needs_no_filesystem():
    trained().save_to_path("fsspec+memory://uri/c")
    assert tc.load_state("fsspec+memory://uri/c")["step"] == 7


# ----------------------------------------------------------------------------- what is sent, when


def test_metadata_is_sent_last_and_the_roots_after_all(s3, bucket):
    for _ in range(2):
        s3.quiet()
        trained().save_to_path(f"{bucket}/c", filesystem=s3.filesystem(), use_msgpack=True)
        done = [r.key for r in s3.log if r.method == "POST" and "uploadId" in r.query]
        done = [key for key in done if "tune_ckpt-" not in key]
        assert done[-1] == "c/metadata.json"
        for folder in ("c/", "c/model/", "c/model/head/"):
            own = [key for key in done if key.startswith(folder)]
            assert own[-1].startswith(f"{folder}metadata.")


def test_loading_a_part_reads_that_part_only(s3, bucket):
    agent = trained(size=2**20)  # 8 MiB in model/state
    agent.save_to_path(f"{bucket}/c", filesystem=s3.filesystem(), use_msgpack=True)
    s3.quiet()
    head = tc.load_state(f"{bucket}/c", "model/head", filesystem=s3.filesystem())
    assert np.array_equal(head["w"], agent.model.head.w)
    assert not s3.requests("GET", "c/model/state")
    assert not s3.requests("GET", "c/state")
    assert sum(request.nbytes for request in s3.log) < 20_000


def test_one_array_of_many_is_read_alone(s3, bucket):
    state = {"layers": [{"w": np.full(2**17, number)} for number in range(8)]}  # a MiB each
    tc.save_state(state, f"{bucket}/c", filesystem=s3.filesystem())
    s3.quiet()
    array = tc.load_state(f"{bucket}/c", at="layers/5/w", filesystem=s3.filesystem())
    assert np.array_equal(array, state["layers"][5]["w"])
    assert sum(request.nbytes for request in s3.log) < 1.1 * 2**20


def test_files_are_read_by_ranges(s3, bucket):
    tc.save_state({"a": np.arange(2**20)}, f"{bucket}/c", filesystem=s3.filesystem())
    s3.quiet()
    tc.load_state(f"{bucket}/c", filesystem=s3.filesystem())
    reads = [request for request in s3.requests("GET") if "list-type" not in request.query]
    assert reads
    assert all(request.range for request in reads)


@FORMATS
def test_a_large_file_is_fetched_by_several_requests_at_a_time(s3, bucket, use_msgpack):
    array = np.arange(3 * 2**20)  # 24 MiB
    format = "msgpack" if use_msgpack else "pickle"
    tc.save_state({"a": array}, f"{bucket}/c", format=format, filesystem=s3.filesystem())
    barrier = threading.Barrier(2)

    def wait_for_another(handler, honest):
        barrier.wait(120)  # breaks where requests come one after another
        handler.answer(*honest())

    s3.trouble(wait_for_another, method="GET", key="c/state", skip=2 if use_msgpack else 0, times=2)
    loaded = tc.load_state(f"{bucket}/c", filesystem=s3.filesystem())
    assert np.array_equal(loaded["a"], array)
    assert not barrier.broken
    assert barrier.n_waiting == 0


def test_a_mapping_of_what_cannot_be_mapped_is_a_copy(s3, bucket):
    tc.save_state({"a": np.arange(9)}, f"{bucket}/c", filesystem=s3.filesystem())
    loaded = tc.load_state(f"{bucket}/c", mmap=True, filesystem=s3.filesystem())
    assert np.array_equal(loaded["a"], np.arange(9))


SAVE = """
import resource, sys
import numpy as np
import tune_ckpt as tc
from pyarrow import fs

path, endpoint, nbytes = sys.argv[1], sys.argv[2], int(sys.argv[3])
s3 = fs.S3FileSystem(endpoint_override=endpoint, scheme="http", region="us-east-1")
tc.save_state({"a": np.arange(9)}, path, filesystem=s3)  # all is imported and connected
state = {"a": np.ones(nbytes, "u1")}
written = []
sys.addaudithook(lambda name, args: name == "open" and written.append(args))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tc.save_state(state, path, filesystem=s3)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
writing = [p for p, mode, flags in written if mode and set(mode) & set("wax+")]
print((after - before) * 1024, len(writing))
"""


@pytest.mark.slow
def test_saving_streams_without_a_copy_on_disk_or_in_memory(s3, bucket):
    nbytes = 100 * 2**20
    command = [sys.executable, "-c", SAVE, f"{bucket}/c", s3.endpoint, str(nbytes)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    grown, files_written = map(int, run.stdout.split())
    assert grown < nbytes / 2
    assert files_written == 0


# ------------------------------------------------------------------------ a sweep on the server


@pytest.mark.parametrize("as_uri", [True, False])
def test_the_best_of_a_sweep_on_s3(s3, bucket, as_uri, tmp_path):
    from tests.sweep.folders import function_trial

    trials = {"T_0_a": [0.1, 0.9], "T_1_b x=50%": [0.5, 0.95]}
    for trial, values in trials.items():
        results = [{"acc": value, "training_iteration": i + 1} for i, value in enumerate(values)]
        function_trial(tmp_path / "sweep", trial, results)
    fs.copy_files(
        str(tmp_path / "sweep"),
        f"{bucket}/sweep",
        source_filesystem=fs.LocalFileSystem(),
        destination_filesystem=s3.filesystem(),
    )
    source = s3.uri(f"{bucket}/sweep") if as_uri else f"{bucket}/sweep"
    filesystem = None if as_uri else s3.filesystem()
    best = tc.best_checkpoint(source, "acc", filesystem=filesystem)
    assert best.value == 0.95
    assert len(tc.rank_checkpoints(source, "acc", filesystem=filesystem)) == 4


# ------------------------------------------------------------- looking, reusing, deleting, cleaning


def test_describing_reads_headers_and_trees_only(s3, bucket):
    tc.save_state({"a": np.zeros(2**22), "b": [1]}, f"{bucket}/c", filesystem=s3.filesystem())
    s3.quiet()
    found = tc.describe(f"{bucket}/c", filesystem=s3.filesystem())
    assert [array.shape for array in found.arrays] == [(2**22,)]
    assert sum(request.nbytes for request in s3.log) < 2**14


def test_what_has_not_changed_is_copied_by_the_server(s3, bucket):
    filesystem, body, head = s3.filesystem(), trained(1).model, trained(2).model.head
    tc.save({"body": body, "head": head}, f"{bucket}/1", filesystem=filesystem)
    head.w = head.w + 1
    s3.quiet()
    parts = {"body": body, "head": head}
    saved = tc.save(parts, f"{bucket}/2", base=f"{bucket}/1", filesystem=filesystem)
    assert saved.reused_nbytes > 4000
    assert not [r for r in s3.requests("GET", "body/state") if "list-type" not in r.query]
    assert not s3.requests("POST", "2/body/state")  # no upload of it began
    assert len(s3.requests("PUT", "2/body/state")) == 1
    tc.delete_checkpoint(f"{bucket}/1", filesystem=filesystem)
    assert tc.verify(f"{bucket}/2", filesystem=filesystem).ok
    assert tc.load_state(f"{bucket}/2", "head", filesystem=filesystem)["w"][0] == 3


def test_a_deleted_checkpoint_leaves_nothing_but_what_is_not_its_own(filesystem):
    trained(1).save_to_path("bucket/d", filesystem=filesystem)
    trained(2).save_to_path("bucket/d", filesystem=filesystem, use_msgpack=True)
    store = open_store("bucket/d", filesystem)
    store.write_bytes("mine.txt", b"x")
    tc.delete_checkpoint("bucket/d", filesystem=filesystem)
    assert [entry.name for entry in store.list()] == ["mine.txt"]
    with pytest.raises(NotACheckpointError):
        tc.delete_checkpoint("bucket/d", filesystem=filesystem)


def test_files_of_unfinished_saves_are_cleaned_once_they_are_old(filesystem):
    trained(1).save_to_path("bucket/x/c", filesystem=filesystem)
    store = open_store("bucket/x/c", filesystem)
    store.write_bytes("state.0123abcd.pkl", b"half")
    store.child("model").write_bytes("state.0123abcd.pkl", b"half")
    store.write_bytes("notes.txt", b"mine")
    assert tc.clean("bucket/x", filesystem=filesystem) == []
    removed = tc.clean("bucket/x", filesystem=filesystem, older_than_secs=0)
    assert [path.rpartition("/c/")[2] for path in sorted(removed)] == [
        "model/state.0123abcd.pkl",
        "state.0123abcd.pkl",
    ]
    assert tc.verify("bucket/x/c", filesystem=filesystem).ok
    assert store.exists("notes.txt")
