"""Inference bundles: they open without Ray, check themselves, and act as the original."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.rllib.cases import (
    CASES,
    COMMITTED,
    OWN_CONNECTOR,
    STACKING,
    of_ray_1,
    of_ray_1_with_a_filter,
    one,
    with_connectors,
    with_former_statistics,
)
from tune_ckpt import archive, load_state, save_state
from tune_ckpt.errors import (
    ComponentNotFoundError,
    CorruptDataError,
    InvalidArgumentError,
    NotACheckpointError,
    SelfTestError,
)
from tune_ckpt.rllib import export_bundle, load_bundle

REPO = Path(__file__).parents[2]
MEANSTD = one("ray2.60.0-py3.11-new-ppo-single-meanstd")
KNOWN = [case for case in COMMITTED if "synthetic" not in case.name]


def _name(case):
    name = min(key.partition("/")[0] for key in case.outputs)
    return None if name.startswith("__") else name


@pytest.mark.parametrize("case", KNOWN, ids=lambda case: case.name)
def test_every_version_becomes_a_bundle_that_acts_as_its_own_ray_did(tmp_path, case):
    export_bundle(case.path, tmp_path / "b", _name(case))
    bundle = load_bundle(tmp_path / "b")
    bundle.network.filter = None  # the expected outputs are those of the model alone
    ends = ("/logits", "/q_values", "/action_dist_inputs")
    start = _name(case) or "__"
    expected = next(k for k in case.outputs if k.startswith(start) and k.endswith(ends))
    chosen = case.outputs[expected].argmax(1)
    np.testing.assert_equal(bundle.act(case.observations), chosen)
    assert bundle.act(case.observations[0]) == chosen[0]


def test_a_bundle_tells_what_it_is(tmp_path):
    export_bundle(MEANSTD.path, tmp_path / "b")
    bundle = load_bundle(tmp_path / "b")
    assert bundle.observation_space["shape"] == (4,)
    assert (bundle.action_space["space"], bundle.action_space["n"]) == ("discrete", 2)
    assert bundle.source["class"] == "DefaultPPOTorchRLModule"
    assert bundle.source["ray_version"] == "2.60.0"
    assert bundle.absent == ()
    assert bundle.network.filter is not None
    told = f"'default_policy', a policy by DefaultPPOTorchRLModule, in {MEANSTD.path}"
    assert repr(bundle) == f"<InferenceBundle of {told}>"


def test_the_filter_of_ray_1_is_in_the_bundle(tmp_path):
    checkpoint = of_ray_1_with_a_filter(tmp_path / "c")
    export_bundle(checkpoint, tmp_path / "b", config={"model": {"fcnet_activation": "tanh"}})
    bundle = load_bundle(tmp_path / "b")
    assert (bundle.source["policy_id"], bundle.absent) == ("default_policy", ())
    np.testing.assert_equal(bundle.network.filter.mean.numpy(), [0, 1, 2, 3])
    np.testing.assert_allclose(bundle.network.filter.std.numpy(), 2, rtol=1e-6)


def test_a_filter_of_the_new_stack_is_in_the_bundle_by_its_former_names_too(tmp_path):
    export_bundle(with_former_statistics(tmp_path / "c"), tmp_path / "b")
    export_bundle(MEANSTD.path, tmp_path / "today")
    former, today = (load_bundle(tmp_path / name).network.filter for name in ("b", "today"))
    np.testing.assert_equal(former.mean.numpy(), today.mean.numpy())
    np.testing.assert_equal(former.std.numpy(), today.std.numpy())


def test_of_ray_1_what_the_user_did_not_say_is_as_the_algorithm_has_it(tmp_path):
    export_bundle(of_ray_1(tmp_path / "t", "PPOTorchPolicy", {"lr": 0.5}), tmp_path / "b")
    recipe = load_bundle(tmp_path / "b").network.recipe
    assert [layer.activation for layer in (*recipe.trunk, *recipe.head)] == [
        "tanh",
        "tanh",
        "linear",
    ]


@pytest.mark.parametrize("told", [{"fcnet_activation": "tanh"}, {}])
def test_the_policy_model_of_ray_1s_sac_is_used(tmp_path, told):
    names = ("_hidden_layers.0._model.0", "_logits._model.0")
    shapes = ((8, 4), (2, 8))
    weights = {
        f"action_model.{name}.{part}": np.ones(shape[: 2 if part == "weight" else 1], np.float32)
        for name, shape in zip(names, shapes, strict=True)
        for part in ("weight", "bias")
    }
    params = {"policy_model": {"fcnet_hiddens": [8], **told}}
    path = of_ray_1(tmp_path / "t", "SACTorchPolicy", params, weights)
    export_bundle(path, tmp_path / "b")
    expected = told.get("fcnet_activation", "relu")  # Ray 1 took the rest from SAC's own
    assert load_bundle(tmp_path / "b").network.recipe.trunk[0].activation == expected


def test_connectors_that_somebody_chose_are_told(tmp_path):
    chosen, own = (STACKING, {"num_frames": 2}), (OWN_CONNECTOR, {})
    path = with_connectors(tmp_path / "c", chosen, own, ("mine:Connector", {}))
    export_bundle(path, tmp_path / "b")
    told = (f"the connector {STACKING}", "the connector mine:Connector")
    assert load_bundle(tmp_path / "b").absent == told


def test_what_a_bundle_does_not_do_is_told(tmp_path):
    case = next(
        (case for case in CASES if "2.60.0-py3.11-new-ppo-multi-msgpack" in case.name), None
    )
    if case is None:
        pytest.skip("the corpus of real checkpoints is not beside this checkout")
    export_bundle(case.path, tmp_path / "b", "p0")
    (absent,) = load_bundle(tmp_path / "b").absent
    assert "filters of the agents 0, 1" in absent


def test_a_bundle_opens_where_ray_cannot_be_imported(tmp_path):
    export_bundle(MEANSTD.path, tmp_path / "b")
    script = [sys.executable, str(REPO / "tests" / "rllib" / "without_ray.py"), str(tmp_path / "b")]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    run = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    rows = np.linspace(-1, 1, 12, dtype="f4").reshape(3, 4)
    expected = load_bundle(tmp_path / "b").act(rows)
    assert json.loads(run.stdout) == [expected.tolist(), expected[0].tolist()]


def test_exporting_imports_neither_ray_nor_gymnasium(tmp_path):
    code = f"""
