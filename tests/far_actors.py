"""Actors on a node that does not share the driver's disk, for tests/nodes.py.

Nodes of one machine see each other's disk, so these actors refuse to: every open() of a path in the
driver's folder, and every folder made or listed there, is an error in them.
"""

from __future__ import annotations

import os
import sys

import ray

import tune_ckpt as tc
from tests import workers
from tests.agents import trained

NEAR, FAR = {"near": 0.01}, {"far": 0.01}  # than the driver's node


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


def save_and_restore(folder):
    """Return of each format whether what was saved far away is restored, far away and near."""
    far = workers.start(Elsewhere, 2, 500, folder, resources=FAR)
    here = ray.get_runtime_context().get_node_id()
    assert here not in ray.get([actor.node.remote() for actor in far])
    try:
        ray.get(far[0].peek.remote())
    except PermissionError:
        pass
    else:
        raise AssertionError("the actor can reach the driver's folder")
    ray.get([actor.take.remote(7) for actor in far])
    found = {}
    for format in ("pickle", "msgpack"):
        tc.save({"workers": far, "step": 1}, folder / format, format=format)
        whole = tc.verify(folder / format).ok
        near = workers.start(workers.AgentWorker, 1, 500, resources=NEAR)
        fresh = [*workers.start(Elsewhere, 1, 500, folder, resources=FAR), *near]
        tc.restore({"workers": fresh}, folder / format)
        agent = trained(step=7)
        expected = 7, agent.shape, agent.model.w.sum(), agent.model.head.w.tolist()
        found[format] = whole and workers.seen(fresh) == [expected] * 2
    return found
