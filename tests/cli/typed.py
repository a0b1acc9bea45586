"""What somebody may have in the module of their trainable."""

import random as trained

TRAINED = [trained]


def train():
    """What they mean."""


def other():
    """What they do not."""
