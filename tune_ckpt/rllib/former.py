"""What Ray 2.60 no longer has, or cannot build by itself, for the checkpoints that name it.

Only what loads such a checkpoint imports this module; upgrading and converting do not. Its names
are in files, and stay.
"""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.algorithms.sac.sac_catalog import SACCatalog
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import Encoder
from ray.rllib.core.models.configs import MLPEncoderConfig
from ray.rllib.core.models.torch.encoder import TorchMLPEncoder

from tune_ckpt.rllib.converting.replay_buffers import live_buffer_class


class _ConcatenatingEncoder(TorchMLPEncoder):  # type: ignore[no-untyped-call]  # RLlib's is not typed
    """One network for observations and actions side by side."""

    def _forward(self, inputs: dict[Any, Any], **kwargs: Any) -> dict[Any, Any]:  # type: ignore[override]  # as RLlib's own encoders do
        both = torch.concat((inputs[Columns.OBS], inputs[Columns.ACTIONS]), dim=-1)
        return super()._forward({Columns.OBS: both}, **kwargs)


class FormerSACCatalog(SACCatalog):
    """Builds the Q networks of SAC and CQL as Ray did before it encoded actions by themselves."""

    def _build_qf_encoder_continuous(self, framework: str) -> Encoder:
        config = self._model_config_dict
        spaces = (self.observation_space, self.action_space)
        return _ConcatenatingEncoder(
            MLPEncoderConfig(
                input_dims=(sum(space.shape[0] for space in spaces if space.shape),),
                hidden_layer_dims=config["fcnet_hiddens"][:-1],
                hidden_layer_activation=config["fcnet_activation"],
                output_layer_dim=self.latent_dims[0],
                output_layer_activation=config["fcnet_activation"],
            )
        )


class Connectors:
    """Makes connectors anew, in the place of a configuration's function that did it.

    Args:
        made: Their classes, arguments and keyword arguments.
    """

    def __init__(self, *made: tuple[type, tuple[Any, ...], dict[str, Any]]) -> None:
        self._made = made

    def __call__(self, *_: Any, **__: Any) -> list[Any]:
        """Return new connectors, whatever RLlib tells of the environment."""
        return [cls(*args, **kwargs) for cls, args, kwargs in self._made]


def __getattr__(name: str) -> Any:
    """Return a replay buffer of the old API stack, in the form in which Ray 2.60 builds it."""
    if not name.endswith("ReplayBuffer"):
        raise AttributeError(name)
    return live_buffer_class(name)
