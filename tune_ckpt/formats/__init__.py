"""Floor 1: a state to bytes and back. Knows no folders."""
