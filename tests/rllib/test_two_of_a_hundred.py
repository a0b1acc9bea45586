"""Two policies of a hundred on S3: only their bytes are fetched, and every runner has them."""

import pytest

from tests.rllib.cases import one
from tune_ckpt.rllib import load_weights, restore_algorithm, restore_module, restore_policy
from tune_ckpt.rllib.restoring.same_weights import differing_workers

pytestmark = pytest.mark.slow

TWO = ("n07", "n42")
# By the API stack: the case, where it keeps policies, whose copies, and what restores one.
STACKS = {
    "old": (one("ray2.10.0-py3.10-old-ppo-multi"), "policies", "pol1", restore_policy),
    "new": (one("ray2.60.0-py3.13"), "learner_group/learner/rl_module", "p1", restore_module),
}


@pytest.fixture(params=["new", pytest.param("old", marks=pytest.mark.nightly)])
def stack(request):
    return request.param


@pytest.fixture
def hundred(s3, bucket, stack):
    """The URI of a checkpoint with a hundred policies, all of them copies of one."""
    case, folder, name, _ = STACKS[stack]
    filesystem = s3.filesystem()
    for file in filter(lambda file: file.is_file(), case.path.rglob("*")):
        path = file.relative_to(case.path).as_posix()
        is_copied = path.startswith(f"{folder}/{name}/")
        copies = [path.replace(f"/{name}/", f"/n{number:02}/") for number in range(100)]
        for key in [path, *(copies if is_copied else ())]:
            with filesystem.open_output_stream(f"{bucket}/c/{key}") as out:
                out.write(file.read_bytes())
    s3.quiet()
    return s3.uri(f"{bucket}/c")


def _fetched(s3, stack):
    """The bytes that were fetched of each policy."""
    bytes_of = {}
    for request in s3.requests("GET", f"/{STACKS[stack][1]}/"):
        name = request.key.partition(f"/{STACKS[stack][1]}/")[2].partition("/")
        if name[1]:  # no file of the folder's own
            bytes_of[name[0]] = bytes_of.get(name[0], 0) + request.nbytes
    return bytes_of


def _size(stack):
    case, folder, name, _ = STACKS[stack]
    files = (case.path / folder / name).rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def test_one_policy_of_a_hundred_is_fetched(s3, hundred, stack):
    assert STACKS[stack][3](hundred, "n42").restore_report.loaded == ("n42",)
    fetched = _fetched(s3, stack)
    assert fetched.keys() == {"n42"}
    assert 0 < fetched["n42"] <= 2 * _size(stack)


def _config(stack):
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.examples.envs.classes.multi_agent import MultiAgentCartPole

    is_new, model = stack == "new", {"fcnet_hiddens": [8, 8], "vf_share_layers": False}
    config = PPOConfig().api_stack(
        enable_rl_module_and_learner=is_new, enable_env_runner_and_connector_v2=is_new
    )
    config.env_runners(num_env_runners=2, num_cpus_per_env_runner=0.5)
    config.training(**({} if is_new else {"model": model}))
    return config.environment(MultiAgentCartPole, env_config={"num_agents": 2})


def test_two_policies_of_a_hundred_are_on_every_remote_runner(s3, hundred, stack, ray_session):
    algorithm = restore_algorithm(
        hundred,
        policy_ids=TWO,
        policy_mapping_fn=lambda agent, *rest, **more: TWO[agent % 2],
        config=_config(stack),
    )
    fetched = _fetched(s3, stack)
    assert fetched.keys() == {*TWO}
    assert max(fetched.values()) <= 2 * _size(stack)
    assert {*TWO} <= {*algorithm.restore_report.loaded}
    case, _, name, _ = STACKS[stack]
    weights = dict.fromkeys(TWO, load_weights(case.path, name))
    assert algorithm.env_runner_group.num_remote_workers() == 2
    assert differing_workers(algorithm, weights) == []
    _change(algorithm, stack)
    (fault,) = differing_workers(algorithm, weights)
    assert fault.path == "env_runner 2/n42"
    _kill(algorithm)
    paths = [fault.path for fault in differing_workers(algorithm, weights)]
    assert [*filter(lambda path: "runner 1" in path, paths)] == [f"env_runner 1/{n}" for n in TWO]
    algorithm.stop()


def _change(algorithm, stack):
    """Give one of the remote runners other weights for one of the policies."""

    def change(runner):
        if stack == "old":
            weights = runner.policy_map["n42"].get_weights()
            runner.policy_map["n42"].set_weights({k: v + 1 for k, v in weights.items()})
        else:
            for parameter in runner.module["n42"].parameters():
                parameter.data += 1

    algorithm.env_runner_group.foreach_env_runner(
        change, local_env_runner=False, remote_worker_ids=[2]
    )


def _kill(algorithm):
    """Kill the other one, and wait until RLlib has noticed."""
    import ray

    group = algorithm.env_runner_group
    ray.kill(group._worker_manager.actors()[1])
    while group.num_healthy_remote_workers() == 2:
        group.foreach_env_runner(lambda runner: None, local_env_runner=False)
