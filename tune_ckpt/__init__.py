"""Portable, whole and exact checkpoints for Ray Tune and Ray Train."""
