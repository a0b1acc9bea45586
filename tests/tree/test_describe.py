"""Describing: what is in a checkpoint, without its arrays and without anything being built."""

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from pyarrow import fs

import tune_ckpt as tc
from tests.agents import trained
from tests.sweep.folders import make_sweep
from tests.tree.rllib_trees import write_tree
from tune_ckpt.errors import ComponentNotFoundError, CorruptDataError, NotACheckpointError
from tune_ckpt.tree.inspection import describe as module
from tune_ckpt.tree.metadata import Metadata
from tune_ckpt.tree.packing import Component
from tune_ckpt.tree.writing import save_tree

REPO = Path(__file__).parents[2]


@pytest.fixture
def counting(count_opened):
    """The stores that `describe` opens, which count."""
    return count_opened(module)


def test_the_whole_tree_is_told(saved):
    found = tc.describe(saved)
    assert [part.name for part in found.walk()] == [str(saved), "model", "head"]
    assert [part.cls for part in found.walk()] == [
        *("tests.agents:Agent", "tests.agents:Model", "tests.agents:Weights")
    ]
    assert {part.format for part in found.walk()} == {found.format}
    model = found.components[0]
    assert model.files == {
        file.name: file.stat().st_size for file in (saved / "model").iterdir() if file.is_file()
    }
    (array,) = model.arrays
    assert (array.path, array.dtype, array.shape, array.nbytes) == ("w", "float64", (500,), 4000)
    assert found.created.startswith("20")
    assert found.versions["Python"] == ".".join(map(str, sys.version_info[:3]))
    assert found.versions["tune_ckpt"] == tc.__version__


def test_the_digest_is_the_one_of_the_metadata(saved):
    metadata = json.loads((saved / "metadata.json").read_text())
    assert tc.describe(saved).digest == metadata["tune_ckpt"]["digest"]


@pytest.mark.parametrize("format", ["pickle", "msgpack"])
def test_parameters_are_all_numbers_with_fractions(tmp_path, format):
    torch = pytest.importorskip("torch")
    state = {
        "f8": np.ones((3, 4)),
        "big-endian": np.ones(2, ">f4"),
        "complex": np.ones(5, "c8"),
        "half": torch.ones(6, dtype=torch.bfloat16),
        "parameter": torch.nn.Parameter(torch.ones(700)),
        "int": np.ones(10_000, "i4"),
        "bool": np.ones(10_000, "?"),
        "text": np.array(["f"] * 10_000),
        "objects": np.array([1.0, None]),
        "scalar": 1.0,
    }
    tc.save_state(state, tmp_path / "c", format=format)
    assert tc.describe(tmp_path / "c").parameter_count == 3 * 4 + 2 + 5 + 6 + 700


@pytest.mark.parametrize("format", ["pickle", "msgpack"])
def test_a_shared_array_counts_once(tmp_path, format):
    w = np.ones(1000)
    tc.save_state({"a": w, "b": [w, w]}, tmp_path / "c", format=format)
    found = tc.describe(tmp_path / "c")
    assert [array.path for array in found.arrays] == ["a"]
    assert found.parameter_count == 1000


def test_totals_are_of_the_whole_tree(saved):
    found = tc.describe(saved)
    assert found.parameter_count == 0
    assert found.total_parameter_count == 502
    assert found.total_nbytes == sum(path.stat().st_size for path in saved.rglob("*.*"))


def test_the_size_is_the_one_that_a_sweeps_table_tells(tmp_path):
    (record, *_) = tc.rank_checkpoints(make_sweep(tmp_path / "s"), "eval/acc")
    assert record.nbytes == tc.describe(record).total_nbytes
    write_tree(tmp_path / "rllib")
    files = [path for path in (tmp_path / "rllib").rglob("*") if path.is_file()]
    assert tc.describe(tmp_path / "rllib").total_nbytes == sum(f.stat().st_size for f in files)


def test_both_formats_tell_the_same_arrays(tmp_path):
    state = {
        "f": np.asfortranarray(np.ones((20, 30), ">i4")),
        "struct": np.zeros(9, [("a", "i4"), ("b", "f8", (2,))]),
        "time": np.zeros(300, "M8[s]"),
        "text": np.array(["a", "bc"]),
        "empty": np.zeros((0, 3)),
        "zero-d": np.array(1.0),
        "objects": np.array([None, 1]),
        "nested": [{"x": (np.ones(2),)}],
    }
    found = []
    for format in ("pickle", "msgpack"):
        tc.save_state(state, tmp_path / format, format=format)
        arrays = tc.describe(tmp_path / format).arrays
        found.append([(a.path, a.dtype, a.shape, a.nbytes) for a in arrays])
    assert found[0] == found[1]
    assert found[0][1] == ("struct", "[('a', '<i4'), ('b', '<f8', (2,))]", (9,), 180)


def test_one_component_can_be_asked_for(saved):
    assert tc.describe(saved, component="model/head") == tc.describe(saved / "model" / "head")
    with pytest.raises(ComponentNotFoundError, match="its components: head"):
        tc.describe(saved, component="model/tail")


