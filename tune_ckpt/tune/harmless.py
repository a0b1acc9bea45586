"""Hooks that cannot harm a sweep."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from tune_ckpt.tune.beside import Outcome

logger = logging.getLogger(__name__)

Hook = TypeVar("Hook", bound=Callable[..., None])


def harmless(hook: Hook) -> Hook:
    """Keep a hook's failure out of the sweep: log it and put it into the callback's outcomes."""

    @functools.wraps(hook)
    def safe(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            hook(self, *args, **kwargs)
        except Exception as error:
            logger.exception("tune_ckpt: %s failed; the sweep goes on", hook.__name__)
            self.outcomes.append(Outcome("", "failed", f"{hook.__name__}: {error!r}"))

    return safe  # type: ignore[return-value]
