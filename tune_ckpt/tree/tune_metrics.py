"""What Tune itself adds to every result, which a user of a metric rarely means."""

OF_TUNE = frozenset(
    {
        *("training_iteration", "iterations_since_restore", "should_checkpoint", "done", "config"),
        *("time_this_iter_s", "time_total_s", "time_since_restore", "timestamp", "date"),
        *("timesteps_this_iter", "timesteps_total", "timesteps_since_restore", "warmup_time"),
        *("episodes_this_iter", "episodes_total", "pid", "hostname", "node_ip"),
        *("trial_id", "experiment_tag", "checkpoint_dir_name"),
    }
)
