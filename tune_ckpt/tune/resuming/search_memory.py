"""What a searcher is to know when a sweep is resumed, and Tune does not tell it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ray.tune.utils import flatten_dict

from tune_ckpt.tune import private


@dataclass
class SearchMemory:
    """What a resumed sweep's searcher is to know.

    Attributes:
        limit: How many trials it may have under way; None for what it was saved with.
        stop: Criteria at which trials shall stop that are still to be made.
        ended: The last results of trials that have ended since its state was saved, by their ids.
        strangers: The trials of which it must hear nothing: it does not know them, or has heard of
            their end. Many searchers fail then.
    """

    limit: int | None = None
    stop: dict[str, float] = field(default_factory=dict)
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    strangers: set[str] = field(default_factory=set)

    def put_back(self, controller: Any) -> None:
        """Tell it to the searcher of the sweep that is being set up."""
        if private.has_resumed(controller):
            private.make_trials_here(controller)
        if self.stop:
            private.extend_stop(controller, self.stop)
        if self.limit is not None:
            private.limit_concurrency(controller, self.limit)
        for trial_id, result in self.ended.items():
            private.tell_the_end(controller, trial_id, flatten_dict(result))
        self.ended = {}
        if self.strangers:
            private.keep_from_searcher(controller, self.strangers)
