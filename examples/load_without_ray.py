"""A checkpoint is loaded where Ray is not installed: as plain arrays, and as the object itself.

Run it:  python examples/load_without_ray.py [CHECKPOINT]

Without a CHECKPOINT of examples/digits_sweep.py a network is trained here for a moment, and saved.
What is printed is the accuracy that the loaded network has.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from digits_model import Momentum, Network, accuracy, digits, gradients

import tune_ckpt as tc


def new_checkpoint() -> Path:
    """Train a network and save it; Ray is not needed for that either."""
    network = Network(hidden=32, seed=0)
    optimizer = Momentum(network, learning_rate=0.1, momentum=0.9)
    images, labels = digits()[:2]
    for batch in np.array_split(np.arange(len(images)), 40):
        optimizer.step(gradients(network.weights, images[batch], labels[batch]))
    path = Path(tempfile.mkdtemp(prefix="load_without_ray_"))
    tc.save({"network": network, "optimizer": optimizer}, path)
    return path


def main(checkpoint: Path) -> None:
    """Load the network in both ways, and print its accuracy."""
    weights = tc.load_state(checkpoint, "network")  # plain arrays: no class is needed
    network = Network.from_checkpoint(checkpoint / "network")  # or the object itself
    held_out, labels = digits()[2:]
    assert accuracy(network.weights, held_out, labels) == accuracy(weights, held_out, labels)
    assert not {"ray", "torch"} & sys.modules.keys()
    print(repr(accuracy(weights, held_out, labels)))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else new_checkpoint())
