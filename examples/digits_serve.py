"""Use a checkpoint where Ray is not installed: load the network and measure its accuracy.

Run it:  python examples/digits_serve.py CHECKPOINT
"""

from __future__ import annotations

import sys

from digits_model import Network, accuracy, digits

import tune_ckpt as tc

if __name__ == "__main__":
    weights = tc.load_state(sys.argv[1], "network")  # plain arrays: no class is needed
    network = Network.from_checkpoint(f"{sys.argv[1]}/network")  # or the object itself
    held_out, labels = digits()[2:]
    assert accuracy(network.weights, held_out, labels) == accuracy(weights, held_out, labels)
    assert "ray" not in sys.modules
    print(repr(accuracy(weights, held_out, labels)))
