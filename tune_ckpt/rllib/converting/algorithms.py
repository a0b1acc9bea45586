"""RLlib's algorithms: those of Ray 2.60, one row each, and those that are no longer there.

A new algorithm is one row here, and where it can be shipped without Ray one in the families of
`tune_ckpt.rllib.inference`.
"""

from __future__ import annotations

from dataclasses import dataclass

from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib.reading.plain import last_name

_MODULE = "torch.default_{0}_torch_rl_module:Default{1}TorchRLModule"


@dataclass(frozen=True)
class Algorithm:
    """One of Ray 2.60's algorithms.

    Attributes:
        name: Its name.
        modules_of: Whose RLModule it has; by default its own.
        catalog_of: Whose catalog that has; by default its own.
        policies: How its policies of the old API stack are called; empty where it has none.
        buffer: The replay buffer that it had on the old API stack by itself, if any.
        module_path: Where its RLModule is, in its own package.
        has_runners: Whether Ray 2.60 gives it runners on the new API stack; one that learns offline
            needs none.
    """

    name: str
    modules_of: str = ""
    catalog_of: str = ""
    policies: str = ""
    buffer: str = ""
    module_path: str = _MODULE
    has_runners: bool = True

    @property
    def cls(self) -> Reference:
        """Its class."""
        return Reference(_path(self.name, "{0}:{1}"))

    @property
    def config(self) -> Reference:
        """The class of its configuration."""
        return Reference(_path(self.name, "{0}:{1}Config"))

    @property
    def module(self) -> Reference:
        """The class of its RLModules."""
        return Reference(_path(self.modules_of or self.name, self.module_path))

    @property
    def catalog(self) -> Reference:
        """The class of their catalogs."""
        return Reference(default_catalog(self.catalog_of or self.name))


@dataclass(frozen=True)
class OwnAlgorithm(Algorithm):
    """An algorithm of the user's own.

    Attributes:
        name: Its class's ``module:name``.
        config_class: Likewise of its configuration; RLlib's base where nothing tells it.
    """

    config_class: str = ""

    @property
    def cls(self) -> Reference:
        """Its class."""
        return Reference(self.name)

    @property
    def config(self) -> Reference:
        """The class of its configuration."""
        return Reference(self.config_class or ANY_CONFIG)


ANY_CONFIG = "ray.rllib.algorithms.algorithm_config:AlgorithmConfig"


def _path(name: str, below: str) -> str:
    return f"ray.rllib.algorithms.{{0}}.{below}".format(name.lower(), name)


def default_module(name: str) -> str:
    """Return the name of the class of an algorithm's own RLModules."""
    return _path(name, _MODULE)


def default_catalog(name: str) -> str:
    """Return the name of the class of an algorithm's own catalog."""
    return _path(name, "{0}_catalog:{1}Catalog")


ALGORITHMS = {
    row.name: row
    for row in (
        Algorithm("APPO", catalog_of="PPO", policies="APPO"),
        Algorithm("BC", has_runners=False),
        Algorithm("CQL", catalog_of="SAC", policies="CQL", buffer="MultiAgentReplayBuffer"),
        Algorithm("DQN", policies="DQN", buffer="MultiAgentPrioritizedReplayBuffer"),
        Algorithm("DreamerV3", module_path="torch.{0}_torch_rl_module:{1}TorchRLModule"),
        Algorithm("IMPALA", modules_of="PPO", catalog_of="PPO", policies="Impala"),
        Algorithm("IQL", catalog_of="SAC", has_runners=False),
        Algorithm("MARWIL", "PPO", "PPO", policies="MARWIL", has_runners=False),
        Algorithm("PPO", policies="PPO"),
        Algorithm("SAC", policies="SAC", buffer="MultiAgentReplayBuffer"),
        Algorithm("TQC"),
    )
}

# The policies of the old API stack that Ray 2.60 finds by name.
ALGORITHM_OF_POLICY = {
    f"{row.policies}{framework}Policy": row
    for row in ALGORITHMS.values()
    for framework in ("Torch", "TF", "TF1", "TF2")
    if row.policies
}

# What Ray 1 called policies of the old API stack that have another name since.
FORMER_POLICIES = {
    "AsyncPPOTFPolicy": "APPOTFPolicy",
    "AsyncPPOTorchPolicy": "APPOTorchPolicy",
    "SimpleQPolicy": "SimpleQTorchPolicy",
    "VTraceTFPolicy": "ImpalaTFPolicy",
    "VTraceTorchPolicy": "ImpalaTorchPolicy",
}

# The algorithms that are no longer there, and since when. Some had raised an error before.
REMOVED_ALGORITHMS = {
    **dict.fromkeys(("A2C", "A3C", "PG", "DDPG", "TD3", "SimpleQ", "R2D2", "QMix"), "2.11"),
    **dict.fromkeys(("DDPPO", "ApexDQN", "ApexDDPG", "APEX", "APEX_DDPG", "CRR", "DT"), "2.11"),
    **dict.fromkeys(("Dreamer", "ES", "ARS", "MAML", "MBMPO", "SlateQ", "AlphaStar"), "2.11"),
    **dict.fromkeys(("AlphaZero", "BanditLinUCB", "BanditLinTS", "MADDPG"), "2.11"),
    **dict.fromkeys(("LeelaChessZero", "RandomAgent"), "2.11"),
    "RNNSAC": "2.38",
}

# What has the weights of a removed one's models by the same names, and acts like it.
STAND_INS = {
    **dict.fromkeys(("A3CTorchPolicy", "A2CTorchPolicy", "PGTorchPolicy"), "PPOTorchPolicy"),
    "SimpleQTorchPolicy": "DQNTorchPolicy",
}

_ALIASES = {"Impala": "IMPALA", "ImpalaTrainer": "IMPALA"}


def algorithm_name(cls: str) -> str:
    """Return an algorithm's name by that of its class, or of its class's trainer in Ray 1."""
    name = last_name(cls).removesuffix("Trainer").removesuffix("Config")
    return _ALIASES.get(name, name)
