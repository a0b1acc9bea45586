"""torch tensors and jax arrays in states."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from tests.formats.comparing import assert_same
from tune_ckpt.errors import MissingDependencyError
from tune_ckpt.formats import dtypes, msgpack

torch = pytest.importorskip("torch")

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"]
DTYPES += ["float16", "float32", "float64", "bfloat16", "complex64", "complex128"]
DTYPES += ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"]


def round_trip(value, **options):
    return msgpack.loads(msgpack.dumps(value), **options)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(), (0, 2), (3, 2), (50, 60)])
def test_every_dtype(name, shape):
    dtype = getattr(torch, name)
    raw = np.random.default_rng(0).integers(
        0, 2 if name == "bool" else 256, (*shape, dtype.itemsize)
    )
    bits = torch.from_numpy(raw.astype("u1").reshape(-1))
    tensor = (bits.view(dtype) if bits.numel() else torch.empty(0, dtype=dtype)).reshape(shape)
    state = {"t": tensor, "dtype": dtype}
    assert_same(state, round_trip(state))
    array = round_trip(state, tensors="numpy")["t"]
    assert array.shape == shape
    assert array.dtype.name == name


LAYOUTS = {
    "transposed": lambda: torch.arange(6.0).reshape(2, 3).t(),
    "channels last": lambda: torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "expanded": lambda: torch.ones(1, 3).expand(4, 3),
    "slice": lambda: torch.arange(10)[::3],
    "conjugate": lambda: torch.tensor([1 + 2j]).conj(),
    "negative": lambda: torch.tensor([1 + 2j]).conj().imag,
    "grad": lambda: torch.ones(2, requires_grad=True),
    "of a graph": lambda: torch.ones(2, requires_grad=True) * 2,
    "parameter": lambda: torch.nn.Parameter(torch.ones(300, 2)),
    "frozen parameter": lambda: torch.nn.Parameter(torch.ones(2), requires_grad=False),
    "integer parameter": lambda: torch.nn.Parameter(torch.ones(2).int(), requires_grad=False),
    "device": lambda: [torch.device("cpu"), torch.device("cuda", 1)],
    "size": lambda: torch.Size([1, 2]),
    "generator": lambda: torch.Generator().manual_seed(3),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout(name):
    value = LAYOUTS[name]()
    assert_same(value, round_trip(value))
    round_trip(value, tensors="numpy")


def test_memory_order_stays():
    tensor = torch.rand(2, 3, 40, 50).to(memory_format=torch.channels_last)
    assert round_trip(tensor).is_contiguous(memory_format=torch.channels_last)


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Linear(30, 30)
        self.b = torch.nn.Linear(30, 30)
        self.b.weight = self.a.weight


@pytest.mark.parametrize("mmap", [False, True])
def test_tied_weights_are_tied_again(mmap):
    model = Tied()
    state = {"state": model.state_dict(), "parameters": dict(model.named_parameters())}
    loaded = round_trip(state, mmap=mmap)
    a, b = loaded["state"]["a.weight"], loaded["state"]["b.weight"]
    parameter = loaded["parameters"]["a.weight"]
    assert a.data_ptr() == b.data_ptr() == parameter.data_ptr()
    assert not a.requires_grad
    assert isinstance(parameter, torch.nn.Parameter)
    with torch.no_grad():
        parameter[:] = 7
    assert (b == 7).all()
    assert loaded["state"]._metadata == state["state"]._metadata
    assert len(msgpack.dumps(state)) < len(msgpack.dumps(model.state_dict())) + 1000


def test_an_optimizer_goes_on_as_before():
    torch.manual_seed(0)
    model = Tied()
    optimizer = torch.optim.Adam(model.parameters())

    def step():
        optimizer.zero_grad()
        model.b(model.a(torch.ones(30))).sum().backward()
        optimizer.step()
        return model.a.weight.detach().clone()

    step()
    saved = msgpack.dumps([model.state_dict(), optimizer.state_dict()])
    after = step()
    weights, state = msgpack.loads(saved)
    model.load_state_dict(weights)
    optimizer.load_state_dict(state)
    assert torch.equal(step(), after)


def test_what_has_no_plain_memory_is_refused():
    class Own(torch.Tensor):
        pass

    state = {
        "sparse": torch.ones(2).to_sparse(),
        "meta": torch.ones(2, device="meta"),
        "own": torch.ones(2).as_subclass(Own),
    }
    assert [fault.path for fault in msgpack.check(state)] == list(state)


def test_a_dtype_that_this_torch_lacks_is_an_error_that_says_so(monkeypatch):
    tensor = torch.zeros(2).to(torch.float8_e4m3fn)
    data = msgpack.dumps([tensor, torch.float8_e4m3fn])
    monkeypatch.delattr(torch, "float8_e4m3fn")
    with pytest.raises(MissingDependencyError, match="dtype float8_e4m3fn needs torch>="):
        msgpack.loads(data)
    assert msgpack.loads(data, tensors="numpy")[0].tolist() == [0.0, 0.0]


def test_without_torch_tensors_are_arrays(tmp_path):
    (tmp_path / "state").write_bytes(msgpack.dumps({"w": torch.ones(3, dtype=torch.bfloat16)}))
    code = f"""
