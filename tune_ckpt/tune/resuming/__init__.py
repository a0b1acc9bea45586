"""What `tune_ckpt.tune.resume` stands on: sound checkpoints, and all that Tune forgets."""
