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
from pathlib import Path

import gymnasium
import yaml
from rich.console import Console
from rich.table import Table

CONFIG = Path(__file__).parents[1] / "configs" / "ppo_cartpole.yaml"
NAME = "ppo_cartpole"


def sweep(config: dict, storage: Path) -> None:
    """Run one trial for each learning rate."""
    import ray
    from ray import tune
    from ray.rllib.algorithms.ppo import PPOConfig

    ray.init(log_to_driver=False, include_dashboard=False)
    ppo = (
        PPOConfig()
        .environment(config["env"])
        .env_runners(num_env_runners=0)
        .rl_module(model_config=config["model"])
        .training(lr=tune.grid_search(config["learning_rates"]), **config["training"])
        .debugging(seed=config["seed"], log_level="ERROR")
    )
    results = tune.Tuner(
        "PPO",
        param_space=ppo,
        run_config=tune.RunConfig(
            name=NAME,
            storage_path=str(storage),
            verbose=0,
            stop={"training_iteration": config["iterations"]},
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
        ),
    ).fit()
    ray.shutdown()
    if results.errors:
        sys.exit(str(results.errors[0]))


def restored_module(checkpoint: str):
    """Return a function from observations to actions: the RLModule's."""
    import torch

    from tune_ckpt import rllib

    module = rllib.restore_module(checkpoint)

    def act(observation):
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


def play_bundle(path: Path, config: dict) -> None:
    """Play an episode with a bundle, and print what it earned; Ray is not imported."""
    from tune_ckpt import rllib

    print(play(rllib.load_bundle(path).act, config["env"], config["seed"]))
    assert "ray" not in sys.modules


def played_without_ray(bundle: Path, config: Path) -> float:
    """Return what a fresh process earns with a bundle."""
    command = [sys.executable, __file__, "--config", str(config), "--play", str(bundle)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main(config: dict, config_file: Path, storage: Path) -> None:
    """Run the whole story and print what happened."""
    import tune_ckpt as tc
    from tune_ckpt import rllib

    console = Console()
    console.print(f"Sweeping {len(config['learning_rates'])} learning rates ...")
    sweep(config, storage)
    best = tc.best_checkpoint(storage / NAME, metric=config["metric"], mode=config["mode"])
    info = rllib.get_checkpoint_info(best.path)
    converted = rllib.convert_to_msgpack_checkpoint(best.path, storage / "converted")
    earned = play(restored_module(converted), config["env"], config["seed"])
    rllib.export_bundle(best.path, storage / "bundle")
    again = played_without_ray(storage / "bundle", config_file)

    table = Table(title="Best checkpoint of the sweep", show_header=False)
    table.add_row("trial, iteration", f"{best.trial_id}, {best.iteration}")
    table.add_row("learning rate", f"{best.config['lr']:g}")
    table.add_row(config["metric"], f"{best.value:.1f}")
    table.add_row("written by", f"{info['algorithm']} of Ray {info['ray_version']}")
    table.add_row("converted to msgpack", str(converted))
    table.add_row("an episode, by the RLModule", f"{earned:.0f}")
    table.add_row("the same, without Ray", f"{again:.0f}")
    console.print(table)
    if again != earned:
        sys.exit("The bundle does not play as the RLModule does.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", type=Path, default=CONFIG, help="the sweep's YAML file")
    parser.add_argument("--play", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    settings = yaml.safe_load(options.config.read_text())
    if options.play:
        play_bundle(options.play, settings)
    else:
        main(settings, options.config, Path(tempfile.mkdtemp(prefix="rllib_ppo_sweep_")))
