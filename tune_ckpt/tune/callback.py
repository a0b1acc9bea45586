"""The Tune callback: converts a sweep's pickle checkpoints to msgpack while it runs.

Its hooks run on the driver's event loop, where an exception makes Tune forget a checkpoint and a
pause holds up every trial. So they only note what is to be done; Ray tasks that need no CPU do it,
a few at a time, in order for each trial. A conversion goes beside the original
(``<trial>/msgpack/checkpoint_N``): ``checkpoint_N`` itself is Tune's, to be deleted or rewritten.
"""

from __future__ import annotations

import functools
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

import ray
from ray.tune import Callback

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.metrics import Metric, better
from tune_ckpt.tune.beside import Outcome, convert_beside, keep_only, missing_conversions

logger = logging.getLogger(__name__)

Convert = Literal["never", "best", "last", "all"]
Hook = TypeVar("Hook", bound=Callable[..., None])


def _harmless(hook: Hook) -> Hook:
    """Keep a hook's failure out of the sweep: log it and put it into the report."""

    @functools.wraps(hook)
    def safe(self: CheckpointCallback, *args: Any, **kwargs: Any) -> None:
        try:
            hook(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  # a sweep must not end because of us
            logger.exception("tune_ckpt: %s failed; the sweep goes on", hook.__name__)
            self.report.append(Outcome("", "failed", f"{hook.__name__}: {error}"))

    return safe  # type: ignore[return-value]
