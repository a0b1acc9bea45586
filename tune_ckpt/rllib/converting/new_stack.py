"""Algorithms and RLModules of the new API stack, as Ray 2.60 reads them: trees of version 2.1.

Ray 2.5 to 2.30 kept the modules' states in ``learner/module_state``, beside policies of the old
stack, or without any; their trees are built anew. The policies' states are the modules' then.
"""

from __future__ import annotations

import json
from typing import Any

from tune_ckpt.errors import Fault, UnsupportedStateError
from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib.converting import pickling
from tune_ckpt.rllib.converting.component_states import (
    RESTATED,
    as_it_is,
    states_in,
    with_module_ids,
)
from tune_ckpt.rllib.converting.folders import Folder, below
from tune_ckpt.rllib.converting.given import Given, embedded
from tune_ckpt.rllib.converting.metrics import carried, counted
from tune_ckpt.rllib.converting.modules import (
    default_classes,
    model_config,
    module_arguments,
    module_class,
    module_spec,
    modules_spec,
)
from tune_ckpt.rllib.converting.moves import (
    POLICIES,
    algorithm_class,
    class_name,
    config_class,
    moved,
    reference,
)
from tune_ckpt.rllib.converting.old_stack import algorithm_of
from tune_ckpt.rllib.converting.rebuilding import rebuild
from tune_ckpt.rllib.converting.restating import LOST, Restating
from tune_ckpt.rllib.reading.counters import ITERATION
from tune_ckpt.rllib.reading.finding import Part, open_part
from tune_ckpt.rllib.reading.generations import ALGORITHM, MODULE, MODULES
from tune_ckpt.rllib.reading.members import Member, Module, arguments, members
from tune_ckpt.rllib.reading.plain import fields
from tune_ckpt.tree.layout import CHECKPOINT_VERSION

_STACK = {"enable_rl_module_and_learner": True, "enable_env_runner_and_connector_v2": True}
_CTOR = "class_and_ctor_args.pkl"
_STEMS = {ALGORITHM: "algorithm_state", MODULE: "module_state", MODULES: "module_state"}
_LEARNER = "ray.rllib.core.learner.learner"
_MODULES = Reference("ray.rllib.core.rl_module.multi_rl_module:MultiRLModule")


class NewStack:
    """Upgrades parts of one checkpoint of the new API stack.

    Args:
        given: What the caller says of the configuration.

    Attributes:
        notes: What could not be carried.
    """

    def __init__(self, given: Given) -> None:
        self._given = given
        self.notes: list[Fault] = []

    def algorithm(self, part: Part) -> Folder:
        """Return an Algorithm's folder."""
        name = algorithm_of(_class_of(part), self._given)
        restating = Restating(part.state_path)
        found = members(part.child("learner") or part)
        config = self._config(part, restating)
        if not self._given.is_whole and not (part.folder.ctor and config.get("_rl_module_spec")):
            config |= _of_modules(config, found, name)
        folder = self._tree(part) if part.folder.ctor else self._of_learner(part)
        args = ({"class": config_class(name), **config},)
        folder.files[_CTOR] = _ctor(algorithm_class(name), args, {})
        self.notes[:0] = restating.notes
        return folder

    def _config(self, part: Part, restating: Restating) -> dict[str, Any]:
        args, kwargs = arguments(part)
        stored = (fields(part.state) or {}).get("config") or next(iter(args), kwargs.get("config"))
        config = rebuild(self._given.others(stored), restating, "config")
        config = {**_with_episodes(config, restating), **embedded(self._given.keys), **_STACK}
        lost = (fields(stored) or {}).get("env")
        if config.get("env") is None and lost is not None:
            # Under this name it may be registered; nothing is built without one.
            config["env"] = class_name(lost)
        return config

    # ------------------------------------------------------------------------- trees, 2.0 and 2.1

    def tree(self, part: Part) -> Folder:
        """Return the folder of an RLModule, or of anything else in a tree."""
        return self._tree(part)

    def policy(self, part: Part) -> Folder:
        """Return the folder of an RLModule whose weights a policy of Ray 2.5 to 2.30 has."""
        (policy,) = members(part).values()
        restating = Restating(policy.path)
        algorithm = POLICIES.get(class_name(policy.spec.get("policy_class")))
        if algorithm is None:
            reason = "there is no RLModule for it in Ray 2.60; load_weights reads its weights"
            raise UnsupportedStateError((Fault("policy_spec/policy_class", reason),))
        cls, catalog = default_classes(algorithm)
        kwargs = {
            **module_arguments(policy, restating),
            "model_config": model_config((fields(policy.spec.get("config")) or {}).get("model")),
            "catalog_class": catalog,
        }
        self.notes += restating.notes
        self.notes.append(Fault("", "Ray 2.60 has no such policies: this is the RLModule in it"))
        return _module_folder(cls, kwargs, policy.weights)

    def _tree(self, part: Part, path: str = "") -> Folder:
        restating = Restating(part.state_path)
        folder = Folder()
        stem = _STEMS.get(part.type, "state")
        state = fields(part.state) or {}
        told = restating.value(RESTATED.get(part.type, as_it_is)(state, part))
        folder.files[f"{stem}.pkl"] = pickling.dumps(told)
        if part.folder.ctor is not None and part.type != ALGORITHM:
            folder.files[_CTOR] = self._constructor(part, restating)
        folder.metadata[part.metadata_file] = _metadata(stem, part.metadata)
        for name, store in part.folder.children():
            folder.children[name] = self._tree(open_part(store), f"{path}{name}/")
        self.notes += below(path, restating.notes)
        return folder

    def _constructor(self, part: Part, restating: Restating) -> bytes:
        cls = Reference(moved(part.folder.cls))
        if part.type == MODULE:
            return _ctor(cls, (), module_arguments(Module(part), restating))
        silent = Restating(part.path)  # RLlib makes these of the Algorithm's, noted already
        args, kwargs = arguments(part)
        return _ctor(cls, _without_lost(args, silent), _without_lost(kwargs, silent))

    # ------------------------------------------------------------------------- Ray 2.5 to 2.30

    def _of_learner(self, part: Part) -> Folder:
        state = fields(part.state) or {}
        told = {ITERATION: state.get(ITERATION, 0)}
        counters = fields(state.get("counters")) or {}
        if "metrics_logger" in state:
            told["metrics_logger"] = carried(state["metrics_logger"])
        elif counters:
            told |= {"counters": dict(counters), "metrics_logger": counted(counters)}
        learner = part.child("learner")
        assert learner is not None
        group = Folder(children={"learner": self._learner(learner)})
        cls = Reference(f"{_LEARNER}_group:LearnerGroup")
        group.files |= {"state.pkl": pickling.dumps({}), _CTOR: _ctor(cls, (), {})}
        group.metadata["metadata.json"] = _metadata("state", {})
        folder = Folder({"algorithm_state.pkl": pickling.dumps(told)})
        folder.metadata["rllib_checkpoint.json"] = _metadata("algorithm_state", {})
        folder.children["learner_group"] = group
        return folder

    def _learner(self, part: Part) -> Folder:
        found = members(part)
        optimizers = part.child("optimizer_state")
        stored = {} if optimizers is None else states_in(optimizers)
        state = {"optimizer": with_module_ids(stored, list(found)), "weights_seq_no": 0}
        modules = Folder({"module_state.pkl": pickling.dumps({}), _CTOR: _ctor(_MODULES, (), {})})
        modules.metadata["metadata.json"] = _metadata("module_state", {})
        for name, module in found.items():
            assert isinstance(module, Module)
            modules.children[name] = self._module(module, f"{name}/")
        cls = reference(part.metadata.get("learner_class")) or Reference(f"{_LEARNER}:Learner")
        folder = Folder({"state.pkl": pickling.dumps(state), _CTOR: _ctor(cls, (), {})})
        folder.children["rl_module"] = modules
        folder.metadata["metadata.json"] = _metadata("state", {})
        return folder

    def _module(self, module: Module, path: str) -> Folder:
        restating = Restating(module.path)
        kwargs = module_arguments(module, restating)
        cls = module_class(module)
        assert cls is not None
        self.notes += below(path, restating.notes)
        return _module_folder(cls, kwargs, module.weights)


