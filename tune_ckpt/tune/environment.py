"""The callback of a sweep whose code names none: its options come from the environment."""

from __future__ import annotations

import json
import os

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.tune.callback import CheckpointCallback
from tune_ckpt.tune.retention import Retention

ENVIRONMENT = "TUNE_CKPT_CALLBACK"


class EnvironmentCallback(CheckpointCallback):
    """A `CheckpointCallback` for a sweep whose code does not name one, such as a restored one.

    ``RAY_TUNE_CALLBACKS=tune_ckpt.EnvironmentCallback`` adds it to every sweep of the process; its
    options are a JSON object: ``TUNE_CKPT_CALLBACK='{"convert": "best", "metric": "eval/acc"}'``,
    in which ``"retention"`` is one of `Retention`'s.

    Raises:
        InvalidArgumentError: They are none, or an option has no such value.
    """

    def __init__(self) -> None:
        text = os.environ.get(ENVIRONMENT, "{}")
        try:
            options = json.loads(text)
            retention = options.pop("retention", None)
            super().__init__(retention=retention and Retention(**retention), **options)
        except (ValueError, TypeError, AttributeError) as error:
            expected = ("a JSON object of CheckpointCallback's options",)
            raise InvalidArgumentError(ENVIRONMENT, text, expected) from error
