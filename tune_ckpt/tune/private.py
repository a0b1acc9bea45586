"""What Ray does not promise to keep, in one place. Checked with Ray 2.60.

A test fails when Ray changes any of it.
"""

from __future__ import annotations

from typing import Any


def trial_folder(trial: Any) -> tuple[str, Any]:
    """Return a trial's folder in storage and its filesystem (None for the local disk)."""
    return trial.storage.trial_fs_path, local_or(trial.storage.storage_filesystem)


def experiment_folder(trial: Any) -> tuple[str, Any]:
    """Return the folder of a trial's sweep and its filesystem (None for the local disk)."""
    return trial.storage.experiment_fs_path, local_or(trial.storage.storage_filesystem)


def local_or(filesystem: Any) -> Any:
    """Return a pyarrow filesystem, or None for the local disk, which costs nothing to send."""
    return None if filesystem.type_name == "local" else filesystem
