"""A run of two workers in a process of its own, which waits after two steps until it is killed."""

from __future__ import annotations

import sys

import ray

import tune_ckpt as tc
from tests.train.runs import fit


def main(folder: str) -> None:
    ray.init(log_to_driver=False)
    callback = tc.TrainCheckpointCallback("all", verify=True)
    fit(folder, workers=2, callbacks=[callback], steps=2, waits=True, options={"format": "pickle"})


if __name__ == "__main__":
    main(sys.argv[1])
