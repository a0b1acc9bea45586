"""An old RLlib checkpoint that today's Ray cannot load is read, moved to the new stack, and played.

Run it:  python examples/rescue_old_checkpoint.py [CHECKPOINT]

By default the checkpoint is one that Ray 2.3 wrote under Python 3.8: a PPO policy for CartPole.
Nothing in it is unpickled. What is inside is told; its policy is restored with its optimizer; its
weights move into an RLModule of the new API stack, with the same outputs; and a bundle of it plays
an episode. Of several policies it is the first; one that is an RLModule already stays one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import gymnasium
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.policy.policy import Policy
from rich.console import Console
from rich.table import Table

from tune_ckpt import TuneCkptError, rllib
from tune_ckpt.errors import NotInCheckpointError

OLD = "tests/data/rllib/ray2.3.1-py3.8-old-ppo-single/checkpoint"
STEPS = (  # as Rays of several ages call what a whole Algorithm has, or a policy
    "num_env_steps_sampled",
    "num_env_steps_sampled_lifetime",
    "env_runners/num_env_steps_sampled_lifetime",
    "global_timestep",
)


def what_ray_says(checkpoint: Path) -> str:
    """Return what Ray itself answers when it is asked to load the checkpoint."""
    try:
        Policy.from_checkpoint(str(checkpoint))
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the answer
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return "loaded"


def first_of_several(info: dict[str, Any]) -> str | None:
    """Return the id of a checkpoint's first policy; None, which is enough, where there is one."""
    parameters = info.get("parameters")  # how many, by policy; of a policy alone a number
    return min(parameters) if isinstance(parameters, dict) and len(parameters) > 1 else None


def restored(checkpoint: Path, policy_id: str | None) -> Any:
    """Return the policy, or the RLModule where it is one already."""
    try:
        return rllib.restore_policy(checkpoint, policy_id)
    except NotInCheckpointError as error:
        if error.wanted != "policy of the old API stack":
            raise
        return rllib.restore_module(checkpoint, policy_id)


def play(bundle: rllib.InferenceBundle) -> str:
    """Play one episode of CartPole, and return what it earned."""
    env = gymnasium.make("CartPole-v1")
    if bundle.observation_space["shape"] != env.observation_space.shape:
        return "not played, as it has not learned CartPole"
    observation, _ = env.reset(seed=1)
    earned, over = 0.0, False
    while not over:
        observation, reward, terminated, truncated, _ = env.step(int(bundle.act(observation)))
        earned, over = earned + float(reward), terminated or truncated
    return f"{earned:.0f}"


def main(checkpoint: Path, storage: Path) -> None:
    """Rescue the checkpoint, and print what happened."""
    info = rllib.get_checkpoint_info(checkpoint)
    counters, policy_id = info.get("counters", {}), first_of_several(info)
    steps = next((counters[name] for name in STEPS if name in counters), "an unknown number of")
    kind = info.get("algorithm") or info.get("class") or "of an unknown class"
    table = Table(title="An old checkpoint, rescued", show_header=False)
    table.add_row("what it is", f"{info['type']} ({kind}), {info['format']}")
    ray_version = info.get("ray_version", "of an unknown version")
    table.add_row("written by", f"Ray {ray_version}, version {info['checkpoint_version']}")
    table.add_row("trained for", f"{steps} steps")
    policy, config, is_equal = restored(checkpoint, policy_id), None, True
    if isinstance(policy, RLModule):
        table.add_row("as an RLModule", "it is one already")
    else:
        table.add_row("today's Ray says", what_ray_says(checkpoint))
        config = {"model": policy.config["model"]}  # which version 0.1 does not tell
        path = storage / "module"
        migrated = rllib.migrate_to_rl_module(checkpoint, policy_id=policy_id, path=path)
        is_equal = migrated.equal
        for output, difference in migrated.differences.items():
            table.add_row(f"as an RLModule, {output}", f"differ by {difference:g} at most")
    table.add_row("restored", str(policy.restore_report).partition(": ")[2])
    rllib.export_bundle(checkpoint, storage / "bundle", policy_id, config=config)
    table.add_row("an episode, by the bundle", play(rllib.load_bundle(storage / "bundle")))
    table.add_row("saved in", str(storage))
    Console().print(table)
    if not is_equal:
        sys.exit("The RLModule does not compute what the policy did.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    default = Path(__file__).parents[1] / OLD
    parser.add_argument("checkpoint", type=Path, nargs="?", default=default)
    asked = parser.parse_args().checkpoint.absolute()  # Ray takes no relative path
    try:
        main(asked, Path(tempfile.mkdtemp(prefix="rescued_")))
    except TuneCkptError as error:
        sys.exit(f"{asked} is not rescued. {error}")
