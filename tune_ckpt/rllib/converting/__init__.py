"""Checkpoints of RLlib's written again: as msgpack, or as a newer Ray reads them."""