def _module_folder(cls: Reference, kwargs: dict[str, Any], weights: Any) -> Folder:
    folder = Folder({"module_state.pkl": pickling.dumps(weights), _CTOR: _ctor(cls, (), kwargs)})
    folder.metadata["metadata.json"] = _metadata("module_state", {})
    return folder


def _class_of(part: Part) -> Any:
    has_ctor = part.folder.ctor is not None
    return part.folder.cls if has_ctor else (fields(part.state) or {}).get("algorithm_class")


def _ctor(cls: Reference, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    return pickling.dumps({"class": cls, "ctor_args_and_kwargs": (args, kwargs)})


def _metadata(stem: str, stored: dict[str, Any]) -> bytes:
    ours = {
        "class_and_ctor_args_file": _CTOR,
        "state_file": stem,
        "checkpoint_version": CHECKPOINT_VERSION,
    }
    kept = {key: item for key, item in stored.items() if key.startswith("ray_")}
    return json.dumps({**kept, **ours}).encode()


def _without_lost(value: Any, restating: Restating) -> Any:
    if isinstance(value, dict):
        return {key: _none_if_lost(item, restating) for key, item in value.items()}
    return tuple(_none_if_lost(item, restating) for item in value)


def _none_if_lost(value: Any, restating: Restating) -> Any:
    made = restating.value(value)
    return None if made is LOST else made


def _with_episodes(config: dict[str, Any], restating: Restating) -> dict[str, Any]:
    """Return a configuration without a replay buffer that the new API stack does not take."""
    buffer = config.get("replay_buffer_config") or {}
    if "Episode" in str(buffer.get("type", "Episode")):
        return config
    steps = ("config", "replay_buffer_config")
    restating.note(steps, "the new API stack has buffers of episodes only; Ray's default is taken")
    return {key: item for key, item in config.items() if key != "replay_buffer_config"}


def _of_modules(config: dict[str, Any], found: dict[str, Member], algorithm: str) -> dict[str, Any]:
    """Return how the modules are made, as their own folders tell it: no default is to change it."""
    silent = Restating("")
    told = {name: module_arguments(module, silent) for name, module in found.items()}
    classes = {name: module_class(module) for name, module in found.items()}
    models = [arguments["model_config"] for arguments in told.values()]
    if all(model == models[0] for model in models):
        alike = {"_model_config": models[0]} if models else {}
        cls, catalog = default_classes(algorithm)
        catalogs = {arguments["catalog_class"] for arguments in told.values()}
        if set(classes.values()) <= {cls} and catalogs <= {catalog, None}:
            return {"_rl_module_spec": None, **alike}
    specs = {name: module_spec(classes[name], told[name]) for name in told}
    return {"_rl_module_spec": modules_spec(specs)}
