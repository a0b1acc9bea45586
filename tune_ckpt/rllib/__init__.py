"""RLlib's checkpoints of every generation: read, written again and shipped without Ray.

Nothing in them is imported or called, unless the caller trusts it. Restoring parts of them is done
in today's RLlib.

=======  ===============  ========================================================================
version  Ray              what an Algorithm's folder holds
=======  ===============  ========================================================================
0.1      up to 2.0        ``checkpoint-<N>``: one pickle, with the policies' states in another one
1.0      2.1 to 2.3       ``algorithm_state.pkl``, ``policies/<id>/policy_state.pkl``
1.1      2.4 to today     the same, or ``.msgpck``; the old API stack writes it still
1.2      2.5 to 2.30      1.1, and ``learner/module_state/<id>/module_state_dir/module_state.pt``
2.0      2.31 to 2.40     a tree of components, ``learner_group/learner/rl_module/<id>/...``, whose
                          modules' states are ``module_state.pt``
2.1      2.41 to today    the same tree, all of it ``.pkl`` or ``.msgpack``
=======  ===============  ========================================================================
"""

from __future__ import annotations

from tune_ckpt.rllib.converting.convert import (
    Converted,
    convert_to_msgpack_checkpoint,
    convert_to_msgpack_policy_checkpoint,
)
from tune_ckpt.rllib.converting.upgrade import Upgraded, upgrade_checkpoint
from tune_ckpt.rllib.inference.bundle import InferenceBundle, export_bundle, load_bundle
from tune_ckpt.rllib.inference.export import Exported, export_model
from tune_ckpt.rllib.inference.families import register_family
from tune_ckpt.rllib.inference.recipes import Known, Recipe
from tune_ckpt.rllib.msgpack import try_import_msgpack
from tune_ckpt.rllib.reading.config import load_config
from tune_ckpt.rllib.reading.counters import load_counters
from tune_ckpt.rllib.reading.info import get_checkpoint_info
from tune_ckpt.rllib.reading.spaces import load_spaces
from tune_ckpt.rllib.reading.versions import CheckpointVersion
from tune_ckpt.rllib.reading.weights import load_weights
from tune_ckpt.rllib.restoring.migrate import Migrated, migrate_to_rl_module
from tune_ckpt.rllib.restoring.restore_algorithm import restore_algorithm
from tune_ckpt.rllib.restoring.restore_module import restore_module
from tune_ckpt.rllib.restoring.restore_policy import restore_policy

__all__ = [
    "CheckpointVersion",
    "Converted",
    "Exported",
    "InferenceBundle",
    "Known",
    "Migrated",
    "Recipe",
    "Upgraded",
    "convert_to_msgpack_checkpoint",
    "convert_to_msgpack_policy_checkpoint",
    "export_bundle",
    "export_model",
    "get_checkpoint_info",
    "load_bundle",
    "load_config",
    "load_counters",
    "load_spaces",
    "load_weights",
    "migrate_to_rl_module",
    "register_family",
    "restore_algorithm",
    "restore_module",
    "restore_policy",
    "try_import_msgpack",
    "upgrade_checkpoint",
]
