"""RLlib's PPO is swept; the best checkpoint becomes msgpack, an RLModule, and a bundle that plays.

Run it:  python examples/rllib_ppo_sweep.py

One trial for each learning rate trains PPO on CartPole. The checkpoint with the best return of all
trials is found in the sweep's folder and converted; its RLModule is restored from the conversion
and plays an episode. An inference bundle of the same checkpoint must play the same one, in a
process in which Ray is never imported.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import gymnasium
import torch
from rich.console import Console
from rich.table import Table
from settings import command

import tune_ckpt as tc
from tune_ckpt import rllib

NAME = "ppo_cartpole"


@dataclass
class Training:
    """How PPO trains."""

    train_batch_size_per_learner: int
    minibatch_size: int
    num_epochs: int


@dataclass
class Model:
    """Its network."""

    fcnet_hiddens: list[int]


@dataclass
class Settings:
    """What configs/ppo_cartpole.yaml says."""

    env: str
    metric: str
    mode: str
    seed: int
    iterations: int
    learning_rates: list[float]
    training: Training
    model: Model


def sweep(settings: Settings, storage: Path) -> None:
    """Run one trial for each learning rate."""
    import ray  # not at the top: the process that plays the bundle has no Ray
    from ray import tune
    from ray.rllib.algorithms.ppo import PPOConfig

    ray.init(log_to_driver=False, include_dashboard=False, ignore_reinit_error=True)
    ppo = (
        PPOConfig()
        .environment(settings.env)
        .env_runners(num_env_runners=0)
        .rl_module(model_config=asdict(settings.model))
        .training(lr=tune.grid_search(settings.learning_rates), **asdict(settings.training))
        .debugging(seed=settings.seed, log_level="ERROR")
    )
    results = tune.Tuner(
        "PPO",
        param_space=ppo,
        run_config=tune.RunConfig(
            name=NAME,
            storage_path=str(storage),
            verbose=0,
            stop={"training_iteration": settings.iterations},
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
        ),
    ).fit()
    if results.errors:
        sys.exit(str(results.errors[0]))


def restored_module(checkpoint: str):
    """Return a function from observations to actions: the RLModule's."""
    module = rllib.restore_module(checkpoint)

    def act(observation):
        """Return the best action, as the module sees it."""
        with torch.no_grad():
            found = module.forward_inference({"obs": torch.from_numpy(observation).unsqueeze(0)})
        return int(found["action_dist_inputs"].argmax())

    return act


def play(act, env_name: str, seed: int) -> float:
    """Play one episode, and return what it earned."""
    env = gymnasium.make(env_name)
    observation, _ = env.reset(seed=seed)
    earned, over = 0.0, False
    while not over:
        observation, reward, terminated, truncated, _ = env.step(act(observation))
        earned, over = earned + float(reward), terminated or truncated
    return earned


def play_bundle(path: Path, settings: Settings) -> None:
    """Play an episode with a bundle, and print what it earned; Ray is not imported."""
    print(play(rllib.load_bundle(path).act, settings.env, settings.seed))
    assert "ray" not in sys.modules


def played_without_ray(bundle: Path) -> float:
    """Return what a fresh process earns with a bundle."""
    player = [sys.executable, *sys.argv, "--play", str(bundle)]
    return float(subprocess.run(player, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main(settings: Settings, storage: Path) -> None:
    """Run the whole story and print what happened."""
    console = Console()
    console.print(f"Sweeping {len(settings.learning_rates)} learning rates ...")
    sweep(settings, storage)
    best = tc.best_checkpoint(storage / NAME, metric=settings.metric, mode=settings.mode)
    info = rllib.get_checkpoint_info(best.path)
    converted = rllib.convert_to_msgpack_checkpoint(best.path, storage / "converted")
    earned = play(restored_module(converted), settings.env, settings.seed)
    rllib.export_bundle(best.path, storage / "bundle")
    again = played_without_ray(storage / "bundle")

    table = Table(title="Best checkpoint of the sweep", show_header=False)
    table.add_row("trial, iteration", f"{best.trial_id}, {best.iteration}")
    table.add_row("learning rate", f"{best.config['lr']:g}")
    table.add_row(settings.metric, f"{best.value:.1f}")
    table.add_row("written by", f"{info['algorithm']} of Ray {info['ray_version']}")
    table.add_row("converted to msgpack", str(converted))
    table.add_row("an episode, by the RLModule", f"{earned:.0f}")
    table.add_row("the same, without Ray", f"{again:.0f}")
    console.print(table)
    if again != earned:
        sys.exit("The bundle does not play as the RLModule does.")


if __name__ == "__main__":
    parser = command(__doc__, Settings, "ppo_cartpole.yaml")
    parser.add_argument("--play", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play:
        play_bundle(options.play, options.settings)
    else:
        main(options.settings, Path(tempfile.mkdtemp(prefix="rllib_ppo_sweep_")))
