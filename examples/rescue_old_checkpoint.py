"""An old RLlib checkpoint that today's Ray cannot load is read, moved to the new stack, and played.

Run it:  python examples/rescue_old_checkpoint.py [CHECKPOINT]

By default the checkpoint is one that Ray 2.3 wrote under Python 3.8: a PPO policy for CartPole.
Nothing in it is unpickled. What is inside is told; its policy is restored with its optimizer; its
weights move into an RLModule of the new API stack, with the same outputs; and a bundle of it plays
an episode.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import gymnasium
from rich.console import Console
from rich.table import Table

from tune_ckpt import rllib

OLD = "tests/data/rllib/ray2.3.1-py3.8-old-ppo-single/checkpoint"


def what_ray_says(checkpoint: Path) -> str:
    """Return what Ray itself answers when it is asked to load the checkpoint."""
    from ray.rllib.policy.policy import Policy

    try:
        Policy.from_checkpoint(str(checkpoint))
    except Exception as error:  # noqa: BLE001  # whatever it is
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return "loaded"


def play(bundle: rllib.InferenceBundle) -> float:
    """Play one episode of CartPole, and return what it earned."""
    env = gymnasium.make("CartPole-v1")
    observation, _ = env.reset(seed=1)
    earned, over = 0.0, False
    while not over:
        observation, reward, terminated, truncated, _ = env.step(int(bundle.act(observation)))
        earned, over = earned + float(reward), terminated or truncated
    return earned


def main(checkpoint: Path, storage: Path) -> None:
    """Rescue the checkpoint, and print what happened."""
    info = rllib.get_checkpoint_info(checkpoint)
    policy_id = min(rllib.load_weights(checkpoint)) if len(info["policy_ids"]) > 1 else None
    policy = rllib.restore_policy(checkpoint, policy_id)
    migrated = rllib.migrate_to_rl_module(checkpoint, policy_id=policy_id, path=storage / "module")
    rllib.export_bundle(checkpoint, storage / "bundle", policy_id)
    bundle = rllib.load_bundle(storage / "bundle")

    table = Table(title="An old checkpoint, rescued", show_header=False)
    table.add_row("what it is", f"{info['type']} of {info['algorithm']}, {info['format']}")
    table.add_row("written by", f"Ray {info['ray_version']}, version {info['checkpoint_version']}")
    table.add_row("trained for", f"{info['counters']['num_env_steps_sampled']} steps")
    table.add_row("today's Ray says", what_ray_says(checkpoint))
    table.add_row("restored", str(policy.restore_report).partition(": ")[2])
    for output, difference in migrated.differences.items():
        table.add_row(f"as an RLModule, {output}", f"differ by {difference:g} at most")
    table.add_row("an episode, by the bundle", f"{play(bundle):.0f}")
    table.add_row("saved in", str(storage))
    Console().print(table)
    if not migrated.equal:
        sys.exit("The RLModule does not compute what the policy did.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    default = Path(__file__).parents[1] / OLD
    parser.add_argument("checkpoint", type=Path, nargs="?", default=default)
    main(parser.parse_args().checkpoint, Path(tempfile.mkdtemp(prefix="rescued_")))
