"""LightGBM's boosters as components, in its own text format."""

from __future__ import annotations

from typing import Any

import lightgbm

from tune_ckpt.adapters.registry import Adapter, fit_same_class


def _get_state(booster: lightgbm.Booster) -> Any:
    text = booster.model_to_string(num_iteration=-1)
    return {"text": text, "best_iteration": booster.best_iteration}


def _set_state(booster: lightgbm.Booster, state: Any) -> None:
    booster.model_from_string(state["text"])
    booster.best_iteration = state["best_iteration"]


ADAPTERS = {"lightgbm.basic:Booster": Adapter(_get_state, _set_state, fit_same_class)}