import sys
sys.modules["torch"] = None
from pathlib import Path
from tune_ckpt.errors import MissingDependencyError
from tune_ckpt.formats import msgpack
data = Path({str(tmp_path / "state")!r}).read_bytes()
value = msgpack.loads(data)["w"]
print(value.dtype, value.tolist(), sys.modules["torch"])
try:
    msgpack.loads(data, tensors="torch")
except MissingDependencyError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    expected = "bfloat16 [1.0, 1.0, 1.0] None\nA tensor as such needs torch: pip install torch\n"
    assert run.stdout == expected, run.stderr


def test_whether_torch_is_installed_is_looked_up_once(monkeypatch):
    asked = []
    monkeypatch.setattr(importlib.util, "find_spec", asked.append)
    assert type(round_trip([torch.ones(2), torch.zeros(2)])[1]) is np.ndarray
    assert asked == ["torch"]


def test_a_dtype_that_this_ml_dtypes_lacks_is_an_error_that_says_so(monkeypatch):
    array = np.zeros(2, ml_dtypes.int4)
    data = msgpack.dumps(array)
    monkeypatch.delattr(ml_dtypes, "int4")
    dtypes._decode_plain.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"dtype int4 needs ml_dtypes>\d"):
        msgpack.loads(data)


def test_tensors_need_no_ml_dtypes(monkeypatch):
    state = {"w": torch.ones(3, dtype=torch.bfloat16), "dtype": torch.bfloat16}
    data = msgpack.dumps(state)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    dtypes._decode_plain.cache_clear()
    assert_same(state, msgpack.loads(data))
    with pytest.raises(MissingDependencyError, match="ml_dtypes"):
        msgpack.loads(data, tensors="numpy")


# --------------------------------------------------------------------------------------- jax


def test_jax_arrays():
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        wide = jax.numpy.arange(3, dtype="float64") / 3
    state = {
        "plain": jax.numpy.arange(6.0).reshape(2, 3),
        "large": jax.numpy.arange(2000),
        "bfloat16": jax.numpy.ones((2, 3), jax.numpy.bfloat16),
        "weak": jax.numpy.asarray(1.0),
        "empty": jax.numpy.zeros((0, 2)),
        "wide": wide,
    }
    state["again"] = state["large"]
    loaded = round_trip(state)
    assert_same(state, loaded)
    assert loaded["again"] is loaded["large"]
    arrays = round_trip(state, tensors="numpy")
    assert arrays["bfloat16"].dtype == ml_dtypes.bfloat16
    assert np.array_equal(arrays["wide"], np.arange(3) / 3)


def test_jax_arrays_come_back_in_the_older_jax(monkeypatch):
    jax = pytest.importorskip("jax")
    experimental = pytest.importorskip("jax.experimental")
    with jax.enable_x64(True):
        wide = jax.numpy.arange(3, dtype="float64") / 3
    data = msgpack.dumps(wide)
    monkeypatch.setattr(experimental, "enable_x64", jax.enable_x64, raising=False)
    monkeypatch.delattr(jax, "enable_x64")
    assert_same(wide, msgpack.loads(data))


def test_a_jax_key_is_refused():
    jax = pytest.importorskip("jax")
    (fault,) = msgpack.check([jax.random.key(0)])
    assert "PRNGKeyArray cannot be written" in fault.reason
