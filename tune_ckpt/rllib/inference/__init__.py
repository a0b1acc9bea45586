"""Policies and RLModules that act without Ray: as recipes, bundles and exported models."""
