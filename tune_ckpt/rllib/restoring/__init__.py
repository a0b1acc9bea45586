"""RLlib's objects, or parts of them, from checkpoints of any generation."""
