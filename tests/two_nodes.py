"""A cluster of two nodes without a shared disk; run by test_actors.py in a process of its own.

Each node has a folder of its own, and the driver's checkpoint lies in the driver's. Nodes of one
machine see each other's disk, so the actors on the second node refuse to: every open() of a path
in the driver's folder, and every folder made or listed there, is an error in them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"

import ray
from ray.cluster_utils import Cluster

import tune_ckpt as tc
from tests import workers
from tests.agents import trained


class Elsewhere(workers.AgentWorker):
    """An actor that cannot reach the driver's folder."""

    def __init__(self, size, forbidden):
        super().__init__(size)
        self.forbidden = str(forbidden)
        sys.addaudithook(self._watch)

    def _watch(self, event, args):
        if args and isinstance(args[0], str | os.PathLike):
            path = os.path.realpath(args[0])
            if path.startswith(self.forbidden) and event.startswith(("open", "os.")):
                raise PermissionError(f"{event}: {path} is on the other node")

    def peek(self):
        return os.listdir(self.forbidden)

    def node(self):
        return ray.get_runtime_context().get_node_id()

    def get_ctor_args_and_kwargs(self):
        return (self.size, self.forbidden), {}


def main(folder):
    head = {"num_cpus": 1, "resources": {"a": 1}, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=1, resources={"b": 1})
    cluster.wait_for_nodes()
    ray.init(cluster.address, log_to_driver=False)
    try:
        save_and_restore(folder)
    finally:
        ray.shutdown()
        cluster.shutdown()


def save_and_restore(folder):
    far = workers.start(Elsewhere, 2, 500, folder, resources={"b": 0.01})
    here = ray.get_runtime_context().get_node_id()
    assert here not in ray.get([actor.node.remote() for actor in far])
    try:
        ray.get(far[0].peek.remote())
    except PermissionError:
        pass
    else:
        raise AssertionError("the actor can reach the driver's folder")
    ray.get([actor.take.remote(7) for actor in far])
    for format in ("pickle", "msgpack"):
        tc.save({"workers": far, "step": 1}, folder / format, format=format)
        assert tc.verify(folder / format).ok
        near = workers.start(workers.AgentWorker, 1, 500, resources={"a": 0.01})
        fresh = [*workers.start(Elsewhere, 1, 500, folder, resources={"b": 0.01}), *near]
        tc.restore({"workers": fresh}, folder / format)
        agent = trained(step=7)
        expected = 7, agent.shape, agent.model.w.sum(), agent.model.head.w.tolist()
        assert workers.seen(fresh) == [expected] * 2


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
    print("two nodes did it")
