"""What a checkpoint's metadata can hold of reported metrics and of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def plain_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a result what JSON can hold: numbers, text, truth values, and dicts of these."""
    plain = {str(key): _plain(value) for key, value in metrics.items()}
    return {key: value for key, value in plain.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return plain_metrics(value)
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, bool | int | float | str) else None
