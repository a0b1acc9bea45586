"""Trying again what remote storage refused for the moment, until a deadline.

A loop of our own, not a library: one policy is enough, and which errors are transient must be
recognised by the text of Arrow's errors anyway.
"""

from __future__ import annotations

import errno
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

_TRANSIENT = {
    errno.EAGAIN,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EPIPE,
    errno.ETIMEDOUT,
}
# Arrow gives what a server said as text; AWS's names for its codes, and HTTP's numbers.
_TRANSIENT_TEXT = re.compile(
    r"AWS Error (NETWORK_CONNECTION|SLOW_DOWN|THROTTLING|REQUEST_TIMEOUT|SERVICE_UNAVAILABLE|"
    r"INTERNAL_FAILURE)|HTTP status (408|429|5(?!01|05)\d\d)|UNAVAILABLE|DEADLINE_EXCEEDED"
)


def is_transient(error: OSError) -> bool:
    """Say whether an operation that failed may soon succeed; unknown errors are not transient."""
    if isinstance(error, ConnectionError | TimeoutError) or error.errno in _TRANSIENT:
        return True
    return _TRANSIENT_TEXT.search(str(error)) is not None


@dataclass(frozen=True)
class Retry:
    """How long and how often an operation is tried.

    Attributes:
        deadline: No new attempt begins so many seconds after the first.
        first_delay: How many seconds pass at most before the second attempt; then twice as many,
            and so on. The delays are random, so that many workers do not come back at once.
        longest_delay: The most that is waited between two attempts, in seconds.
    """

    deadline: float = 60.0
    first_delay: float = 0.2
    longest_delay: float = 8.0

    def call(self, attempt: Callable[[], T]) -> T:
        """Return what ``attempt`` returns, as soon as it does.

        Raises:
            OSError: What ``attempt`` raised last: at once where trying again cannot help.
        """
        end = time.monotonic() + self.deadline
        longest = self.first_delay
        while True:
            try:
                return attempt()
            except OSError as error:
                delay = random.uniform(longest / 2, longest)
                if not is_transient(error) or time.monotonic() + delay > end:
                    raise
            time.sleep(delay)
            longest = min(2 * longest, self.longest_delay)


RETRY = Retry()  # for all remote storage


@contextmanager
def impatient(deadline: float = 5.0) -> Iterator[None]:
    """Give up sooner in here, in all threads: for a first contact, while a user waits."""
    global RETRY
    patient, RETRY = RETRY, Retry(min(deadline, RETRY.deadline), RETRY.first_delay)
    try:
        yield
    finally:
        RETRY = patient
