"""Hooks that cannot harm a sweep."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from tune_ckpt.tune.outcomes import failed

logger = logging.getLogger(__name__)

Hook = TypeVar("Hook", bound=Callable[..., Any])


def harmless(hook: Hook) -> Hook:
    """Keep a hook's failure out of the sweep: log it and put it into the callback's outcomes."""

    @functools.wraps(hook)
    def safe(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return hook(self, *args, **kwargs)
        except Exception as error:
            logger.exception("tune_ckpt: %s failed; the sweep goes on", hook.__name__)
            self.outcomes.append(failed("", "hook", error))
            return None

    return safe  # type: ignore[return-value]
