"""A policy or RLModule as a bundle that acts where torch is installed, and Ray is not.

A bundle is a checkpoint of this package's own: msgpack, with digests, in a folder or, by
`tune_ckpt.archive`, in one file. It holds the weights, how the network is put together, the spaces,
the state of the filter of observations, and what the network gave for a few observations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tune_ckpt.errors import CorruptDataError, InvalidArgumentError, SelfTestError
from tune_ckpt.objects.selftests import differences
from tune_ckpt.objects.states import load_state, save_state
from tune_ckpt.rllib.inference.inference import Inference, read_inference, sample
from tune_ckpt.rllib.reading.finding import find
from tune_ckpt.rllib.reading.spaces import Space
from tune_ckpt.tree.apart import check_apart
from tune_ckpt.tree.storage.store import open_store
from tune_ckpt.tree.writing import Saved

_FORMAT = "tune_ckpt inference bundle 1"
_ROWS = 16
Array = npt.NDArray[Any]


def export_bundle(
    checkpoint: Any,
    path: Any,
    policy_id: str | None = None,
    *,
    observations: Any = None,
    config: dict[str, Any] | None = None,
    filesystem: Any = None,
) -> Saved:
    """Write what a policy or RLModule of any version needs to act, as a bundle.

    Neither Ray nor anything of the checkpoint's is imported. The network must be one of RLlib's
    built-in ones, see `register_family` for others.

    Args:
        checkpoint: A checkpoint of an Algorithm or any part of one: a local path, a URI, or a Ray
            Checkpoint.
        path: Where the bundle is written: a local path or a URI.
        policy_id: Which policy or module; not needed where there is only one.
        observations: A batch of observations for the self-test; by default random ones.
        config: Entries of the configuration, instead of those that are stored; version 0.1 stores
            none.
        filesystem: A ``pyarrow.fs.FileSystem`` in which the paths are to be looked up.

    Returns:
        Where it is, its digest and its size.

    Raises:
        ComponentNotFoundError, InvalidArgumentError: There is no such policy, or several; or the
            path is the checkpoint's own, or in it.
        NotInCheckpointError: Its network is none of RLlib's own, or something is not told.
        CorruptDataError, CorruptCheckpointError: The checkpoint is damaged.
    """
    source = find(checkpoint, filesystem).folder.store
    check_apart("path", open_store(path, filesystem), source)
    inference = read_inference(checkpoint, policy_id, filesystem, config)
    rows = sample(inference.observation_space, _ROWS) if observations is None else observations
    bundle = InferenceBundle(inference, _batch(rows, tuple(inference.observation_space["shape"])))
    told = {"format": _FORMAT, **inference.plain(), "observations": bundle.observations}
    state = {**told, "selftest": bundle.selftest()}
    return save_state(state, path, filesystem=filesystem)


def load_bundle(
    path: Any, *, device: Any = None, tolerance: float = 1e-5, filesystem: Any = None
) -> InferenceBundle:
    """Open a bundle, and check that it computes what it computed when it was written.

    >>> saved = export_bundle("new_checkpoint", "bundle", "p0")
    >>> int(load_bundle("bundle").act(np.zeros(4, np.float32))) in (0, 1)
    True

    Args:
        path: Where it is: a local path or a URI.
        device: Where the network is put; by default on the CPU.
        tolerance: How much its outputs may differ from those that are stored in it.
        filesystem: A ``pyarrow.fs.FileSystem`` in which the path is to be looked up.

    Raises:
        NotACheckpointError: There is none.
        CorruptDataError: It is damaged, or a checkpoint of something else.
        SelfTestError: It computes something else than when it was written.
    """
    told = load_state(path, tensors="numpy", filesystem=filesystem)
    if not isinstance(told, dict) or str(told.get("format")) != _FORMAT:
        raise CorruptDataError(str(path), "it is a checkpoint, but no inference bundle")
    try:
        inference = Inference.of_plain(told)
        bundle = InferenceBundle(inference, told["observations"], device)
        faults = tuple(differences(bundle, told["selftest"], tolerance))
    except _MALFORMED as error:
        raise CorruptDataError(str(path), f"it is no inference bundle ({error!r})") from error
    if faults:
        raise SelfTestError(str(path), faults)
    return bundle


_MALFORMED = (
    *(AttributeError, IndexError, KeyError, OverflowError, RecursionError, RuntimeError),
    *(TypeError, ValueError, ZeroDivisionError),
)


class InferenceBundle:
    """A policy or RLModule that acts without Ray.

    Args:
        inference: What it needs.
        observations: Those of the self-test.
        device: Where the network is put; by default on the CPU.

    Attributes:
        network: The network, a ``torch.nn.Module``.
        observations: Those of the self-test.
    """

    def __init__(self, inference: Inference, observations: Array, device: Any = None) -> None:
        self._inference, self.observations = inference, observations
        self.network = _on(device, inference.network())
        self._device = device
        self._states: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        name, cls, path = (self.source.get(key) for key in ("policy_id", "class", "checkpoint"))
        return f"<InferenceBundle of {name!r}, a policy by {cls}, in {path}>"

    @property
    def observation_space(self) -> Space:
        """The space of what the network sees, as plain data."""
        return self._inference.observation_space

    @property
    def action_space(self) -> Space:
        """The environment's space of actions, as plain data."""
        return self._inference.actions.space

    @property
    def absent(self) -> tuple[str, ...]:
        """What RLlib does between environment and network, and this does not."""
        return self._inference.absent

    @property
    def source(self) -> dict[str, Any]:
        """Where it is from: the checkpoint, the policy's id and class, and Ray's version."""
        return self._inference.source

    def act(self, observations: Any) -> Array:
        """Return actions without exploration, in the environment's own bounds.

        A network with an LSTM remembers its states from call to call, see `reset`.

        Args:
            observations: One observation, or a batch of them.

        Raises:
            InvalidArgumentError: They are of another shape.
        """
        shape = tuple(self.observation_space["shape"])
        rows = _batch(observations, shape)
        is_one = np.ndim(observations) == len(shape)
        _, actions, *self._states = self._run(rows, self._states)
        found: Array = actions.cpu().numpy().astype(self.action_space.get("dtype", np.int64))
        return np.asarray(found[0]) if is_one else found

    def reset(self) -> None:
        """Forget the LSTM's states: another episode begins."""
        self._states = ()

    def selftest(self) -> dict[str, Any]:
        """Return what the network gives for the stored observations."""
        inputs, actions, *_ = self._run(self.observations, ())
        return {"action_dist_inputs": inputs, "actions": actions}

    def _run(self, rows: Array, states: Any) -> Any:
        import torch

        batch = torch.as_tensor(rows).to(self._device)
        zeros = torch.zeros(len(rows), self.network.state_size, device=self._device)
        has_states = len(states) == 2 and states[0].shape == zeros.shape
        given = [] if not self.network.state_size else states if has_states else [zeros, zeros]
        with torch.no_grad():
            return self.network(batch, *given)


def _batch(observations: Any, shape: tuple[int, ...]) -> Array:
    """Return observations, or a single one, as a batch of numbers."""
    expected = (f"numbers of shape {shape}, or a batch of them",)
    try:
        rows = np.asarray(observations)
    except ValueError as error:  # of several lengths
        raise InvalidArgumentError("observations", "rows of several lengths", expected) from error
    is_one = rows.ndim == len(shape)
    if rows.dtype.kind not in "biuf" or rows.shape[0 if is_one else 1 :] != shape:
        raise InvalidArgumentError("observations", f"{rows.dtype}{rows.shape}", expected)
    return rows[None] if is_one else rows


def _on(device: Any, network: Any) -> Any:
    try:
        return network.to(device)
    except (AssertionError, RuntimeError, TypeError) as error:
        raise InvalidArgumentError("device", device, ("a device that torch has here",)) from error
