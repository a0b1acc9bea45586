"""LightGBM's boosters and scikit-learn models as components, in its own text format."""

from __future__ import annotations

from typing import Any

import lightgbm

from tune_ckpt.objects.adapters.registry import Adapter, fit_same_class

_ENCODER = "_le"  # of a classifier's labels


def _get_booster(booster: lightgbm.Booster) -> Any:
    text = booster.model_to_string(num_iteration=-1)
    return {"text": text, "best_iteration": booster.best_iteration}


def _set_booster(booster: lightgbm.Booster, state: Any) -> None:
    booster.model_from_string(state["text"])
    booster.best_iteration = state["best_iteration"]


def _get_model(model: Any) -> Any:
    attributes = dict(vars(model))
    booster, encoder = (attributes.pop(name, None) for name in ("_Booster", _ENCODER))
    if "_best_score" in attributes:  # a dict that makes dicts: its values are enough
        scores = attributes["_best_score"]
        attributes["_best_score"] = {name: dict(score) for name, score in scores.items()}
    return {
        "attributes": attributes,
        "booster": None if booster is None else _get_booster(booster),
        "labels": None if encoder is None else encoder.classes_,
    }


def _set_model(model: Any, state: Any) -> None:
    from sklearn.preprocessing import LabelEncoder

    vars(model).clear()
    vars(model).update(state["attributes"])
    if state["booster"] is not None:
        model._Booster = lightgbm.Booster(model_str=state["booster"]["text"])
        model._Booster.best_iteration = state["booster"]["best_iteration"]
    if state["labels"] is not None:
        encoder = LabelEncoder()
        encoder.classes_ = state["labels"]
        setattr(model, _ENCODER, encoder)


ADAPTERS = {
    "lightgbm.basic:Booster": Adapter(_get_booster, _set_booster, fit_same_class),
    "lightgbm.sklearn:LGBMModel": Adapter(_get_model, _set_model, fit_same_class),
}
