"""Where Ray keeps a sweep's and a trial's files.

Checked with Ray 2.48, 2.54 and 2.60.
"""

from __future__ import annotations

from typing import Any


def trial_folder(trial: Any) -> tuple[str, Any]:
    """Return a trial's folder in storage and its filesystem (None for the local disk)."""
    return trial.storage.trial_fs_path, local_or(trial.storage.storage_filesystem)


def experiment_folder(trial: Any) -> tuple[str, Any]:
    """Return the folder of a trial's sweep and its filesystem (None for the local disk)."""
    return trial.storage.experiment_fs_path, local_or(trial.storage.storage_filesystem)


def next_in(storage: Any) -> tuple[str, Any]:
    """Return where a trial's next checkpoint will be, and the filesystem."""
    name = storage._make_checkpoint_dir_name(storage.current_checkpoint_index + 1)
    return f"{storage.trial_fs_path}/{name}", local_or(storage.storage_filesystem)


def local_or(filesystem: Any) -> Any:
    """Return a pyarrow filesystem, or None for the local disk, which costs nothing to send."""
    return None if filesystem.type_name == "local" else filesystem


def filesystem_and_path(path: str, filesystem: Any) -> tuple[Any, str]:
    """Return the pyarrow filesystem that a path or URI means to Ray, and the path within it."""
    from ray.train._internal.storage import get_fs_and_path

    found: tuple[Any, str] = get_fs_and_path(path, filesystem)
    return found


def storage(parent: str, experiment: str, trial: str, filesystem: Any) -> Any:
    """Return the place of a trial's folder, as Ray notes it."""
    from ray.train._internal.storage import StorageContext

    return StorageContext(parent, experiment, storage_filesystem=filesystem, trial_dir_name=trial)


def storage_marker() -> str:
    """Return the name of the file that Ray writes into a sweep's folder before all else."""
    from ray.train._internal import storage

    return storage._VALIDATE_STORAGE_MARKER_FILENAME
