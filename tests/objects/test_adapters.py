"""Objects that are components without being Checkpointable."""

import collections

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

import tune_ckpt as tc
from tune_ckpt.errors import (
    MissingDependencyError,
    RestoreError,
    UnsupportedComponentError,
    UntrustedTypesError,
)

FORMATS = pytest.mark.parametrize("format", ["msgpack", "pickle"])


def training(seed, *, lr=0.1, optimizer=torch.optim.Adam):
    """A small network with all that is needed to train it on."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout())
    made = optimizer(net.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(made, T_max=10)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=2)
    return {"net": net, "optimizer": made, "schedule": schedule, "scaler": scaler}


def train(parts, steps):
    losses = []
    for _ in range(steps):
        inputs = torch.rand(8, 3)
        loss = (parts["net"](inputs) ** 2).sum()
        parts["optimizer"].zero_grad()
        parts["scaler"].scale(loss).backward()
        parts["scaler"].step(parts["optimizer"])
        parts["scaler"].update()
        parts["schedule"].step()
        losses.append(loss.item())
    return losses


@FORMATS
def test_a_resumed_run_continues_to_the_bit(tmp_path, format):
    parts = training(0)
    train(parts, 3)
    tc.save({**parts, "rng": tc.RngState()}, tmp_path / "c", format=format)
    expected = train(parts, 5)
    resumed = training(1, lr=0.7)
    tc.restore({**resumed, "rng": tc.RngState()}, tmp_path / "c")
    assert train(resumed, 5) == expected


SCHEDULES = {
    "StepLR": lambda o: torch.optim.lr_scheduler.StepLR(o, 2),
    "OneCycleLR": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.5, total_steps=20),
    "ReduceLROnPlateau": lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0),
    "LambdaLR": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 0.9**step),
    "CosineAnnealingWarmRestarts": lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
        o, 3
    ),
    "SequentialLR": lambda o: torch.optim.lr_scheduler.SequentialLR(
        o,
        [
            torch.optim.lr_scheduler.ConstantLR(o),
            torch.optim.lr_scheduler.ExponentialLR(o, 0.9),
        ],
        milestones=[2],
    ),
}


@FORMATS
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(tmp_path, format, name):
    def start():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
        return {"optimizer": optimizer, "schedule": SCHEDULES[name](optimizer)}

    def step(parts):
        parts["optimizer"].step()
        parts["schedule"].step(*([1.0] if name == "ReduceLROnPlateau" else []))
        return parts["optimizer"].param_groups[0]["lr"]

    parts, resumed = start(), start()
    for _ in range(3):
        step(parts)
    tc.save(parts, tmp_path / "c", format=format)
    tc.restore(resumed, tmp_path / "c")
    assert [step(resumed) for _ in range(4)] == [step(parts) for _ in range(4)]


def test_an_optimizer_of_another_class_does_not_fit(tmp_path):
    tc.save(training(0), tmp_path / "c")
    target = training(0, optimizer=torch.optim.SGD)
    with pytest.raises(
        RestoreError, match=r"optimizer: torch\.optim\.adam:Adam in the checkpoint, .*sgd:SGD"
    ):
        tc.restore(target, tmp_path / "c")
    assert tc.restore(target, tmp_path / "c", strict="ignore").report.loaded == (
        ".",
        "net",
        "scaler",
        "schedule",
    )


def test_an_optimizer_of_other_parameters_does_not_fit(tmp_path):
    one, two = ([torch.nn.Parameter(torch.ones(2)) for _ in range(n)] for n in (1, 2))
    tc.save({"optimizer": torch.optim.Adam(one)}, tmp_path / "c")
    with pytest.raises(RestoreError, match="groups of 1 parameters in the checkpoint, 2"):
        tc.restore({"optimizer": torch.optim.Adam(two)}, tmp_path / "c")


def test_tied_weights_stay_tied(tmp_path):
    def tied():
        net = torch.nn.Sequential(torch.nn.Linear(3, 3, False), torch.nn.Linear(3, 3, False))
        net[1].weight = net[0].weight
        return net

    saved, target = tied(), tied()
    tc.save({"net": saved}, tmp_path / "c")
    tc.restore({"net": target}, tmp_path / "c")
    assert target[0].weight is target[1].weight
    assert torch.equal(target[1].weight, saved[0].weight)


def test_lazy_modules_take_the_shapes_of_the_checkpoint(tmp_path):
    saved = torch.nn.LazyLinear(2)
    saved(torch.ones(1, 5))
    tc.save({"net": saved}, tmp_path / "c")
    target = torch.nn.LazyLinear(2)
    tc.restore({"net": target}, tmp_path / "c")
    assert torch.equal(target.weight, saved.weight)


@FORMATS
def test_a_sampler_goes_on_where_its_generator_was(tmp_path, format):
    def loader(seed):
        sampler = RandomSampler(range(10), generator=torch.Generator().manual_seed(seed))
        return sampler, DataLoader(range(10), sampler=sampler)

    sampler, batches = loader(0)
    list(batches)
    tc.save({"sampler": sampler}, tmp_path / "c", format=format)
    resumed, resumed_batches = loader(1)
    tc.restore({"sampler": resumed}, tmp_path / "c")
    assert list(resumed_batches) == list(batches)


def test_a_sampler_of_batches_keeps_what_is_in_it(tmp_path):
    def make(seed):
        generator = torch.Generator().manual_seed(seed)
        return BatchSampler(RandomSampler(range(9), generator=generator), 2, drop_last=False)

    saved, target = make(0), make(1)
    list(saved)
    tc.save({"batches": saved}, tmp_path / "c")
    tc.restore({"batches": target}, tmp_path / "c")
    assert list(target) == list(saved)


def test_a_sampler_of_ones_own_needs_a_state_dict(tmp_path):
    class Mine(RandomSampler):
        at = 0

    class Telling(Mine):
        def state_dict(self):
            return {"at": self.at}

        def load_state_dict(self, state):
            self.at = state["at"]

    with pytest.raises(UnsupportedComponentError, match="Mine"):
        tc.save({"sampler": Mine(range(3))}, tmp_path / "c")
    saved, target = Telling(range(3)), Telling(range(3))
    saved.at = 2
    tc.save({"sampler": saved}, tmp_path / "c")
    tc.restore({"sampler": target}, tmp_path / "c")
    assert target.at == 2


def test_a_sampler_of_another_class_does_not_fit(tmp_path):
    tc.save({"sampler": RandomSampler(range(3), generator=torch.Generator())}, tmp_path / "c")
    with pytest.raises(RestoreError, match=r"sampler: .*RandomSampler in the checkpoint"):
        tc.restore({"sampler": SequentialSampler(range(3))}, tmp_path / "c")
    with pytest.raises(RestoreError, match="sampler/generator: unexpected"):
        tc.restore({"sampler": RandomSampler(range(3))}, tmp_path / "c")


def test_a_distributed_sampler_keeps_its_epoch(tmp_path):
    def make():
        return torch.utils.data.DistributedSampler(range(9), num_replicas=2, rank=0)

    saved, target = make(), make()
    saved.set_epoch(5)
    tc.save({"sampler": saved}, tmp_path / "c")
    tc.restore({"sampler": target}, tmp_path / "c")
    assert list(target) == list(saved)


@FORMATS
def test_a_torch_generator(tmp_path, format):
    saved, target = torch.Generator().manual_seed(3), torch.Generator()
    tc.save({"generator": saved}, tmp_path / "c", format=format)
    tc.restore({"generator": target}, tmp_path / "c")
    draws = [torch.rand(3, generator=generator).tolist() for generator in (saved, target)]
    assert draws[0] == draws[1]


class OnGpu(torch.Tensor):
    """A tensor that says it is on a GPU, and has to be copied from there."""

    @staticmethod
    def __new__(cls, host):
        kind = torch.Tensor._make_wrapper_subclass(cls, host.shape, dtype=host.dtype, device="cuda")
        kind.host = host
        return kind

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.detach.default:
            return cls(args[0].host)
        assert function is torch.ops.aten._to_copy.default
        assert kwargs["device"].type == "cpu"
        return args[0].host


@pytest.mark.parametrize("allow_pickle", [False, True])
def test_a_pickle_from_a_gpu_opens_on_the_cpu(tmp_path, allow_pickle):
    state = {"w": torch.nn.Parameter(OnGpu(torch.ones(3))), "v": OnGpu(torch.zeros(2))}
    tc.save_state(state, tmp_path / "c", format="pickle")
    found = tc.load_state(tmp_path / "c", allow_pickle=allow_pickle)
    assert [tensor.device.type for tensor in found.values()] == ["cpu", "cpu"]
    assert found["w"].tolist() == [1, 1, 1]
    assert isinstance(found["w"], torch.nn.Parameter)


# ------------------------------------------------------------------------------ other libraries


def data():
    inputs = np.random.default_rng(0).normal(size=(60, 4))
    return inputs, (inputs[:, 0] * inputs[:, 1] > 0).astype(int)


@FORMATS
def test_scikit_learn_estimators(tmp_path, format):
    pytest.importorskip("skops")
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    inputs, labels = data()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(inputs, labels)
    forest = RandomForestClassifier(5, random_state=0).fit(inputs, labels)
    tc.save({"pipeline": pipeline, "forest": forest}, tmp_path / "c", format=format)
    fresh = make_pipeline(StandardScaler(), LogisticRegression()), RandomForestClassifier(5)
    targets = {"pipeline": fresh[0], "forest": fresh[1]}
    with pytest.raises(UntrustedTypesError, match=r"sklearn\.tree\._tree\.Tree"):
        tc.restore(targets, tmp_path / "c")
    assert not hasattr(fresh[0][-1], "coef_")
    tc.restore(targets, tmp_path / "c", trusted=["sklearn"])
    for target, saved in zip(fresh, (pipeline, forest), strict=True):
        assert np.array_equal(target.predict_proba(inputs), saved.predict_proba(inputs))
    with pytest.raises(RestoreError, match=r"forest: .*RandomForestClassifier in the checkpoint"):
        tc.restore({**targets, "forest": LogisticRegression()}, tmp_path / "c", trusted="sklearn")


def test_scikit_learn_without_skops_says_what_is_missing(tmp_path, monkeypatch):
    from sklearn.linear_model import LogisticRegression

    monkeypatch.setitem(__import__("sys").modules, "skops", None)
    with pytest.raises(MissingDependencyError, match="pip install skops"):
        tc.save({"model": LogisticRegression()}, tmp_path / "c")


@FORMATS
def test_an_xgboost_booster(tmp_path, format):
    xgboost = pytest.importorskip("xgboost")
    matrix = xgboost.DMatrix(*data())
    booster = xgboost.train({"objective": "binary:logistic"}, matrix, 5)
    target = xgboost.Booster()
    tc.save({"booster": booster}, tmp_path / "c", format=format)
    tc.restore({"booster": target}, tmp_path / "c")
    assert np.array_equal(target.predict(matrix), booster.predict(matrix))


def scikit_learn_models(name):
    """Return a class of models, and arguments of its fit()."""
    library = pytest.importorskip({"X": "xgboost", "L": "lightgbm"}[name[0]])
    inputs, labels = data()
    named = np.array(["no", "yes"])[labels] if name == "LGBMClassifier" else labels
    more = {"group": np.full(6, 10)} if name.endswith("Ranker") else {}
    return getattr(library, name), {"X": inputs, "y": named, **more}


KINDS = ("Classifier", "Regressor", "Ranker")
MODELS = [library + kind for library in ("XGB", "LGBM") for kind in KINDS]


@FORMATS
@pytest.mark.parametrize("name", MODELS)
def test_scikit_learn_models_of_boosters(tmp_path, format, name):
    cls, examples = scikit_learn_models(name)
    options = {"n_estimators": 5, "n_jobs": 1, **({"verbose": -1} if name[0] == "L" else {})}
    model = cls(**options, learning_rate=0.3).fit(**examples)
    tc.save({"model": model, "empty": cls(max_depth=3)}, tmp_path / "c", format=format)
    target, emptied = cls(), cls(**options).fit(**examples)
    tc.restore({"model": target, "empty": emptied}, tmp_path / "c")
    assert np.array_equal(target.predict(examples["X"]), model.predict(examples["X"]))
    assert target.get_params() == pytest.approx(model.get_params(), nan_ok=True)
    assert (emptied.__sklearn_is_fitted__(), emptied.max_depth) == (False, 3)
    if name.endswith("Classifier"):
        assert target.classes_.tolist() == model.classes_.tolist()
        found, expected = (one.predict_proba(examples["X"]) for one in (target, model))
        assert np.array_equal(found, expected)


def test_a_model_that_stopped_early_keeps_what_it_measured(tmp_path):
    cls, examples = scikit_learn_models("XGBClassifier")
    test = [(examples["X"], 1 - examples["y"])]
    model = cls(n_estimators=9, early_stopping_rounds=2)
    model.fit(**examples, eval_set=test, verbose=False)
    target = cls()
    tc.save({"model": model}, tmp_path / "c")
    tc.restore({"model": target}, tmp_path / "c")
    assert (target.best_iteration, target.evals_result()) == (0, model.evals_result())


@pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated")
def test_a_model_of_lightgbms_keeps_its_best_score(tmp_path):
    cls, examples = scikit_learn_models("LGBMRegressor")
    test = [(examples["X"], examples["y"])]
    model = cls(n_estimators=3, verbose=-1).fit(**examples, eval_set=test)
    target = cls()
    tc.save({"model": model}, tmp_path / "c")
    tc.restore({"model": target}, tmp_path / "c")
    assert target.best_score_ == model.best_score_
    assert target.evals_result_ == model.evals_result_


def test_a_model_of_another_class_does_not_fit(tmp_path):
    tc.save({"model": scikit_learn_models("LGBMRegressor")[0]()}, tmp_path / "c")
    with pytest.raises(RestoreError, match=r"model: .*LGBMRegressor in the checkpoint"):
        tc.restore({"model": scikit_learn_models("LGBMClassifier")[0]()}, tmp_path / "c")


@FORMATS
def test_lightgbm(tmp_path, format):
    lightgbm = pytest.importorskip("lightgbm")
    inputs, labels = data()
    options = {"objective": "binary", "verbose": -1, "num_threads": 1}
    booster = lightgbm.train(options, lightgbm.Dataset(inputs, labels), num_boost_round=5)
    booster.best_iteration = 3
    tc.save({"booster": booster}, tmp_path / "c", format=format)
    other = lightgbm.train(options, lightgbm.Dataset(inputs, 1 - labels), num_boost_round=1)
    tc.restore({"booster": other}, tmp_path / "c")
    assert np.array_equal(other.predict(inputs), booster.predict(inputs))


# ------------------------------------------------------------------------------- registered types


class Box:
    def __init__(self, content):
        self.content = content


class BigBox(Box):
    pass


@pytest.fixture
def _registered(monkeypatch):
    from tune_ckpt.objects.adapters import registry

    monkeypatch.setattr(registry, "_BY_TYPE", {})
    tc.register_adapter(
        Box, lambda box: {"content": box.content}, lambda box, state: vars(box).update(state)
    )


@pytest.mark.usefixtures("_registered")
def test_a_registered_type_and_its_subclasses_are_components(tmp_path):
    tc.save({"a": Box(1), "b": BigBox((2, 3))}, tmp_path / "c")
    a, b = Box(0), BigBox(0)
    tc.restore({"a": a, "b": b}, tmp_path / "c")
    assert (a.content, b.content) == (1, (2, 3))


@pytest.mark.usefixtures("_registered")
def test_the_most_specific_type_counts(tmp_path):
    tc.register_adapter(BigBox, lambda box: {"big": box.content}, lambda box, state: None)
    tc.save({"b": BigBox(5)}, tmp_path / "c")
    assert tc.load_state(tmp_path / "c", "b") == {"big": 5}


@pytest.mark.usefixtures("_registered")
def test_what_is_registered_comes_before_what_is_known(tmp_path):
    tc.register_adapter(torch.nn.Linear, lambda net: {"only": net.bias}, lambda net, state: None)
    tc.save({"net": torch.nn.Linear(1, 1)}, tmp_path / "c")
    assert tc.load_state(tmp_path / "c", "net").keys() == {"only"}


class Owner(tc.Checkpointable):
    def __init__(self, part):
        self.part = part

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {}

    def set_state(self, state):
        pass

    def get_checkpointable_components(self):
        return [("part", self.part)]


def test_a_type_that_is_not_known_says_how_to_register_it(tmp_path):
    with pytest.raises(UnsupportedComponentError, match=r"collections:Counter.*register_adapter"):
        Owner(collections.Counter()).save_to_path(tmp_path / "c")


class Stateful:
    """Anything with state_dict and load_state_dict."""

    def __init__(self, at=0):
        self.at = at

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


@FORMATS
def test_anything_with_a_state_dict(tmp_path, format):
    target = Stateful()
    tc.save({"position": Stateful(7)}, tmp_path / "c", format=format)
    tc.restore({"position": target}, tmp_path / "c")
    assert target.at == 7


class Versioned(torch.nn.Linear):
    """Like torch's own modules, it reads older states in another way."""

    _version = 3

    def _load_from_state_dict(self, state, prefix, metadata, *rest):
        assert metadata.get("version") == 3
        super()._load_from_state_dict(state, prefix, metadata, *rest)


@FORMATS
def test_the_version_of_a_modules_state_is_not_forgotten(tmp_path, format):
    tc.save({"net": torch.nn.Sequential(Versioned(2, 2))}, tmp_path / "c", format=format)
    target = torch.nn.Sequential(Versioned(2, 2))
    assert tc.restore({"net": target}, tmp_path / "c").report.ok
