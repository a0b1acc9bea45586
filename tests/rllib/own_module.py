"""An RLModule that is none of RLlib's own."""

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule

ARGUMENTS = {
    "observation_space": Box(-1, 1, (4,), np.float32),
    "action_space": Discrete(2),
    "model_config": {"hidden": 3},
}


class Tiny(TorchRLModule):
    def setup(self):
        hidden = self.model_config["hidden"]
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, hidden), torch.nn.Linear(hidden, 2))

    @property
    def weight(self):
        return self.layers[0].weight.tolist()

    def _forward(self, batch, **kwargs):
        return {"action_dist_inputs": self.layers(batch["obs"])}
