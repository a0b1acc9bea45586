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
    """Keep a hook's failure out of the sweep: log it and put it into the callback's outcomes.

    Only what ends a program passes: Ctrl-C, and the SystemExit with which Ray answers SIGTERM.
    """

    @functools.wraps(hook)
    def safe(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the hook; what it raises is logged and noted."""
        try:
            return hook(self, *args, **kwargs)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # such as a panic in another library's Rust
            logger.exception("tune_ckpt: %s failed; the sweep goes on", hook.__name__)
            self.outcomes.append(failed("", "hook", error))
            return None

    return safe  # type: ignore[return-value]  # it takes what the hook takes
