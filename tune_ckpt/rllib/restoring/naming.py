"""RLlib's own classes by the names that checkpoints of any age have; others only if trusted."""

from __future__ import annotations

from typing import Any

from tune_ckpt.errors import ClassNotFoundError
from tune_ckpt.objects.classes import current_name, family, name_of_class, same_class
from tune_ckpt.objects.trust import Trust, imported

_RLLIB = "ray.rllib."
_ALGORITHMS = "ray.rllib.algorithms"

# What RLlib has renamed, by the class's last name.
_TODAY = {
    "PPOTorchRLModule": f"{_ALGORITHMS}.ppo.torch.default_ppo_torch_rl_module"
    ":DefaultPPOTorchRLModule",
    "DQNRainbowTorchRLModule": f"{_ALGORITHMS}.dqn.torch.default_dqn_torch_rl_module"
    ":DefaultDQNTorchRLModule",
    "SACTorchRLModule": f"{_ALGORITHMS}.sac.torch.default_sac_torch_rl_module"
    ":DefaultSACTorchRLModule",
}


def find_rllib_class(name: str, base: type, trust: Trust, path: str) -> Any:
    """Return a class that a checkpoint names: imported already, RLlib's own, or trusted.

    Args:
        name: Its name, with a colon or dots only.
        base: What it must be or be derived from.
        trust: What the caller trusts.
        path: The checkpoint.

    Raises:
        ClassNotFoundError: It is none of these.
    """
    name = current_name(name if ":" in name else ":".join(name.rsplit(".", 1)))
    if name.startswith(_RLLIB):
        name = _TODAY.get(name.rpartition(":")[2], name)
    candidate: type
    for candidate in family(base):
        if same_class(name_of_class(candidate), name):
            return candidate
    if not (name.startswith(_RLLIB) or trust.covers(name)):
        raise ClassNotFoundError(path, name, "it is neither imported nor in a trusted module")
    found = imported(name, path)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ClassNotFoundError(path, name, f"it is no {base.__name__}")
    return found