def test_metrics_trial_and_lineage_are_told(tmp_path):
    extra = {"metrics": {"acc": 0.5}, "trial": {"id": "a1"}, "restored_from": "ab" * 16}
    save_tree(Component("m:C", {}, extra=extra), tmp_path / "c", "msgpack")
    found = tc.describe(tmp_path / "c")
    assert (found.metrics, found.trial) == ({"acc": 0.5}, {"id": "a1"})
    assert found.lineage == {"restored_from": "ab" * 16}
    assert "acc=0.5" in str(found)
    assert "id=a1" in str(found)


def test_what_the_user_reports_comes_before_what_tune_adds(tmp_path):
    tunes = ("done", "training_iteration", "trial_id", "date", "timestamp", "time_this_iter_s")
    tunes += ("time_total_s", "pid", "hostname", "node_ip", "time_since_restore")
    metrics = {**dict.fromkeys(tunes, 0), "loss": 0.5, "eval": {"acc": 0.9, "f1": 0.8}}
    save_tree(Component("m:C", {}, extra={"metrics": metrics}), tmp_path / "c", "msgpack")
    found = tc.describe(tmp_path / "c")
    assert found.metrics == metrics
    assert "loss=0.5, eval/acc=0.9, eval/f1=0.8, done=0, training_iteration=0" in str(found)
    assert "and 2 more" in str(found)


def test_a_conversion_names_its_source(tmp_path):
    trained().save_to_path(tmp_path / "c")
    tc.convert_to_msgpack_checkpoint(tmp_path / "c", tmp_path / "d")
    lineage = tc.describe(tmp_path / "d").lineage
    assert lineage == {"converted_from": tc.describe(tmp_path / "c").digest}


def test_as_a_dict_it_is_json_with_these_keys(saved):
    found = json.loads(json.dumps(tc.describe(saved).to_dict()))
    assert [*found] == [
        *("name", "class", "format", "digest", "nbytes", "total_nbytes"),
        *("parameter_count", "total_parameter_count", "files", "arrays", "metrics", "trial"),
        *("lineage", "versions", "created", "components"),
    ]
    assert [*found["components"][0]["arrays"][0]] == ["path", "kind", "dtype", "shape", "nbytes"]


def test_as_text_it_is_an_aligned_tree(saved):
    lines = str(tc.describe(saved)).splitlines()
    assert lines[0].startswith(f"{saved}  tests.agents:Agent  ")
    assert "502 parameters" in lines[0]
    assert any(line.startswith("  model  tests.agents:Model  ") for line in lines)
    assert any(line.startswith("    head  tests.agents:Weights  ") for line in lines)
    assert sum("saved" in line for line in lines) == 1  # the parts were saved with the whole


def test_columns_are_aligned_and_very_many_arrays_are_counted(tmp_path):
    tc.save_state({f"w{i}": np.zeros(10 ** (i % 4)) for i in range(300)}, tmp_path / "c")
    lines = str(tc.describe(tmp_path / "c")).splitlines()
    rows = [line for line in lines if "float64" in line]
    assert len(rows) == 20
    assert len({line.index("float64") for line in rows}) == 1
    assert len({len(line) for line in rows}) == 1
    assert "... and 280 more arrays, 607.6 KiB" in lines[-1]


# ------------------------------------------------------------------------------- what it costs


def _large_arrays(path):
    arrays = {str(i): np.zeros((2**20, 2), "f4") for i in range(16)}
    tc.save({"model": _Holder(arrays), "step": 3}, path)  # 128 MiB


class _Holder:
    def __init__(self, state):
        self._state = state

    def state_dict(self):
        return self._state

    def load_state_dict(self, state):
        self._state = state


def test_of_large_arrays_only_headers_and_trees_are_read(tmp_path, counting):
    _large_arrays(tmp_path / "c")
    found = tc.describe(tmp_path / "c")
    assert found.total_parameter_count == 2**25
    assert found.total_nbytes > 2**27
    assert 0 < counting[0].nbytes < 2**14


def test_memory_does_not_grow_with_the_arrays(tmp_path):
    _large_arrays(tmp_path / "c")
    tc.describe(tmp_path / "c")  # imports what it needs
    tracemalloc.start()
    tc.describe(tmp_path / "c")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_another_filesystem_is_read_the_same_way(tmp_path):
    (tmp_path / "bucket").mkdir()
    remote = fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem())
    trained().save_to_path("runs/c", filesystem=remote, use_msgpack=True)
    found = tc.describe("runs/c", filesystem=remote)
    assert found.total_parameter_count == 502


def test_no_heavy_package_is_imported_for_it(saved):
    code = f"import sys, tune_ckpt; tune_ckpt.describe({str(saved)!r}); print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    heavy = {"ray", "torch", "pandas", "pyarrow", "cloudpickle", "rich", "tests.agents"}
    assert not heavy & set(run.stdout.split())


# ---------------------------------------------------------------------- what others wrote


