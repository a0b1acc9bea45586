"""RLModules of the new API stack: what they are made with, as Ray 2.60 wants it."""

from __future__ import annotations

from typing import Any

from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib.converting.moves import reference
from tune_ckpt.rllib.converting.pickled_spaces import space_object
from tune_ckpt.rllib.converting.pickling import Call
from tune_ckpt.rllib.converting.restating import LOST, Restating
from tune_ckpt.rllib.reading.generations import RAY
from tune_ckpt.rllib.reading.member_kinds import Member, Module
from tune_ckpt.rllib.reading.plain import fields
from tune_ckpt.rllib.reading.spaces import spaces_of

# SAC's and CQL's Q networks had another encoder.
FORMER_SAC = Reference("tune_ckpt.rllib.former:FormerSACCatalog")
_NEEDS_US = (
    f"Ray {RAY} builds another Q network; tune_ckpt builds this one, and must be installed where "
    "the checkpoint is loaded"
)

# Names in a model's configuration that Ray 2.40 changed.
_OLD_PARTS = {"fcnet": "fcnet", "post_fcnet": "head_fcnet", "conv": "conv", "lstm": "lstm"}
_OLD_MODEL_KEYS = {
    **{
        f"{old}_{what}_initializer{end}": f"{new}_{now}_initializer{to}"
        for old, new in _OLD_PARTS.items()
        for what, now in (("weights", "kernel"), ("kernel", "kernel"), ("bias", "bias"))
        for end, to in (("", ""), ("_config", "_kwargs"))
    },
    "post_fcnet_hiddens": "head_fcnet_hiddens",
    "post_fcnet_activation": "head_fcnet_activation",
}


def model_config(stored: Any) -> dict[str, Any]:
    """Return the configuration of a model by the keys that it has since Ray 2.40."""
    told = {key: item for key, item in (fields(stored) or {}).items() if item != -1}
    told.pop("_inference_only", None)
    return {_OLD_MODEL_KEYS.get(key, key): item for key, item in told.items()}


def module_arguments(member: Member, restating: Restating) -> dict[str, Any]:
    """Return what an RLModule is made with: its class, too.

    Args:
        member: The module.
        restating: Takes the notes.
    """
    spec, spaces = member.spec, spaces_of(member)
    stored = spec.get("model_config") or spec.get("model_config_dict") or {}
    catalog = reference(spec.get("catalog_class_path")) or spec.get("catalog_class")
    if _has_former_encoder(member, spaces):
        catalog = FORMER_SAC
        restating.note(("catalog_class",), _NEEDS_US)
    found = {
        **{name: space_object(space) for name, space in spaces.items()},
        "inference_only": bool(spec.get("inference_only")),
        "learner_only": bool(spec.get("learner_only")),
        "model_config": restating.value(model_config(stored), "model_config"),
        "catalog_class": restating.value(catalog, "catalog_class"),
    }
    return {key: None if item is LOST else item for key, item in found.items()}


def _has_former_encoder(member: Member, spaces: dict[str, Any]) -> bool:
    is_continuous = (spaces.get("action_space") or {}).get("space") == "box"
    weights = member.weights if isinstance(member.weights, dict) else {}
    return is_continuous and any(str(name).startswith("qf_encoder.net.") for name in weights)


def module_class(module: Member) -> Reference | None:
    """Return an RLModule's class, moved."""
    if not isinstance(module, Module):
        return None
    has_ctor = module.part.folder.ctor is not None
    stored = module.part.folder.cls if has_ctor else module.spec.get("module_class")
    if stored and ":" in str(stored):
        return reference(Reference(str(stored)))
    return reference(stored)


def module_spec(cls: Reference | None, arguments: dict[str, Any]) -> Call:
    """Return the call that makes an RLModuleSpec."""
    spec = Reference("ray.rllib.core.rl_module.rl_module:RLModuleSpec")
    return Call(spec, (), {"module_class": cls, **arguments})


def modules_spec(specs: dict[str, Call]) -> Call:
    """Return the call that makes a MultiRLModuleSpec."""
    spec = Reference("ray.rllib.core.rl_module.multi_rl_module:MultiRLModuleSpec")
    return Call(spec, (), {"rl_module_specs": specs})