import sys
from tests.rllib.without_ray import NoRay
sys.meta_path.insert(0, NoRay)
from tune_ckpt.rllib import export_bundle
export_bundle({str(MEANSTD.path)!r}, {str(tmp_path / "b")!r})
"""
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert load_bundle(tmp_path / "b").source["policy_id"] == "default_policy"


def test_a_bundle_in_one_file_is_a_bundle(tmp_path):
    export_bundle(MEANSTD.path, tmp_path / "b")
    archive(tmp_path / "b", tmp_path / "b.zip")
    bundle = load_bundle(tmp_path / "b.zip")
    np.testing.assert_equal(
        bundle.act(MEANSTD.observations), load_bundle(tmp_path / "b").act(MEANSTD.observations)
    )


def test_a_bundle_that_computes_something_else_is_refused(tmp_path):
    export_bundle(MEANSTD.path, tmp_path / "b")
    state = load_state(tmp_path / "b")
    state["weights"]["pi.net.mlp.0.bias"] += 0.1
    save_state(state, tmp_path / "changed")
    with pytest.raises(SelfTestError, match="action_dist_inputs"):
        load_bundle(tmp_path / "changed")
    load_bundle(tmp_path / "changed", tolerance=1.0)


def test_what_is_no_bundle_says_so(tmp_path):
    save_state({"a": 1}, tmp_path / "a")
    with pytest.raises(CorruptDataError, match="no inference bundle"):
        load_bundle(tmp_path / "a")
    export_bundle(MEANSTD.path, tmp_path / "b")
    state = load_state(tmp_path / "b")
    del state["recipe"]
    save_state(state, tmp_path / "c")
    with pytest.raises(CorruptDataError, match="'recipe'"):
        load_bundle(tmp_path / "c")
    with pytest.raises(NotACheckpointError):
        load_bundle(tmp_path / "nothing")


ALTERED = {
    "weights that are no arrays": ("weights", "pi.net.mlp.0.weight", "os:system"),
    "weights of another shape": ("weights", "pi.net.mlp.0.bias", np.zeros((2, 2), "f4")),
    "a filter that is none": ("filter", "mean", [1]),
    "layers that are none": ("recipe", "trunk", "os:system"),
    "actions without bounds": ("actions", "space", {"space": "box"}),
    "observations without a shape": ("observation_space", "shape", None),
    "outputs that are none": ("selftest", "actions", "abc"),
}


@pytest.mark.parametrize("what", ALTERED)
def test_an_altered_bundle_is_refused(tmp_path, what):
    export_bundle(MEANSTD.path, tmp_path / "b")
    state = load_state(tmp_path / "b")
    part, name, value = ALTERED[what]
    state[part][name] = value
    save_state(state, tmp_path / "altered")
    with pytest.raises((CorruptDataError, SelfTestError)):
        load_bundle(tmp_path / "altered")


@pytest.mark.parametrize("name", ["observations", "selftest", "weights", "source"])
def test_a_bundle_that_lacks_something_is_refused(tmp_path, name):
    export_bundle(MEANSTD.path, tmp_path / "b")
    state = load_state(tmp_path / "b")
    del state[name]
    save_state(state, tmp_path / "less")
    with pytest.raises(CorruptDataError, match=name):
        load_bundle(tmp_path / "less")


def test_an_unknown_device_is_refused(tmp_path):
    export_bundle(MEANSTD.path, tmp_path / "b")
    with pytest.raises(InvalidArgumentError, match="device"):
        load_bundle(tmp_path / "b", device="nowhere")


def test_observations_for_the_self_test_are_checked(tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"observations=.*shape \(4,\)"):
        export_bundle(MEANSTD.path, tmp_path / "b", observations=np.zeros((2, 5)))


def test_damage_is_found(tmp_path):
    export_bundle(MEANSTD.path, tmp_path / "b")
    (file,) = (tmp_path / "b").glob("state*")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptDataError):
        load_bundle(tmp_path / "b")


def test_observations_of_another_shape_are_refused(tmp_path):
    export_bundle(MEANSTD.path, tmp_path / "b")
    bundle = load_bundle(tmp_path / "b")
    for shape in ((5,), (2, 3, 4), ()):
        with pytest.raises(InvalidArgumentError, match="observations"):
            bundle.act(np.zeros(shape))
    for wrong in (["a", "b", "c", "d"], [[1], [1, 2]], None, {"a": 1}):
        with pytest.raises(InvalidArgumentError, match="observations"):
            bundle.act(wrong)


def test_an_unknown_policy_is_an_error(tmp_path):
    with pytest.raises(ComponentNotFoundError, match="'p7'"):
        export_bundle(one("ray2.60.0-py3.13").path, tmp_path / "b", "p7")
    several = "policy_id=None is not possible: there are several, pass one of them; .* p0, p1"
    with pytest.raises(InvalidArgumentError, match=several):
        export_bundle(one("ray2.60.0-py3.13").path, tmp_path / "b")


@pytest.mark.slow
def test_an_lstm_remembers_until_it_is_reset(tmp_path):
    from tests.rllib.own_policies import CHOICE, VECTOR, exported, old_policy

    model = {"fcnet_hiddens": [7], "use_lstm": True, "lstm_cell_size": 4}
    policy = exported(old_policy("PPO", VECTOR, CHOICE, model), tmp_path / "p")
    export_bundle(policy, tmp_path / "b")
    bundle = load_bundle(tmp_path / "b")
    row = np.full(5, 0.3, np.float32)
    outputs = []
    for _ in range(3):
        bundle.act(row)
        outputs.append([state.tolist() for state in bundle._states])
    assert outputs[0] != outputs[1] != outputs[2]
    bundle.reset()
    bundle.act(row)
    assert [state.tolist() for state in bundle._states] == outputs[0]
