"""scikit-learn estimators as components, by way of skops: no pickle, and every type is audited."""

from __future__ import annotations

from typing import Any

import numpy as np

from tune_ckpt.errors import CorruptDataError, MissingDependencyError, UntrustedTypesError
from tune_ckpt.objects.adapters.registry import Adapter, Fit, Stored, fit_same_class


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        purpose = "A scikit-learn estimator as a component"
        raise MissingDependencyError("skops", purpose) from error
    return skops.io


def _get_state(estimator: Any) -> Any:
    return {"skops": np.frombuffer(_skops().dumps(estimator), np.uint8)}


def _fit(estimator: Any, stored: Stored) -> Fit:
    fit = fit_same_class(estimator, stored)
    if not fit.usable:
        return fit
    data = stored.state["skops"].tobytes()
    names = _skops().get_untrusted_types(data=data)
    refused = [name for name in names if not stored.trust.covers(name)]
    if refused and not stored.trust.allow_pickle:
        raise UntrustedTypesError(stored.path, tuple(refused))
    loaded = _skops().loads(data, trusted=names)
    if type(loaded) is not type(estimator):
        raise CorruptDataError(stored.path, f"it holds a {type(loaded).__name__}")
    return Fit(loaded)


def _set_state(estimator: Any, loaded: Any) -> None:
    vars(estimator).clear()
    vars(estimator).update(vars(loaded))


ADAPTERS = {"sklearn.base:BaseEstimator": Adapter(_get_state, _set_state, _fit)}
