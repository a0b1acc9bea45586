"""Pickles with their arrays lifted out: the value comes back the same, over copies."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats import strategies
from tests.formats.comparing import assert_same
from tune_ckpt.errors import UnsupportedStateError
from tune_ckpt.formats import msgpack, pickle, pickle_lifted
from tune_ckpt.formats.pickle_lifted import drop, lift


@pytest.fixture(autouse=True)
def lift_everything(monkeypatch):
    monkeypatch.setattr(pickle_lifted, "WORTH_LIFTING_NBYTES", 1)


def _again(value):
    data, lifted = lift(value)
    copies = [memoryview(bytearray(one.memory)) for one in lifted]
    for one in lifted:  # nothing but the copies may count
        if not one.memory.readonly:
            one.memory[:] = bytes(one.memory.nbytes)
    return drop(data, [one.rebuild(part) for one, part in zip(lifted, copies, strict=True)])


def _as_unpickled(value):
    return pickle.loads(pickle.dumps(value), file="a pickle")


liftable = strategies.laid_out().filter(lambda array: array.nbytes and not array.dtype.hasobject)


@given(st.lists(liftable | strategies.text, max_size=4))
def test_values_come_back_the_same(value):
    expected = msgpack.loads(msgpack.dumps(value))
    assert_same(_again(value), expected)


def test_one_array_under_two_names_stays_one():
    array = np.arange(100.0)
    data, lifted = lift({"a": array, "b": array, "c": array.copy()})
    assert len(lifted) == 2
    back = drop(data, [one.rebuild(one.memory) for one in lifted])
    assert back["a"] is back["b"]
    assert back["a"] is not back["c"]


def test_read_only_arrays_stay_read_only():
    array = np.arange(100.0)
    array.flags.writeable = False
    assert not _again({"a": array})["a"].flags.writeable


def test_arrays_of_objects_and_small_ones_stay_in_the_pickle(monkeypatch):
    assert lift(np.array([{}, []], object))[1] == []
    monkeypatch.setattr(pickle_lifted, "WORTH_LIFTING_NBYTES", 1000)
    data, lifted = lift({"small": np.arange(9), "large": np.arange(1000)})
    assert [one.memory.nbytes for one in lifted] == [8000]
    assert len(data) < 1000


def test_a_pickle_from_which_nothing_is_lifted_is_an_ordinary_one():
    value = {"a": [1, 2], "b": "text", "c": (None, 1.5)}
    assert lift(value) == (pickle.dumps(value), [])


def test_what_cannot_be_pickled_is_an_error_of_ours():
    with pytest.raises(UnsupportedStateError, match="generator"):
        lift({"a": (x for x in ())})


class Unreadable:
    def __init__(self):
        self.array = np.arange(100)

    def __setstate__(self, state):
        raise ValueError("never again")


def test_what_cannot_be_unpickled_is_an_error_of_ours():
    with pytest.raises(UnsupportedStateError, match=r"unpickled again .ValueError: never again"):
        _again([Unreadable()])


def test_instances_of_classes_without_a_module_come_back_as_such():
    class Local:
        def __init__(self):
            self.array = np.arange(100)

    back = _again(Local())
    assert type(back) is Local
    assert back.array.tolist() == list(range(100))


def _tensors(torch):
    base = torch.arange(60, dtype=torch.float32).reshape(6, 10)
    tied = torch.nn.Linear(3, 4)
    return {
        "float32": base.clone(),
        "view": base[2:5, ::3],
        "transposed": base.T,
        "same memory": base,
        "bfloat16": base.to(torch.bfloat16),
        "bool": base > 3,
        "complex": torch.complex(base, base),
        "empty": torch.empty(0),
        "scalar": torch.tensor(3.5),
        "parameter": torch.nn.Parameter(base.clone(), requires_grad=False),
        "grad": base.clone().requires_grad_(),
        "module": tied.state_dict(),
        "sparse": torch.eye(4).to_sparse(),
        "optimizer": torch.optim.Adam(tied.parameters()).state_dict(),
    }


def test_tensors_come_back_as_from_a_pickle_of_their_own():
    torch = pytest.importorskip("torch")
    tensors = _tensors(torch)
    expected = copy.deepcopy(tensors)
    back = _as_unpickled(_again(tensors))
    sparse, expected_sparse = back.pop("sparse"), expected.pop("sparse")
    assert torch.equal(sparse.to_dense(), expected_sparse.to_dense())
    assert back.keys() == expected.keys()
    for name in expected.keys() - {"module", "optimizer"}:
        assert torch.equal(back[name], expected[name]), name
        assert (back[name].dtype, back[name].stride()) == (
            expected[name].dtype,
            expected[name].stride(),
        )
        assert back[name].requires_grad == expected[name].requires_grad
        assert type(back[name]) is type(expected[name])
    assert all(torch.equal(back["module"][k], v) for k, v in expected["module"].items())
    assert back["optimizer"] == expected["optimizer"]


def test_the_memory_of_tensors_is_lifted_once():
    torch = pytest.importorskip("torch")
    base = torch.zeros(1000)
    _, lifted = lift([base, base[10:], base.view(10, 100), torch.zeros(10)])
    assert [one.memory.nbytes for one in lifted] == [4000, 40]
