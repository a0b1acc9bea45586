"""A cluster whose nodes share S3 only and go one by one; run by test_nodes.py.

Actors on one of them are saved and restored. One is drained, as before a preemption, while one of
two Train workers runs on it. Another one is killed while a Tune trial runs on it. Prints what came
of it as one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from tests import far_actors, s3

os.environ.update(
    s3.ENVIRONMENT,
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
    RAY_TRAIN_HEALTH_CHECK_INTERVAL_S="0.1",
    RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S="0.5",
)

import numpy as np
import ray
import ray.train
from ray import tune
from ray.cluster_utils import Cluster
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

import tune_ckpt as tc
from tests.agents import Weights

STEPS = 5
NOTICE_SECS = 8.0


def here():
    return ray.get_runtime_context().get_node_id()


def one_step(weights, rng, step):
    weights.w = weights.w + rng.normal(size=3)
    return {"at": float(weights.w.sum()), "step": step, "node": here()}


def train(config):
    """Save nothing but just in time; end some steps after that was restored."""
    rank = ray.train.get_context().get_world_rank()
    weights, own, rng = Weights(3), Weights(1), np.random.default_rng(5)
    found = tc.restore({"weights": weights, f"own_{rank}": own})
    rng, start = found.get("rng", rng), found.get("step", 0)
    for step in range(start, start + STEPS if start else sys.maxsize):
        metrics = {**one_step(weights, rng, step), "start": start}
        own.w = own.w + rank + 1
        parts = {"weights": weights, f"own_{rank}": own, "rng": rng, "step": step + 1}
        tc.report(metrics, parts, save=False, just_in_time=True)
        if rank == 0:
            Path(config["progress"]).write_text(f"{here()} {step} {metrics['at']!r}")
        time.sleep(0.05)


def trial(config):
    """Wait in the middle for the end, if this is the node that is to be killed."""
    weights, rng = Weights(3), np.random.default_rng(config["seed"])
    found = tc.restore({"weights": weights})
    rng = found.get("rng", rng)
    for step in range(found.get("step", 0), STEPS):
        metrics = {**one_step(weights, rng, step), "start": found.get("step", 0)}
        if step == 2 and here() == config["doomed"]:
            Path(config["progress"]).touch()
            threading.Event().wait()
        parts = {"weights": weights, "rng": rng, "step": step + 1}
        tc.report(metrics, parts, format="pickle")


def wait_for(read):
    while not (found := read()):
        time.sleep(0.05)
    return found


def drain_soon(progress):
    """Announce the end of the node of the worker of rank 0, once it has done some steps."""
    from ray._raylet import GcsClient
    from ray.core.generated.autoscaler_pb2 import DrainNodeReason

    def some_steps():
        words = progress.read_text().split() if progress.exists() else []
        return words[0] if len(words) == 3 and int(words[1]) >= 3 else None

    node = wait_for(some_steps)
    client = GcsClient(address=ray.get_runtime_context().gcs_address)
    deadline = int((time.time() + NOTICE_SECS) * 1000)
    reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    client.drain_node(node, reason, "the test takes it away", deadline)


def written(server):
    """Return how often each of a Train run's checkpoints' files was written."""

    def is_whole(request):
        if request.method == "PUT":
            return "uploadId" not in request.query and not request.key.endswith("/")
        return "uploadId" in request.query  # the end of a file in several parts

    requests = server.requests("PUT POST", "/checkpoint_2")  # named by the date
    return Counter(request.key for request in requests if is_whole(request))


def preempted(folder, uri, server):
    progress = folder / "progress_train"
    thread = threading.Thread(target=drain_soon, args=[progress], daemon=True)
    thread.start()
    result = DataParallelTrainer(  # without torch: less to import on each node
        train,
        train_loop_config={"progress": str(progress)},
        scaling_config=ray.train.ScalingConfig(
            num_workers=2, resources_per_worker={"far": 1}, placement_strategy="SPREAD"
        ),
        run_config=ray.train.RunConfig(name="train", storage_path=uri),
    ).fit()
    thread.join()
    checkpoints = [checkpoint for checkpoint, _ in result.best_checkpoints]
    states = [tc.load_state(checkpoint) for checkpoint in checkpoints]
    return {
        "metrics": result.metrics,
        "last": progress.read_text().split(),
        "steps": [state["step"] for state in states],
        "own": [[float(state[f"own_{rank}"]["w"][0]) for rank in range(2)] for state in states],
        "written": written(server),
        "whole": [tc.verify(checkpoint).ok for checkpoint in checkpoints],
    }


def swept(folder, uri, cluster, node):
    progress = folder / "progress_tune"

    def kill_soon():
        wait_for(progress.exists)
        cluster.remove_node(node, allow_graceful=False)

    thread = threading.Thread(target=kill_soon, daemon=True)
    thread.start()
    doomed = {"doomed": node.node_id, "progress": str(progress)}
    callback = tc.CheckpointCallback("best", metric="at", mode="max")
    results = tune.Tuner(
        trial,
        param_space={**doomed, "seed": tune.grid_search([1, 2])},
        run_config=tune.RunConfig(
            name="sweep",
            storage_path=uri,
            verbose=0,
            callbacks=[callback],
            failure_config=tune.FailureConfig(max_failures=3),
        ),
    ).fit()
    thread.join()
    best = tc.best_checkpoint(results, "at", "max")
    return {
        "metrics": [result.metrics for result in results],
        "errors": [str(result.error) for result in results if result.error],
        "best": [best.value, float(best.load()["weights"]["w"].sum())],
        "whole": tc.verify(best.path, filesystem=best.filesystem).ok,
        "converted": tc.verify(best.converted, filesystem=best.filesystem).ok,
    }


def main(folder):
    server = s3.S3Server()
    uri = server.uri(server.new_bucket() + "/runs")
    # With its dashboard, which Ray Train asks whether its controller lives.
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "resources": {"near": 1}}
    )
    nodes = [cluster.add_node(num_cpus=1, resources={"far": 2}) for _ in range(2)]
    cluster.wait_for_nodes()
    ray.init(cluster.address, log_to_driver=bool(os.environ.get("VERBOSE")))
    try:
        found = {"actors": far_actors.save_and_restore(folder / "actors")}
        # Ray before 2.60 announces no preemption.
        can = hasattr(ray.train, "get_preemption_info")
        found["preempted"] = preempted(folder, uri, server) if can else None
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]} - {here()}
        node = next(node for node in nodes if node.node_id in alive)  # not the driver's own
        found["swept"] = swept(folder, uri, cluster, node)
        print(json.dumps(found, default=str))
    finally:
        ray.shutdown()
        cluster.shutdown()
        server.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
