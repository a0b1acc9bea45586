"""A sweep that whoever asks often keeps open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.sweep.candidates import OpenSweep

if TYPE_CHECKING:
    from typing_extensions import Self


class Sweep:
    """A sweep's folder, opened once and asked often.

    Whatever takes a sweep takes a `Sweep` too, and reads only what is new since the last time:

        sweep = tune_ckpt.Sweep.open("s3://bucket/sweeps/run1")
        while running():
            print(tune_ckpt.best_checkpoint(sweep, "eval/acc"))
    """

    def __init__(self, opened: OpenSweep) -> None:
        if not isinstance(opened, OpenSweep):
            expected = ("only what tune_ckpt.Sweep.open(...) passes: call that instead",)
            raise InvalidArgumentError("opened", opened, expected)
        self._opened = opened

    @classmethod
    def open(cls, experiment: Any, *, filesystem: Any = None) -> Self:
        """Return the sweep that ``experiment`` means.

        Args:
            experiment: A ``ResultGrid``, ``Result`` or ``ExperimentAnalysis``; or a folder, as a
                path or URI: a sweep's, a single trial's, or that of a Train run.
            filesystem: A ``pyarrow.fs.FileSystem`` in which a folder is to be looked up.

        Raises:
            InvalidArgumentError: It means none.
        """
        return cls(OpenSweep.open(experiment, filesystem))

    @property
    def path(self) -> str:
        """Its folder: a local path or a URI."""
        return self._opened.base

    def __repr__(self) -> str:
        return f"Sweep({self.path!r})"
