"""XGBoost's boosters and scikit-learn models as components, in its own UBJSON format."""

from __future__ import annotations

from typing import Any

import numpy as np
import xgboost

from tune_ckpt.adapters.registry import Adapter, fit_same_class


def _packed(booster: Any) -> Any:
    return np.frombuffer(booster.save_raw(raw_format="ubj"), np.uint8)


def _get_model(model: Any) -> Any:
    is_fitted = model.__sklearn_is_fitted__()
    return {"ubj": _packed(model.get_booster())} if is_fitted else {}


def _set_booster(booster: xgboost.Booster, state: Any) -> None:
    booster.load_model(bytearray(state["ubj"]))


def _set_model(model: Any, state: Any) -> None:
    if state:
        model.load_model(bytearray(state["ubj"]))


ADAPTERS = {
    "xgboost.core:Booster": Adapter(
        lambda booster: {"ubj": _packed(booster)}, _set_booster, fit_same_class
    ),
    "xgboost.sklearn:XGBModel": Adapter(_get_model, _set_model, fit_same_class),
}
