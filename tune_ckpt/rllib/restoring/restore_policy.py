"""One policy of the old API stack out of a checkpoint of any version that has some."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tune_ckpt.errors import Fault, NotInCheckpointError, StateRefusedError
from tune_ckpt.objects.trust import Trust
from tune_ckpt.objects.wishes import Strict
from tune_ckpt.rllib.converting.portable import Carrying
from tune_ckpt.rllib.reading.finding import Part
from tune_ckpt.rllib.reading.member_kinds import Policy
from tune_ckpt.rllib.reading.members import only
from tune_ckpt.rllib.reading.weights import weights_of
from tune_ckpt.rllib.restoring.accounting import Account
from tune_ckpt.rllib.restoring.build_policy import build_policy
from tune_ckpt.rllib.restoring.opening import open_told
from tune_ckpt.rllib.restoring.private import count_optimizers
from tune_ckpt.rllib.restoring.rllib_classes import check_installed, constructing, unpickled

_ADVICE = "Without allow_pickle it is built anew from plain data."


def restore_policy(
    checkpoint: Any,
    policy_id: str | None = None,
    *,
    config: dict[str, Any] | None = None,
    filesystem: Any = None,
    allow_pickle: bool = False,
    trusted: str | Collection[str] = (),
    strict: Strict = True,
) -> Any:
    """Return one policy of the old API stack, built anew from plain data, with its state.

    Only this policy's file is read, wherever it is, and it is not unpickled: RLlib's class is found
    by its name. Weights, optimizers, counters and the connectors' filters are restored. (Filters of
    observations that are the workers', and no connectors, come with `restore_algorithm`.)

    >>> print(restore_policy("old_checkpoint", "pol1").restore_report)  # doctest: +ELLIPSIS
    Restored from ...

    Args:
        checkpoint: A checkpoint of version 0.1 to 1.1, of an Algorithm or of the Policy itself: a
            local path, a URI, or a Ray Checkpoint.
        policy_id: Which one; not needed where there is only one.
        config: Entries of the policy's configuration, instead of those that are stored. Version 0.1
            stores none: it is looked up in the ``params.pkl`` that Tune wrote into the folder
            above; without that the model is made as the weights' shapes tell, which the report
            says.
        filesystem: A ``pyarrow.fs.FileSystem`` in which the path is to be looked up.
        allow_pickle: Let the checkpoint's own pickle import and call what it names. Only for
            checkpoints whose writer you trust.
        trusted: Modules and packages whose classes and functions the checkpoint may name, besides
            RLlib's own policies.
        strict: True: weights that are missing, too many or of another shape are an error.
            ``"warn"`` and ``"ignore"``: what fits is restored.

    Returns:
        The policy; its attribute ``restore_report`` tells what was loaded and what was left out.

    Raises:
        ComponentNotFoundError, NotInCheckpointError: There is no such policy.
        InvalidArgumentError: There are several, or it is one of TensorFlow's.
        ClassNotFoundError: Its class is neither RLlib's, imported, nor trusted.
        ConstructorError: RLlib does not build it.
        RestoreError: The weights do not fit.
        StateRefusedError: RLlib's own code does not take the rest of the state.
        CorruptDataError, CorruptCheckpointError: It is damaged.
        MissingDependencyError: RLlib or torch is not installed.
    """
    check_installed()
    part, assumed = open_told(checkpoint, filesystem)
    name, found = only(part, policy_id, "policy_id")
    stored = find_policy(found)
    trust = Trust.of(allow_pickle, trusted)
    account = Account(stored.path, strict, left_out=[] if config else [*assumed])
    if allow_pickle and stored.part is not None and stored.part.format == "cloudpickle":
        return account.close(_unpickled(stored.part, name, account))
    policy = build_policy(stored, trust, account, config)
    _give_state(policy, stored, name, account)
    return account.close(policy)


def find_policy(stored: Any) -> Policy:
    """Return a member of a checkpoint that is a policy of torch's.

    Raises:
        NotInCheckpointError: It is an RLModule, or a policy with the weights of one.
    """
    if not isinstance(stored, Policy) or stored.has_module:
        reason = "it is an RLModule; see restore_module"
        raise NotInCheckpointError(stored.path, "policy of the old API stack", reason)
    return stored


def _give_state(policy: Any, stored: Policy, name: str, account: Account) -> None:
    """Give a policy all that a checkpoint has of it, if its weights fit."""
    weights = account.fit(name, policy.model.state_dict(), weights_of(stored))
    account.check()
    take_state(policy, {**policy_state(policy, stored, account), "weights": weights}, name, stored)


def take_state(policy: Any, state: dict[str, Any], name: str, stored: Policy) -> None:
    """Give a policy its state.

    Raises:
        StateRefusedError: RLlib's code raised an error.
    """
    try:
        policy.set_state(state)
    except Exception as error:
        raise StateRefusedError(stored.path, name, repr(error), ()) from error


def policy_state(policy: Any, stored: Policy, account: Account, within: str = "") -> dict[str, Any]:
    """Return a policy's state as plain data, but for the weights and what it was made with.

    Args:
        policy: Today's policy.
        stored: What is stored of it.
        account: Gathers what is left out.
        within: Where the policy is in the checkpoint that is restored, for the report.
    """
    if "weights" not in stored.state:
        return {"global_timestep": 0}  # the oldest Ray has nothing else
    carrying = Carrying(stored.path)
    kept = {key: value for key, value in stored.state.items() if key not in _NOT_GIVEN}
    state: dict[str, Any] = carrying.state(kept)
    lost = [*carrying.lost, *_without_pickles(state.get("connector_configs"), ())]
    account.left_out += [Fault(f"{within}{fault.path}", fault.reason) for fault in lost]
    optimizers = state.get("_optimizer_variables") or []
    if len(optimizers) not in (0, own := count_optimizers(policy)):
        reason = f"there are {len(optimizers)}, and {own} in the object"
        account.mismatched.append(Fault(f"{within}_optimizer_variables", reason))
        del state["_optimizer_variables"]
    return {"global_timestep": 0, **state}


_NOT_GIVEN = ("weights", "policy_spec", "checkpoint_version")


def _without_pickles(value: Any, steps: tuple[str, ...]) -> list[Fault]:
    """Take pickles out of connectors' states, which RLlib would unpickle."""
    lost = []
    items = value.items() if isinstance(value, dict) else enumerate(value or ())
    for key, item in [*items]:
        if isinstance(item, bytes):
            value[key] = None
            lost.append(Fault("/".join((*steps, str(key))), "a pickle was left out"))
        elif isinstance(item, dict | list):
            lost += _without_pickles(item, (*steps, str(key)))
    return lost


def _unpickled(part: Part, name: str, account: Account) -> Any:
    from ray.rllib.policy.policy import Policy as Base

    state: Any = unpickled(part.home.read_bytes(str(part.state_file)), part.state_path)
    with constructing(name, part.path, _ADVICE):
        policy: Any = Base.from_state(state)
    account.loaded.append(name)
    return policy
