"""Networks, optimizers, schedules, samplers and generators of torch are components."""

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

import tune_ckpt as tc
from tests.objects.teams import Team, weights
from tune_ckpt.errors import RestoreError, StateRefusedError, UnsupportedComponentError

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


def test_a_state_that_is_none_of_an_optimizers_is_refused_by_name(tmp_path):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))])
    owner = Team(first=weights(1), optimizer=optimizer)
    owner.save_to_path(tmp_path / "c", state={"w": 0, "first": {"w": 1}, "optimizer": {}})
    with pytest.raises(StateRefusedError, match=r"optimizer refused .*No other") as caught:
        owner.restore_from_path(tmp_path / "c")
    assert isinstance(caught.value.__cause__, KeyError)


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


def test_a_pickled_state_that_contains_itself_is_put_on_a_device(tmp_path):
    state = {"w": torch.ones(2), "list": []}
    state["list"] += [state, state["list"]]
    tc.save_state(state, tmp_path / "c", format="pickle")
    for found in (
        tc.load_state(tmp_path / "c", device="cpu"),
        tc.restore({"w": 0, "list": 0}, tmp_path / "c", device="meta", trusted="nothing"),
    ):
        assert found["list"][1] is found["list"]
    assert found["w"].is_meta


class Versioned(torch.nn.Linear):
    """Like torch's own modules, it reads older states in another way."""

    _version = 3

    def _load_from_state_dict(self, state, prefix, metadata, *rest):
        assert metadata.get("version") == 3
        super()._load_from_state_dict(state, prefix, metadata, *rest)


@FORMATS
def test_a_modules_state_that_is_saved_as_such_is_the_same_again(tmp_path, format):
    state = torch.nn.Sequential(Versioned(2, 2)).state_dict()
    tc.save_state(state, tmp_path / "c", format=format)
    found = tc.load_state(tmp_path / "c")
    assert (type(found), found._metadata) == (type(state), state._metadata)
    torch.nn.Sequential(Versioned(2, 2)).load_state_dict(found)


@FORMATS
def test_the_version_of_a_modules_state_is_not_forgotten(tmp_path, format):
    tc.save({"net": torch.nn.Sequential(Versioned(2, 2))}, tmp_path / "c", format=format)
    target = torch.nn.Sequential(Versioned(2, 2))
    assert tc.restore({"net": target}, tmp_path / "c").report.ok
