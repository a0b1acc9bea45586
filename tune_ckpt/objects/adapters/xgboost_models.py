"""XGBoost's boosters and scikit-learn models as components, in its own UBJSON format."""

from __future__ import annotations

from typing import Any

import numpy as np
import xgboost

from tune_ckpt.objects.adapters.registry import Adapter, fit_same_class

# What XGBoost's scikit-learn models keep of a fit.
_BOOSTER, _RESULTS = "_Booster", "evals_result_"


def _packed(booster: Any) -> Any:
    return np.frombuffer(booster.save_raw(raw_format="ubj"), np.uint8)


def _get_model(model: Any) -> Any:
    state = {"params": model.get_params(deep=False)}
    if not model.__sklearn_is_fitted__():
        return state
    return {**state, "ubj": _packed(model.get_booster()), "results": _results(model)}


def _results(model: Any) -> Any:
    return getattr(model, _RESULTS, None)


def _set_booster(booster: xgboost.Booster, state: Any) -> None:
    booster.load_model(bytearray(state["ubj"]))


def _set_model(model: Any, state: Any) -> None:
    for name in (_BOOSTER, _RESULTS):
        vars(model).pop(name, None)
    if "ubj" in state:
        model.load_model(bytearray(state["ubj"]))
        setattr(model, _RESULTS, state["results"])
    model.set_params(**state["params"])  # a booster knows of some only


ADAPTERS = {
    "xgboost.core:Booster": Adapter(
        lambda booster: {"ubj": _packed(booster)}, _set_booster, fit_same_class
    ),
    "xgboost.sklearn:XGBModel": Adapter(_get_model, _set_model, fit_same_class),
}
