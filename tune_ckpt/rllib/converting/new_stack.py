"""Algorithms and RLModules of the new API stack, as Ray 2.60 reads them: trees of version 2.1.

Ray 2.5 to 2.30 kept the modules' states in ``learner/module_state``, beside policies of the old
stack, or without any; their trees are built anew. The policies' states are the modules' then.
"""

from __future__ import annotations

from typing import Any

from tune_ckpt.errors import Fault, UnsupportedStateError
from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib.converting import pickling
from tune_ckpt.rllib.converting.algorithms import Algorithm
from tune_ckpt.rllib.converting.component_folders import (
    CTOR_FILE,
    ctor_file,
    metadata_file,
    module_folder,
)
from tune_ckpt.rllib.converting.component_states import RESTATED, as_it_is
from tune_ckpt.rllib.converting.config_values import rebuild
from tune_ckpt.rllib.converting.filters import CONNECTORS, lost_filters, with_connectors
from tune_ckpt.rllib.converting.folders import Folder, below
from tune_ckpt.rllib.converting.given import Given, embedded
from tune_ckpt.rllib.converting.learner_groups import algorithm_state, learner_group, learner_of
from tune_ckpt.rllib.converting.modules import (
    ModuleInPolicy,
    module_arguments,
    module_class,
    module_spec,
    modules_spec,
    upgraded_weights,
)
from tune_ckpt.rllib.converting.moves import class_name, moved
from tune_ckpt.rllib.converting.restating import LOST, Restating
from tune_ckpt.rllib.reading.config import stored_config
from tune_ckpt.rllib.reading.finding import Part, open_part
from tune_ckpt.rllib.reading.generations import (
    ALGORITHM,
    MODULE,
    MODULES,
    OLD_METADATA,
    RAY,
    STATE_OF_TYPE,
)
from tune_ckpt.rllib.reading.member_kinds import Module, arguments
from tune_ckpt.rllib.reading.members import members
from tune_ckpt.rllib.reading.plain import fields

_NO_RUNNERS = (
    f"Ray {RAY}'s from_checkpoint fails on any Algorithm that has no runners; "
    "tune_ckpt.rllib.restore_algorithm opens it"
)
_STACK = {"enable_rl_module_and_learner": True, "enable_env_runner_and_connector_v2": True}
_STEMS = {**STATE_OF_TYPE, MODULES: STATE_OF_TYPE[MODULE]}


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
        algorithm = self._given.algorithm_for(_class_of(part), stored_config(part))
        restating = Restating(part.state_path)
        stored = members(part.child("learner") or part)
        found = {name: one for name, one in stored.items() if isinstance(one, Module)}
        config = self._config(part, restating)
        if not self._given.is_whole and not (part.folder.ctor and config.get("_rl_module_spec")):
            config |= _of_modules(config, found, algorithm)
        folder = self.tree(part) if part.folder.ctor else self._of_learner(part)
        args = ({"class": algorithm.config, **config},)
        folder.files[CTOR_FILE] = ctor_file(algorithm.cls, args, {})
        self.notes[:0] = restating.notes
        told = config if part.folder.ctor else embedded(self._given.keys)
        self.notes += () if told.get(CONNECTORS) else lost_filters(part)
        self.notes += () if algorithm.has_runners else (Fault("", _NO_RUNNERS),)
        return folder

    def _config(self, part: Part, restating: Restating) -> dict[str, Any]:
        stored = stored_config(part)
        self.notes += self._given.unknown_to(stored)
        config = rebuild(self._given.others(stored), restating, "config")
        config = with_connectors(config, part, restating)
        config = {**_with_episodes(config, restating), **embedded(self._given.keys), **_STACK}
        lost = (fields(stored) or {}).get("env")
        if config.get("env") is None and lost is not None:
            # Under this name it may be registered; nothing is built without one.
            config["env"] = class_name(lost)
        return config

    def _of_learner(self, part: Part) -> Folder:
        """Return the folder of an Algorithm of version 1.2."""
        learner = learner_of(part)
        assert learner is not None
        stem = STATE_OF_TYPE[ALGORITHM]
        folder = Folder({f"{stem}.pkl": pickling.dumps(algorithm_state(part))})
        folder.metadata[OLD_METADATA] = metadata_file(stem)
        folder.children["learner_group"] = learner_group(learner, self.notes)
        return folder

    # ------------------------------------------------------------------------- trees, 2.0 and 2.1

    def policy(self, part: Part) -> Folder:
        """Return the folder of an RLModule whose weights a policy of Ray 2.5 to 2.30 has."""
        module, restating = ModuleInPolicy(part), Restating(part.state_path)
        if module.algorithm is None:
            reason = f"there is no RLModule for it in Ray {RAY}; load_weights reads its weights"
            raise UnsupportedStateError((Fault("policy_spec/policy_class", reason),), advice="")
        kwargs = module_arguments(module, restating)
        self.notes += (*restating.notes, *lost_filters(part))
        self.notes.append(Fault("", f"Ray {RAY} has no such policies: this is the RLModule in it"))
        return module_folder(module.algorithm.module, kwargs, upgraded_weights(module))

    def tree(self, part: Part, path: str = "") -> Folder:
        """Return the folder of an RLModule, or of anything else in a tree.

        Args:
            part: What it is.
            path: Where it stands in the checkpoint, for the notes: empty, or with a ``/`` behind.
        """
        part.check_constructible()
        restating = Restating(part.state_path)
        folder = Folder()
        stem = _STEMS.get(part.type, "state")
        state = fields(part.state) or {}
        told = restating.value(RESTATED.get(part.type, as_it_is)(state, part))
        folder.files[f"{stem}.pkl"] = pickling.dumps(told)
        if part.folder.ctor is not None and part.type != ALGORITHM:
            folder.files[CTOR_FILE] = self._constructor(part, restating)
        folder.metadata[part.metadata_file] = metadata_file(stem, part.metadata)
        for name, store in part.folder.children():
            folder.children[name] = self.tree(open_part(store), f"{path}{name}/")
        self.notes += below(path, restating.notes)
        return folder

    def _constructor(self, part: Part, restating: Restating) -> bytes:
        cls = Reference(moved(part.folder.cls))
        if part.type == MODULE:
            return ctor_file(cls, (), module_arguments(Module(part), restating))
        silent = Restating(part.path)  # RLlib makes these of the Algorithm's, noted already
        args, kwargs = arguments(part)
        return ctor_file(cls, _without_lost(args, silent), _without_lost(kwargs, silent))


def _class_of(part: Part) -> Any:
    has_ctor = part.folder.ctor is not None
    return part.folder.cls if has_ctor else (fields(part.state) or {}).get("algorithm_class")


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


def _of_modules(
    config: dict[str, Any], found: dict[str, Module], algorithm: Algorithm
) -> dict[str, Any]:
    """Return how the modules are made, as their own folders tell it: no default is to change it."""
    silent = Restating("")
    told = {name: module_arguments(module, silent) for name, module in found.items()}
    classes = {name: module_class(module) for name, module in found.items()}
    models = [arguments["model_config"] for arguments in told.values()]
    if all(model == models[0] for model in models):
        alike = {"_model_config": models[0]} if models else {}
        catalogs = {arguments["catalog_class"] for arguments in told.values()}
        is_default = set(classes.values()) <= {algorithm.module}
        if is_default and catalogs <= {algorithm.catalog, None}:
            return {"_rl_module_spec": None, **alike}
    specs = {name: module_spec(classes[name], told[name]) for name in told}
    return {"_rl_module_spec": modules_spec(specs)}
