"""How a trial stands, in Tune's words."""

from __future__ import annotations

PENDING, RUNNING, PAUSED = "PENDING", "RUNNING", "PAUSED"
TERMINATED, ERROR = "TERMINATED", "ERROR"
ENDED = (TERMINATED, ERROR)