@pytest.mark.parametrize("use_msgpack", [False, True], ids=["pickle", "msgpack"])
def test_a_tree_of_rllibs_is_described(tmp_path, use_msgpack):
    found = tc.describe(write_tree(tmp_path / "c", use_msgpack=use_msgpack))
    assert [part.name for part in found.walk()] == [str(tmp_path / "c"), "learner", "module"]
    assert {part.cls for part in found.walk()} == {"tests.tree.rllib_trees:Env"}
    assert {part.format for part in found.walk()} == {"msgpack" if use_msgpack else "pickle"}
    assert found.versions == {"Ray": "2.60.0", "layout": "2.1"}
    assert found.digest is None
    assert found.total_parameter_count == 6 + 5
    assert [array.path for array in found.components[0].arrays] == ["w", "steps"]


def test_one_of_ours_inside_of_rllibs_is_described_as_ours(tmp_path):
    write_tree(tmp_path / "c")
    trained().save_to_path(tmp_path / "c" / "agent", use_msgpack=True)
    found = tc.describe(tmp_path / "c", component="agent")
    assert found.cls == "tests.agents:Agent"
    assert found.digest is not None


def test_a_class_pickled_by_value_is_named_and_not_made(tmp_path):
    import cloudpickle

    write_tree(tmp_path / "c")
    made = type("Local", (), {"__module__": "__main__"})
    ctor = {"class": made, "ctor_args_and_kwargs": ((), {})}
    (tmp_path / "c" / "class_and_ctor_args.pkl").write_bytes(cloudpickle.dumps(ctor))
    assert tc.describe(tmp_path / "c").cls == "__main__:Local"


def test_nothing_that_a_pickle_names_is_called(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "called"),)

    tc.save_state({"x": Evil(), "w": np.ones(3)}, tmp_path / "c", format="pickle")
    assert tc.describe(tmp_path / "c").parameter_count == 3
    assert not (tmp_path / "called").exists()


def test_containers_that_a_pickle_shares_again_and_again_take_no_time(tmp_path):
    bomb = [np.ones(2)]
    for _ in range(200):
        bomb = [bomb, bomb]
    tc.save_state({"bomb": bomb}, tmp_path / "c", format="pickle")
    assert tc.describe(tmp_path / "c").parameter_count == 2


def test_what_is_no_checkpoint_is_said_so(tmp_path):
    with pytest.raises(NotACheckpointError, match="nothing is there"):
        tc.describe(tmp_path / "none")
    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(NotACheckpointError, match="nor RLlib wrote it; read it with what did"):
        tc.describe(tmp_path)


@pytest.mark.parametrize("file", ["", "checkpoint-10"])
def test_who_has_the_oldest_of_rllibs_is_told_what_reads_it(corpus, file):
    path = corpus / "synthetic-v0.1-ray2.0-style-ppo-single" / "checkpoint" / file
    with pytest.raises(NotACheckpointError, match=r"such as 0\.1, .* upgrade_checkpoint\("):
        tc.describe(path)


def test_a_file_is_no_checkpoint(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(NotACheckpointError, match="nor RLlib wrote it; read it with what did"):
        tc.describe(tmp_path / "model.pt")


def test_a_document_that_is_not_the_committed_one_is_refused(tmp_path):
    for name, value in (("c", 1), ("d", 2)):
        tc.save_state({"x": value}, tmp_path / name)
    (tmp_path / "d" / "state.msgpack").replace(tmp_path / "c" / "state.msgpack")
    with pytest.raises(CorruptDataError, match="digest"):
        tc.describe(tmp_path / "c")


def test_facts_that_are_forged_are_shown_as_they_are(tmp_path):
    facts = {"created": 2020, "python_version": 3}
    forged = Metadata("m:C", "msgpack", facts=facts, extra={"metrics": ["no dict"], "trial": 7})
    tc.save_state({}, tmp_path / "c")
    whole = Metadata.from_json((tmp_path / "c" / "metadata.json").read_bytes(), "")
    forged.files = whole.files
    (tmp_path / "c" / "metadata.json").write_bytes(forged.to_json())
    found = tc.describe(tmp_path / "c")
    assert (found.metrics, found.trial, found.versions) == ({}, 7, {"Python": "3"})
    assert "trial    7" in str(found)
    assert found.created == "2020"


def _fits(array, name, weight):
    facts = (array.dtype, list(array.shape)) == (weight["dtype"], weight["shape"])
    return facts and array.path.endswith(name)


def _cases(corpus):
    return [
        case
        for case in sorted(corpus.iterdir())
        if any((case / "checkpoint").glob("*.json")) and "tune" not in case.name
    ]


def test_every_rllib_checkpoint_of_the_corpus_is_described(corpus):
    for case in _cases(corpus):
        found = tc.describe(case / "checkpoint")
        expected = json.loads((case / "expected.json").read_text())
        assert found.versions["Ray"] == expected["ray_version"], case.name
        assert found.total_parameter_count > 100, case.name
        assert found.cls, case.name
        arrays = [array for part in found.walk() for array in part.arrays]
        for weights in expected["weights"].values():
            for name, weight in weights.items():
                assert [a for a in arrays if _fits(a, name, weight)], f"{case.name}: {name}"
        assert json.dumps(found.to_dict())
        assert str(found)
    assert len(_cases(corpus)) > 50
